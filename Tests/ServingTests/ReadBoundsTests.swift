import Contracts
import Foundation
import Serving
import Storage
import Testing

/// Gives `x` as it is, and says of the second row of each request that it is not exact.
private struct BoundedFeatures: OnlineFeatures {
    static let known = Timestamp(microseconds: 1_000_000)...Timestamp(microseconds: 1_000_007)

    struct Plan: FeaturePlan {
        var requestFields: [Field] { [Field("x", .float64)] }
        func read(_ request: Table) throws(KeelError) -> ModelInputs {
            ModelInputs(table: request, eventTimes: nil, reads: FeatureReads(known: BoundedFeatures.known, inexact: [1]))
        }
    }
    func plan(service: String, of workspace: WorkspaceID, inputs: [Signature.Input]) throws(KeelError) -> any FeaturePlan { Plan() }
}

@Suite("Which rows features were made of is kept with a prediction") struct ReadBoundsTests {
    private func predictions(_ home: Home) async throws -> [StoredPrediction] {
        try await PredictionQueries(database: home.database).predictions(endpoint: .delay, Home.reader).sorted { $0.id < $1.id }
    }

    @Test("in the table, also when the journal alone had it at a crash") func kept() async throws {
        let home = try await Home(features: BoundedFeatures(), writes: false)
        try await home.service.configure([.delay(features: "delay")])
        try await home.release(0.2, 0.8)
        _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([0, 1]), ids: ["a", "b"])
        #expect(try await predictions(home).isEmpty)
        await home.stop()
        let again = try await Home(at: home.folder, features: BoundedFeatures())
        let rows = try await predictions(again)
        #expect(rows.map(\.known) == [BoundedFeatures.known, nil])
        #expect(rows.map(\.isInexact) == [false, true])
        await again.stop()
    }

    @Test("a version before it was kept refuses the home, as it would take the journal's records for damaged, and names the copy")
    func downgrade() async throws {
        let folder = NSTemporaryDirectory() + "keel-serving-bounds-" + Identifier.hex32()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let before = Ledger.migrations + ServingTables.migrations.filter { $0.version <= 11 }
        func open(_ migrations: [Migration]) async throws {
            let database = try Database(path: folder + "/keel.sqlite")
            try await database.migrate(migrations, backupFolder: folder + "/backups")
            try await database.close()
        }
        try await open(before)
        try await open(Ledger.migrations + ServingTables.migrations)
        let error = await #expect(throws: KeelError.self) { try await open(before) }
        #expect(error?.code == .failedPrecondition && error?.hint?.contains("keel restore \(folder)/backups/") == true, "\(String(describing: error))")
    }

    @Test("and is absent where no features are read") func absent() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        try await home.ask(1)
        let rows = try await predictions(home)
        #expect(rows.count == 1 && rows[0].known == nil && !rows[0].isInexact)
        await home.stop()
    }

    /// A record with one row, as version 3 or 4 writes it.
    private func record(_ version: UInt8, bounds: [UInt8] = [], exact: [UInt8] = []) -> [UInt8] {
        var out: [UInt8] = []
        func add<Integer: FixedWidthInteger>(_ value: Integer) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
        func add(_ bytes: [UInt8]) {
            add(UInt32(bytes.count))
            out += bytes
        }
        add(version)
        add(UInt8(0))
        add(Int64(1))
        add(Int64(2))
        add(Int64(1000))
        add(Array(ResourceRef.delay.fullName.utf8))
        out += bounds
        add(UInt32(1))
        add(Array("id".utf8))
        add(Int64(2))
        add(Float(0.25).bitPattern)
        add(PackedRow([.double(1)]).bytes)
        add(PackedRow([.double(0.25)]).bytes)
        add(Array("{}".utf8))
        return out + exact
    }

    @Test("records of the version before are read as without bounds") func oldRecords() throws {
        func read(_ bytes: [UInt8]) throws -> LoggedBatch { try bytes.withUnsafeBytes { try LoggedBatch(journalRecord: $0) } }
        let old = try read(record(3))
        #expect(old.journalRecord == record(4, bounds: [0], exact: [1]))
        #expect(try read(old.journalRecord) == old)
        let bounds: [UInt8] = [1] + [UInt8](repeating: 0, count: 8) + [9] + [UInt8](repeating: 0, count: 7)
        let new = record(4, bounds: bounds, exact: [0])
        #expect(try read(new).journalRecord == new && read(new) != old)
        let reversed: [UInt8] = [1, 9] + [UInt8](repeating: 0, count: 15)
        #expect(throws: KeelError.self) { try read(record(4, bounds: reversed, exact: [0])) }
    }
}
