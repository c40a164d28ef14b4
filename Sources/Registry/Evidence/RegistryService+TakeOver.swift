import Contracts
import Storage

extension RegistryService {
    /// Takes over what earlier versions of Keel wrote, once for a home: their verdicts and bundles were tags that anybody could edit, and numbers of
    /// deleted models stood in the ledger only.
    /// - Returns: how many versions got evidence.
    public func takeOver(_ grant: Grant) async throws -> Int {
        try grant.require(.registryWrite)
        return try await database.write(in: grant.workspace) { tx in
            guard try tx.row("SELECT 1 FROM registry_taken_over") == nil else { return 0 }
            try TakeOver.numbers(tx)
            let count = try TakeOver.tags(tx, grant)
            try tx.execute("INSERT INTO registry_taken_over (at_ms) VALUES (?)", [.int(tx.now.milliseconds)])
            return count
        }
    }
}

private enum TakeOver {
    /// Numbers that the ledger knows and that have no version under their name any more.
    static func numbers(_ tx: Transaction) throws {
        var used: [String: Set<Int>] = [:]
        var seq = Int64(0)
        while true {
            let page = try tx.followLedger(after: seq, prefix: "model.", limit: 1000)
            for event in page where event.subject.hasPrefix("Model/") {
                let numbers = (event.data["versions"]?.array ?? []) + [event.data["version"] ?? .null]
                used[String(event.subject.dropFirst("Model/".count)), default: []].formUnion(
                    numbers.compactMap { $0.integer.map(Int.init) })
            }
            guard let last = page.last else { break }
            seq = last.seq
        }
        for (name, numbers) in used {
            try RegistryStore.retire(tx, numbers.subtracting(try RegistryStore.versions(tx, of: name)), of: name)
            try RegistryStore.raiseNumber(tx, of: name, to: try RegistryStore.lastRetired(tx, of: name))
        }
    }

    /// What the tags say becomes evidence that says where it is from. A tag that was edited after the version was made is no verdict.
    static func tags(_ tx: Transaction, _ grant: Grant) throws -> Int {
        var count = 0
        let rows = try tx.rows(
            "SELECT name, version, value FROM registry_version_tags WHERE key = 'keel.bundle' AND workspace = ? ORDER BY name, version",
            [tx.inWorkspace])
        for row in rows {
            guard let bundle = Digest(hex: row.text("value")) else { continue }
            let key = VersionKey(row.text("name"), Int(row.int("version")))
            let tags = try RegistryStore.version(tx, key.name, key.version).tags
            let editor = try editor(tx, of: key)
            let verdict = editor.map { "failed: its tags were edited by \($0)" } ?? tags.text("keel.gate") ?? Evidence.ungated
            try EvidenceStore.insert(
                tx, .bundle, of: bundle, version: key, verdict: verdict,
                data: [
                    "carried_from": "tags", "gate": .null, "training": .null,
                    "until": tags.text("keel.trained_until").flatMap { Timestamp($0) }.map { .string($0.description) } ?? .null,
                ], grant)
            count += 1
        }
        try tx.execute("DELETE FROM registry_version_tags WHERE substr(key, 1, 5) = 'keel.'")
        return count
    }

    private static func editor(_ tx: Transaction, of key: VersionKey) throws -> String? {
        for kind in ["model.version.tagged", "model.version.untagged"] {
            var before = Int64.max
            while true {
                let page = try tx.ledgerEvents(of: kind, on: "Model/\(key.name)", after: 0, before: before, limit: 500)
                let edit = page.first {
                    $0.data["version"] == .int(Int64(key.version)) && ReservedTags.isReserved($0.data["key"]?.string ?? "")
                }
                if let edit { return edit.caller }
                guard page.count == 500, let last = page.last else { break }
                before = last.seq
            }
        }
        return nil
    }
}
