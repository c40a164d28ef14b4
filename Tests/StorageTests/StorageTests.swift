import Contracts
import Foundation
import Storage
import Synchronization
import TestSupport
import Testing

func temporaryFolder() throws -> String {
    let path = NSTemporaryDirectory() + "keel-test-" + Identifier.hex32()
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
}

private let owner = Caller(name: "test", persona: .owner)

private func openDatabase(_ folder: String, clock: any Contracts.Clock = SystemClock()) async throws -> Storage.Database {
    let database = try Storage.Database(path: folder + "/keel.sqlite", clock: clock)
    try await database.migrate(
        Ledger.migrations + [Migration(module: "test", version: 1, ["CREATE TABLE things (id BIGINT PRIMARY KEY, name TEXT NOT NULL)"])],
        backupFolder: folder + "/backups")
    return database
}

/// Shows the instant that was set.
private final class SetClock: Contracts.Clock {
    private let instant = Mutex(Int64(0))
    func set(_ microseconds: Int64) { instant.withLock { $0 = microseconds } }
    func now() -> Timestamp { Timestamp(microseconds: instant.withLock { $0 }) }
}

@Suite("Database and ledger")
struct DatabaseTests {
    @Test("a transaction that fails leaves nothing, and those that share its commit are kept")
    func groupCommit() async throws {
        let database = try await openDatabase(temporaryFolder())
        let outcomes = await withTaskGroup(of: Bool.self) { group in
            for i in 0..<400 {
                group.addTask {
                    do {
                        try await database.write { tx in
                            try tx.execute("INSERT INTO things (id, name) VALUES (?, ?)", [.int(Int64(i)), "x"])
                            try tx.record("thing.made", on: "Thing/\(i)", by: owner)
                            if i % 10 == 3 { throw KeelError.invalid("no") }
                        }
                        return true
                    } catch { return false }
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(outcomes == 360)
        let (things, check) = try await database.read { (try $0.row("SELECT count(*) AS n FROM things")?.int("n"), try $0.verifyLedger()) }
        #expect(things == 360)
        #expect(check.events == 360 && check.broken == nil)
    }

    @Test("D1: every commit is synced: the connection that writes is at FULL, whatever was set before")
    func synchronous() async throws {
        let folder = try temporaryFolder()
        for _ in 0..<2 {
            let database = try await openDatabase(folder)
            #expect(try await database.write { try $0.rows("PRAGMA synchronous").first?[0] } == 2)
            #expect(try await database.write { try $0.rows("PRAGMA journal_mode").first?[0] } == "wal")
        }
    }

    @Test("D14: events carry the clock as it was, and what was at an instant is found over jumps of the clock")
    func clockJumps() async throws {
        let clock = SetClock()
        let database = try await openDatabase(temporaryFolder(), clock: clock)
        // Right, far ahead, right again, far behind, right again.
        let instants: [Int64] = [1000, 2000, 90_000, 90_001, 3000, 4000, 5, 6, 5000, 6000]
        for instant in instants {
            clock.set(instant)
            _ = try await database.write { try $0.record("thing.made", on: "Thing/1", by: owner) }
        }
        #expect(try await database.read { try $0.ledgerEvents() }.map(\.at.microseconds) == instants)
        let asked: [Int64] = [0, 999, 1000, 1999, 2000, 2999, 3000, 4500, 5000, 5999, 6000, 80_000]
        let found = try await database.read { db in try asked.map { try db.ledgerSeq(at: Timestamp(microseconds: $0)) } }
        // The two events of the clock that was behind happened between 4000 and 5000. There they outnumber the one that contradicts them.
        #expect(found == [0, 0, 1, 1, 2, 2, 8, 8, 9, 9, 10, 10])
        #expect(try await database.read { try $0.verifyLedger() }.broken == nil)
    }

    @Test("D14: events after the clock was set back count at once, though it had shown a later time before")
    func clockSetBack() async throws {
        let clock = SetClock()
        let database = try await openDatabase(temporaryFolder(), clock: clock)
        for instant: Int64 in [100, 200, 220, 150, 160, 170] {
            clock.set(instant)
            _ = try await database.write { try $0.record("thing.made", on: "Thing/1", by: owner) }
        }
        let found = try await database.read { db in try [170, 180, 205, 219, 250].map { try db.ledgerSeq(at: Timestamp(microseconds: $0)) }
        }
        #expect(found == [6, 6, 6, 6, 6])
    }

    @Test("D14: what was at an instant is the place in the order that the fewest events contradict", arguments: [UInt64(1), 2, 3, 4])
    func fewestContradictions(seed: UInt64) async throws {
        var random = Seeded(seed)
        let clock = SetClock()
        let database = try await openDatabase(temporaryFolder(), clock: clock)
        var shown: [Int64] = []
        var now: Int64 = 100
        for _ in 0..<150 {
            now += Int64.random(in: 0...9, using: &random)
            if Int.random(in: 0..<12, using: &random) == 0 { now += Int64.random(in: -200...200, using: &random) }
            now = max(1, now)
            clock.set(now)
            _ = try await database.write { try $0.record("thing.made", on: "Thing/1", by: owner) }
            shown.append(now)
        }
        for instant in Int64(0)...(shown.max() ?? 0) + 1 {
            let costs = (0...shown.count).map { place in
                shown[..<place].count { $0 > instant } + shown[place...].count { $0 <= instant }
            }
            let best = costs.lastIndex(of: costs.min() ?? 0) ?? 0
            let found = try await database.read { try $0.ledgerSeq(at: Timestamp(microseconds: instant)) }
            #expect(found == Int64(best), "at \(instant)")
        }
        #expect(try await database.read { try $0.verifyLedger() }.broken == nil)
        _ = try await database.write {
            try $0.execute("UPDATE ledger_setbacks SET at = at + 1 WHERE seq = (SELECT max(seq) FROM ledger_setbacks)")
        }
        #expect(try await database.read { try $0.verifyLedger() }.broken != nil)
    }

    @Test("a home whose list of migrations has its old column keeps its tables, and none is migrated again")
    func renamedColumn() async throws {
        let folder = try temporaryFolder()
        let old = try await openDatabase(folder)
        try await old.write { tx in
            try tx.execute("INSERT INTO things (id, name) VALUES (1, 'kept')")
            try tx.execute("ALTER TABLE keel_migrations RENAME COLUMN module TO room")
        }
        try await old.close()
        for _ in 0..<2 {
            let database = try await openDatabase(folder)
            let name = try await database.read { try $0.row("SELECT name FROM things")?.text("name") }
            let listed = try await database.read { try $0.row("SELECT count(*) AS n FROM keel_migrations WHERE module = 'test'")?.int("n") }
            #expect(name == "kept" && listed == 1)
            try await database.close()
        }
    }

    @Test("all changes of a transaction have one instant")
    func oneInstant() async throws {
        let clock = SetClock()
        let database = try await openDatabase(temporaryFolder(), clock: clock)
        clock.set(5)
        let instants = try await database.write { tx in
            clock.set(6)
            try tx.record("thing.made", on: "Thing/1", by: owner)
            return [tx.now, try tx.ledgerEvents()[0].at]
        }
        #expect(instants.map(\.microseconds) == [5, 5])
    }

    @Test("values come back as they were given, and a statement may be read while it is being read")
    func values() async throws {
        let database = try await openDatabase(temporaryFolder())
        let given: [Value] = [
            .null, .int(.min), .int(.max), .double(-0.1), .double(.greatestFiniteMagnitude), .string(""), .string("a\u{0}b"),
            .string("żółć 🦊"),
            .string(String(repeating: "x", count: 100_000)), .bytes([]), .bytes([0, 255, 0]),
        ]
        try await database.write { tx in
            try tx.execute("CREATE TABLE cells (id BIGINT PRIMARY KEY, value BLOB)")
            for (i, value) in given.enumerated() { try tx.execute("INSERT INTO cells (id, value) VALUES (?, ?)", [.int(Int64(i)), value]) }
        }
        try await database.read { db in
            let sql = "SELECT value, id FROM cells WHERE id >= ? ORDER BY id"
            #expect(try db.rows(sql, [0]).map { $0["value"] } == given)
            var scanned: [Value] = []
            try db.scan(sql, [0]) { cells in
                scanned.append(cells.value(0))
                let rest = try db.rows(sql, [.int(cells.int(1))])
                #expect(rest.map { $0["value"] } == given.suffix(rest.count) && rest.count == given.count - scanned.count + 1)
            }
            #expect(scanned == given)
            #expect(throws: KeelError.self) { try db.rows(sql, []) }
        }
    }

    @Test(
        "an altered, removed, moved or cut-off event is found and named",
        arguments: [
            ("UPDATE ledger SET data = '{\"x\":2}' WHERE seq = 5", 5), ("DELETE FROM ledger WHERE seq = 4", 4),
            ("DELETE FROM ledger WHERE seq = 10", 10),
            ("UPDATE ledger SET at = at + 1 WHERE seq = 1", 1),
            ("UPDATE ledger SET seq = CASE seq WHEN 6 THEN -7 ELSE -6 END WHERE seq IN (6, 7); ", 6),
        ] as [(String, Int64)])
    func tampering(sql: String, seq: Int64) async throws {
        let database = try await openDatabase(temporaryFolder())
        try await database.write { tx in for i in 1...10 { try tx.record("thing.made", on: "Thing/\(i)", ["x": .int(Int64(i))], by: owner) }
        }
        try await database.write { tx in
            try tx.execute(sql)
            try tx.execute("UPDATE ledger SET seq = -seq WHERE seq < 0")
        }
        #expect(try await database.read { try $0.verifyLedger() }.broken?.seq == seq)
    }

    @Test("migrations apply once, all or none, after a backup")
    func migrations() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        try await database.write { _ = try $0.execute("INSERT INTO things (id, name) VALUES (1, 'a')") }
        let bad = [Migration(module: "test", version: 2, ["ALTER TABLE things ADD COLUMN size BIGINT", "NOT SQL"])]
        await #expect(throws: KeelError.self) { try await database.migrate(bad, backupFolder: folder + "/backups") }
        try await database.write { _ = try $0.execute("INSERT INTO things (id, name) VALUES (2, 'b')") }
        try await database.migrate(
            [Migration(module: "test", version: 2, ["ALTER TABLE things ADD COLUMN size BIGINT"])], backupFolder: folder + "/backups")
        #expect(try await database.read { try $0.row("SELECT size FROM things WHERE id = 2")?["size"] } == .null)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/backups").contains { $0.hasSuffix(".sqlite") })
    }
}

@Suite("Logs")
struct FileTests {
    @Test("a log cut at any byte keeps every whole record before the cut, and can go on")
    func tornLog() throws {
        var random = Seeded(40)
        for _ in 0..<40 {
            let folder = try temporaryFolder()
            let records = (0..<Int.random(in: 1...60, using: &random)).map { _ in
                (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            }
            do {
                let log = try DurableLog(folder: folder, segmentBytesMax: 300)
                for record in records { try log.append([record]) }
            }
            let last = try #require(try FileManager.default.contentsOfDirectory(atPath: folder).sorted().last)
            let path = folder + "/" + last
            let size = try #require(FileManager.default.contents(atPath: path)?.count)
            truncate(path, off_t(Int.random(in: 0...size, using: &random)))
            let log = try DurableLog(folder: folder, segmentBytesMax: 300)
            try log.append([[1, 2, 3]])
            var read: [[UInt8]] = []
            try log.replay { record, _ in read.append(Array(record)) }
            #expect(read.last == [1, 2, 3])
            #expect(Array(records.prefix(read.count - 1)) == Array(read.dropLast()))
        }
    }

    @Test("a log can be read from any offset it has given")
    func offsets() throws {
        let log = try DurableLog(folder: temporaryFolder(), segmentBytesMax: 100)
        let offsets = try (0..<50).map { try log.append([[UInt8($0)]]) }
        for (i, offset) in offsets.enumerated() {
            var read: [UInt8] = []
            try log.replay(from: offset) { record, _ in read.append(record[0]) }
            #expect(read == (i + 1..<50).map(UInt8.init))
        }
    }
}
