import Contracts
import Storage

/// What happened to a model, and what it was at an instant: both read from the ledger, which is the only record of it.
extension RegistryService {
    /// Changes of a model, newest first, under all the names it had.
    /// - Parameters:
    ///   - version: only what concerns this version: its own changes, and aliases that came to it or left it.
    ///   - before: the number of the last event of the page before.
    /// - Returns: the events and, when there may be more, where the next page begins.
    public func history(model name: String, version: Int? = nil, before: Int64? = nil, limit: Int = 100, _ grant: Grant) async throws -> (
        events: [LedgerEvent], next: Int64?
    ) {
        try grant.require(.registryRead)
        try RegistryRules.check(modelName: name)
        return try await database.read { db in
            var (subject, seq) = try (RegistryService.name(db, of: name, before: before), before ?? .max)
            var (found, read): ([LedgerEvent], Int) = ([], 0)
            // A page reads a bounded part of the ledger, also when few of its events are of the version.
            while found.count < limit, read < 10_000 {
                let events = try db.ledgerEvents(on: "Model/\(subject)", before: seq, limit: 500)
                var renamed = false
                for event in events {
                    (seq, read) = (event.seq, read + 1)
                    if RegistryService.concerns(version, event) { found.append(event) }
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
        while let renamed = try db.ledgerEvents(after: seq - 1, kind: "model.renamed", subject: "Model/\(name)").last(where: { $0.seq < upper }),
            let old = renamed.data["before"]?.string
        {
            (name, upper) = (old, renamed.seq)
        }
        return name
    }

    private static func concerns(_ version: Int?, _ event: LedgerEvent) -> Bool {
        guard let version = version.map({ JSON.int(Int64($0)) }) else { return true }
        if event.data["version"] == version { return true }
        return event.kind == "model.alias.set" && event.data["before"] == version
    }

    /// What models there were at an instant, by name; at most `limit`, after a name.
    public func models(at time: Timestamp, after name: String? = nil, limit: Int = 100, _ grant: Grant) async throws -> [PastModel] {
        try grant.require(.registryRead)
        let all = try await database.read { db in
            var past = PastModels()
            try db.forEachLedgerEvent(prefix: "model.", until: time) { past.apply($0) }
            return past.models
        }
        let models = all.values.sorted { $0.name < $1.name }
        guard let name else { return Array(models.prefix(limit)) }
        return Array(models.drop { $0.name <= name }.prefix(limit))
    }
}

/// A model as it was at an instant.
public struct PastModel: Sendable, Hashable {
    public var name: String
    public var description: String
    public var tags: [String: String] = [:]
    /// Version → stage.
    public var versions: [Int: String] = [:]
    /// Alias → version.
    public var aliases: [String: Int] = [:]
    public let createdAt: Timestamp
    /// When something of it last changed.
    public var updatedAt: Timestamp
}

/// Folds events, oldest first, into what was.
struct PastModels {
    private(set) var models: [String: PastModel] = [:]

    mutating func apply(_ event: LedgerEvent) {
        guard event.subject.hasPrefix("Model/") else { return }
        let (name, data) = (String(event.subject.dropFirst("Model/".count)), event.data)
        if event.kind == "model.created" {
            var model = PastModel(name: name, description: data["description"]?.string ?? "", createdAt: event.at, updatedAt: event.at)
            for tag in data["tags"]?.members ?? [] { model.tags[tag.key] = tag.value.string }
            models[name] = model
            return
        }
        if event.kind == "model.renamed", let old = data["before"]?.string, var model = models.removeValue(forKey: old) {
            (model.name, model.updatedAt) = (name, event.at)
            models[name] = model
            return
        }
        guard var model = models[name] else { return }
        let (version, after) = (data["version"]?.integer.map(Int.init), data["after"]?.string)
        switch event.kind {
        case "model.deleted":
            models[name] = nil
            return
        case "model.updated": model.description = after ?? ""
        case "model.tagged": if let key = data["key"]?.string { model.tags[key] = after }
        case "model.untagged": if let key = data["key"]?.string { model.tags[key] = nil }
        case "model.version.created": if let version { model.versions[version] = ModelStage.none.rawValue }
        case "model.version.stage": if let version { model.versions[version] = after }
        case "model.version.deleted":
            if let version { model.versions[version] = nil }
            model.aliases = model.aliases.filter { $0.value != version }
        case "model.alias.set": if let alias = data["alias"]?.string { model.aliases[alias] = version }
        case "model.alias.removed": if let alias = data["alias"]?.string { model.aliases[alias] = nil }
        default: break
        }
        model.updatedAt = event.at
        models[name] = model
    }
}
