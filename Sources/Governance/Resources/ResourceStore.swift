import Contracts
import Storage

/// A resource as it stands, with its own revision number.
public struct StoredResource: Sendable, Hashable {
    public let resource: Resource
    /// 1, 2, 3 … per resource.
    public let revision: Int64
    public let digest: Digest

    init(resource: Resource, revision: Int64, digest: Digest) {
        self.resource = resource
        self.revision = revision
        self.digest = digest
    }

    public var json: JSON { ["revision": .int(revision), "digest": .string(digest.hex), "resource": resource.json] }

    /// Nil unless the body is the resource of this key and digest.
    fileprivate init?(body: String, digest hex: String, _ key: ResourceKey, _ revision: Int64) {
        guard let digest = Digest(hex: hex), let json = try? JSON.parse(body), let resource = try? Resource(json: json),
            ResourceKey(resource) == key, resource.digest == digest
        else { return nil }
        self.init(resource: resource, revision: revision, digest: digest)
    }
}

/// One immutable revision of a resource.
public struct ResourceRevision: Sendable, Hashable {
    public let resource: Resource
    public let revision: Int64
    public let digest: Digest
    /// The number of the apply that made it, over all resources.
    public let apply: Int64
    public let at: Timestamp
    /// The caller's name.
    public let by: String

    public var json: JSON {
        [
            "revision": .int(revision), "digest": .string(digest.hex), "apply": .int(apply), "at": .string(at.description),
            "by": .string(by),
            "resource": resource.json,
        ]
    }
}

/// What tells one resource from another in a workspace. What lives in an environment and names none lives in production.
struct ResourceKey: Hashable, Sendable {
    let kind: String
    let name: String
    let environment: String

    init(_ resource: Resource) { self.init(kind: resource.kind, name: resource.name, environment: resource.environment) }
    init(kind: String, name: String, environment: String?) {
        self.kind = kind
        self.name = name
        self.environment = environment ?? ResourceRef(kind, name).environment?.rawValue ?? ""
    }

    func ref(in workspace: WorkspaceID) -> ResourceRef {
        ResourceRef(kind, name, environment: EnvironmentName(rawValue: environment), in: workspace)
    }

    var parameters: [Value] { [.string(kind), .string(name), .string(environment)] }
    /// For messages.
    var text: String { ref(in: .default).subject }
}

extension Querying {
    /// The number of the last apply in any workspace; 0 before the first.
    func lastApply() throws -> Int64 { try row("SELECT max(revision) AS revision FROM resource_applies")?.int("revision") ?? 0 }

    /// The number of the last apply in the workspace of the transaction or read; 0 before the first.
    func lastApplyInWorkspace() throws -> Int64 {
        try row("SELECT revision FROM resource_applies WHERE workspace = ? ORDER BY revision DESC LIMIT 1", [inWorkspace])?.int("revision") ?? 0
    }

    /// The current resources that can be read.
    func storedResources(kind: String? = nil, name: String? = nil) throws -> [StoredResource] {
        try resourceRows(kind: kind, name: name).compactMap { try? $0.result.get() }
    }

    /// The current resources, each as it is stored or why it cannot be read.
    func resourceRows(kind: String? = nil, name: String? = nil) throws -> [(id: String, result: Result<StoredResource, KeelError>)] {
        var clauses = ["workspace = ?"]
        var parameters = [try inWorkspace]
        if let kind {
            clauses.append("kind = ?")
            parameters.append(.string(kind))
        }
        if let name {
            clauses.append("name = ?")
            parameters.append(.string(name))
        }
        let filter = clauses.joined(separator: " AND ")
        let sql = "SELECT kind, name, environment, body, revision, digest FROM resources WHERE \(filter) ORDER BY kind, name, environment"
        return try rows(sql, parameters).map { row in
            let result = Result { () throws(KeelError) in try intactResource(row) }
            let environment = EnvironmentName(rawValue: row.text("environment"))
            return (ResourceRef(row.text("kind"), row.text("name"), environment: environment).subject, result)
        }
    }

    /// The newest revision of each of these that ever had one, whether it is there now or was deleted: numbers are never used twice.
    func lastRevisions(_ keys: [ResourceKey]) throws -> [ResourceKey: Int64] {
        var out: [ResourceKey: Int64] = [:]
        for key in keys {
            let sql = "SELECT max(revision) AS revision FROM resource_revisions WHERE workspace = ? AND kind = ? AND name = ? AND environment = ?"
            out[key] = try row(sql, [inWorkspace] + key.parameters)?.optionalInt("revision")
        }
        return out
    }

    /// The resource of a row that is what its digest says. Where the row is damaged, the same revision in the history takes its place.
    private func intactResource(_ row: SQLRow) throws(KeelError) -> StoredResource {
        let key = ResourceKey(kind: row.text("kind"), name: row.text("name"), environment: row.text("environment"))
        let revision = row.int("revision")
        if let stored = StoredResource(body: row.text("body"), digest: row.text("digest"), key, revision) { return stored }
        let sql = "SELECT body, digest FROM resource_revisions WHERE workspace = ? AND kind = ? AND name = ? AND environment = ? AND revision = ?"
        if let copy = (try? rows(sql, [inWorkspace] + key.parameters + [.int(revision)]))?.first,
            let stored = StoredResource(body: copy.text("body"), digest: copy.text("digest"), key, revision)
        {
            return stored
        }
        throw KeelError(
            .corrupted, "the stored declaration of \(key.text), revision \(revision), is damaged, and so is its copy in the history",
            hint: "apply it again from its file")
    }

    /// Newest first.
    func resourceRevisions(_ key: ResourceKey, before revision: Int64 = .max, limit: Int) throws -> [ResourceRevision] {
        let sql = """
            SELECT body, revision, digest, apply, applied_at, applied_by FROM resource_revisions
            WHERE workspace = ? AND kind = ? AND name = ? AND environment = ? AND revision < ? ORDER BY revision DESC LIMIT ?
            """
        return try rows(sql, [inWorkspace] + key.parameters + [.int(revision), .int(Int64(limit))]).map { row in
            ResourceRevision(
                resource: try resource(row), revision: row.int("revision"), digest: try digest(row), apply: row.int("apply"),
                at: row.time("applied_at"), by: row.text("applied_by"))
        }
    }

    private func resource(_ row: SQLRow) throws -> Resource { try Resource(json: try row.json("body")) }

    private func digest(_ row: SQLRow) throws -> Digest {
        guard let digest = Digest(hex: row.text("digest")) else { throw KeelError(.corrupted, "a stored resource has no valid digest") }
        return digest
    }
}

extension Transaction {
    func store(_ resource: Resource, revision: Int64, digest: Digest, apply: Int64, by grant: Grant) throws {
        let key = ResourceKey(resource)
        let body = resource.json.text
        try execute(
            """
            INSERT INTO resource_revisions (workspace, kind, name, environment, revision, digest, body, apply, applied_at, applied_by)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [inWorkspace] + key.parameters + [.int(revision), .string(digest.hex), .string(body), .int(apply), .timestamp(now), .string(grant.caller.name)])
        try execute(
            """
            INSERT INTO resources (workspace, kind, name, environment, revision, digest, body) VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (workspace, kind, name, environment) DO UPDATE SET revision = excluded.revision, digest = excluded.digest, body = excluded.body
            """,
            [inWorkspace] + key.parameters + [.int(revision), .string(digest.hex), .string(body)])
    }

    /// Its revisions stay.
    func delete(_ key: ResourceKey) throws {
        try execute("DELETE FROM resources WHERE workspace = ? AND kind = ? AND name = ? AND environment = ?", [inWorkspace] + key.parameters)
    }

    func store(apply: Int64, ledgerSeq: Int64, by grant: Grant) throws {
        try execute(
            "INSERT INTO resource_applies (workspace, revision, ledger_seq, applied_at, applied_by) VALUES (?, ?, ?, ?, ?)",
            [inWorkspace, .int(apply), .int(ledgerSeq), .timestamp(now), .string(grant.caller.name)])
    }
}
