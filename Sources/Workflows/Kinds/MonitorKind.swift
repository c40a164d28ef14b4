import Contracts
import Monitoring
import Serving
import Storage

extension MonitorSpec: ResourceKind {
    package var references: [ResourceReference.Target] {
        [ResourceReference.Target("spec.endpoint", EndpointSpec.schema.name, endpoint, required: true)]
    }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let monitoring = preparation.modules.monitoring
        let draft = try await monitoring.prepare(preparation.declared.all(MonitorSpec.self))
        preparation.add(PreparedMonitors(monitoring: monitoring, draft: draft))
    }
}

private struct PreparedMonitors: Prepared {
    let monitoring: MonitoringService
    let draft: MonitorDraft

    func store(_ tx: Transaction) throws { try draft.store(tx) }
    func activate() async { await monitoring.activate(draft) }
    func discard() async { await monitoring.discard(draft) }
}
