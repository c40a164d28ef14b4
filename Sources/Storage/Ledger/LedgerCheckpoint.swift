import Contracts

/// The end of the ledger at an instant, signed with a key that is not in the database.
///
/// Each event's hash covers all events before it. So whoever holds a checkpoint finds any change to the events up to it, also one by somebody who
/// recomputed every hash behind the change.
public struct LedgerCheckpoint: Sendable, Hashable {
    /// The number of the last event, and its hash.
    public let seq: Int64
    public let hash: String
    public let at: Timestamp
    /// Ed25519, in base64.
    public let publicKey: String
    public let signature: String

    public init(seq: Int64, hash: String, at: Timestamp, key: SigningKey) throws(KeelError) {
        self.seq = seq
        self.hash = hash
        self.at = at
        publicKey = key.publicKey
        signature = try key.sign(LedgerCheckpoint.text(seq, hash, at.description))
    }

    public var json: JSON {
        [
            "seq": .int(seq), "hash": .string(hash), "at": .string(at.description), "public_key": .string(publicKey),
            "signature": .string(signature),
        ]
    }

    /// - Throws: `invalidArgument` for anything else than a checkpoint, `corrupted` when it is not what its own key signed.
    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "")
        seq = Int64(try reader.int("seq"))
        hash = try reader.string("hash")
        let instant = try reader.string("at")
        guard let time = Timestamp(instant) else { throw reader.failure("at", "is not an instant") }
        at = time
        publicKey = try reader.string("public_key")
        signature = try reader.string("signature")
        try reader.finish()
        guard SigningKey.isValid(signature, of: LedgerCheckpoint.text(seq, hash, instant), publicKey: publicKey) else {
            throw KeelError(.corrupted, "the checkpoint of event \(seq) is not what was signed", hint: "use another copy of it")
        }
    }

    /// The words that are signed.
    private static func text(_ seq: Int64, _ hash: String, _ at: String) -> String { "keel ledger checkpoint\n\(seq)\n\(hash)\n\(at)\n" }

    /// What is wrong with a chain whose event `seq` has this hash; nil when it is the chain that was signed.
    public func problem(withHash found: String?) -> String? {
        guard found != hash else { return nil }
        return found == nil
            ? "the ledger ends before event \(seq), up to which it was signed at \(at)"
            : "event \(seq) is not the one that was signed at \(at): it, or one before it, was altered and the hashes after it were computed anew"
    }
}

/// Follows a chain of events from its beginning and finds the first that does not continue it.
public struct LedgerChain: Sendable {
    /// The hash of the last event that continues the chain, and how many there are.
    public private(set) var head = ""
    public private(set) var count = Int64(0)
    public private(set) var broken: Ledger.Break?

    public init() {}

    public mutating func add(_ event: LedgerEvent) {
        add(seq: event.seq, at: event.at.microseconds, hash: event.hash, fields: event.fields)
    }

    /// - Parameter fields: caller, persona, workspace, request id, kind, subject and data, and who acted where somebody else did.
    mutating func add(seq: Int64, at: Int64, hash: String, fields: [String]) {
        guard broken == nil else { return }
        guard seq == count + 1 else {
            broken = Ledger.Break(
                seq: count + 1,
                problem: seq - count == 2 ? "event \(count + 1) was removed" : "events \(count + 1) to \(seq - 1) were removed")
            return
        }
        guard Ledger.hash(previous: head, seq, at, fields) == hash else {
            broken = Ledger.Break(seq: seq, problem: "event \(seq) (\(fields[4]) on \(fields[5])) was altered or moved")
            return
        }
        head = hash
        count = seq
    }
}

extension LedgerEvent {
    /// Reads an event as `rawJSON` writes it.
    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "")
        seq = Int64(try reader.int("seq"))
        guard let time = Timestamp(try reader.string("at")) else { throw reader.failure("at", "is not an instant") }
        at = time
        caller = try reader.string("caller")
        persona = try reader.string("persona")
        workspace = try reader.string("workspace")
        requestID = try reader.string("request_id")
        kind = try reader.string("kind")
        subject = try reader.string("subject")
        dataText = try reader.string("data")
        data = try JSON.parse(dataText)
        actors = try reader.strings("actors") ?? []
        hash = try reader.string("hash")
        try reader.finish()
    }
}

extension Querying {
    /// The hash of an event; nil when there is none of this number.
    public func ledgerHash(_ seq: Int64) throws -> String? {
        seq == 0 ? "" : try row("SELECT hash FROM ledger WHERE seq = ?", [.int(seq)])?.text("hash")
    }

    /// Whether an event is the one that was recorded behind the one before it.
    public func isIntact(_ event: LedgerEvent) throws -> Bool {
        guard let previous = try ledgerHash(event.seq - 1) else { return false }
        return Ledger.hash(previous: previous, event.seq, event.at.microseconds, event.fields) == event.hash
    }
}
