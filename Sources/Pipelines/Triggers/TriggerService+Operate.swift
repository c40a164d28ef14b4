import Contracts
import Storage

/// A trigger as it stands.
public struct TriggerStatus: Sendable, Hashable {
    public let spec: TriggerSpec
    public let author: String
    public let firedAt: Timestamp?
    public let pausedAt: Timestamp?
    public let pausedBy: String?

    public var json: JSON {
        [
            "name": .string(spec.name), "state": pausedAt == nil ? "active" : "paused",
            "when": .array(spec.when.map { .string($0.description) }),
            "run": .string(spec.run), "author": .string(author), "fired_at": firedAt.map { .string($0.description) } ?? .null,
            "paused_at": pausedAt.map { .string($0.description) } ?? .null, "paused_by": pausedBy.map(JSON.string) ?? .null,
        ]
    }
}

extension TriggerService {
    /// The triggers of the grant's workspace that it covers, by name.
    public func list(grant: Grant) async throws -> [TriggerStatus] {
        try grant.requireSome(.pipelinesRead, .pipelinesRun)
        let workspace = grant.workspace
        let rows = try await database.read(in: workspace) { db in
            try db.rows("SELECT name, fired_at, paused_at, paused_by FROM pipeline_triggers WHERE workspace = ?", [try db.inWorkspace])
        }
        let known = Dictionary(rows.map { ($0.text("name"), $0) }, uniquingKeysWith: { first, _ in first })
        let covered = (engines[workspace]?.triggers ?? []).filter { grant.covers(ResourceRef("Trigger", $0.name, in: workspace)) }
        return covered.sorted { $0.name < $1.name }.map { spec in
            let row = known[spec.name]
            return TriggerStatus(
                spec: spec, author: authors[workspace]?[spec.name]?.trigger ?? "", firedAt: row?.optionalTime("fired_at"),
                pausedAt: row?.optionalTime("paused_at"),
                pausedBy: row?.optionalText("paused_by"))
        }
    }

    /// Stops a trigger from firing until it is resumed, also over restarts and when it is applied anew.
    /// - Throws: `notFound`; `failedPrecondition` when it is paused already.
    public func pause(_ name: String, grant: Grant) async throws -> TriggerStatus { try await set(name, paused: true, grant) }

    /// Lets a trigger fire again. What happened while it was paused is not made up for.
    /// - Throws: `notFound`; `failedPrecondition` when it is not paused.
    public func resume(_ name: String, grant: Grant) async throws -> TriggerStatus { try await set(name, paused: false, grant) }

    private func set(_ name: String, paused: Bool, _ grant: Grant) async throws -> TriggerStatus {
        let workspace = grant.workspace
        try grant.require(.pipelinesRun, on: ResourceRef("Trigger", name, in: workspace))
        try await alone {
            let engine = engines[workspace]
            guard let memory = engine?.memory[name] else {
                throw KeelError.notFound(
                    "there is no trigger '\(name)'",
                    hint: nearest(name, in: engine?.triggers.map(\.name) ?? []).map { "did you mean '\($0)'?" } ?? "keel get triggers lists them")
            }
            guard (memory.pausedAt != nil) != paused else {
                throw KeelError(.failedPrecondition, "the trigger '\(name)' is \(paused ? "paused already" : "not paused")")
            }
            let since = try await database.write(in: workspace) { tx in
                let since = paused ? tx.now : nil
                try tx.execute(
                    "UPDATE pipeline_triggers SET paused_at = ?, paused_by = ? WHERE workspace = ? AND name = ?",
                    [since.map(Value.timestamp) ?? .null, paused ? .string(grant.caller.name) : .null, try tx.inWorkspace, .string(name)])
                try tx.record(paused ? "trigger.paused" : "trigger.resumed", on: "Trigger/\(name)", by: grant)
                return since
            }
            engines[workspace]?.pause(name, since: since)
        }
        guard let status = try await list(grant: grant).first(where: { $0.spec.name == name }) else {
            throw KeelError.notFound("there is no trigger '\(name)' any more")
        }
        return status
    }
}
