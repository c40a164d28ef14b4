import Contracts
import Engines
import Foundation
import TestSupport
import Testing

/// What DuckDB may do, and what is read from Parquet.
@Suite struct ParquetFileTests {
    private let folder = NSTemporaryDirectory() + "keel-parquet-\(Identifier.hex32())/env=prod/part[1]"
    private let connection: DuckDBConnection

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        connection = try DuckDB(
            settings: .init(folders: [folder], threads: 1, memoryBytesMax: 700 << 20, temporaryDirectory: folder + "/spill")
        )
        .connect()
    }

    private func write(_ select: String) throws -> ParquetFile {
        let path = folder + "/\(Identifier.hex32()).parquet"
        try connection.writeParquet(query: select, to: path)
        return try ParquetFile(path: path, name: "sent.parquet", connection: connection)
    }

    private static let limits = ParquetFile.Limits(rowsMax: 1000, bytesMax: 4 << 20, textBytesMax: 1 << 20)

    private func tables(_ file: ParquetFile, _ limits: ParquetFile.Limits = limits) throws -> [Table] {
        var out: [Table] = []
        try file.forEachTable(of: file.columns.map { ($0, false) }, limits) { out.append($0) }
        return out
    }

    @Test("V2: a path that looks like a partition gives no column and changes none")
    func partitions() throws {
        let path = folder + "/env=other.parquet"
        try connection.writeParquet(query: "SELECT 'own' AS env, 1 AS v", to: path)
        let read = try connection.query("SELECT * FROM \(DuckDBConnection.parquet([path]))")
        #expect(read.names == ["env", "v"] && read["env"]?[0] == "own")
        let rows = ParquetRows([path], [Field("v", .int64), Field("env", .string)])
        #expect(try connection.query("SELECT \(rows.column("env")) AS e FROM \(rows.sql)")["e"]?[0] == "own")
        let file = try ParquetFile(path: path, name: "x", connection: connection)
        #expect(file.columns.map(\.name) == ["env", "v"])
        #expect(try tables(file)[0]["env"]?[0] == "own")
    }

    @Test(
        "S5: SQL reaches no file outside the folders, no network, no extension and no setting",
        arguments: [
            "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM glob('/etc/*')", "SELECT * FROM '/etc/passwd'",
            "COPY (SELECT 1) TO '/tmp/keel-escape.csv'", "ATTACH '/tmp/keel-escape.db'", "INSTALL httpfs", "LOAD httpfs",
            "INSTALL h3 FROM community", "SELECT * FROM read_parquet('https://127.0.0.1:1/x.parquet')", "SET memory_limit = '90%'",
            "SET enable_external_access = true", "SET GLOBAL lock_configuration = false", "RESET allowed_directories", "SET threads = 64",
            "SET TimeZone = 'Europe/Berlin'",
        ])
    func confinement(sql: String) throws {
        #expect(throws: KeelError.self) { try self.connection.execute(sql) }
        #expect(
            !FileManager.default.fileExists(atPath: "/tmp/keel-escape.csv")
                && !FileManager.default.fileExists(atPath: "/tmp/keel-escape.db"))
        #expect(throws: KeelError.self) { try self.connection.execute("SELECT * FROM read_text('\(self.folder)/../../x')") }
    }

    @Test("S5: queries have a limit on memory, and spill within their folder")
    func memory() throws {
        let settings = try connection.query("SELECT current_setting('memory_limit') AS memory, current_setting('temp_directory') AS spill")
        #expect(settings["memory"]?[0] == "700.0 MiB" && settings["spill"]?[0].text == folder + "/spill")
        let standard = try DuckDB().connect().query(
            "SELECT current_setting('memory_limit') AS m, current_setting('max_temp_directory_size') AS s")
        #expect(standard["m"]?[0].text?.hasSuffix("iB") == true && standard["s"]?[0].text == "64.0 GiB")
        #expect(throws: KeelError.self) {
            try DuckDB(settings: .init(memoryBytesMax: 64 << 20, temporaryDirectory: self.folder + "/little", spillBytesMax: 1 << 20))
                .connect()
                .query("SELECT count(*) FROM (SELECT DISTINCT repeat(md5(i::VARCHAR), 10) FROM range(2000000) r(i))")
        }
    }

    @Test("S5: tables are bounded in bytes where texts are long, in order and complete")
    func bounded() throws {
        let long = try write(
            "SELECT i AS n, CASE WHEN i % 3 = 0 THEN repeat('ä', 200000 + i::INTEGER) ELSE 'short' END AS x FROM range(700) r(i)")
        let parts = try tables(long)
        var next = 0
        for part in parts {
            guard case .text(let texts) = try part.column("x").buffer else { return }
            #expect(texts.bytes.count <= ParquetFileTests.limits.bytesMax)
            for row in 0..<part.rowCount {
                #expect(try part.column("n")[row].integer == Int64(next))
                #expect(texts.bytes(row).count == (next % 3 == 0 ? 2 * (200_000 + next) : 5))
                next += 1
            }
        }
        #expect(next == 700 && parts.count > 20)
        // A text beyond the limit is cut, but is seen to be beyond it.
        let giant = try write("SELECT repeat('x', 30000000) AS x, repeat('\\x01'::BLOB, 3000000) AS b UNION ALL SELECT 'ok', 'ok'::BLOB")
        let read = try tables(giant)
        guard case .text(let texts) = try read[0].column("x").buffer, case .text(let blobs) = try read[0].column("b").buffer else { return }
        #expect(
            texts.offsets[1] == ParquetFileTests.limits.textBytesMax + 1 && blobs.offsets[1] == ParquetFileTests.limits.textBytesMax + 1)
        #expect(try read.last?.column("x")[read[read.count - 1].rowCount - 1] == "ok")
        var total = ParquetFileTests.limits
        total.totalBytesMax = 1 << 20
        let error = #expect(throws: KeelError.self) { try self.tables(long, total) }
        #expect(error?.code == .payloadTooLarge)
    }

    @Test("G1: columns that no table holds do not keep the others from being read")
    func others() throws {
        let file = try write(
            "SELECT 1 AS a, {'x': 2} AS s, MAP {'k': 3} AS m, TIME '01:02:03' AS t, 18446744073709551615::UBIGINT AS u, NULL AS n, [4] AS l, INTERVAL 1 DAY AS i"
        )
        #expect(file.columns.map(\.name) == ["a", "s", "m", "t", "u", "n", "l", "i"])
        #expect(
            file.columns.map(\.content).enumerated().filter { $0.offset != 5 }.map(\.element) == [
                .values(.int32), .other, .other, .other, .decimals, .other, .other,
            ])
        var read: [Table] = []
        try file.forEachTable(of: [(file.columns[0], false), (file.columns[4], false)], ParquetFileTests.limits) { read.append($0) }
        #expect(read[0].row(0) == [1, "18446744073709551615"])
        #expect(try file.isEmpty(file.columns[5]) && !file.isEmpty(file.columns[0]))
    }

    @Test("V1: a decimal is the float64 nearest to it", arguments: UInt64(0)..<30)
    func decimals(seed: UInt64) throws {
        var random = Seeded(seed)
        var literals: [String] = []
        for _ in 0..<100 {
            let scale = Int.random(in: 0...37, using: &random)
            func digits(_ count: Int) -> String { (0..<count).map { _ in String(Int.random(in: 0...9, using: &random)) }.joined() }
            let whole =
                "\(Bool.random(using: &random) ? "-" : "")\(Int.random(in: 0...9, using: &random))\(digits(Int.random(in: 0...(37 - scale), using: &random)))"
            literals.append(scale == 0 ? whole : "\(whole).\(digits(scale))")
        }
        literals += ["12345.678900000000000000", "123456.789012", "2805.000", "0.1", "9007199254740993", "-0.05"]
        for literal in literals {
            let scale = literal.split(separator: ".", omittingEmptySubsequences: false).dropFirst().first?.count ?? 0
            let read = try connection.query("SELECT '\(literal)'::DECIMAL(38, \(scale)) AS d")
            #expect(read["d"]?[0].number == Double(literal), "\(literal)")
        }
    }

    /// A file without rows whose one column lies in structs so deep.
    private func nested(_ levels: Int) throws -> String {
        // Thrift's compact protocol: repetition, name, number of children.
        let parent: [UInt8] = [0x35, 0x02, 0x18, 1, UInt8(ascii: "x"), 0x15, 0x02, 0]
        let leaf: [UInt8] = [0x15, 0x04, 0x25, 0x02, 0x18, 1, UInt8(ascii: "x"), 0]
        let root: [UInt8] = [0x48, 1, UInt8(ascii: "r"), 0x15, 0x02, 0]
        let count = levels + 1
        var footer: [UInt8] = [0x15, 0x02, 0x19, 0xfc, UInt8(count & 127 | 128), UInt8(count >> 7)] + root
        for _ in 1..<levels { footer += parent }
        footer += leaf + [0x16, 0, 0x19, 0x0c, 0]
        let length = (0..<4).map { UInt8(footer.count >> (8 * $0) & 255) }
        let path = folder + "/nested.parquet"
        try Data(Array("PAR1".utf8) + footer + length + Array("PAR1".utf8)).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test("columns that lie in each other without an end are refused before DuckDB follows them")
    func levels() throws {
        let plain = try ParquetFile(path: try nested(20), name: "sent.parquet", connection: connection)
        #expect(plain.columns.map(\.name) == ["x"])
        let error = #expect(throws: KeelError.self) {
            try ParquetFile(path: try self.nested(200), name: "sent.parquet", connection: self.connection)
        }
        #expect(error?.code == .corrupted && error?.message.contains("more than 100 deep") == true)
    }

    @Test("the footer of every type is looked through")
    func everyType() throws {
        let file = try write(
            """
            SELECT i AS a, i::VARCHAR AS b, [i, i + 1] AS c, {'x': i, 'y': {'z': [i0]}} AS d, MAP {i: 'v'} AS e, i::DECIMAL(20, 3) AS f,
                TRUE AS g, 1.5::DOUBLE AS h, NULL AS k, uuid() AS u FROM (SELECT DATE '2024-01-01' + i::INTEGER AS i0, i FROM range(5000) t(i))
            """)
        #expect(file.columns.map(\.name) == ["a", "b", "c", "d", "e", "f", "g", "h", "k", "u"])
    }

    @Test("damaged Parquet is named as its sender knows it")
    func damaged() throws {
        for bytes in ["", "PAR1", "PAR1 nothing of the kind PAR1", String(repeating: "x", count: 1000)] {
            let path = folder + "/damaged.parquet"
            try Data(bytes.utf8).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: KeelError.self) { try ParquetFile(path: path, name: "sent.parquet", connection: self.connection) }
            #expect(
                error?.code == .corrupted && error?.message.contains("'sent.parquet'") == true && error?.message.contains(folder) == false)
        }
    }
}
