import Contracts
import Datasets
import Governance
import Pipelines

/// What a deletion would take away, or has taken away.
public struct Deletion: Sendable {
    public struct Item: Sendable {
        public let resource: StoredResource
        /// The resource that goes and that this one names; nil for the one that was asked for.
        public let needs: String?
        /// What is there besides the declaration, in words: `3 snapshots, 2,000 rows`.
        public let holds: [String]
        /// Why it does not go by itself, in words: `it serves release 3`.
        public let inUse: String?
    }

    /// The one that was asked for first, then those that name it, those that name these, and so on.
    public let items: [Item]
    /// In words, what stays although its resource goes.
    public let stays: [String]
    /// Nil when nothing was done.
    public internal(set) var result: DeleteResult?

    public var json: JSON {
        [
            "items": .array(
                items.map { item in
                    [
                        "id": .string(item.resource.resource.id),
                        "environment": item.resource.resource.environment.map(JSON.string) ?? .null,
                        "revision": .int(item.resource.revision), "needs": item.needs.map(JSON.string) ?? .null,
                        "holds": .array(item.holds.map(JSON.string)), "in_use": item.inUse.map(JSON.string) ?? .null,
                    ]
                }),
            "stays": .array(stays.map(JSON.string)), "revision": result.map { .int($0.revision) } ?? .null,
            "ledger_seq": result.map { .int($0.ledgerSeq) } ?? .null,
        ]
    }
}

extension Platform {
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
        try grant.require(.resourcesApply)
        if removesData, kind != "Dataset" { throw KeelError.invalid("only a Dataset has data of its own", hint: "leave --data out") }
        if isRehearsal {
            return try await deleteInTurn(
                kind, name, environment: environment, cascade: cascade, data: removesData, isRehearsal: true, by: grant)
        }
        // An apply in between would open the stream of a dataset whose data are just being removed.
        return try await configuring.run { [self] in
            try await deleteInTurn(kind, name, environment: environment, cascade: cascade, data: removesData, isRehearsal: false, by: grant)
        }
    }

    private func deleteInTurn(
        _ kind: String, _ name: String, environment: String?, cascade: Bool, data removesData: Bool, isRehearsal: Bool, by grant: Grant
    ) async throws -> Deletion {
        let all = try await resources.all(by: grant)
        if removesData, !all.contains(where: { $0.resource.id == "Dataset/\(name)" }), try await data.holding(name) != .init() {
            if !isRehearsal { try await data.remove(name, grant: grant) }
            return Deletion(items: [], stays: [], result: nil)
        }
        let first = try await resources.get(kind, name, environment: environment, by: grant)
        var deletion = try await deletion(of: first, among: all, removesData: removesData)
        if isRehearsal { return deletion }
        if !cascade { try Platform.refuse(deletion) }
        let known = await mistakes(in: all.map(\.resource))
        deletion.result = try await resources.delete(deletion.items.map(\.resource.resource), by: grant) { [self] remaining in
            // What was wrong before the deletion is no reason against it.
            let new = await mistakes(in: remaining).filter { mistake in !known.contains { $0.isSame(as: mistake) } }
            if let error = KeelError.joined(new) { throw error }
        }
        if removesData {
            for item in deletion.items where item.resource.resource.kind == "Dataset" {
                try await data.remove(item.resource.resource.name, grant: grant)
            }
        }
        try await configureInTurn()
        try await featureCheckpoints.prune()
        return deletion
    }

    /// Resources that name this one, each with the field that does.
    public func dependents(of id: String, by grant: Grant) async throws -> [(id: String, field: String)] {
        let declared = Declarations(each: try await resources.all(by: grant).map(\.resource))
        return declared.references.filter { $0.to == id }.map { ($0.from, $0.field) }
    }

    private func mistakes(in resources: [Resource]) async -> [KeelError] {
        do { try await check(resources) } catch { return KeelError.wrapping(error).all }
        return []
    }

    private func deletion(of first: StoredResource, among all: [StoredResource], removesData: Bool) async throws -> Deletion {
        let references = Declarations(each: all.map(\.resource)).references
        var chosen = [(first, String?.none)]
        var seen: Set<String> = [first.resource.id]
        // Another of the same name, in another environment, still answers to it.
        let others = all.filter { $0.resource.id == first.resource.id && $0 != first }
        var next = others.isEmpty ? 0 : chosen.count
        while next < chosen.count {
            let id = chosen[next].0.resource.id
            next += 1
            for reference in references where reference.to == id && !seen.contains(reference.from) {
                seen.insert(reference.from)
                chosen += all.filter { $0.resource.id == reference.from }.map { ($0, id) }
            }
        }
        var items: [Deletion.Item] = []
        for (stored, needs) in chosen {
            let (holds, inUse) = try await holdings(stored.resource)
            items.append(Deletion.Item(resource: stored, needs: needs, holds: holds, inUse: inUse))
        }
        let kinds = Set(items.map(\.resource.resource.kind))
        var stays = ["the revisions of what goes (POST /api/v1/resources/KIND/NAME/restore brings one back)"]
        if kinds.contains("Dataset"), !removesData { stays.append("rows of datasets (--data removes them)") }
        if kinds.contains("Endpoint") { stays.append("releases and logged predictions") }
        if kinds.contains("Pipeline") { stays.append("finished runs and what they made") }
        return Deletion(items: items, stays: stays, result: nil)
    }

    private func holdings(_ resource: Resource) async throws -> (holds: [String], inUse: String?) {
        switch resource.kind {
        case "Dataset":
            let holding = try await data.holding(resource.name)
            var holds: [String] = []
            if holding.snapshots > 0 { holds.append("\(holding.snapshots) snapshots, the newest of \(holding.rows) rows") }
            if holding.unsealedBytes > 0 { holds.append("\(holding.unsealedBytes) bytes of events that are in no snapshot yet") }
            return (holds, nil)
        case "Endpoint":
            let grant = try Grant.check(.system("delete"), may: .releasesRead)
            let releases = try await deployments.releases(endpoint: resource.name, grant)
            let serving = runtime.status().first { $0.name == resource.name && $0.environment == resource.environment ?? "production" }?
                .stable
            return (releases.isEmpty ? [] : ["\(releases.count) releases"], serving.map { "it serves release \($0.release)" })
        case "Pipeline":
            let grant = try Grant.check(.system("delete"), may: .pipelinesRead)
            let open = try await pipelines.runs(pipeline: resource.name, grant: grant).filter { $0.finishedAt == nil }
            return ([], open.isEmpty ? nil : "\(open.count == 1 ? "a run is" : "\(open.count) runs are") under way")
        default: return ([], nil)
        }
    }

    private static func refuse(_ deletion: Deletion) throws(KeelError) {
        guard let first = deletion.items.first else { return }
        let id = first.resource.resource.id
        var reasons: [String] = []
        let needing = deletion.items.dropFirst().map(\.resource.resource.id)
        if !needing.isEmpty { reasons.append("these need it: \(needing.joined(separator: ", "))") }
        for item in deletion.items {
            if let use = item.inUse { reasons.append(item.needs == nil ? use : "\(item.resource.resource.id): \(use)") }
        }
        guard !reasons.isEmpty else { return }
        throw KeelError(
            .failedPrecondition, "\(id) is in use: \(reasons.joined(separator: "; "))",
            hint: needing.isEmpty ? "--cascade deletes it all the same" : "--cascade deletes these too; --dry-run lists what would go")
    }
}

extension KeelError {
    fileprivate func isSame(as other: KeelError) -> Bool { path == other.path && message == other.message }
}

extension Declarations {
    /// Each declaration that can be read, by itself; for lists of what names what, which must not fail because of one that cannot.
    fileprivate init(each resources: [Resource]) {
        self.init()
        for resource in resources { try? add(resource) }
    }
}
