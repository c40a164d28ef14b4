import Contracts
import Foundation
import Storage
import Tracking

struct Fixture {
    let database: Storage.Database
    let objects: FolderObjectStore
    let tracking: TrackingService
    let read: Grant
    let write: Grant

    init() async throws {
        let folder = NSTemporaryDirectory() + "keel-tracking-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate(
            Ledger.migrations + TrackingTables.migrations + TrackingTables.importMigrations, backupFolder: folder + "/backups")
        objects = try FolderObjectStore(root: folder + "/objects")
        tracking = TrackingService(database: database, objects: objects)
        let owner = Caller(name: "ada", persona: .owner)
        read = try Grant.check(owner, may: .trackingRead)
        write = try Grant.check(owner, may: .trackingWrite)
    }

    func kinds() async throws -> [String] { try await database.read { try $0.ledgerEvents().map(\.kind) } }
}

func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds) }
