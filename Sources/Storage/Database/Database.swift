import Contracts
import Foundation
import GRDB
import Synchronization

/// The metadata store: SQLite in WAL mode with many readers and one writer.
///
/// Writes are group-committed: the transactions that wait while one commit is on its way to the disk share the next, each inside a
/// savepoint of its own, so one that fails undoes only itself. `write` returns after the commit is durable.
public final class Database: Sendable {
    let pool: DatabasePool
    /// Tells the time of what is written here.
    public let clock: any Clock
    private let queue = Mutex<[Job]>([])
    private let observers = Mutex<[String: AsyncStream<Int64>.Continuation]>([:])
    /// Workspaces that were deleted while this process runs.
    private let retired = Mutex<Set<WorkspaceID>>([])
    private static let batchLimit = 512

    private struct Job: Sendable {
        /// Runs inside a savepoint; the result waits for the commit.
        let body: @Sendable (GRDB.Database, Ledger.Head) throws -> @Sendable () -> Void
        let fail: @Sendable (any Error) -> Void
    }

    /// Opens or makes the database file. The folder must exist.
    public init(path: String, clock: any Clock = SystemClock()) throws {
        self.clock = clock
        var configuration = Configuration()
        configuration.foreignKeysEnabled = true
        configuration.maximumReaderCount = 4
        configuration.busyMode = .timeout(10)
        configuration.prepareDatabase { db in
            // KiB a connection, taken as pages are read; with 8 MB a page found by a filter among 100,000 runs took half as long again.
            try db.execute(sql: "PRAGMA cache_size = -65536")
            // LIKE is case-sensitive in standard SQL and on PostgreSQL; searches rely on it.
            try db.execute(sql: "PRAGMA case_sensitive_like = ON")
        }
        do {
            pool = try DatabasePool(path: path, configuration: configuration)
            // A write that returned must be on the disk. The pool sets NORMAL, which never syncs a commit, after it has prepared its connection.
            try pool.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA synchronous = FULL")
                guard try Int.fetchOne(db, sql: SQLDialect.sqliteSynchronous) == 2 else {
                    throw KeelError(.internal, "the database does not take the setting that brings every commit to the disk")
                }
            }
        } catch let error as KeelError { throw error } catch {
            throw KeelError(
                .corrupted, "cannot open the database: \(error)",
                hint: "is \(path) a Keel database, and readable and writable? If it is damaged, 'keel restore' brings back a backup")
        }
    }

    /// Runs `body` in a transaction. When it throws, nothing of it is kept.
    /// - Parameter workspace: whose rows it is about; nil for those of all.
    /// - Throws: `notFound` for a workspace that is retired.
    public func write<T: Sendable>(in workspace: WorkspaceID? = nil, _ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        let clock = clock
        return try await withCheckedThrowingContinuation { continuation in
            let job = Job(
                body: { [self] db, head in
                    if let workspace, retired.withLock({ $0.contains(workspace) }) {
                        throw KeelError.notFound("there is no workspace '\(workspace)' any more")
                    }
                    let result = try body(Transaction(db: db, head: head, workspace: workspace, now: clock.now()))
                    return { continuation.resume(returning: result) }
                },
                fail: { continuation.resume(throwing: Database.translate($0)) })
            let first = queue.withLock { jobs in
                jobs.append(job)
                return jobs.count == 1
            }
            // Whoever finds the queue empty starts a drain; those after it ride along.
            if first { pool.asyncWriteWithoutTransaction { [self] db in drain(db) } }
        }
    }

    /// Lets nothing more be written in a workspace: a request that came before it was deleted may still be under way. Called in the transaction that
    /// deletes it, so that none comes in between; `reinstate` takes it back when that fails.
    public func retire(_ workspace: WorkspaceID) { retired.withLock { _ = $0.insert(workspace) } }
    public func reinstate(_ workspace: WorkspaceID) { retired.withLock { _ = $0.remove(workspace) } }

    /// Runs `body` on a snapshot; it never waits for a writer.
    /// - Parameter workspace: whose rows it is about; nil for those of all.
    public func read<T: Sendable>(in workspace: WorkspaceID? = nil, _ body: @escaping @Sendable (Reader) throws -> T) async throws -> T {
        do {
            return try await pool.read { db in try body(Reader(db: db, workspace: workspace)) }
        } catch { throw Database.translate(error) }
    }

    /// The number of the last ledger event after each commit that added one; only the newest is kept for a slow listener.
    public func ledgerHeads() -> AsyncStream<Int64> {
        let id = Identifier.uuid()
        return AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            observers.withLock { $0[id] = continuation }
            continuation.onTermination = { [weak self] _ in self?.observers.withLock { $0[id] = nil } }
        }
    }

    /// Copies the database, as it is now, to a new file. Writes go on meanwhile.
    public func backup(to path: String) async throws {
        try await Blocking.run { [pool] in
            do {
                let target = try DatabaseQueue(path: path)
                try pool.backup(to: target)
                try target.close()
            } catch { throw Database.translate(error) }
        }
    }

    /// Reads every page and every index.
    /// - Throws: `corrupted` with what is wrong first.
    public func check() async throws {
        let found = try await read { try $0.rows(SQLDialect.sqliteCheck).first?[0].text }
        guard found == "ok" else {
            throw KeelError(.corrupted, "the database is damaged: \(found ?? "it cannot be read")", hint: Database.damagedHint)
        }
    }

    static let damagedHint = "'keel restore' brings back a backup into an empty home folder"

    /// Waits for the writes under way and folds the write-ahead log into the file.
    public func close() async throws {
        _ = try await write { _ in }
        try await pool.writeWithoutTransaction { db in _ = try db.checkpoint(.truncate) }
    }

    private func drain(_ db: GRDB.Database) {
        let jobs = queue.withLock { Array($0.prefix(Database.batchLimit)) }
        var finished: [@Sendable () -> Void] = []
        var failures: [Int: any Error] = [:]
        let head = Ledger.Head()
        func run(_ sql: String) throws { try db.cachedStatement(sql: sql).execute() }
        do {
            try run("BEGIN IMMEDIATE")
            for (i, job) in jobs.enumerated() {
                do {
                    try run("SAVEPOINT job")
                    finished.append(try job.body(db, head))
                    try run("RELEASE job")
                } catch {
                    failures[i] = error
                    // A full disk or a broken file ends the whole transaction, not only the savepoint.
                    guard db.isInsideTransaction else { throw error }
                    try run("ROLLBACK TO job")
                    try run("RELEASE job")
                }
            }
            try run("COMMIT")
        } catch {
            if db.isInsideTransaction { try? db.rollback() }
            for i in jobs.indices where failures[i] == nil { failures[i] = error }
            finished = []
        }
        let more = queue.withLock { queue in
            queue.removeFirst(jobs.count)
            return !queue.isEmpty
        }
        for resume in finished { resume() }
        for (i, error) in failures { jobs[i].fail(error) }
        if let seq = head.seq, !finished.isEmpty {
            for observer in observers.withLock({ Array($0.values) }) { observer.yield(seq) }
        }
        if more { pool.asyncWriteWithoutTransaction { [self] db in drain(db) } }
    }

    static func translate(_ error: any Error) -> any Error {
        guard let error = error as? DatabaseError else { return error }
        switch error.resultCode {
        case .SQLITE_INTERRUPT: return CancellationError()
        case .SQLITE_FULL:
            return KeelError(
                .unavailable, "the disk is full: nothing of this change was kept", hint: "free space on the disk that holds the home folder"
            )
        case .SQLITE_CONSTRAINT: return KeelError(.alreadyExists, "a row like this exists already: \(error.message ?? "")")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return KeelError(.corrupted, "the database is damaged: \(error.message ?? "")", hint: Database.damagedHint)
        case .SQLITE_IOERR: return KeelError(.unavailable, "the disk refused a read or write: \(error.message ?? "")")
        default: return KeelError(.internal, "SQL failed: \(error.message ?? "\(error.resultCode)")")
        }
    }
}
