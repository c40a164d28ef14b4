import Contracts
import Datasets
import Foundation
import Testing

@Suite struct StreamTests {
    private func row(_ id: Int, _ more: String = "") -> String {
        #"{"id": \#(id), "at": "2013-01-01T00:00:00Z", "miles": 2.5, "kind": "bus"\#(more)}"#
    }
    private func body(_ rows: [String]) -> String { #"{"rows": [\#(rows.joined(separator: ", "))]}"# }

    /// Rows behind the newest snapshot.
    private func pushedRows(_ estate: Estate) async throws -> Int {
        try await estate.data.withHistory("trips") { history in
            var rows = 0
            _ = try history.replay(from: history.start) { rows += $0.rowCount }
            return rows
        }
    }

    @Test func whatIsPushedIsSealedAndReadBack() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let result = try estate.push(
            "trips",
            body([
                row(1), row(2, #", "note": "x\u00e9""#), row(1), row(3, #", "nope": 1"#),
                row(4).replacingOccurrences(of: "2.5", with: "101"),
            ]))
        #expect(result.accepted.rowCount == 2)
        #expect(result.rejected.map(\.index) == [2, 3, 4])
        #expect(result.rejected[1].reason.contains("'note'"))
        // A restart before the seal: the rows are there, and so are their keys.
        let reopened = try await Estate(home: estate.home, [try dataset("trips", trips)])
        var tail = 0
        tail += try await pushedRows(reopened)
        #expect(tail == 2)
        #expect(try reopened.push("trips", body([row(2), row(5)])).accepted.rowCount == 1)
        let snapshot = try #require(try await reopened.data.seal(dataset: "trips", grant: try Estate.may(.datasetsIngest)))
        #expect((snapshot.rowCount, snapshot.quarantinedCount) == (3, 4))
        #expect(try await reopened.data.seal(dataset: "trips", grant: try Estate.may(.datasetsIngest)) == nil)
        let table = try await reopened.read("trips")
        #expect(table["id"]?.doubles() == [1, 2, 5])
        #expect(table["note"]?[1] == "x\u{e9}")
        #expect(try await reopened.quarantine("trips", 1).count == 4)
        tail = 0
        tail += try await pushedRows(reopened)
        #expect(tail == 0)
        // Sealed rows are not replayed after a restart either, and their keys hold.
        let again = try await Estate(home: estate.home, [try dataset("trips", trips)])
        tail += try await pushedRows(again)
        #expect(tail == 0)
        #expect(try again.push("trips", body([row(5)])).rejected.count == 1)
    }

    private func origin(_ estate: Estate) async throws -> String { try await estate.data.withHistory("trips") { $0.origin } }

    @Test("D15: a seal leaves the origin of a history as it is; an ingest and a removal give it another, one that never was")
    func origin() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let csv = "id,at,miles,kind,note\n100,2013-01-01T00:00:00Z,1,bus,\n"
        func seal() async throws { _ = try await estate.data.seal(dataset: "trips", grant: try Estate.may(.datasetsIngest)) }
        var seen = [try await origin(estate)]
        func unchanged(_ what: String) async throws { #expect(try await origin(estate) == seen.last, "\(what)") }
        func changed(_ what: String) async throws {
            let next = try await origin(estate)
            #expect(!seen.contains(next), "\(what)")
            seen.append(next)
        }
        _ = try estate.push("trips", body([row(1)]))
        try await seal()
        try await unchanged("a first seal")
        _ = try await estate.ingest("trips", csv: csv)
        try await changed("an ingest")
        _ = try estate.push("trips", body([row(2)]))
        try await seal()
        _ = try estate.push("trips", body([row(1)]))
        try await seal()
        try await unchanged("a seal of rows, and one of refused rows alone")
        _ = try await estate.ingest("trips", try estate.file("all.csv", csv), overwrite: true)
        try await changed("an ingest that replaces all rows")
        _ = try estate.push("trips", body([row(3)]))
        _ = try await estate.ingest("trips", try estate.file("again.csv", csv), overwrite: true)
        try await changed("the same rows again, with a seal before")
        try await estate.data.remove("trips", grant: try Grant.check(Estate.owner, may: .resourcesApply))
        #expect(await estate.data.configure([try dataset("trips", trips)]).isEmpty)
        try await changed("a removal")
        _ = try await estate.ingest("trips", csv: csv)
        try await changed("the first ingest, once more")
        let reopened = try await Estate(home: estate.home, [try dataset("trips", trips)])
        #expect(try await origin(reopened) == seen.last)
    }

    @Test("D15: a history covers the places whose rows its stream still has")
    func covers() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        _ = try estate.push("trips", body([row(1)]))
        let end = try estate.data.streamBounds("trips").upperBound
        func covers(_ place: UInt64) async throws -> Bool { try await estate.data.withHistory("trips") { try $0.covers(from: place) } }
        #expect(try await covers(0))
        #expect(try await covers(end))
        #expect(try await !covers(end + 1))
    }

    @Test func malformedBodiesChangeNothing() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        for text in ["", "{", "[]", #"{"rows": 1}"#, #"{"row": []}"#, "{}", body([row(1)]) + "x", #"{"rows": [\#(row(1)), {"id": ]}"#] {
            #expect(throws: KeelError.self, "\(text)") { try estate.push("trips", text) }
        }
        #expect(try await estate.data.seal(dataset: "trips", grant: try Estate.may(.datasetsIngest)) == nil)
        #expect(try estate.push("trips", body([row(1), "5"])).rejected.map(\.index) == [1])
    }

    @Test func ingestAndPushShareOneKeySpace() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        _ = try estate.push("trips", body([row(1)]))
        let report = try await estate.ingest("trips", csv: "id,at,miles,kind,note\n1,2013-01-01,1,bus,\n2,2013-01-01,1,bus,\n")
        #expect((report.rows, report.quarantined) == (1, 1))
        #expect(try estate.push("trips", body([row(2)])).rejected.count == 1)
        _ = try await estate.data.seal(dataset: "trips", grant: try Estate.may(.datasetsIngest))
        #expect(try await estate.read("trips").rowCount == 2)
        #expect(throws: KeelError.self) { try estate.push("tripz", body([])) }
    }

    @Test func ignoredFieldsArePassedOverInFilesAndPushes() async throws {
        let estate = try await Estate([try dataset("t", #"{"ignore": ["noise"], "columns": [{"name": "a", "type": "int64"}]}"#)])
        #expect(try estate.push("t", #"{"rows": [{"noise": [1, {"x": 2}], "a": 1}]}"#).accepted.rowCount == 1)
        let report = try await estate.ingest("t", csv: "noise,a\nx,2\n")
        #expect((report.rows, report.quarantined) == (1, 0))
    }

    @Test func tablesArePushedToo() async throws {
        let estate = try await Estate([try dataset("t", #"{"columns": [{"name": "a", "type": "float64"}]}"#)])
        let table = try Table([("a", Column(.float64, .float64([1, .nan, 3])))])
        let result = try estate.data.push(dataset: "t", rows: table, grant: try Estate.may(.eventsPush))
        #expect(result.accepted["a"]?.doubles() == [1, 3])
        #expect(result.rejected.map(\.index) == [1])
    }
}
