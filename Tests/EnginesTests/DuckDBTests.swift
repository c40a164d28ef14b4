import Contracts
import Engines
import Foundation
import Testing

private func scratchFolder() throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("keel-engines-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
}

@Suite struct DuckDBTests {
    let connection: DuckDBConnection

    init() throws { connection = try DuckDB(settings: .init(folders: [NSTemporaryDirectory()], threads: 1)).connect() }

    /// Every type, 5,000 rows (more than two chunks), a null in every third row.
    private func everyType(_ rows: Int) throws -> Table {
        func column(_ type: DataType, _ value: (Int) -> Value) throws -> Column {
            try Column(type, values: (0..<rows).map { $0 % 3 == 1 ? .null : value($0) })
        }
        return try Table([
            ("row", Column(.int64, values: (0..<rows).map { .int(Int64($0)) })),
            ("b", column(.bool) { .bool($0 % 2 == 0) }),
            ("i", column(.int32) { .int(Int64($0) - 9) }),
            ("l", column(.int64) { .int(Int64.max - Int64($0)) }),
            ("f", column(.float32) { .double(Double($0) / 4) }),
            ("d", column(.float64) { .double(Double($0) / 3) }),
            ("s", column(.string) { $0 % 2 == 0 ? .string("né\($0)") : .string(String(repeating: "langer Text ", count: $0 % 5)) }),
            ("raw", column(.bytes) { .bytes([0, 255, UInt8($0 & 255)]) }),
            ("day", column(.date) { .date(Int32($0) - 100) }),
            ("at", column(.timestamp) { .timestamp(Timestamp(microseconds: 1_364_774_400_000_001 + Int64($0))) }),
            ("list", column(.list(.int64)) { row in .list((0..<row % 4).map { $0 == 2 ? .null : .int(Int64(row * 10 + $0)) }) }),
            ("words", column(.list(.string)) { row in .list((0..<row % 3).map { .string("a word that is not short \(row + $0)") }) }),
        ])
    }

    private func rows(_ table: Table) -> [[Value]] { (0..<table.rowCount).map(table.row) }

    @Test func everyTypeSurvivesTheWayInAndOut() throws {
        let table = try everyType(5000)
        try connection.insert(table, into: "every \"type\"")
        let back = try connection.query("SELECT * FROM \"every \"\"type\"\"\" ORDER BY row")
        #expect(back.names == table.names)
        #expect(back.columns.map(\.type) == table.columns.map(\.type))
        #expect(rows(back) == rows(table))
    }

    @Test func insertingAgainReplaces() throws {
        try connection.insert(everyType(10), into: "t")
        try connection.insert(everyType(3), into: "t")
        #expect(try connection.query("SELECT count(*) AS n FROM t")["n"]?[0] == 3)
        try connection.insert(Table(emptyOf: [Field("a", .string)]), into: "t")
        #expect(try connection.query("SELECT * FROM t").rowCount == 0)
        #expect(try connection.query("SELECT * FROM t").names == ["a"])
    }

    @Test func parametersOfEveryKindAreBound() throws {
        let values: [Value] = [
            .null, .bool(true), .int(-5), .double(2.5), .string("it's; DROP TABLE x"), .bytes([0, 1]), .date(15_800),
            .timestamp(Timestamp(microseconds: 7)), .list([.int(1), .null, .int(3)]), .list([]), .string(""),
        ]
        let selected = (1...values.count).map { "$\($0) AS c\($0)" }.joined(separator: ", ")
        let table = try connection.query("SELECT \(selected)", values)
        #expect(Array(table.row(0)) == values)
        #expect(table["c8"]?.type == .timestamp)
    }

    @Test func otherTypesBecomeTheNearestOfOurs() throws {
        let table = try connection.query(
            """
            SELECT 1::TINYINT a, 2::USMALLINT b, 3::UINTEGER c, 4::UBIGINT d, sum(x)  e, 1.25::DECIMAL(9,2) f, -1234567890123.5::DECIMAL(38,1) g,
              'b'::ENUM('a','b') h, '0f0e0d0c-0b0a-4908-8706-050403020100'::UUID i, TIMESTAMPTZ '2013-07-01 12:00:00+02' j,
              TIMESTAMP_S '2013-07-01 10:00:00' k, NULL l, [1, 2, 3]::INTEGER[3] m, TIMESTAMP_NS '1969-12-31 23:59:59.999999999' n
            FROM range(5) r(x)
            """)
        let at = try #require(Timestamp("2013-07-01T10:00:00Z"))
        #expect(
            table.row(0) == [
                1, 2, 3, 4, 10, 1.25, -1_234_567_890_123.5, "b", "0f0e0d0c-0b0a-4908-8706-050403020100", .timestamp(at), .timestamp(at),
                .null, .list([1, 2, 3]), .timestamp(Timestamp(microseconds: -1)),
            ])
        #expect(table["m"]?.type == .tensor(.int32, shape: [3]))
    }

    @Test func valuesAndTypesThatDoNotFitAreErrorsThatSayToCast() {
        let tooLarge = #expect(throws: KeelError.self) {
            try self.connection.query("SELECT 170141183460469231731687303715884105727::HUGEINT AS big")
        }
        #expect(tooLarge?.code == .invalidArgument)
        #expect(tooLarge?.message.contains("big") == true)
        let time = #expect(throws: KeelError.self) { try self.connection.query("SELECT {'a': 1} AS thing") }
        #expect(time?.message.contains("STRUCT") == true)
        #expect(time?.hint?.contains("cast") == true)
    }

    @Test func errorsCarryDuckDBsMessage() {
        let unknown = #expect(throws: KeelError.self) { try self.connection.query("SELECT * FROM no_such_table") }
        #expect(unknown?.code == .invalidArgument)
        #expect(unknown?.message.contains("no_such_table") == true)
        #expect(throws: KeelError.self) { try self.connection.query("SELECT ?::INTEGER", ["not a number"]) }
        #expect(throws: KeelError.self) { try self.connection.query("SELECT ?, ?", [1]) }
        #expect(throws: KeelError.self) { try self.connection.query("SELECT 1 AS a, 2 AS a") }
        let absent = #expect(throws: KeelError.self) {
            try self.connection.query("SELECT * FROM '\(NSTemporaryDirectory())nonexistent-*.parquet'")
        }
        #expect(absent?.code == .notFound)
    }

    @Test func chunksStreamAndStopWhenAsked() throws {
        var (sum, chunks): (Int64, Int) = (0, 0)
        try connection.forEachChunk("SELECT i FROM range(100000) r(i) WHERE i >= ?", [10]) { table in
            chunks += 1
            for row in 0..<table.rowCount { sum += table.columns[0][row].integer ?? 0 }
            return true
        }
        #expect(sum == 4_999_950_000 - 45)
        #expect(chunks > 10)
        chunks = 0
        try connection.forEachChunk("SELECT i FROM range(100000) r(i)") { _ in
            chunks += 1
            return chunks < 3
        }
        #expect(chunks == 3)
        #expect(try connection.query("SELECT 1 AS one").rowCount == 1)
    }

    @Test func parquetIsWrittenWholeAndReadBack() throws {
        let folder = try scratchFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("it's.parquet").path
        let table = try everyType(3000)
        try connection.writeParquet(table, to: path)
        let back = try connection.query("SELECT * FROM \(DuckDBConnection.parquet([path])) ORDER BY row")
        #expect(rows(back) == rows(table))
        let count = try connection.writeParquet(query: "SELECT row FROM \(DuckDBConnection.parquet([path])) WHERE row < ?", [10], to: path)
        #expect(count == 10)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["it's.parquet"])
        #expect(throws: KeelError.self) { try self.connection.writeParquet(query: "SELECT error('half way')", to: path) }
        #expect(throws: KeelError.self) { try self.connection.writeParquet(table, to: "/nonexistent/folder/x.parquet") }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["it's.parquet"])
    }

    @Test func theTimeZoneIsUTCAndZonesAreKnown() throws {
        let table = try connection.query("SELECT timezone('America/New_York', TIMESTAMP '2013-07-01 12:00') AS at")
        #expect(table["at"]?[0].time == Timestamp("2013-07-01T16:00:00Z"))
        #expect(try connection.query("SELECT current_setting('TimeZone') AS zone")["zone"]?[0] == "UTC")
    }

    @Test func invalidTextIsRefusedBeforeItReachesTheEngine() throws {
        var texts = TextBuffer()
        texts.append([0xC3, 0x28])
        let table = try Table([("t", Column(.string, .text(texts)))])
        let error = #expect(throws: KeelError.self) { try self.connection.insert(table, into: "x") }
        #expect(error?.path == "t[0]")
    }

    @Test func settingsThatDuckDBDoesNotKnowAreErrors() {
        #expect(throws: KeelError.self) { try DuckDB(settings: .init(options: ["no_such_setting": "1"])) }
        #expect(throws: KeelError.self) { try DuckDB(path: "/nonexistent/folder/db") }
    }

    @Test func aDatabaseOpenedAtFirstUseIsOneForAllWhoConnect() async throws {
        #expect(throws: KeelError.self) { try DuckDB(openedAtFirstUse: .init(options: ["no_such_setting": "1"])).connect() }
        let database = DuckDB(openedAtFirstUse: .init(threads: 1))
        let connections = try await withThrowingTaskGroup(of: DuckDBConnection.self) { group in
            for _ in 0..<8 { group.addTask { try database.connect() } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        try connections[0].execute("CREATE TABLE t AS SELECT 7 AS x")
        for connection in connections { #expect(try connection.query("SELECT x FROM t")["x"]?[0].integer == 7) }
    }

    @Test func anInterruptedQueryIsCancelled() async throws {
        let running = Task.detached { [connection] in
            try connection.query("SELECT count(*) AS n FROM range(1000000000) a(i), range(1000000000) b(j) WHERE hash(i + j) % 1000003 = 7")
        }
        let interrupting = Task.detached { [connection] in
            while !Task.isCancelled {
                connection.interrupt()
                try await Task.sleep(for: .milliseconds(10))
            }
        }
        let error = await #expect(throws: KeelError.self) { try await running.value }
        interrupting.cancel()
        #expect(error?.code == .cancelled)
    }

    @Test func connectionsOfOneDatabaseWorkAtTheSameTime() async throws {
        let database = try DuckDB(settings: .init(threads: 1))
        try database.connect().execute("CREATE TABLE shared AS SELECT i FROM range(1000) r(i)")
        let sums = try await withThrowingTaskGroup(of: Int64?.self) { group in
            for _ in 0..<4 {
                group.addTask { try database.connect().query("SELECT sum(i)::BIGINT AS s FROM shared")["s"]?[0].integer }
            }
            return try await group.reduce(into: [Int64?]()) { $0.append($1) }
        }
        #expect(sums == Array(repeating: 499_500, count: 4))
    }
}
