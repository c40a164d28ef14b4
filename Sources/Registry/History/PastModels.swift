import Contracts
import Storage

/// A model as it was at an instant.
public struct PastModel: Sendable, Hashable {
    public let name: String
    public let description: String
    public let tags: [String: String]
    /// Version → stage.
    public let versions: [Int: String]
    /// Alias → version.
    public let aliases: [String: Int]
    public let createdAt: Timestamp
    /// When something of it last changed.
    public let updatedAt: Timestamp

    package init(
        name: String, description: String, tags: [String: String], versions: [Int: String], aliases: [String: Int], createdAt: Timestamp,
        updatedAt: Timestamp
    ) {
        (self.name, self.description, self.tags, self.versions, self.aliases) = (name, description, tags, versions, aliases)
        (self.createdAt, self.updatedAt) = (createdAt, updatedAt)
    }
}

/// Reads from the ledger what models there were at an instant: of each model its own events only, the newest first, back to its making.
struct PastModels {
    private let db: any Querying
    /// The number of the last event that counts.
    private let last: Int64
    /// A name → the events that took it away, by another name.
    private var renamedAway: [String: [Int64]] = [:]
    /// How many events and names were read.
    private(set) var read = 0
    static let readMax = 20_000

    init(at time: Timestamp, _ db: some Querying) throws {
        self.db = db
        last = try db.ledgerSeq(at: time)
        var seq = Int64(0)
        while let batch = try Optional(db.ledgerEvents(after: seq, kind: "model.renamed")), let end = batch.last {
            for event in batch where event.seq <= last {
                if let old = event.data["before"]?.string, event.subject != "Model/\(old)" {
                    renamedAway[old, default: []].append(event.seq)
                }
            }
            seq = end.seq
            if seq >= last { break }
        }
    }

    /// The next name that a model ever had.
    mutating func name(after name: String) throws -> String? {
        read += 1
        return try db.ledgerSubject(after: "Model/\(name)", prefix: "Model/").map { String($0.dropFirst("Model/".count)) }
    }

    /// The model that had a name then; nil when none had.
    mutating func model(_ name: String) throws -> PastModel? {
        var (traces, subject, before) = (Traces(), name, last + 1)
        while true {
            // Before that another model may have had the name.
            let away = renamedAway[subject]?.last { $0 < before } ?? 0
            let events = try db.ledgerEvents(on: "Model/\(subject)", before: before, limit: 500)
            read += events.count
            var old: String?
            for event in events {
                guard event.seq > away, event.kind != "model.deleted" else { return traces.model(name) }
                before = event.seq
                traces.add(event)
                if event.kind == "model.created" { return traces.model(name) }
                if event.kind == "model.renamed" {
                    old = event.data["before"]?.string
                    break
                }
            }
            if let old { subject = old } else if events.count < 500 { return traces.model(name) }
        }
    }

    /// What the events of a model tell of it, when they are read from the newest to the oldest: what was told first stays.
    private struct Traces {
        private var description: String?
        /// Nil for what was there once, and is not any more.
        private var tags: [String: String?] = [:]
        private var versions: [Int: String?] = [:]
        private var aliases: [String: Int?] = [:]
        /// Whether an import said what all tags, and all aliases, are.
        private var (hasAllTags, hasAllAliases) = (false, false)
        private var (createdAt, updatedAt): (Timestamp?, Timestamp?)

        func model(_ name: String) -> PastModel? {
            guard let createdAt, let updatedAt else { return nil }
            return PastModel(
                name: name, description: description ?? "", tags: tags.compactMapValues { $0 }, versions: versions.compactMapValues { $0 },
                aliases: aliases.compactMapValues { $0 }, createdAt: createdAt, updatedAt: updatedAt)
        }

        mutating func add(_ event: LedgerEvent) {
            let (data, after) = (event.data, event.data["after"]?.string)
            let (version, key) = (data["version"]?.integer.map(Int.init), data["key"]?.string ?? data["alias"]?.string ?? "")
            updatedAt = updatedAt ?? event.at
            createdAt = event.at
            switch event.kind {
            case "model.created", "model.imported":
                description = description ?? data["description"]?.string
                for tag in data["tags"]?.members ?? [] { see(tag: tag.key, tag.value.string) }
                hasAllTags = true
            case "model.updated": description = description ?? after
            case "model.tagged", "model.untagged": see(tag: key, after)
            case "model.version.created": see(version, ModelStage.none.rawValue)
            case "model.version.stage": see(version, after)
            case "model.version.imported": see(version, data["stage"]?.string)
            case "model.version.deleted":
                see(version, nil)
                for alias in data["aliases"]?.array ?? [] { if let alias = alias.string { see(alias: alias, nil) } }
            case "model.alias.set": see(alias: key, version)
            case "model.alias.removed": see(alias: key, nil)
            case "model.aliases.imported":
                for alias in data["aliases"]?.members ?? [] { see(alias: alias.key, alias.value.integer.map(Int.init)) }
                hasAllAliases = true
            default: break
            }
        }

        private mutating func see(tag: String, _ value: String?) {
            if !hasAllTags, tags[tag] == nil { tags[tag] = .some(value) }
        }
        private mutating func see(_ version: Int?, _ stage: String?) {
            if let version, versions[version] == nil { versions[version] = .some(stage) }
        }
        private mutating func see(alias: String, _ version: Int?) {
            if !hasAllAliases, aliases[alias] == nil { aliases[alias] = .some(version) }
        }
    }
}
