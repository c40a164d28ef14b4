import Contracts
import Storage

/// The content-hash cache of step results.
///
/// A result is found in its workspace alone. The key is the digest of everything the result depends on; equal keys give equal results whatever the pipeline or step is called.
enum StepCache {
    struct Key: Sendable {
        /// `kind`, `inputs`, `depends on`, and, where they apply, `parameters` and `after`.
        let parts: JSON
        let digest: String

        init(kind: any StepKind, with: JSON, parameters: JSON, after: JSON, fingerprint: JSON) {
            var parts: JSON = ["kind": .string("\(kind.name) version \(kind.version)"), "input": with, "dependency": fingerprint]
            if kind.readsParameters { parts["parameter"] = parameters }
            if after != .object([]) { parts["earlier step"] = after }
            self.parts = parts
            digest = Digest(of: parts.canonical).hex
        }
    }

    enum Answer: Sendable {
        case hit(outputs: JSON, reason: String, run: String)
        case miss(reason: String)
    }

    static func look(for key: Key, pipeline: String, step: String, _ db: some Querying) throws -> Answer {
        if let row = try db.row(
            "SELECT outputs, run_id FROM pipeline_cache WHERE workspace = ? AND cache_key = ?", [try db.inWorkspace, .string(key.digest)])
        {
            let run = row.text("run_id")
            return .hit(outputs: try row.json("outputs"), reason: "hit: same inputs as run \(run)", run: run)
        }
        let last = try db.row(
            "SELECT parts FROM pipeline_cache WHERE workspace = ? AND pipeline = ? AND step = ? ORDER BY made_at DESC LIMIT 1",
            [try db.inWorkspace, .string(pipeline), .string(step)])
        guard let last else { return .miss(reason: "miss: never ran") }
        return .miss(reason: "miss: " + difference(from: try last.json("parts"), to: key.parts))
    }

    static func keep(_ outputs: JSON, for key: Key, pipeline: String, step: String, run: String, _ tx: Transaction) throws {
        try tx.execute(
            """
            INSERT INTO pipeline_cache (workspace, cache_key, pipeline, step, parts, outputs, run_id, made_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (workspace, cache_key) DO UPDATE SET pipeline = excluded.pipeline, step = excluded.step, outputs = excluded.outputs,
                run_id = excluded.run_id, made_at = excluded.made_at
            """,
            [
                try tx.inWorkspace, .string(key.digest), .string(pipeline), .string(step), .string(key.parts.text), .string(outputs.text), .string(run),
                .timestamp(tx.now),
            ])
    }

    /// What changed, in words: `input trees changed 150 → 200, input depth is new`.
    static func difference(from old: JSON, to new: JSON) -> String {
        var changes: [String] = []
        compare(old, new, "", &changes)
        guard changes.count > 3 else { return changes.isEmpty ? "its record is gone" : changes.joined(separator: ", ") }
        return changes.prefix(3).joined(separator: ", ") + " and \(changes.count - 3) more"
    }

    private static func compare(_ old: JSON?, _ new: JSON?, _ path: String, _ changes: inout [String]) {
        guard old != new else { return }
        switch (old, new) {
        case (.object(let a)?, .object(let b)?):
            for member in b { compare(old?[member.key], member.value, join(path, member.key), &changes) }
            for member in a where new?[member.key] == nil { compare(member.value, nil, join(path, member.key), &changes) }
        case (let a?, let b?): changes.append("\(path) changed \(short(a)) → \(short(b))")
        case (nil, let b?): changes.append("\(path) is new: \(short(b))")
        case (let a?, nil): changes.append("\(path) is gone, it was \(short(a))")
        case (nil, nil): break
        }
    }

    /// The first level is a word (`input`), the next ones a path (`data.snapshot`).
    private static func join(_ path: String, _ key: String) -> String {
        path.isEmpty ? key : path.contains(" ") && path != "earlier step" ? "\(path).\(key)" : "\(path) \(key)"
    }

    private static func short(_ value: JSON) -> String {
        let text = value.string ?? value.text
        return text.count > 48 ? String(text.prefix(45)) + "…" : text
    }
}
