import Contracts
import Datasets
import Testing

@Suite("Numbers of snapshots")
struct NumberTests {
    @Test("numbers of snapshots go on after the data were removed")
    func numbersAfterRemoval() async throws {
        let estate = try await Estate([try dataset("trips", trips)])
        let row = "id,at,miles,kind,note\n1,2024-01-01T00:00:00Z,1,bus,a\n"
        #expect(try await estate.ingest("trips", csv: row).snapshot.number == 1)
        #expect(try await estate.ingest("trips", csv: row.replacing("\n1,", with: "\n2,")).snapshot.number == 2)
        try await estate.data.remove("trips", grant: try Estate.may(.resourcesApply))
        #expect(try await estate.data.holding("trips") == DatasetService.Holding())
        let again = try await Estate(home: estate.home, [try dataset("trips", trips)])
        let third = try await again.ingest("trips", csv: row).snapshot
        #expect(third.number == 3 && third.parent == nil)
        let stored = try await again.data.snapshot("trips", 3)
        #expect(stored == third)
        #expect(try await again.data.holding("trips") == DatasetService.Holding(snapshots: 1, rows: 1))
        _ = try again.push("trips", #"{"rows": [{"id": 9, "at": "2024-01-02T00:00:00Z", "miles": 2, "kind": "taxi"}]}"#)
        let sealed = try #require(try await again.data.seal(dataset: "trips", grant: try Estate.may(.datasetsIngest)))
        #expect(sealed.number == 4 && sealed.parent == 3)
        #expect(try await again.read("trips").rowCount == 2)
        await #expect(throws: KeelError.self) { try await again.data.snapshot("trips", 1) }
    }
}
