import Contracts
import Datasets
import Statistics
import Testing

@Suite("Snapshots as JSON")
struct SnapshotTests {
    private let schema = Schema(
        [Field("carrier", .string, oneOf: ["UA", "AA"]), Field("at", .timestamp), Field("distance", .float64, minimum: 1, unit: "mile")],
        key: ["carrier", "at"], eventTime: "at")

    @Test("a snapshot is named by its content, and an altered manifest is noticed")
    func snapshots() throws {
        func make(_ rows: Int, at: Int64) -> Snapshot {
            Snapshot(
                dataset: "flights", number: 3, files: [.init(path: "flights/3/0.parquet", rows: rows, bytes: 99, digest: Digest(of: "x"))],
                quarantinedCount: 2,
                schema: schema, profile: Profile(schema.fields), createdAt: Timestamp(microseconds: at), parent: 2,
                eventTimes: Timestamp(microseconds: 5)...Timestamp(microseconds: 9))
        }
        let snapshot = make(10, at: 1)
        #expect(snapshot.name == "flights@3" && snapshot.rowCount == 10)
        #expect(make(10, at: 2).digest == snapshot.digest && make(11, at: 1).digest != snapshot.digest)
        #expect(try Snapshot(json: JSON.parse(snapshot.json.bytes)) == snapshot)
        var altered = snapshot.json
        altered["quarantined"] = 0
        let error = #expect(throws: KeelError.self) { try Snapshot(json: altered) }
        #expect(error?.code == .corrupted)
    }
}
