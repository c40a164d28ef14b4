import Contracts
import Monitoring
import Serving
import Storage

extension MonitorSpec: ResourceKind {
    package var references: [ResourceReference.Target] {
        [ResourceReference.Target("spec.endpoint", EndpointSpec.schema.name, endpoint.qualifiedName, required: true)]
    }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let monitoring = preparation.modules.monitoring
        let specs = preparation.declared.all(MonitorSpec.self).map { $0.watching(preparation.declared.resolve($0.endpoint)) }
        let draft = try await monitoring.prepare(specs, in: preparation.workspace)
        let binary = Set(specs.filter { $0.performance?.needsBinaryLabels == true }.map(\.endpoint))
        preparation.add(
            PreparedMonitors(monitoring: monitoring, draft: draft, log: preparation.modules.runtime.log, binaryEndpoints: binary,
                workspace: preparation.workspace))
    }
}

private struct PreparedMonitors: Prepared {
    let monitoring: MonitoringService
    let draft: MonitorDraft
    let log: PredictionLog
    let binaryEndpoints: Set<ResourceRef>
    let workspace: WorkspaceID

    func store(_ tx: Transaction) throws { try draft.store(tx) }

    func activate() async {
        log.setBinaryEndpoints(binaryEndpoints, in: workspace)
        await monitoring.activate(draft)
    }

    func discard() async { await monitoring.discard(draft) }
}
