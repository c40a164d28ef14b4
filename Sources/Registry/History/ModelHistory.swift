import Contracts
import Storage

/// What happened to a model, and what it was at an instant: both read from the ledger, which is the only record of it.
extension RegistryService {
    /// Changes of a model, newest first, under all the names it had.
    /// - Parameters:
    ///   - version: only what concerns this version: its own changes, and aliases that came to it or left it.
    ///   - kinds: only these kinds of changes.
    ///   - before: the number of the last event of the page before.
    /// - Returns: the events and, when there may be more, where the next page begins.
    public func history(
        model name: String, version: Int? = nil, kinds: Set<String>? = nil, before: Int64? = nil, limit: Int = 100, _ grant: Grant
    ) async throws -> (events: [LedgerEvent], next: Int64?) {
        try grant.require(.registryRead, on: RegistryService.thing(name, grant))
        try RegistryRules.check(modelName: name)
        return try await database.read(in: grant.workspace) { db in
            var (subject, seq) = try (RegistryService.name(db, of: name, before: before), before ?? .max)
            var (found, read): ([LedgerEvent], Int) = ([], 0)
            // A page reads a bounded part of the ledger, also when few of its events are of the version.
            while found.count < limit, read < 10_000 {
                let events = try db.ledgerEvents(on: "Model/\(subject)", before: seq, limit: 500)
                var renamed = false
                for event in events {
                    (seq, read) = (event.seq, read + 1)
                    if kinds?.contains(event.kind) ?? true, RegistryService.concerns(version, event) { found.append(event) }
                    if event.kind == "model.renamed", let old = event.data["before"]?.string {
                        // Before that, the model's events stand under its old name.
                        (subject, renamed) = (old, true)
                    }
                    if renamed || found.count == limit { break }
                }
                if events.isEmpty {
                    if found.isEmpty, before == nil, read == 0 { _ = try RegistryStore.model(db, name) }
                    return (found, nil)
                }
            }
            return (found, seq)
        }
    }

    /// The name that a model had just before an event; it may have been renamed since, more than once.
    private static func name(_ db: some Querying, of name: String, before seq: Int64?) throws -> String {
        guard let seq else { return name }
        var (name, upper) = (name, Int64.max)
        while let renamed = try db.ledgerEvents(after: seq - 1, kind: "model.renamed", subject: "Model/\(name)").last(where: {
            $0.seq < upper
        }),
            let old = renamed.data["before"]?.string
        {
            (name, upper) = (old, renamed.seq)
        }
        return name
    }

    private static func concerns(_ version: Int?, _ event: LedgerEvent) -> Bool {
        guard let version = version.map({ JSON.int(Int64($0)) }) else { return true }
        if event.data["version"] == version { return true }
        if event.kind == "model.aliases.imported" { return event.data["aliases"]?.members?.contains { $0.value == version } == true }
        return event.kind == "model.alias.set" && event.data["before"] == version
    }

    /// What models there were at an instant, in the order of their names, after a name.
    /// - Returns: the models, and the name after which the next page begins when there may be more.
    public func models(at time: Timestamp, after name: String = "", limit: Int = 100, _ grant: Grant) async throws -> (
        models: [PastModel], next: String?
    ) {
        try grant.require(.registryRead)
        return try await database.read(in: grant.workspace) { db in
            var past = try PastModels(at: time, db)
            var (found, name): ([PastModel], String) = ([], name)
            while let next = try past.name(after: name) {
                if let model = try past.model(next) {
                    if found.count == limit { return (found, name) }
                    found.append(model)
                }
                name = next
                // A page reads a bounded part of the ledger, however many names there were that are no more.
                if past.read >= PastModels.readMax { return (found, name) }
            }
            return (found, nil)
        }
    }
}
