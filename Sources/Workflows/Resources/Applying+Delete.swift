import Contracts
import Governance
import Storage
import Synchronization

extension Applying {
    /// Deletes a resource, and with `cascade` everything that names it, at any distance.
    ///
    /// Revisions, releases, runs, predictions and the ledger stay; so do a Dataset's rows unless `data` says otherwise. What remains is checked as
    /// an apply checks it.
    /// - Parameters:
    ///   - data: removes the rows of every Dataset that goes, for good. A Dataset that was deleted earlier is found by its rows then.
    ///   - isRehearsal: changes nothing, and lists what would go.
    /// - Throws: `failedPrecondition` when something names it or it is in use, and `cascade` is false.
    public func delete(
        _ kind: String, _ name: String, environment: String?, cascade: Bool, data removesData: Bool, isRehearsal: Bool, by grant: Grant
    ) async throws -> Deletion {
        try grant.requireSome(.resourcesApply)
        let kinds = ResourceKinds.all.filter { $0.hasData }.map { $0.schema.name }
        if removesData, !kinds.contains(kind) {
            throw KeelError.invalid("only a \(kinds.joined(separator: " or a ")) has data of its own", hint: "leave --data out")
        }
        if isRehearsal {
            return try await deleteInTurn(
                kind, name, environment: environment, cascade: cascade, data: removesData, isRehearsal: true, by: grant)
        }
        // An apply in between would open the stream of a dataset whose data are just being removed.
        return try await inTurn(of: grant.workspace) {
            try await deleteInTurn(kind, name, environment: environment, cascade: cascade, data: removesData, isRehearsal: false, by: grant)
        }
    }

    private func deleteInTurn(
        _ kind: String, _ name: String, environment: String?, cascade: Bool, data removesData: Bool, isRehearsal: Bool, by grant: Grant
    ) async throws -> Deletion {
        // What needs it is found whoever may see it.
        let all = try await modules.resources.all(by: Grant.check(.system("delete", in: grant.workspace), may: .resourcesRead))
        let owner = try ResourceKinds.kind(kind)
        let isDeclared = all.contains { $0.resource.id == "\(kind)/\(name)" }
        if removesData, !isDeclared, try await owner.holdsData(of: name, in: grant.workspace, modules) {
            try grant.require(.resourcesApply, on: ResourceRef(kind, name, in: grant.workspace))
            if !isRehearsal { try await owner.removeData(of: name, modules, by: grant) }
            return Deletion(items: [], stays: [], result: nil)
        }
        let first = try await modules.resources.get(kind, name, environment: environment, by: grant)
        var deletion = try await deletion(of: first, among: all, in: grant.workspace, removesData: removesData)
        let authorize = authorization(grant)
        for item in deletion.items {
            try grant.require(.resourcesApply, on: item.resource.resource.ref(in: grant.workspace))
            // What cannot be read any more can be taken away all the same.
            if (try? ResourceKinds.kind(item.resource.resource.kind).init(resource: item.resource.resource)) != nil {
                try await authorize(item.resource.resource, nil)
            }
        }
        if isRehearsal { return deletion }
        if !cascade { try Applying.refuse(deletion) }
        let going = deletion.items.map(\.resource.resource)
        let known = Applying.mistakes(in: all.map(\.resource), grant.workspace, modules)
        let prepare = preparation(grant)
        let removal = DataRemoval(of: removesData ? going : [], modules, by: grant)
        deletion.result = try await modules.resources.delete(going, by: grant) { [modules] remaining in
            // What was wrong before the deletion is no reason against it.
            let new = Applying.mistakes(in: remaining, grant.workspace, modules).filter { mistake in !known.contains { $0.isSame(as: mistake) } }
            if let error = KeelError.joined(new) { throw error }
        } prepare: { remaining, changed in
            PreparedDeletion(rest: try await prepare(remaining, changed), removal: removal)
        }
        try removal.finish()
        try await modules.history.prune()
        return deletion
    }

    private static func mistakes(in resources: [Resource], _ workspace: WorkspaceID, _ modules: Modules) -> [KeelError] {
        do throws(KeelError) { _ = try Declarations.check(resources, in: workspace, modules) } catch { return error.all }
        return []
    }

    private func deletion(
        of first: StoredResource, among all: [StoredResource], in workspace: WorkspaceID, removesData: Bool
    ) async throws -> Deletion {
        let references = Declarations(readable: all.map(\.resource), in: workspace).references
        var chosen = [(first, ResourceRef?.none)]
        var seen: Set<ResourceRef> = [first.resource.ref(in: workspace)]
        var next = 0
        while next < chosen.count {
            let ref = chosen[next].0.resource.ref(in: workspace)
            next += 1
            for reference in references where reference.to == ref && !seen.contains(reference.from) {
                seen.insert(reference.from)
                chosen += all.filter { $0.resource.ref(in: workspace) == reference.from }.map { ($0, ref) }
            }
        }
        var items: [Deletion.Item] = []
        for (stored, needs) in chosen {
            let holdings = try await ResourceKinds.kind(stored.resource.kind).holdings(of: stored.resource, in: workspace, modules)
            items.append(
                Deletion.Item(
                    resource: stored, ref: stored.resource.ref(in: workspace), needs: needs?.subject, holds: holdings.holds,
                    inUse: holdings.inUse))
        }
        let kinds = Set(items.map(\.resource.resource.kind))
        let remains = ResourceKinds.all.filter { kinds.contains($0.schema.name) }.compactMap { $0.remains(removingData: removesData) }
        let revisions = "the revisions of what goes (POST /api/v1/resources/KIND/NAME/restore brings one back)"
        return Deletion(items: items, stays: [revisions] + remains, result: nil)
    }

    private static func refuse(_ deletion: Deletion) throws(KeelError) {
        guard let first = deletion.items.first else { return }
        let id = first.ref.subject
        var reasons: [String] = []
        let needing = deletion.items.dropFirst().map(\.ref.subject)
        if !needing.isEmpty { reasons.append("these need it: \(needing.joined(separator: ", "))") }
        for item in deletion.items {
            if let use = item.inUse { reasons.append(item.needs == nil ? use : "\(item.ref.subject): \(use)") }
        }
        guard !reasons.isEmpty else { return }
        throw KeelError(
            .failedPrecondition, "\(id) is in use: \(reasons.joined(separator: "; "))",
            hint: needing.isEmpty ? "--cascade deletes it all the same" : "--cascade deletes these too; --dry-run lists what would go")
    }
}

/// What remains after a deletion, made ready.
private struct PreparedDeletion: PreparedResources {
    let rest: any PreparedResources
    let removal: DataRemoval

    func store(_ tx: Transaction) throws { try rest.store(tx) }

    func activate() async {
        // First: what still writes to a dataset must find out that its data go.
        await removal.run()
        await rest.activate()
    }

    func discard() async { await rest.discard() }
}

/// Removes the data of resources whose deletion is committed. What fails is thrown when everything else is done.
private final class DataRemoval: Sendable {
    private let resources: [Resource]
    private let modules: Modules
    private let grant: Grant
    private let problem = Mutex<KeelError?>(nil)

    init(of resources: [Resource], _ modules: Modules, by grant: Grant) {
        self.resources = resources
        self.modules = modules
        self.grant = grant
    }

    func run() async {
        for resource in resources {
            do {
                let kind = try ResourceKinds.kind(resource.kind)
                if kind.hasData { try await kind.removeData(of: resource.name, modules, by: grant) }
            } catch { problem.withLock { $0 = $0 ?? KeelError.wrapping(error) } }
        }
    }

    func finish() throws(KeelError) {
        if let problem = problem.withLock({ $0 }) { throw problem }
    }
}

extension KeelError {
    fileprivate func isSame(as other: KeelError) -> Bool { path == other.path && message == other.message }
}
