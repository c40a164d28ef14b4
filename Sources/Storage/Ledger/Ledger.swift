import Contracts
import GRDB

/// One change of state, as it was recorded in the transaction that made it.
public struct LedgerEvent: Sendable, Hashable {
    /// 1, 2, 3 … without gaps: the ledger's own order.
    public let seq: Int64
    /// What the machine's clock showed. It may be earlier than that of the event before, when the clock was set back.
    public let at: Timestamp
    public let caller: String
    public let persona: String
    public let workspace: String
    public let requestID: String
    /// What happened, as `thing.happened`: `release.promoted`.
    public let kind: String
    /// To what, as `Kind/name`.
    public let subject: String
    public let data: JSON
    /// The data as it was written, which the hash covers: a number such as `1.0` has more than one spelling.
    public let dataText: String
    /// Who acted in the caller's name, the nearest first; empty when the caller acted for itself.
    public let actors: [String]
    /// SHA-256 over the previous hash and every field of this event, in hexadecimal.
    public let hash: String

    public var json: JSON {
        var out: JSON = [
            "seq": .int(seq), "at": .string(at.description), "caller": .string(caller), "persona": .string(persona),
            "workspace": .string(workspace), "request_id": .string(requestID), "kind": .string(kind), "subject": .string(subject),
            "data": data,
            "hash": .string(hash),
        ]
        if !actors.isEmpty { out["actors"] = .array(actors.map(JSON.string)) }
        return out
    }

    /// What the hash covers besides the number and the time. Most callers act for themselves: then the fields are those of Keel 0.1.
    var fields: [String] {
        let fields = [caller, persona, workspace, requestID, kind, subject, dataText]
        return actors.isEmpty ? fields : fields + [Ledger.text(actors)]
    }

    /// The same with the data as the text that was written, so that the hash can be computed from it.
    public var rawJSON: JSON {
        var out = json
        out["data"] = .string(dataText)
        return out
    }
}

/// The append-only, hash-chained record of every change. Audit, lineage, triggers and "what was in production at T" read it.
public enum Ledger {
    public static let migrations = [
        Migration(
            module: "ledger", version: 1,
            [
                """
                CREATE TABLE ledger (
                    seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, caller TEXT NOT NULL, persona TEXT NOT NULL, workspace TEXT NOT NULL,
                    request_id TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL)
                """,
                "CREATE INDEX ledger_subject ON ledger (subject, seq)",
                "CREATE INDEX ledger_kind ON ledger (kind, seq)",
                // The last event is noted apart, so that cutting the end off is found too.
                "CREATE TABLE ledger_head (id INTEGER PRIMARY KEY, seq BIGINT NOT NULL, hash TEXT NOT NULL)",
                "INSERT INTO ledger_head (id, seq, hash) VALUES (1, 0, '')",
            ]),
        Migration(module: "ledger", version: 2, ["CREATE INDEX ledger_at ON ledger (at, seq)"]),
        Migration(
            module: "ledger", version: 3,
            [
                // The events before which the clock was set back: what it showed at the event before, and at this one.
                "CREATE TABLE ledger_setbacks (seq BIGINT PRIMARY KEY, before_at BIGINT NOT NULL, at BIGINT NOT NULL)",
                """
                INSERT INTO ledger_setbacks (seq, before_at, at)
                SELECT e.seq, p.at, e.at FROM ledger e JOIN ledger p ON p.seq = e.seq - 1 WHERE e.at < p.at
                """,
                // An instant is found in the order of the events.
                "DROP INDEX ledger_at",
                "ALTER TABLE ledger_head ADD COLUMN at BIGINT NOT NULL DEFAULT 0",
                "UPDATE ledger_head SET at = (SELECT at FROM ledger WHERE ledger.seq = ledger_head.seq) WHERE seq > 0",
            ]),
        Migration(
            module: "ledger", version: 4,
            [
                // A list in JSON; the empty text for a caller that acted for itself, as all did before.
                "ALTER TABLE ledger ADD COLUMN actors TEXT NOT NULL DEFAULT ''"
            ]),
    ]

    /// The newest event number of the commit under way; the database announces it afterwards.
    final class Head { var seq: Int64? }

    /// Where a chain is broken.
    public struct Break: Sendable, Hashable {
        public let seq: Int64
        public let problem: String

        public init(seq: Int64, problem: String) {
            self.seq = seq
            self.problem = problem
        }
    }

    /// The result of `verify`: how many events were read and the first break, if any.
    public struct Verification: Sendable, Hashable {
        public let events: Int64
        public let head: String
        public let broken: Break?
    }

    /// The chain of those who acted, as it is stored.
    static func text(_ actors: [String]) -> String { actors.isEmpty ? "" : JSON.array(actors.map(JSON.string)).text }

    static func actors(_ text: String) throws(KeelError) -> [String] {
        text.isEmpty ? [] : try JSON.parse(text).array?.compactMap(\.string) ?? []
    }

    static func hash(previous: String, _ seq: Int64, _ at: Int64, _ fields: [String]) -> String {
        var hasher = Digest.Hasher()
        hasher.update("\(previous)\n\(seq)\n\(at)\n")
        // Lengths before texts, so that no two different events have the same bytes.
        for field in fields { hasher.update("\(field.utf8.count):\(field)\n") }
        return hasher.finish().hex
    }
}

extension Transaction {
    /// Appends an event to the ledger, in this transaction.
    @discardableResult
    public func record(_ kind: String, on subject: String, _ data: JSON = .object([]), by caller: Caller) throws -> Int64 {
        guard let last = try row("SELECT seq, at, hash FROM ledger_head WHERE id = 1") else {
            throw KeelError(.corrupted, "the ledger has no head")
        }
        let seq = last.int("seq") + 1
        let at = now.microseconds
        let text = data.text
        let fields = [caller.name, caller.persona.rawValue, caller.workspace.name, caller.requestID, kind, subject, text]
        let actors = Ledger.text(caller.actors)
        let hash = Ledger.hash(previous: last.text("hash"), seq, at, actors.isEmpty ? fields : fields + [actors])
        try execute(
            """
            INSERT INTO ledger (seq, at, caller, persona, workspace, request_id, kind, subject, data, actors, hash)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """, [.int(seq), .int(at)] + fields.map(Value.string) + [.string(actors), .string(hash)])
        try execute("UPDATE ledger_head SET seq = ?, at = ?, hash = ? WHERE id = 1", [.int(seq), .int(at), .string(hash)])
        if seq > 1, at < last.int("at") {
            try execute("INSERT INTO ledger_setbacks (seq, before_at, at) VALUES (?, ?, ?)", [.int(seq), .int(last.int("at")), .int(at)])
        }
        head.seq = seq
        return seq
    }

    @discardableResult
    public func record(_ kind: String, on subject: String, _ data: JSON = .object([]), by grant: Grant) throws -> Int64 {
        try record(kind, on: subject, data, by: grant.caller)
    }
}

extension Querying {
    /// Events after one number and before another, the oldest first unless said otherwise; with filters when given (a kind ending in `.` is a
    /// prefix).
    public func ledgerEvents(
        after seq: Int64 = 0, before end: Int64 = .max, newestFirst: Bool = false, kind: String? = nil, subject: String? = nil,
        limit: Int = 1000
    ) throws -> [LedgerEvent] {
        var (clauses, parameters) = (["seq > ?", "seq < ?"], [Value.int(seq), .int(end)])
        if let kind {
            clauses.append(kind.hasSuffix(".") ? "kind >= ? AND kind < ?" : "kind = ?")
            parameters.append(.string(kind))
            if kind.hasSuffix(".") { parameters.append(.string(String(kind.dropLast()) + "/")) }
        }
        if let subject {
            clauses.append("subject = ?")
            parameters.append(.string(subject))
        }
        if let workspace {
            clauses.append("workspace = ?")
            parameters.append(.string(workspace.name))
        }
        parameters.append(.int(Int64(limit)))
        let order = newestFirst ? "seq DESC" : "seq"
        return try rows("SELECT * FROM ledger WHERE \(clauses.joined(separator: " AND ")) ORDER BY \(order) LIMIT ?", parameters).map(event)
    }

    /// Events after `seq` whose kind begins with `prefix`, oldest first, for who follows the ledger: it reads only what is new, however much of that kind
    /// there is.
    public func followLedger(after seq: Int64, prefix: String, limit: Int) throws -> [LedgerEvent] {
        // A condition on an expression cannot lead the planner to the index by kind, which would read all events of that kind.
        try rows(
            "SELECT * FROM ledger WHERE seq > ? AND substr(kind, 1, \(prefix.utf8.count)) = ?\(ofWorkspace.sql) ORDER BY seq LIMIT ?",
            [.int(seq), .string(prefix)] + ofWorkspace.parameters + [.int(Int64(limit))]
        ).map(event)
    }

    /// Events on a subject before `seq`, newest first.
    public func ledgerEvents(on subject: String, before seq: Int64, limit: Int) throws -> [LedgerEvent] {
        try rows(
            "SELECT * FROM ledger WHERE subject = ? AND seq < ?\(ofWorkspace.sql) ORDER BY seq DESC LIMIT ?",
            [.string(subject), .int(seq)] + ofWorkspace.parameters + [.int(Int64(limit))]
        )
        .map(event)
    }

    /// How many events there are.
    public func ledgerEventCount() throws -> Int64 {
        try row("SELECT count(*) AS n FROM ledger WHERE seq > 0\(ofWorkspace.sql)", ofWorkspace.parameters)?.int("n") ?? 0
    }

    /// Events of the workspace only, inside of one.
    private var ofWorkspace: SQLFragment {
        workspace.map { SQLFragment(" AND workspace = ?", [.string($0.name)]) } ?? SQLFragment("")
    }

    /// Events of one kind on a subject between two numbers, both not included, newest first. Only events of that kind are read, however much else
    /// happened to the subject.
    public func ledgerEvents(of kind: String, on subject: String, after: Int64, before: Int64, limit: Int) throws -> [LedgerEvent] {
        // A condition on an expression cannot lead the planner to the index by subject.
        try rows(
            "SELECT * FROM ledger WHERE kind = ? AND seq > ? AND seq < ? AND subject || '' = ?\(ofWorkspace.sql) ORDER BY seq DESC LIMIT ?",
            [.string(kind), .int(after), .int(before), .string(subject)] + ofWorkspace.parameters + [.int(Int64(limit))]
        ).map(event)
    }

    /// The number of the last event up to an instant; 0 when there is none. "What was at T" is what the events up to this one made.
    ///
    /// The order of events is certain, what the clock showed is not: it may have been ahead or behind for a while. The answer is the place in the order
    /// that the fewest events contradict. An event contradicts a place when it stands before it and shows a time after the instant, or stands behind it
    /// and shows a time that is not after the instant. Of two places with as few, the later one is taken.
    public func ledgerSeq(at time: Timestamp) throws -> Int64 {
        let setbacks = try rows(
            "SELECT seq FROM ledger_setbacks WHERE before_at > ? AND at <= ? ORDER BY seq", [.timestamp(time), .timestamp(time)]
        ).map { $0.int("seq") }
        // Each part begins where the clock was set back over the instant. Within a part the times pass the instant once, so one place is the best.
        let firsts = [1] + setbacks
        let lasts = setbacks.map { $0 - 1 } + [try ledgerHead()]
        var best: Int64 = 0
        var bestScore: Int64 = 0
        var score: Int64 = 0
        for (first, last) in zip(firsts, lasts) {
            let place = try ledgerPlace(of: time, from: first, through: last)
            score += place - first + 1
            if score >= bestScore {
                best = place
                bestScore = score
            }
            score -= last - place
        }
        return best
    }

    /// The last event of a part that shows no time after an instant, where all that show one stand behind it; the number before the part when there is none.
    private func ledgerPlace(of time: Timestamp, from first: Int64, through last: Int64) throws -> Int64 {
        var low = first - 1
        var high = last
        while low < high {
            let middle = low + (high - low + 1) / 2
            guard let event = try row("SELECT at FROM ledger WHERE seq = ?", [.int(middle)]) else {
                throw KeelError(.corrupted, "event \(middle) of the ledger is missing", hint: "keel ledger verify")
            }
            if event.time("at") <= time { low = middle } else { high = middle - 1 }
        }
        return low
    }

    /// The subject that comes next after another, in the order of the database; nil when no more begin with `prefix`.
    public func ledgerSubject(after subject: String, prefix: String) throws -> String? {
        try row("SELECT min(subject) AS next FROM ledger WHERE subject > ?\(ofWorkspace.sql)", [.string(subject)] + ofWorkspace.parameters)?
            .optionalText("next").flatMap { $0.hasPrefix(prefix) ? $0 : nil }
    }

    /// The number of the newest event; 0 when there is none.
    public func ledgerHead() throws -> Int64 { try row("SELECT seq FROM ledger_head WHERE id = 1")?.int("seq") ?? 0 }

    /// Reads the whole chain and finds the first event that was altered, removed, inserted or moved.
    public func verifyLedger() throws -> Ledger.Verification {
        var chain = LedgerChain()
        var setbacks: [[Int64]] = []
        var last: Int64?
        try forEach("SELECT * FROM ledger ORDER BY seq", []) { row in
            let at = row.int("at")
            if let last, at < last { setbacks.append([row.int("seq"), last, at]) }
            last = at
            let actors = row.text("actors")
            let fields = ["caller", "persona", "workspace", "request_id", "kind", "subject", "data"].map(row.text)
            chain.add(seq: row.int("seq"), at: at, hash: row.text("hash"), fields: actors.isEmpty ? fields : fields + [actors])
        }
        var broken = chain.broken
        if broken == nil, let head = try row("SELECT seq, hash FROM ledger_head WHERE id = 1"),
            head.int("seq") != chain.count || head.text("hash") != chain.head
        {
            broken = Ledger.Break(
                seq: chain.count + 1, problem: "the ledger should end with event \(head.int("seq")), it ends with \(chain.count)")
        }
        let noted = try rows("SELECT seq, before_at, at FROM ledger_setbacks ORDER BY seq", []).map {
            [$0.int("seq"), $0.int("before_at"), $0.int("at")]
        }
        if broken == nil, noted != setbacks {
            let first =
                zip(noted, setbacks).first { $0 != $1 }?.1
                ?? (noted.count > setbacks.count ? noted : setbacks)[min(noted.count, setbacks.count)]
            broken = Ledger.Break(seq: first[0], problem: "the notes of when the clock was set back are not what the events show")
        }
        return Ledger.Verification(events: chain.count, head: chain.head, broken: broken)
    }

    private func event(_ row: SQLRow) throws -> LedgerEvent {
        LedgerEvent(
            seq: row.int("seq"), at: row.time("at"), caller: row.text("caller"), persona: row.text("persona"),
            workspace: row.text("workspace"),
            requestID: row.text("request_id"), kind: row.text("kind"), subject: row.text("subject"), data: try row.json("data"),
            dataText: row.text("data"), actors: try Ledger.actors(row.text("actors")), hash: row.text("hash"))
    }
}
