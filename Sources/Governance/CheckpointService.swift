import Contracts
import Storage
import Synchronization

/// Signs the end of the ledger from time to time, into a log outside the database.
public final class CheckpointService: Sendable {
    private let database: Database
    private let key: SigningKey
    private let isKeyStored: Bool
    private let log: DurableLog
    private let clock: any Clock
    private let report: @Sendable (KeelError) -> Void
    /// The last event that is covered.
    private let covered = Mutex(Int64(0))
    private let turn = Turn()
    /// After how many events a checkpoint is made by itself.
    public static let interval: Int64 = 1000

    /// - Parameters:
    ///   - isKeyStored: false for a key that will be another at the next start: checkpoints that it signs are not kept.
    ///   - folder: of the log of checkpoints.
    public init(
        database: Database, key: SigningKey, isKeyStored: Bool = true, folder: String, clock: any Clock = SystemClock(),
        report: @escaping @Sendable (KeelError) -> Void
    ) throws {
        self.database = database
        self.key = key
        self.isKeyStored = isKeyStored
        self.clock = clock
        self.report = report
        log = try DurableLog(folder: folder, syncInterval: nil, report: report)
        for checkpoint in try stored() { covered.withLock { $0 = checkpoint.seq } }
    }

    /// Signs the ledger as it ends now. It is kept, unless the end was signed before.
    public func checkpoint(_ grant: Grant) async throws -> LedgerCheckpoint {
        try grant.require(.ledgerRead)
        return try await make()
    }

    private func make() async throws -> LedgerCheckpoint {
        try await turn.run { [self] in
            let (seq, hash) = try await database.read { db in
                let seq = try db.ledgerHead()
                return (seq, try db.ledgerHash(seq) ?? "")
            }
            let checkpoint = try LedgerCheckpoint(seq: seq, hash: hash, at: clock.now(), key: key)
            if seq > covered.withLock({ $0 }) {
                if isKeyStored { _ = try await Blocking.run { [log] in try log.append([checkpoint.json.bytes]) } }
                covered.withLock { $0 = seq }
            }
            return checkpoint
        }
    }

    /// Signs what was recorded since the last checkpoint; for the shutdown.
    public func close() async throws { _ = try await make() }

    /// Makes checkpoints as the ledger grows, until the task is cancelled.
    public func run(report: @escaping @Sendable (KeelError) -> Void) async {
        for await head in database.ledgerHeads() where head - covered.withLock({ $0 }) >= CheckpointService.interval {
            do { _ = try await make() } catch { report(KeelError.wrapping(error)) }
        }
    }

    /// What is wrong with the ledger by the checkpoints that were kept; nil when it is the one that was signed.
    /// - Parameter lastOnly: looks only at the newest, which covers all events that the others do.
    public func problem(lastOnly: Bool = false) async throws -> Ledger.Break? {
        let checkpoints = try stored()
        if !isKeyStored, let last = checkpoints.last {
            return Ledger.Break(seq: last.seq, problem: "checkpoints cannot be checked: the ledger's key cannot be read")
        }
        return try await database.read { [key] db in
            for checkpoint in lastOnly ? checkpoints.suffix(1) : checkpoints[...] {
                // The key in the file is not to be trusted: whoever can write the file can sign with a key of their own.
                let problem =
                    checkpoint.publicKey == key.publicKey
                    ? checkpoint.problem(withHash: try db.ledgerHash(checkpoint.seq))
                    : "the checkpoint of event \(checkpoint.seq) was signed with another key than this server's"
                if let problem { return Ledger.Break(seq: checkpoint.seq, problem: problem) }
            }
            return nil
        }
    }

    /// Oldest first. What is no checkpoint is reported and left out.
    private func stored() throws -> [LedgerCheckpoint] {
        var out: [LedgerCheckpoint] = []
        try log.replay { record, _ in
            do throws(KeelError) { out.append(try LedgerCheckpoint(json: try JSON.parse(Array(record)))) } catch { report(error) }
        }
        return out
    }
}
