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
    package func permissions(replacing current: Resource?, _ modules: Modules) -> [Action] { [.pipelinesRun] }
    package static var actsForItsAuthor: Bool { true }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let triggers = preparation.modules.triggers
        let declared = preparation.declared
        let specs = declared.all(TriggerSpec.self).map { spec in
            spec.watching { declared.resolve(ResourceRef(MonitorSpec.schema.name, stored: $0, in: declared.workspace)).qualifiedName }
        }
        var authors: [String: TriggerAuthors] = [:]
        for spec in specs {
            authors[spec.name] = TriggerAuthors(
                trigger: try await preparation.author(schema.name, spec.name) ?? "",
                pipeline: try await preparation.author(PipelineSpec.schema.name, spec.run) ?? "")
        }
        // One that cannot be put in force now keeps what it remembers, such as that it is paused.
        let left = Set(preparation.failures.compactMap { ResourceRef(subject: $0.subject, in: declared.workspace) }.filter { $0.kind == schema.name })
        let draft = await triggers.prepare(specs, authors: authors, keeping: Set(left.map(\.name)), in: preparation.workspace)
        preparation.add(PreparedTriggers(triggers: triggers, draft: draft))
    }
}

private struct PreparedTriggers: Prepared {
    let triggers: TriggerService
    let draft: TriggerDraft

    func store(_ tx: Transaction) throws { try draft.store(tx) }
    func activate() async { await triggers.activate(draft) }
    func discard() async { await triggers.discard(draft) }
}
