import Contracts
import Datasets
import Foundation
import Testing

@Suite("First reads of a dataset's files")
struct FirstReadTests {
    private static let spec = #"{"key": ["id"], "columns": [{"name": "id", "type": "int64"}, {"name": "x", "type": "float64"}]}"#

    /// Calls `body` with a dataset whose file takes a while to hash, as a server finds it after its start.
    private func restarted(_ body: (Estate) async throws -> Void) async throws {
        let specs = [try dataset("t", FirstReadTests.spec)]
        let estate = try await Estate(specs)
        let rows = (0..<400_000).map { "\($0),\(Double($0 &* 2_654_435_761 % 1_000_003) / 7)" }
        _ = try await estate.ingest("t", csv: "id,x\n" + rows.joined(separator: "\n") + "\n")
        try await body(try await Estate(home: estate.home, specs))
        // The folder goes with it.
        withExtendedLifetime(estate) {}
    }

    private func readings(_ estate: Estate) -> Int { estate.data.verified.readCount.load(ordering: .relaxed) }

    @Test("D14: all who want a file at the same time, for its rows or for its keys, wait for one reading of it")
    func together() async throws {
        try await restarted { estate in
            let snapshot = try #require(try await estate.data.snapshot("t"))
            let data = estate.data
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<50 {
                    group.addTask { _ = try await data.files(of: snapshot) }
                    group.addTask { try await data.loadKeys(dataset: "t") }
                    group.addTask { try await data.withHistory("t") { _ = try await $0.files() } }
                }
                try await group.waitForAll()
            }
            #expect(snapshot.files.count == 1 && readings(estate) == 1)
        }
    }

    @Test("a push after the keys were loaded reads no file, and knows every key")
    func push() async throws {
        try await restarted { estate in
            try await estate.data.loadKeys(dataset: "t")
            let before = readings(estate)
            let result = try estate.push("t", #"{"rows": [{"id": 399999, "x": 1}, {"id": 400000, "x": 1}]}"#)
            #expect(result.accepted.rowCount == 1 && result.rejected.map(\.index) == [0])
            #expect(before == 1 && readings(estate) == 1)
        }
    }

    @Test("D9: a file that was changed is damage, also when its keys are wanted first")
    func changed() async throws {
        try await restarted { estate in
            let snapshot = try #require(try await estate.data.snapshot("t"))
            let path = "\(estate.home)/lake/\(snapshot.files[0].path)"
            var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
            bytes[bytes.count / 2] ^= 1
            try bytes.write(to: URL(fileURLWithPath: path))
            let error = await #expect(throws: KeelError.self) { try await estate.data.loadKeys(dataset: "t") }
            #expect(error?.code == .corrupted && estate.damage.all.map(\.subject) == ["Dataset/t"])
        }
    }
}
