import Contracts
import Datasets
import Engines
import Foundation
import Testing

/// What is read is what was written: exact, or refused.
@Suite struct ReaderTests {
    private static let pair =
        #"{"columns": [{"name": "a", "type": "string", "nullable": true}, {"name": "b", "type": "string", "nullable": true}]}"#

    private func columns(_ list: [(String, String)], _ more: String = "") throws -> DatasetSpec {
        let columns = list.map { #"{"name": "\#($0.0)", "type": "\#($0.1)", "nullable": true}"# }.joined(separator: ", ")
        return try dataset("t", "{\(more)\"columns\": [\(columns)]}")
    }

    private func values(_ table: Table, _ column: String) -> [Value] { (0..<table.rowCount).map { table[column]?[$0] ?? .null } }

    private func parquet(_ estate: Estate, _ select: String) throws -> String {
        let path = "\(estate.home)/\(Identifier.hex32()).parquet"
        try DuckDB(settings: .init(folders: [estate.home])).connect().writeParquet(query: select, to: path)
        return path
    }

    // MARK: Quotes

    @Test("V3: a quote that is not closed refuses the file with the line where it opens", arguments: [10, 1000, 200_000])
    func unclosed(rows: Int) async throws {
        let estate = try await Estate([try dataset("t", ReaderTests.pair)])
        let before = try await estate.ingest("t", csv: "a,b\n0,x\n")
        let filler = String(repeating: "y", count: rows > 1000 ? 250 : 3)
        for tail in ["", "\"", "\"z\n"] {
            var text = "a,b\n1,\"two\nlines\"\n"
            for i in 0..<rows { text += i == 4 ? "\(i),\"open\n" : "\(i),\(filler)\n" }
            // A quote far behind either closes nothing, or is followed by what cannot follow a closing one.
            if !tail.isEmpty { text += "9,\(tail == "\"" ? "\"late\",x\n" : tail)" }
            let error = await #expect(throws: KeelError.self) { try await estate.ingest("t", csv: text) }
            #expect(
                error?.path?.hasSuffix(".csv:8") == true && error?.message.contains("no closing quote") == true,
                "\(String(describing: error))")
        }
        #expect(try await estate.data.snapshot("t") == before.snapshot)
        #expect(try estate.lakeFiles("t").count == 1)
    }

    @Test("V3: the collection csv-spectrum gives exactly its values")
    func spectrum() async throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let folder = root.deletingLastPathComponent().path + "/shared/qa/collections/csv-spectrum"
        guard FileManager.default.fileExists(atPath: folder) else { return }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/csvs").filter { $0.hasSuffix(".csv") }
        #expect(names.count >= 11)
        for name in names {
            let json = folder + "/json/" + name.replacing(".csv", with: ".json")
            let expected = try #require(try JSON.parse([UInt8](Data(contentsOf: URL(fileURLWithPath: json)))).array)
            let fields = try #require(expected.first?.members?.map(\.key))
            let spec = fields.map { JSON.object([.init("name", .string($0)), .init("type", "string")]) }
            let estate = try await Estate([
                try dataset("t", JSON.object([.init("columns", .array(spec)), .init("nulls", .array([]))]).text)
            ])
            let report = try await estate.ingest("t", "\(folder)/csvs/\(name)")
            #expect(report.rows == expected.count && report.quarantined == 0, "\(name): \(report.reasons)")
            let table = try await estate.read("t")
            for (i, row) in expected.enumerated() {
                for field in fields { #expect(table[field]?[i].text == row[field]?.string, "\(name), row \(i), \(field)") }
            }
        }
    }

    // MARK: Numbers

    @Test("V1: whole numbers that the declared type does not hold exactly are refused on every way in")
    func wholeNumbers() async throws {
        let spec = try columns([("id", "int64"), ("d", "float64"), ("f", "float32")])
        let exact = ["9007199254740993", "9007199254740992", "16777216"]
        let rows: [[String]] = [
            exact, ["1", "9007199254740993", "1"], ["2", "2", "16777217"], ["9223372036854775807", "3", "3"],
            ["9223372036854775808", "4", "4"],
        ]
        for way in ["csv", "jsonl", "parquet", "push"] {
            let estate = try await Estate([spec])
            switch way {
            case "csv": _ = try await estate.ingest("t", csv: "id,d,f\n" + rows.map { $0.joined(separator: ",") + "\n" }.joined())
            case "parquet":
                let select = rows.map { "SELECT \($0[0])::DECIMAL(38,0) AS id, \($0[1])::BIGINT AS d, \($0[2])::DECIMAL(20,2) AS f" }
                _ = try await estate.ingest("t", try parquet(estate, select.joined(separator: " UNION ALL ")))
            default:
                let objects = rows.map { "{\"id\": \($0[0]), \"d\": \($0[1]), \"f\": \($0[2])}" }
                if way == "push" {
                    _ = try estate.push("t", "{\"rows\": [\(objects.joined(separator: ","))]}")
                    _ = try await estate.data.seal(dataset: "t", grant: try Estate.may(.datasetsIngest))
                } else {
                    _ = try await estate.ingest("t", try estate.file("x.jsonl", objects.joined(separator: "\n")))
                }
            }
            let table = try await estate.read("t")
            #expect(values(table, "id") == [9_007_199_254_740_993, 9_223_372_036_854_775_807], "\(way)")
            #expect(table["d"]?[0].number == 9_007_199_254_740_992 && table["f"]?[0].number == 16_777_216, "\(way)")
            #expect(try await estate.quarantine("t", 1).count == 3, "\(way)")
        }
    }

    @Test("V1: decimals arrive as they were written, or go to quarantine with the value")
    func decimals() async throws {
        let estate = try await Estate([try columns([("x", "float64"), ("y", "float32")])])
        let path = try parquet(
            estate,
            """
            SELECT * FROM (VALUES ('12345.678900000000000000', '0.5'), ('123456.789012', '0.1'), ('0.123456789012345678', '1'), ('1', '16777217.0000000001'),
              ('-0.05', '-2805.25')) v(x, y)
            """)
        let typed = try parquet(estate, "SELECT x::DECIMAL(38,18) AS x, y::DECIMAL(38,18) AS y FROM \(DuckDBConnection.parquet([path]))")
        let report = try await estate.ingest("t", typed)
        let table = try await estate.read("t")
        #expect(values(table, "x") == [12345.6789, 123456.789012, -0.05])
        #expect(values(table, "y") == [0.5, .double(Double(Float(0.1))), -2805.25])
        #expect(report.quarantined == 2)
        let reasons = try await estate.quarantine("t", 1).map(\.reason)
        #expect(reasons[0].contains("0.123456789012345678") && reasons[1].contains("16777217.0000000001"))
    }

    @Test("V1: a float32 is the nearest to the text, also where a float64 between would round twice")
    func float32() async throws {
        let estate = try await Estate([try columns([("f", "float32")])])
        let texts = ["0.1", "16777217.0000000001", "1.000000059604644775390625", "1.0000000596046447753906251", "3.4e38", "1e-46"]
        _ = try await estate.ingest("t", csv: "f\n" + texts.joined(separator: "\n") + "\n")
        let table = try await estate.read("t")
        #expect(values(table, "f") == texts.map { .double(Double(Float($0) ?? 0)) })
    }

    @Test("G2: NaN is null on every way in, and a column without values has any type")
    func absent() async throws {
        let spec = try columns([("x", "float64"), ("y", "float32"), ("n", "timestamp")], #""nulls": ["-"], "#)
        let estate = try await Estate([spec])
        _ = try await estate.ingest("t", csv: "x,y,n\nNaN,nan,-\n1,2,-\n")
        let select = "SELECT unnest(['nan'::DOUBLE, 1]) AS x, unnest(['nan'::DOUBLE, 2]) AS y, NULL::INTEGER AS n"
        let report = try await estate.ingest("t", try parquet(estate, select))
        #expect(report.quarantined == 0, "\(report.reasons)")
        let rows = try Table([
            ("x", Column(.float32, .float32([.nan, 1]))), ("y", Column(.float64, .float64([.nan, 2]))),
            ("n", Column(.int32, .int32([0, 0]), validity: Bitmap(repeating: false, count: 2))),
        ])
        #expect(try estate.data.push(dataset: "t", rows: rows, grant: try Estate.may(.eventsPush)).rejected.isEmpty)
        _ = try await estate.data.seal(dataset: "t", grant: try Estate.may(.datasetsIngest))
        let table = try await estate.read("t")
        #expect(table.rowCount == 6)
        for i in 0..<6 { #expect(table.row(i) == (i % 2 == 0 ? [.null, .null, .null] : [1.0, 2.0, .null])) }
        // Infinity is a value that no column holds.
        #expect(
            try await estate.ingest("t", try parquet(estate, "SELECT 'inf'::DOUBLE AS x, 1.0::FLOAT AS y, NULL::INTEGER AS n")).quarantined
                == 1)
    }

    @Test("G1: of a Parquet file only declared columns are read; others must be ignored, whatever they hold")
    func declared() async throws {
        let estate = try await Estate([try columns([("a", "int32")], #""ignore": ["s", "m", "t", "u"], "#)])
        let select = "SELECT 1 AS a, {'x': 2} AS s, MAP {'k': 3} AS m, TIME '01:02:03' AS t, 18446744073709551615::UBIGINT AS u"
        #expect(try await estate.ingest("t", try parquet(estate, select)).rows == 1)
        let unknown = await #expect(throws: KeelError.self) {
            try await estate.ingest("t", try parquet(estate, "SELECT 1 AS a, {'x': 2} AS z"))
        }
        #expect(unknown?.message.contains("'z'") == true)
        let wrong = await #expect(throws: KeelError.self) { try await estate.ingest("t", try parquet(estate, "SELECT {'x': 2} AS a")) }
        #expect(wrong?.message.contains("STRUCT") == true && wrong?.message.contains(estate.home) == false)
    }

    // MARK: Encodings and packs

    @Test("G7: UTF-16 with a byte order mark is read, without one it is named")
    func utf16() async throws {
        let text = "a,b\n1,\"grüße, 😀\nund mehr\"\n2,x\n" + (0..<40_000).map { "\($0),ü\n" }.joined()
        for little in [true, false] {
            let units = text.utf16.flatMap { little ? [UInt8($0 & 255), UInt8($0 >> 8)] : [UInt8($0 >> 8), UInt8($0 & 255)] }
            let estate = try await Estate([try dataset("t", ReaderTests.pair)])
            let path = try estate.file("x.csv", (little ? [0xff, 0xfe] : [0xfe, 0xff]) + units)
            #expect(try await estate.ingest("t", path).rows == 40_002)
            #expect(try await estate.read("t")["b"]?[0] == "grüße, 😀\nund mehr")
            for (name, bytes) in [
                ("bare.csv", units), ("odd.csv", [0xff, 0xfe, 0x61]), ("lone.csv", [0xff, 0xfe, 0x00, 0xd8, 0x61, 0x00]),
            ] {
                let error = await #expect(throws: KeelError.self) { try await estate.ingest("t", try estate.file(name, bytes)) }
                #expect(error?.message.contains("UTF-16") == true && error?.hint == "save it as UTF-8")
            }
        }
    }

    @Test("G7: a JSON array is read row by row; what is no valid array refuses the file")
    func array() async throws {
        let estate = try await Estate([try columns([("a", "int64"), ("b", "string")])])
        let rows = (0..<50_000).map { #"{"a": \#($0), "b": "x ] } , \" \\ \#($0)"}"# }
        let report = try await estate.ingest("t", try estate.file("x.json", " \n[" + rows.joined(separator: ",\n") + "]\n"))
        #expect(report.rows == 50_000 && report.quarantined == 0)
        #expect(try await estate.read("t")["b"]?[49_999] == #"x ] } , " \ 49999"#)
        let mixed = try await estate.ingest("t", try estate.file("y.json", "[{\"a\": 1},\n 7, [2],\n{\"c\": 1}, {\"a\": 2}]"))
        #expect(mixed.rows == 2)
        #expect(try await estate.quarantine("t", 2).map(\.line) == [2, 2, 3])
        #expect(try await estate.ingest("t", try estate.file("empty.json", "[ ]")).rows == 0)
        for text in ["[{\"a\": 1}", "[{\"a\": 1} {\"a\": 2}]", "[{\"a\": 1},]", "[{\"a\": }]", "[{\"a\": 1}] x", "[", "[{\"a\": \"]}"] {
            let error = await #expect(throws: KeelError.self, "\(text)") { try await estate.ingest("t", try estate.file("z.json", text)) }
            #expect(error?.path?.hasPrefix("z.json:") == true)
        }
        #expect(try await estate.data.snapshot("t")?.number == 3)
    }

    @Test("G7: what macOS adds to an archive does not count, and other packs say how to unpack them")
    func packs() async throws {
        let estate = try await Estate([try dataset("t", ReaderTests.pair)])
        let make = """
            import sys, zipfile
            with zipfile.ZipFile(sys.argv[1], 'w') as z:
                for name in sys.argv[2:]: z.writestr(name, 'a,b\\n1,2\\n')
            """
        try python(make, [estate.home + "/mac.zip", "data/a.csv", "__MACOSX/data/._a.csv", "data/.DS_Store", "._a.csv"])
        #expect(try await estate.ingest("t", estate.home + "/mac.zip").rows == 1)
        try python(make, [estate.home + "/two.zip", "a.csv", "b.csv"])
        let several = await #expect(throws: KeelError.self) { try await estate.ingest("t", estate.home + "/two.zip") }
        #expect(several?.message == "'two.zip' holds 2 files: a.csv, b.csv" && several?.hint == "name one, as in 'two.zip#a.csv'")
        #expect(try await estate.ingest("t", estate.home + "/two.zip", member: "b.csv").rows == 1)
        let none = await #expect(throws: KeelError.self) { try await estate.ingest("t", estate.home + "/two.zip", member: "c.csv") }
        #expect(none?.code == .notFound && none?.description.contains(estate.home) == false)
        let zstd = await #expect(throws: KeelError.self) {
            try await estate.ingest("t", try estate.file("x.csv.zst", [0x28, 0xb5, 0x2f, 0xfd, 0, 0]))
        }
        #expect(zstd?.hint?.contains("zstd -d x.csv.zst") == true)
        let nameless = await #expect(throws: KeelError.self) { try await estate.ingest("t", try estate.file("data", "a,b\n")) }
        #expect(nameless?.message.contains("'data'") == true && nameless?.description.contains(estate.home) == false)
    }

    // MARK: Snapshots

    @Test("G4: an ingest that overwrites replaces all rows, the stream's too; earlier snapshots stay")
    func overwrite() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let header = "id,at,miles,kind,note\n"
        _ = try await estate.ingest("trips", csv: header + "1,2013-01-01,1,bus,old\n2,2013-01-02,1,bus,old\n")
        _ = try estate.push("trips", #"{"rows": [{"id": 3, "at": "2013-01-03", "miles": 1, "kind": "bus"}]}"#)
        let path = try estate.file("new.csv", header + "1,2013-02-01,1,bus,new\n1,2013-02-01,1,bus,again\n3,2013-02-03,1,bus,new\n")
        let report = try await estate.ingest("trips", path, overwrite: true)
        #expect((report.snapshot.number, report.rows, report.quarantined) == (3, 2, 1))
        #expect(report.snapshot.rowCount == 2 && report.snapshot.eventTimes?.lowerBound == Timestamp("2013-02-01"))
        func ids(_ snapshot: Int?) async throws -> [Int64?] {
            let table = try await estate.read("trips", snapshot)
            return (0..<table.rowCount).map { table["id"]?[$0].integer }
        }
        #expect(try await ids(1) == [1, 2])
        #expect(try await ids(2) == [1, 2, 3])
        #expect(try await ids(nil) == [1, 3])
        #expect(report.snapshot.profile?.rowCount == 2)
        // A refused overwrite leaves everything, and keys are those of the new rows.
        await #expect(throws: KeelError.self) { try await estate.ingest("trips", try estate.file("bad.csv", "x\n"), overwrite: true) }
        #expect(try estate.push("trips", #"{"rows": [{"id": 2, "at": "2013-01-02", "miles": 1, "kind": "bus"}]}"#).accepted.rowCount == 1)
        #expect(try estate.push("trips", #"{"rows": [{"id": 3, "at": "2013-01-02", "miles": 1, "kind": "bus"}]}"#).rejected.count == 1)
        let reopened = try await Estate(home: estate.home, [try dataset("trips", trips)])
        #expect(try reopened.push("trips", #"{"rows": [{"id": 1, "at": "2013-01-02", "miles": 1, "kind": "bus"}]}"#).rejected.count == 1)
        #expect(try await reopened.ingest("trips", csv: header + "7,2013-03-01,1,bus,\n").snapshot.rowCount == 3)
        #expect(try await reopened.read("trips", 3).rowCount == 2)
    }

    @Test("D10: a file of the lake that was changed is named, and not read")
    func damage() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let report = try await estate.ingest("trips", csv: IngestTests.good)
        #expect(try await estate.read("trips").rowCount == 1)
        let file = try #require(report.snapshot.files.first)
        let path = "\(estate.home)/lake/\(file.path)"
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[bytes.count / 3] ^= 1
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.write(contentsOf: bytes)
        try handle.close()
        let error = await #expect(throws: KeelError.self) { try await estate.read("trips") }
        #expect(error?.code == .corrupted && error?.message.contains(file.path) == true)
        await #expect(throws: KeelError.self) { try await estate.data.verify(file, of: "trips") }
        // Keys are not taken from it either.
        let reopened = try await Estate(home: estate.home, [try dataset("trips", trips)])
        #expect(throws: KeelError.self) {
            try reopened.push("trips", #"{"rows": [{"id": 9, "at": "2013-01-02", "miles": 1, "kind": "bus"}]}"#)
        }
    }

    @Test("S5: a batch of long rows is bounded by its bytes, however few they are")
    func batches() async throws {
        let estate = try await Estate([try dataset("t", ReaderTests.pair)])
        let long = String(repeating: "z", count: 900_000)
        let text = "a,b\n" + (0..<150).map { "\($0),\(long)\n" }.joined()
        #expect(try await estate.ingest("t", csv: text).rows == 150)
        let path = try parquet(estate, "SELECT i::VARCHAR AS a, repeat('y', 900000) AS b FROM range(300) r(i)")
        let report = try await estate.ingest("t", path)
        // 405 MB of text: a part of the lake ends at 64 MiB and a batch.
        #expect(report.rows == 300 && report.snapshot.files.count >= 5)
        #expect(try await estate.data.read(dataset: "t", columns: ["a"], grant: try Estate.may(.datasetsRead))["a"]?[449] == "299")
    }
}
