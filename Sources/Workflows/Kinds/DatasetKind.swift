import Contracts
import Datasets
import Pipelines

extension DatasetSpec: ResourceKind {
    package static func effects(of resource: Resource, in declared: Declarations, _ modules: Modules) async throws -> [String] {
        var out: [String] = []
        if let new = declared.all(DatasetSpec.self).first(where: { $0.name == resource.name }),
            case let dataset = ResourceRef(schema.name, new.name, in: declared.workspace), let old = try? modules.data.spec(dataset)
        {
            out = new.effects(after: old, rows: try await modules.data.snapshot(dataset)?.rowCount ?? 0)
        }
        return try out + declared.remadeViews(modules) { $1 == resource.name }
    }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let data = preparation.modules.data
        let draft = await data.prepare(preparation.declared.all(DatasetSpec.self), in: preparation.workspace)
        for (name, error) in draft.failures.sorted(by: { $0.key < $1.key }) { preparation.fail("\(schema.name)/\(name)", error) }
        preparation.add(PreparedDatasets(data: data, draft: draft))
    }

    package static func status(of resource: Resource, _ modules: Modules, for caller: Caller) async throws -> [ResourceStatus] {
        guard let grant = try? Grant.check(caller, may: .datasetsRead, on: resource.id) else { return [] }
        let newest = try await modules.data.snapshots(resource.name, limit: 1, grant: grant).first
        let text = newest.map { "snapshot \($0.number): \($0.rowCount) rows, \($0.quarantinedCount) in quarantine" }
        return [ResourceStatus("status", text ?? "no snapshot yet")]
    }

    package static func holdings(of resource: Resource, in workspace: WorkspaceID, _ modules: Modules) async throws -> ResourceHoldings {
        let holding = try await modules.data.holding(ResourceRef(schema.name, resource.name, in: workspace))
        var holds: [String] = []
        if holding.snapshots > 0 { holds.append("\(holding.snapshots) snapshots, the newest of \(holding.rows) rows") }
        if holding.unsealedBytes > 0 { holds.append("\(holding.unsealedBytes) bytes of events that are in no snapshot yet") }
        return ResourceHoldings(holds)
    }

    package static func remains(removingData removesData: Bool) -> String? {
        removesData ? nil : "rows of datasets (--data removes them)"
    }

    package static var hasData: Bool { true }

    package static func holdsData(of name: String, in workspace: WorkspaceID, _ modules: Modules) async throws -> Bool {
        try await modules.data.holding(ResourceRef(schema.name, name, in: workspace)) != DatasetService.Holding()
    }

    package static func removeData(of name: String, _ modules: Modules, by grant: Grant) async throws {
        try await modules.data.remove(name, grant: grant)
    }
}

/// Contracts that are ready.
struct PreparedDatasets: Prepared {
    let data: DatasetService
    let draft: DatasetDraft

    func activate() { data.activate(draft) }
    func discard() { data.discard(draft) }
}
