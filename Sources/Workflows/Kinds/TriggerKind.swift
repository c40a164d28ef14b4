import Contracts
import Datasets
import Monitoring
import Pipelines
import Storage

extension TriggerSpec: ResourceKind {
    package var references: [ResourceReference.Target] {
        let conditions = when.enumerated().compactMap { i, condition -> ResourceReference.Target? in
            switch condition {
            case .monitor(let name): ResourceReference.Target("spec.when[\(i)]", MonitorSpec.schema.name, name, required: true)
            case .snapshot(let name): ResourceReference.Target("spec.when[\(i)]", DatasetSpec.schema.name, name, required: true)
            case .schedule: nil
            }
        }
        return [ResourceReference.Target("spec.run", PipelineSpec.schema.name, run, required: true)] + conditions
    }

    /// It starts pipelines in its author's name.
    package func permissions(_ modules: Modules) -> [Action] { [.pipelinesRun] }
    package static var actsForItsAuthor: Bool { true }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let triggers = preparation.modules.triggers
        let specs = preparation.declared.all(TriggerSpec.self)
        var authors: [String: String] = [:]
        for spec in specs { authors[spec.name] = try await preparation.author(schema.name, spec.name) }
        preparation.add(PreparedTriggers(triggers: triggers, draft: await triggers.prepare(specs, authors: authors, in: preparation.workspace)))
    }
}

private struct PreparedTriggers: Prepared {
    let triggers: TriggerService
    let draft: TriggerDraft

    func store(_ tx: Transaction) throws { try draft.store(tx) }
    func activate() async { await triggers.activate(draft) }
    func discard() async { await triggers.discard(draft) }
}
