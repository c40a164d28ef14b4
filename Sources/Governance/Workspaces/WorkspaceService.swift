import Contracts
import Storage

/// What a module keeps of a workspace. Platform connects those that keep something.
public protocol WorkspaceContent: Sendable {
    /// Makes what every workspace has. Asked inside the transaction that creates it, which is one of that workspace.
    func prepare(_ tx: Transaction) throws
    /// What is in it besides that, in words such as `3 registered models`; nil when there is nothing.
    func holds(_ db: any Querying) throws -> String?
    /// Removes what `prepare` made. Asked inside the transaction that deletes the workspace.
    func clear(_ tx: Transaction) throws
}

/// Creates, changes and deletes workspaces. It is done from the workspace `default` by whoever may manage them.
public final class WorkspaceService: Sendable {
    private let database: Database
    private let policy: AccessPolicy
    private let content: [any WorkspaceContent]

    public init(database: Database, policy: AccessPolicy, content: [any WorkspaceContent] = []) {
        self.database = database
        self.policy = policy
        self.content = content
    }

    /// The workspaces there are, `default` among them, by name.
    public func all() async throws -> [Workspace] { try await database.read { try $0.workspaces() } }

    /// Those in which the caller of the grant has a role.
    public func list(by grant: Grant) async throws -> [Workspace] {
        try grant.require(.workspacesRead)
        let all = try await all()
        if isManager(grant) { return all }
        let others = policy.others(of: grant.caller)
        return all.filter { $0.id == grant.workspace || others.contains($0.id) }
    }

    /// - Throws: `notFound` when there is none of this name, or none in which the caller has a role.
    public func workspace(_ name: String, by grant: Grant) async throws -> Workspace {
        guard let found = try await list(by: grant).first(where: { $0.id.name == name }) else {
            throw KeelError.notFound("Workspace '\(name.prefix(80))' not found")
        }
        return found
    }

    /// Makes a workspace; the ledger gets `workspace.created`.
    /// - Throws: `invalidArgument` for a name that cannot be one, `alreadyExists` for one that is or was in use: the ledger names it for ever.
    public func create(_ name: String, description: String = "", by grant: Grant) async throws -> Workspace {
        try requireManager(grant)
        let id = try WorkspaceID(name, path: "name")
        try check(description)
        // In one that was deleted nothing can be written, not even this question asked.
        try await database.read { try $0.requireUnused(id) }
        let made = try await database.write(in: id) { [content] tx in
            try tx.requireUnused(id)
            try tx.execute(
                "INSERT INTO workspaces (name, description, created_at, created_by) VALUES (?, ?, ?, ?)",
                [.string(name), .string(description), .timestamp(tx.now), .string(grant.caller.name)])
            for each in content { try each.prepare(tx) }
            try tx.record("workspace.created", on: "Workspace/\(name)", ["description": .string(description)], by: grant)
            return Workspace(id: id, description: description, createdAt: tx.now, createdBy: grant.caller.name)
        }
        policy.replace(id, with: AccessPolicy.Workspace())
        return made
    }

    public func update(_ name: String, description: String, by grant: Grant) async throws -> Workspace {
        try requireManager(grant)
        try check(description)
        return try await database.write { tx in
            guard var found = try tx.workspaces().first(where: { $0.id.name == name }) else {
                throw KeelError.notFound("Workspace '\(name.prefix(80))' not found")
            }
            try tx.execute("UPDATE workspaces SET description = ? WHERE name = ?", [.string(description), .string(name)])
            try tx.record(
                "workspace.updated", on: "Workspace/\(name)",
                ["description": .string(description), "previous": .string(found.description)], by: grant)
            found.description = description
            return found
        }
    }

    /// Deletes a workspace that holds nothing; the ledger gets `workspace.deleted`, and its name is not used again.
    /// - Throws: `failedPrecondition` with what it holds.
    public func delete(_ name: String, by grant: Grant) async throws {
        try requireManager(grant)
        guard name != WorkspaceID.default.name else {
            throw KeelError.invalid("The 'default' workspace is reserved and cannot be deleted")
        }
        let id = try WorkspaceID(name, path: "name")
        do {
            try await database.write(in: id) { [content, database] tx in
                guard try tx.workspaces().contains(where: { $0.id == id }) else {
                    throw KeelError.notFound("Workspace '\(name)' not found")
                }
                var held = try content.compactMap { try $0.holds(tx) }
                for (table, what) in [("resources", "resources"), ("tokens", "tokens")] {
                    let rest = table == "tokens" ? " AND revoked_at IS NULL" : ""
                    let count = try tx.row("SELECT count(*) AS n FROM \(table) WHERE workspace = ?\(rest)", [tx.inWorkspace])?.int("n") ?? 0
                    if count > 0 { held.append("\(count) \(what)") }
                }
                guard held.isEmpty else {
                    throw KeelError(
                        .failedPrecondition, "the workspace '\(name)' still holds \(held.joined(separator: ", "))", hint: "remove them first")
                }
                for each in content { try each.clear(tx) }
                try tx.execute("UPDATE workspaces SET deleted_at = ? WHERE name = ?", [.timestamp(tx.now), .string(name)])
                try tx.record("workspace.deleted", on: "Workspace/\(name)", by: grant)
                database.retire(id)
            }
        } catch {
            // One that was deleted before stays closed.
            if try await database.read({ try $0.workspaces() }).contains(where: { $0.id == id }) { database.reinstate(id) }
            throw error
        }
        policy.remove(id)
    }

    private func isManager(_ grant: Grant) -> Bool { grant.workspace == .default && grant.caller.may(.workspacesManage, on: nil) }

    private func requireManager(_ grant: Grant) throws(KeelError) {
        try grant.require(.workspacesManage)
        try grant.requireServer()
    }

    private func check(_ description: String) throws(KeelError) {
        guard description.utf8.count <= Workspace.descriptionBytesMax else {
            throw .invalid("is longer than \(Workspace.descriptionBytesMax) bytes", path: "description")
        }
    }
}

extension Querying {
    /// - Throws: `alreadyExists` for a workspace that there is or was.
    func requireUnused(_ id: WorkspaceID) throws {
        guard let row = try row("SELECT deleted_at FROM workspaces WHERE name = ?", [.string(id.name)]) else { return }
        throw KeelError(
            .alreadyExists, "Workspace '\(id)' already exists.",
            hint: row.optionalTime("deleted_at") == nil ? nil : "it was deleted, and the ledger names it for ever: choose another name",
            path: "name")
    }

    func workspaces() throws -> [Workspace] {
        try rows("SELECT name, description, created_at, created_by FROM workspaces WHERE deleted_at IS NULL ORDER BY name").map { row in
            Workspace(
                id: WorkspaceID(stored: row.text("name")), description: row.text("description"), createdAt: row.time("created_at"),
                createdBy: row.text("created_by"))
        }
    }
}
