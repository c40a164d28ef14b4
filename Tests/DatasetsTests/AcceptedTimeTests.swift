import Contracts
import Datasets
import Engines
import Foundation
import Storage
import Synchronization
import Testing

private final class MovedClock: Contracts.Clock {
    private let time = Mutex(Timestamp(seconds: 0))
    func set(_ seconds: Double) { time.withLock { $0 = Timestamp(seconds: seconds) } }
    func now() -> Timestamp { time.withLock { $0 } }
}

@Suite("When a pushed row was accepted") struct AcceptedTimeTests {
    private func body(_ ids: Int...) -> String {
        let rows = ids.map { #"{"id": \#($0), "at": "2013-01-01T00:00:00Z", "miles": 2.5, "kind": "bus"}"# }
        return #"{"rows": [\#(rows.joined(separator: ", "))]}"#
    }

    /// Of each row of the stream, seconds; nil for one without.
    private func streamed(_ estate: Estate) async throws -> [Double?] {
        try await estate.data.withHistory("trips") { history in
            var out: [Double?] = []
            _ = try history.replay(from: history.start) { rows in
                out += (0..<rows.rowCount).map { rows[AcceptedTime.column]?[$0].time?.seconds }
            }
            return out
        }
    }

    private func sealed(_ estate: Estate) async throws -> Snapshot {
        try #require(try await estate.data.seal(dataset: "trips", grant: try Estate.may(.datasetsIngest)))
    }

    @Test("it grows from row to row, also when the clock goes back, and after a start") func grows() async throws {
        let clock = MovedClock()
        clock.set(1000)
        let estate = try await Estate([try dataset("trips", trips)], clock: clock)
        #expect(try estate.push("trips", body(1, 2)).acceptedAt == Timestamp(microseconds: 1_000_000_001))
        clock.set(1010)
        // One that is refused takes no time.
        #expect(try estate.push("trips", body(1)).acceptedAt == nil)
        #expect(try estate.push("trips", body(3)).acceptedAt == Timestamp(seconds: 1010))
        // A clock that was set back a little is nothing to tell.
        clock.set(951)
        #expect(try estate.push("trips", body(8)).accepted.rowCount == 1)
        #expect(estate.damage.all.isEmpty)
        clock.set(500)
        #expect(try estate.push("trips", body(4)).acceptedAt == Timestamp(microseconds: 1_010_000_002))
        let told = estate.damage.all
        #expect(told.count == 1 && told.first?.subject == "Dataset/trips" && told.first?.what.contains("ahead of the clock") == true)
        #expect(try estate.push("trips", body(9)).accepted.rowCount == 1)
        #expect(estate.damage.all == told, "it is told once")
        let reopened = try await Estate(home: estate.home, [try dataset("trips", trips)], clock: clock)
        #expect(try reopened.push("trips", body(5)).acceptedAt == Timestamp(microseconds: 1_010_000_004))
        #expect(try await streamed(reopened) == [1000, 1000.000001, 1010, 1010.000001, 1010.000002, 1010.000003, 1010.000004])
        _ = try await sealed(reopened)
        // What a seal frees of the log is not its last file.
        let again = try await Estate(home: estate.home, [try dataset("trips", trips)], clock: clock)
        try await again.data.loadKeys(dataset: "trips")
        #expect(try again.push("trips", body(6)).acceptedAt == Timestamp(microseconds: 1_010_000_005))
    }

    @Test("a seal keeps it in the Parquet file, beside the contract's columns; files that are ingested have none") func isSealed() async throws {
        let clock = MovedClock()
        clock.set(1000)
        let estate = try await Estate([try dataset("trips", trips)], clock: clock)
        _ = try estate.push("trips", body(1, 2))
        let first = try await sealed(estate)
        #expect(first.profile?.rowCount == 2, "the profile is of the contract's columns")
        #expect(try await estate.read("trips").names == ["id", "at", "miles", "kind", "note"])
        clock.set(2000)
        _ = try await estate.ingest("trips", csv: "id,at,miles,kind,note\n7,2013-01-01T00:00:00Z,1,bus,\n")
        clock.set(3000)
        _ = try estate.push("trips", body(3))
        _ = try await sealed(estate)
        let snapshot = try #require(try await estate.data.snapshot("trips"))
        let parts = try await estate.data.parts(of: snapshot, in: .default)
        #expect(parts.map(\.ingestedAt) == [nil, Timestamp(seconds: 2000), nil])
        #expect(parts.map(\.files.count) == [1, 1, 1])
        #expect(parts.flatMap(\.files) == (try await estate.data.files(of: snapshot)))
        let connection = try DuckDB(settings: .init(folders: [estate.home], threads: 1)).connect()
        let rows = ParquetRows(parts.flatMap(\.files), [Field("id", .int64), Field(AcceptedTime.column, .timestamp, nullable: true)])
        let found = try connection.query("SELECT \(rows.column(AcceptedTime.column)) AS t FROM \(rows.sql)")
        #expect((0..<4).map { found.columns[0][$0].time?.seconds } == [1000, 1000.000001, nil, 3000])
    }

    @Test("rows of a stream of a version before it was kept are read, and sealed, without it") func oldStream() async throws {
        let spec = try dataset("trips", trips)
        var old = Table(emptyOf: spec.schema.fields)
        try old.append(row: [90, .timestamp(Timestamp(seconds: 0)), 1.0, "bus", nil])
        let home = NSTemporaryDirectory() + "keel-data-\(Identifier.hex32())"
        do {
            let log = try DurableLog(folder: home + "/streams/trips/rows")
            _ = try log.append([try TableCodec.encode(old)])
            try log.sync()
        }
        let upgraded = try await Estate(home: home, [spec])
        #expect(try upgraded.push("trips", body(90)).rejected.count == 1)
        #expect(try upgraded.push("trips", body(91)).accepted.rowCount == 1)
        let times = try await streamed(upgraded)
        #expect(times.count == 2 && times[0] == nil && times[1] != nil)
        let snapshot = try await sealed(upgraded)
        #expect(snapshot.rowCount == 2)
        #expect(try await upgraded.read("trips")["id"]?.doubles() == [90, 91])
        #expect(try await upgraded.data.parts(of: snapshot, in: .default).map(\.ingestedAt) == [nil])
    }

    @Test("its name is taken, and knownAt names a time that is kept") func contract() throws {
        func problem(_ spec: String) -> KeelError? { #expect(throws: KeelError.self) { try dataset("d", spec) } }
        let taken = problem(#"{"columns": [{"name": "a", "type": "int64"}, {"name": "Keel_Accepted_At", "type": "timestamp"}]}"#)
        #expect(taken?.path == "spec.columns[1].name")
        let columns = #""columns": [{"name": "a", "type": "int64"}, {"name": "seen", "type": "timestamp"}, {"name": "raw", "type": "timestamp", "keep": false}]"#
        #expect(try dataset("d", #"{"knownAt": "seen", \#(columns)}"#).knownAt == "seen")
        #expect(try dataset("d", #"{\#(columns)}"#).knownAt == nil)
        #expect(problem(#"{"knownAt": "sen", \#(columns)}"#)?.hint == "did you mean 'seen'?")
        #expect(problem(#"{"knownAt": "raw", \#(columns)}"#)?.path == "spec.knownAt")
        #expect(problem(#"{"knownAt": "a", \#(columns)}"#)?.message.contains("not a timestamp") == true)
        // A date begins at midnight, before what happened on that day was known.
        let dated = problem(#"{"knownAt": "day", "columns": [{"name": "a", "type": "int64"}, {"name": "day", "type": "date"}]}"#)
        #expect(dated?.path == "spec.knownAt" && dated?.message == "'day' is a date, not a timestamp")
    }

    @Test("a plan says that another knownAt makes other training sets") func effects() throws {
        func spec(_ knownAt: String) throws -> DatasetSpec {
            try dataset("d", #"{\#(knownAt)"columns": [{"name": "a", "type": "int64"}, {"name": "seen", "type": "timestamp"}, {"name": "told", "type": "timestamp"}]}"#)
        }
        let (without, seen, told) = (try spec(""), try spec(#""knownAt": "seen", "#), try spec(#""knownAt": "told", "#))
        func effect(_ old: DatasetSpec, _ new: DatasetSpec) -> [String] { new.effects(after: old, rows: 2) }
        let rest = "training sets are made of other rows from now on, the 2 rows stored before among them"
        #expect(effect(without, seen) == ["knownAt was when Keel accepted them and is 'seen': \(rest)"])
        #expect(effect(seen, told) == ["knownAt was 'seen' and is 'told': \(rest)"])
        #expect(effect(told, without) == ["knownAt was 'told' and is when Keel accepted them: \(rest)"])
        #expect(effect(told, told) == [] && told.effects(after: seen, rows: 0) == [])
    }

    @Test("a history says when its newest row came, also where the clock is behind it") func lastKnown() async throws {
        let clock = MovedClock()
        clock.set(1000)
        let estate = try await Estate([try dataset("trips", trips)], clock: clock)
        func known(_ estate: Estate) async throws -> Timestamp? { try await estate.data.withHistory("trips") { try $0.lastKnown() } }
        #expect(try await known(estate) == nil)
        _ = try estate.push("trips", body(1, 2))
        clock.set(10)
        // The home goes with any of them.
        var opened = [estate]
        defer { withExtendedLifetime(opened) {} }
        for seals in [false, true] {
            if seals { _ = try await sealed(estate) }
            let reopened = try await Estate(home: estate.home, [try dataset("trips", trips)], clock: clock)
            #expect(try await known(reopened) == Timestamp(microseconds: 1_000_000_001))
            opened.append(reopened)
        }
        clock.set(2000)
        _ = try await estate.ingest("trips", csv: "id,at,miles,kind,note\n7,2013-01-01T00:00:00Z,1,bus,\n")
        clock.set(20)
        let reopened = try await Estate(home: estate.home, [try dataset("trips", trips)], clock: clock)
        #expect(try await known(reopened) == Timestamp(seconds: 2000))
    }

    @Test("an ingest says when it is about to give its rows their time, after it has read them") func willTakeTime() async throws {
        let clock = MovedClock()
        clock.set(1000)
        let estate = try await Estate([try dataset("trips", trips)], clock: clock)
        let told = Mutex<[Timestamp]>([])
        let path = try estate.file("in.csv", "id,at,miles,kind,note\n7,2013-01-01T00:00:00Z,1,bus,\n")
        let report = try await estate.data.ingest(
            dataset: "trips", file: path, grant: try Estate.may(.datasetsIngest), progress: { _ in clock.set(2000) },
            willTakeTime: {
                told.withLock { $0.append(clock.now()) }
                clock.set(2001)
            })
        #expect(told.withLock { $0 } == [Timestamp(seconds: 2000)])
        #expect(report.snapshot.createdAt == Timestamp(seconds: 2001))
    }
}
