import Contracts
import Storage

/// What an apply did.
public struct ApplyResult: Sendable, Hashable {
    /// The number of this apply over all resources; when nothing changed, that of the last one.
    public let revision: Int64
    /// In the order given.
    public let changes: [ResourceChange]
    /// The ledger event; nil when nothing changed.
    public let ledgerSeq: Int64?

    public var json: JSON {
        ["revision": .int(revision), "ledger_seq": ledgerSeq.map(JSON.int) ?? .null, "changes": .array(changes.map(\.json))]
    }
}

/// What a deletion did.
public struct DeleteResult: Sendable, Hashable {
    /// The number of this change over all resources, in one series with those of applies.
    public let revision: Int64
    /// As they were.
    public let deleted: [StoredResource]
    public let ledgerSeq: Int64
}

/// Keeps what was declared: the current resources and every revision they had.
public final class ResourceService: Sendable {
    /// Checks a complete set of resources, the unchanged ones included, before it becomes the current one.
    public typealias Validation = @Sendable (_ candidate: [Resource]) async throws -> Void

    /// Makes a valid set ready, before anything is stored. It may fail, and then nothing is stored.
    /// - Parameter changed: those of the candidate that are new or changed.
    public typealias Preparation = @Sendable (_ candidate: [Resource], _ changed: [Resource]) async throws -> any PreparedResources

    /// Refuses a resource that the caller may not declare in place of the current one; there is none for a new resource, and for one that is deleted.
    public typealias Authorization = @Sendable (_ changed: Resource, _ current: Resource?) async throws -> Void

    private let database: Database
    /// Each try that loses the race against another apply means that the other won, so this many in a row are improbable.
    private static let tries = 64
    public static let resourcesMax = 10_000

    public init(database: Database) { self.database = database }

    // MARK: Verbs

    /// What `apply` would do, without doing it; in the order given.
    public func plan(_ resources: [Resource], by grant: Grant) async throws -> [ResourceChange] {
        for resource in resources { try grant.require(.resourcesRead, .resourcesApply, on: resource.ref(in: grant.workspace)) }
        try ResourceService.refuseDuplicates(resources)
        let (current, last) = try await database.read(in: grant.workspace) { reader in
            (try reader.storedResources(), try reader.lastRevisions(resources.map { ResourceKey($0) }))
        }
        return ResourceService.changes(resources, to: ResourceService.byKey(current), after: last)
    }

    /// Makes the given resources current, all or none, in one transaction with one ledger event `resources.applied`.
    ///
    /// Resources that are not given stay as they are. `validate` and then `prepare` see the whole set as it would be, before the transaction, and
    /// again when another apply came in between; so `validate` must have no effects, and what was prepared in vain is discarded. When one of them
    /// throws, nothing is kept. When this returns, what was prepared is in force. Without a change there is no new revision and no event, but
    /// `validate` still runs.
    /// - Parameter authorize: asked for every resource that is new or changes.
    /// - Throws: `invalidArgument` for a resource given twice, whatever `authorize`, `validate` and `prepare` throw, `unavailable` when other applies
    ///   keep coming in between.
    public func apply(
        _ resources: [Resource], by grant: Grant, authorize: Authorization = { _, _ in }, validate: Validation, prepare: Preparation? = nil
    ) async throws -> ApplyResult {
        for resource in resources { try grant.require(.resourcesApply, on: resource.ref(in: grant.workspace)) }
        try ResourceService.refuseDuplicates(resources)
        for _ in 0..<ResourceService.tries {
            let (base, current, last) = try await database.read(in: grant.workspace) { reader in
                (
                    try reader.lastApplyInWorkspace(), ResourceService.byKey(try reader.storedResources()),
                    try reader.lastRevisions(resources.map { ResourceKey($0) })
                )
            }
            let changes = ResourceService.changes(resources, to: current, after: last)
            let candidate = ResourceService.merge(resources, into: current)
            guard candidate.count <= ResourceService.resourcesMax else {
                throw KeelError.invalid("\(candidate.count) resources are more than the \(ResourceService.resourcesMax) a server keeps")
            }
            try await validate(candidate)
            let changed = zip(resources, changes).filter { $0.1.kind != .unchanged }.map(\.0)
            for resource in changed { try await authorize(resource, current[ResourceKey(resource)]?.resource) }
            guard !changed.isEmpty else { return ApplyResult(revision: try await lastRevision(by: grant), changes: changes, ledgerSeq: nil) }
            let prepared = try await prepare?(candidate, changed)
            let result = try await ResourceService.putInForce(prepared) {
                try await commit(resources, changes, on: base, with: prepared, by: grant)
            }
            if let result { return result }
        }
        throw KeelError(.unavailable, "other changes kept coming in between: nothing was applied", hint: "try again")
    }

    /// Takes resources away, all or none, in one transaction with one ledger event `resources.deleted`. Their revisions stay: `restore` brings
    /// one back, and a resource of the same name that is applied later continues their numbers.
    ///
    /// `validate` and `prepare` see what would remain, as in `apply`.
    /// - Throws: `notFound` when one is not there, whatever `validate` and `prepare` throw, `unavailable` when other applies keep coming in between.
    public func delete(
        _ resources: [Resource], by grant: Grant, validate: Validation, prepare: Preparation? = nil
    ) async throws -> DeleteResult {
        for resource in resources { try grant.require(.resourcesApply, on: resource.ref(in: grant.workspace)) }
        let keys = resources.map { ResourceKey($0) }
        for _ in 0..<ResourceService.tries {
            let (base, current) = try await database.read(in: grant.workspace) { (try $0.lastApplyInWorkspace(), ResourceService.byKey(try $0.storedResources())) }
            if let missing = keys.first(where: { current[$0] == nil }) { throw KeelError.notFound("there is no \(missing.text)") }
            let gone = Set(keys)
            let remaining = ResourceService.merge([], into: current.filter { !gone.contains($0.key) })
            try await validate(remaining)
            let stored = keys.compactMap { current[$0] }
            let prepared = try await prepare?(remaining, [])
            let result = try await ResourceService.putInForce(prepared) {
                try await commit(deletionOf: stored, on: base, with: prepared, by: grant)
            }
            if let result { return result }
        }
        throw KeelError(.unavailable, "other changes kept coming in between: nothing was deleted", hint: "try again")
    }

    /// Applies an earlier revision of a resource again, as a new revision.
    /// - Throws: `notFound` when there is no such revision; else as `apply`.
    public func restore(
        kind: String, name: String, environment: String? = nil, revision: Int64, by grant: Grant,
        authorize: Authorization = { _, _ in }, validate: Validation, prepare: Preparation? = nil
    ) async throws -> ApplyResult {
        let key = ResourceKey(kind: kind, name: name, environment: environment)
        try grant.require(.resourcesApply, on: key.ref(in: grant.workspace))
        let found = try await database.read(in: grant.workspace) { reader in
            guard revision >= 1, revision < .max else { return ResourceRevision?.none }
            return try reader.resourceRevisions(key, before: revision + 1, limit: 1).first { $0.revision == revision }
        }
        guard let found else {
            throw KeelError.notFound("\(key.text) has no revision \(revision)", hint: "list its revisions to see which there are")
        }
        return try await apply([found.resource], by: grant, authorize: authorize, validate: validate, prepare: prepare)
    }

    // MARK: Queries

    /// Every current resource that the grant covers, by kind, name and environment.
    public func all(by grant: Grant) async throws -> [StoredResource] {
        try grant.requireSome(.resourcesRead, .resourcesApply)
        return try await database.read(in: grant.workspace) { try $0.storedResources() }.filter(grant.covers)
    }

    /// The current resources that are stored but cannot be read any more, as `Kind/name`, each with the reason.
    public func damaged(by grant: Grant) async throws -> [(subject: String, error: KeelError)] {
        try grant.require(.resourcesRead)
        return try await database.read(in: grant.workspace) { try $0.resourceRows() }.compactMap { row in
            if case .failure(let error) = row.result { (subject: row.id, error: error) } else { nil }
        }
    }

    /// Kinds whose declarations are read by whoever may read what they declare.
    private static let readers: [String: Action] = [
        "Dataset": .datasetsRead, "FeatureView": .featuresRead, "FeatureService": .featuresRead, "Monitor": .monitorsRead, "Pipeline": .pipelinesRead,
    ]

    private static func requireReading(_ kind: String, _ grant: Grant) throws(KeelError) {
        if let action = readers[kind], grant.action == action { return try grant.requireSome(action) }
        try grant.requireSome(.resourcesRead, .resourcesApply)
    }

    /// The names of the current resources of a kind that the grant covers, also of those that cannot be read any more.
    /// - Parameter grant: to read resources, or to read what the kind declares, such as `datasets.read` for `Dataset`.
    public func names(of kind: String, by grant: Grant) async throws -> [ResourceRef] {
        try ResourceService.requireReading(kind, grant)
        return try await database.read(in: grant.workspace) { try ResourceService.names(of: kind, in: grant.workspace, $0) }.filter(grant.covers)
    }

    /// The same inside a transaction or read of the workspace.
    public static func names(of kind: String, in workspace: WorkspaceID, _ db: some Querying) throws -> [ResourceRef] {
        try db.rows("SELECT name, environment FROM resources WHERE workspace = ? AND kind = ?", [db.inWorkspace, .string(kind)]).map {
            ResourceKey(kind: kind, name: $0.text("name"), environment: $0.text("environment")).ref(in: workspace)
        }
    }

    /// The current resources of a kind that the grant covers.
    /// - Parameter grant: as for `names`, or to apply resources.
    public func get(_ kind: String, by grant: Grant) async throws -> [StoredResource] {
        try ResourceService.requireReading(kind, grant)
        return try await database.read(in: grant.workspace) { try $0.storedResources(kind: kind) }.filter(grant.covers)
    }

    /// One current resource. Without an environment, the one of that name when there is only one, else that in production.
    /// - Throws: `notFound`, with the nearest name, also for one that the grant does not cover; `invalidArgument` when it is in several other environments
    ///   and none is given.
    public func get(_ kind: String, _ name: String, environment: String? = nil, by grant: Grant) async throws -> StoredResource {
        try grant.requireSome(.resourcesRead, .resourcesApply)
        let (found, others) = try await database.read(in: grant.workspace) { reader in
            let found = try reader.storedResources(kind: kind, name: name).filter {
                (environment == nil || ResourceKey($0.resource).environment == environment) && grant.covers($0)
            }
            return (found, found.isEmpty ? try reader.storedResources(kind: kind).filter(grant.covers).map { $0.resource.ref(in: grant.workspace) } : [])
        }
        if found.count > 1 {
            // Where no environment is named, production is meant.
            if let meant = found.first(where: { ResourceKey($0.resource) == ResourceKey(kind: kind, name: name, environment: nil) }) { return meant }
            let places = found.map { ResourceKey($0.resource).environment }.joined(separator: ", ")
            throw KeelError.invalid("\(kind)/\(name) is in several environments", hint: "name one of: \(places)")
        }
        guard let one = found.first else {
            throw KeelError.notFound(
                "there is no \(ResourceKey(kind: kind, name: name, environment: environment).text)",
                hint: others.first { $0.name == name }.map { "there is \($0.subject)" } ?? nearest(name, in: others.map(\.name)).map { "did you mean '\($0)'?" })
        }
        return one
    }

    /// The revisions of a resource, newest first; `before` is the last number of the previous page.
    public func revisions(
        _ kind: String, _ name: String, environment: String? = nil, before: Int64 = .max, limit: Int = 100, by grant: Grant
    ) async throws -> [ResourceRevision] {
        let key = ResourceKey(kind: kind, name: name, environment: environment)
        try grant.require(.resourcesRead, .resourcesApply, on: key.ref(in: grant.workspace))
        return try await database.read(in: grant.workspace) { try $0.resourceRevisions(key, before: before, limit: min(max(1, limit), 1000)) }
    }

    /// The number of the last apply; 0 before the first.
    public func lastRevision(by grant: Grant) async throws -> Int64 {
        try grant.requireSome(.resourcesRead, .resourcesApply)
        return try await database.read(in: grant.workspace) { try $0.lastApply() }
    }

    // MARK: Arithmetic

    /// Puts in force what was prepared once it is committed, and gives it up when it is not.
    private static func putInForce<T: Sendable>(
        _ prepared: (any PreparedResources)?, _ commit: () async throws -> T?
    ) async throws -> T? {
        do {
            let result = try await commit()
            if result != nil { await prepared?.activate() } else { await prepared?.discard() }
            return result
        } catch {
            await prepared?.discard()
            throw error
        }
    }

    /// Nil when another apply in the workspace came in between. Numbers count over all workspaces.
    private func commit(
        deletionOf stored: [StoredResource], on base: Int64, with prepared: (any PreparedResources)?, by grant: Grant
    ) async throws -> DeleteResult? {
        try await database.write(in: grant.workspace) { tx in
            guard try tx.lastApplyInWorkspace() == base else { return nil }
            let revision = try tx.lastApply() + 1
            for item in stored { try tx.delete(ResourceKey(item.resource)) }
            let list = stored.map { item -> JSON in
                [
                    "id": .string(item.resource.id), "environment": item.resource.environment.map(JSON.string) ?? .null,
                    "revision": .int(item.revision),
                ]
            }
            let seq = try tx.record(
                "resources.deleted", on: "Resources/\(revision)", ["revision": .int(revision), "deleted": .array(list)], by: grant)
            try tx.store(apply: revision, ledgerSeq: seq, by: grant)
            try prepared?.store(tx)
            return DeleteResult(revision: revision, deleted: stored, ledgerSeq: seq)
        }
    }

    /// Nil when another apply in the workspace came in between. Numbers count over all workspaces.
    private func commit(
        _ resources: [Resource], _ changes: [ResourceChange], on base: Int64, with prepared: (any PreparedResources)?, by grant: Grant
    ) async throws -> ApplyResult? {
        try await database.write(in: grant.workspace) { tx in
            guard try tx.lastApplyInWorkspace() == base else { return nil }
            let revision = try tx.lastApply() + 1
            let real = zip(resources, changes).filter { $0.1.kind != .unchanged }
            for (resource, change) in real {
                try tx.store(resource, revision: change.revision, digest: change.digest, apply: revision, by: grant)
            }
            let seq = try tx.record(
                "resources.applied", on: "Resources/\(revision)", ["revision": .int(revision), "changes": .array(real.map(\.1.json))],
                by: grant)
            try tx.store(apply: revision, ledgerSeq: seq, by: grant)
            try prepared?.store(tx)
            return ApplyResult(revision: revision, changes: changes, ledgerSeq: seq)
        }
    }

    private static func byKey(_ stored: [StoredResource]) -> [ResourceKey: StoredResource] {
        Dictionary(stored.map { (ResourceKey($0.resource), $0) }, uniquingKeysWith: { first, _ in first })
    }

    private static func changes(
        _ resources: [Resource], to current: [ResourceKey: StoredResource], after last: [ResourceKey: Int64]
    ) -> [ResourceChange] {
        resources.map { resource in
            let key = ResourceKey(resource)
            let before = current[key]
            let digest = resource.digest
            let kind: ResourceChange.Kind = before.map { $0.digest == digest ? .unchanged : .changed } ?? .new
            return ResourceChange(
                id: resource.id, environment: resource.environment, kind: kind,
                differences: before.map { ResourceDifference.between($0.resource, resource) } ?? [],
                revision: kind == .unchanged ? before?.revision ?? 0 : max(before?.revision ?? 0, last[key] ?? 0) + 1, digest: digest)
        }
    }

    private static func merge(_ resources: [Resource], into current: [ResourceKey: StoredResource]) -> [Resource] {
        var all = current.mapValues(\.resource)
        for resource in resources { all[ResourceKey(resource)] = resource }
        return all.sorted { ($0.key.kind, $0.key.name, $0.key.environment) < ($1.key.kind, $1.key.name, $1.key.environment) }.map(\.value)
    }

    private static func refuseDuplicates(_ resources: [Resource]) throws(KeelError) {
        var seen: Set<ResourceKey> = []
        for resource in resources {
            try Identifier.check(name: resource.name)
            let key = ResourceKey(resource)
            guard seen.insert(key).inserted else {
                throw .invalid("\(key.text) is declared twice", hint: "keep one of the two documents", path: resource.id)
            }
        }
    }
}

extension Grant {
    fileprivate func covers(_ stored: StoredResource) -> Bool { covers(stored.resource.ref(in: workspace)) }
}
