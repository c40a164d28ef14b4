import Contracts
import Expressions
import Monitoring
import Serving
import Storage

extension MonitorSpec: ResourceKind {
    package var references: [ResourceReference.Target] {
        [ResourceReference.Target("spec.endpoint", EndpointSpec.schema.name, endpoint.qualifiedName, required: true)]
    }

    package static func warnings(of resource: Resource, in declared: Declarations, _ modules: Modules) -> [String] {
        let ref = resource.ref(in: declared.workspace)
        guard let spec = declared.all(MonitorSpec.self).first(where: { $0.ref == ref }) else { return [] }
        return spec.watching(declared.resolve(spec.endpoint)).blindSpots(modules.runtime)
    }

    /// Why it can never alert of the releases that serve its endpoint now, a sentence each.
    func blindSpots(_ runtime: ServingRuntime) -> [String] { runtime.serving(endpoint).flatMap { blindSpots($0.release, $0.bundle) } }

    private func blindSpots(_ release: Release, _ bundle: ModelBundle) -> [String] {
        var out: [String] = []
        let name = "release \(release.name) (models:/\(release.model)/\(release.modelVersion))"
        if let drift {
            let compared = bundle.reference.inputs.keys.contains { drift.features || drift.names.contains($0) }
            if !compared, !drift.score || bundle.reference.score == nil {
                let isEmpty = bundle.reference.inputs.isEmpty && bundle.reference.score == nil
                let what = isEmpty ? "nothing that its drift is measured from" : "none of these columns to compare with"
                out.append("\(ref.subject) can never alert of drift: \(name) has \(what); a training by a pipeline makes it")
            }
        }
        if let condition = performance?.alertWhen {
            let known = bundle.metrics.keys.map { "reference.\($0)" }
            let missing = condition.identifiers.filter { $0.hasPrefix("reference.") && !known.contains($0) }.sorted()
            if !missing.isEmpty {
                let names = missing.joined(separator: ", ")
                out.append("\(ref.subject) can never alert of '\(condition.text)': \(name) has no \(names); an evaluation in a pipeline makes it")
            }
        }
        return out
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
