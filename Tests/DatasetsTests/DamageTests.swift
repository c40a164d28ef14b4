import Contracts
import Datasets
import Foundation
import Storage
import Testing

@Suite("Damage to stored data")
struct DamageTests {
    private let small = #"{"key": ["id"], "columns": [{"name": "id", "type": "int64"}, {"name": "x", "type": "float64"}]}"#
    private func rows(_ ids: Range<Int>) -> String {
        #"{"rows": [\#(ids.map { #"{"id": \#($0), "x": 0.5}"# }.joined(separator: ", "))]}"#
    }
    private func seal(_ estate: Estate, _ name: String = "t") async throws -> Snapshot? {
        try await estate.data.seal(dataset: name, grant: try Estate.may(.datasetsIngest))
    }

    @Test("D9: files that no snapshot knows are set aside and named; only what never had a name is removed")
    func unknownFiles() async throws {
        let specs = [try dataset("t", small)]
        let estate = try await Estate(specs)
        _ = try estate.push("t", rows(0..<10))
        _ = try await seal(estate)
        let folder = "\(estate.home)/lake/datasets/t"
        let known = try estate.lakeFiles("t")
        for name in ["7-0-abc.parquet", "part-1.tmp", "0123456789abcdef.tmp"] {
            try Data([1]).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
        }
        let again = try await Estate(home: estate.home, specs)
        #expect(try again.lakeFiles("t") == known)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(estate.home)/lake/unknown/t") == ["7-0-abc.parquet"])
        #expect(again.damage.all.map(\.subject) == ["Dataset/t"])
        #expect(try await again.read("t").rowCount == 10)
    }

    @Test("D9: with another database nothing of the lake is deleted")
    func anotherDatabase() async throws {
        let specs = [try dataset("t", small)]
        let estate = try await Estate(specs)
        _ = try estate.push("t", rows(0..<10))
        _ = try await seal(estate)
        let known = try estate.lakeFiles("t")
        for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: "\(estate.home)/keel.sqlite\(suffix)") }
        let again = try await Estate(home: estate.home, specs)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(estate.home)/lake/unknown/t").sorted() == known)
        #expect(!again.damage.all.isEmpty)
    }

    @Test("D8: a log that was cut behind its seal loses no later push")
    func cutLog() async throws {
        let specs = [try dataset("t", small)]
        let estate = try await Estate(specs)
        _ = try estate.push("t", rows(0..<10))
        _ = try await seal(estate)
        let log = "\(estate.home)/streams/t/rows/00000000000000000000.log"
        let size = try #require(FileManager.default.contents(atPath: log)?.count)
        truncate(log, off_t(size - 1))
        let again = try await Estate(home: estate.home, specs)
        #expect(again.damage.all.map(\.subject) == ["Dataset/t"])
        for i in 0..<20 { #expect(try again.push("t", rows((100 + i)..<(101 + i))).accepted.rowCount == 1) }
        let third = try await Estate(home: estate.home, specs)
        let tail = try await third.data.withHistory("t") { history in
            var rows = 0
            _ = try history.replay(from: history.start) { rows += $0.rowCount }
            return rows
        }
        #expect(tail == 20)
        #expect(try await seal(third)?.rowCount == 30)
    }

    @Test("S1: a profile that cannot be read keeps nobody from the rows, nor from ingesting more")
    func damagedProfile() async throws {
        let specs = [try dataset("t", small)]
        let estate = try await Estate(specs)
        _ = try estate.push("t", rows(0..<10))
        _ = try await seal(estate)
        try await estate.database.write { _ = try $0.execute("UPDATE data_snapshots SET profile = '{\"rows\":'") }
        let again = try await Estate(home: estate.home, specs)
        #expect(try await again.read("t").rowCount == 10)
        #expect(again.damage.all.map(\.subject) == ["Dataset/t"])
        #expect(try await again.ingest("t", csv: "id,x\n50,1\n").rows == 1)
        #expect(try await again.data.snapshot("t")?.profile?.rowCount == 1)
    }

    @Test("D13: a dataset that cannot be opened is disabled and says why; the others work")
    func disabledDataset() async throws {
        let specs = [try dataset("good", small), try dataset("bad", small)]
        let estate = try await Estate(specs)
        _ = try estate.push("bad", rows(0..<3))
        _ = try await seal(estate, "bad")
        try await estate.database.write { _ = try $0.execute("UPDATE data_files SET digest = 'x' WHERE dataset = 'bad'") }
        let failures = await estate.data.configure([])
        #expect(failures.isEmpty)
        let met = await estate.data.configure(specs)
        #expect(met.keys.sorted() == ["bad"])
        #expect(throws: KeelError(.corrupted, "the dataset 'bad' is disabled: a snapshot's digest is damaged")) {
            try estate.push("bad", rows(5..<6))
        }
        #expect(try estate.push("good", rows(5..<6)).accepted.rowCount == 1)
    }

    @Test("a record of a stream that says it has more rows than it has bytes is refused before there is memory for them", arguments: [5, 6])
    func lyingRecord(type: UInt8) {
        // One column of texts or bytes, of 2³² − 1 rows.
        let record: [UInt8] = [1, 1, 0, 255, 255, 255, 255, 1, 0, UInt8(ascii: "a"), type, 0]
        let error = #expect(throws: KeelError.self) { try record.withUnsafeBytes { try TableCodec.decode($0) } }
        #expect(error?.code == .corrupted)
    }
}
