import Contracts
import Datasets
import Testing

@Suite struct DatasetSpecTests {
    @Test func aContractIsDecodedStrictly() throws {
        let spec = try dataset("trips", trips)
        #expect(spec.schema.names == ["id", "at", "miles", "kind", "note"])
        #expect(spec.schema["miles"]?.maximum == 100)
        #expect(spec.schema.key == ["id"])
        let error = #expect(throws: KeelError.self) { try dataset("t", #"{"columns": [{"name": "a", "type": "int64", "rang": [0, 1]}]}"#) }
        #expect(error?.path == "spec.columns[0].rang")
        #expect(error?.hint?.contains("range") == true)
        #expect(throws: KeelError.self) { try dataset("t", #"{"columns": [{"name": "a", "type": "int46"}]}"#) }
        #expect(throws: KeelError.self) { try dataset("t", #"{"columns": [{"name": "a", "type": "string", "pattern": "(["}]}"#) }
        #expect(throws: KeelError.self) {
            try dataset("t", #"{"columns": [{"name": "a", "type": "timestamp", "zone": "America/New_Pork"}]}"#)
        }
    }

    @Test func rangesThatBeginAboveTheirEndAreRefused() throws {
        let column = #expect(throws: KeelError.self) {
            try dataset("t", #"{"columns": [{"name": "a", "type": "int64", "range": [1000, 0]}]}"#)
        }
        #expect(column?.path == "spec.columns[0].range")
        let batch = #expect(throws: KeelError.self) {
            try dataset("t", #"{"columns": [{"name": "a", "type": "int64"}], "expectations": [{"rows": [9, 1]}]}"#)
        }
        #expect(batch?.path == "spec.expectations[0].rows")
    }

    @Test func computedColumnsInACircleAreRefused() throws {
        let error = #expect(throws: KeelError.self) {
            try dataset(
                "t",
                #"{"columns": [{"name": "x", "type": "int64"}, {"name": "a", "type": "int64", "from": "b + x"}, {"name": "b", "type": "int64", "from": "a + 1"}]}"#
            )
        }
        #expect(error?.message.contains("circle") == true)
        #expect(error?.path == "spec.columns[1].from")
    }

    @Test func computedColumnsAreEvaluatedAfterWhatTheyNeed() async throws {
        let spec = try dataset(
            "t",
            #"""
            {"where": "x > 0", "columns": [{"name": "c", "type": "float64", "from": "b * 2"}, {"name": "b", "type": "int64", "from": "x + 1"},
             {"name": "x", "type": "int64", "keep": false},
             {"name": "local", "type": "timestamp", "zone": "America/New_York", "column": "clock"}]}
            """#)
        let estate = try await Estate([spec])
        let report = try await estate.ingest("t", csv: "x,clock\n1,2013-01-01 05:00\n0,2013-01-01 05:00\n5,2013-07-01 05:00\n")
        #expect(report.rows == 2)
        #expect(report.filtered == 1)
        let table = try await estate.read("t")
        #expect(table.names == ["c", "b", "local"])
        #expect(table["c"]?.doubles() == [4, 12])
        #expect(table["local"]?[0] == .timestamp(try #require(Timestamp("2013-01-01T10:00:00Z"))))
        #expect(table["local"]?[1] == .timestamp(try #require(Timestamp("2013-07-01T09:00:00Z"))))
    }
}
