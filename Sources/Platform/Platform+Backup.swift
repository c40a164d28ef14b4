import Contracts
import Storage

extension Platform {
    /// Takes a backup of the home folder as it is now; the server goes on meanwhile. The ledger gets `storage.backup`.
    public func backup(_ grant: Grant) async throws -> HomeBackup {
        try grant.require(.storageBackup)
        let folder = configuration.home + "/work/backup-" + Identifier.hex32()
        try Folder.make(folder)
        _ = try await database.write { try $0.record("storage.backup", on: "Storage/home", by: grant) }
        return try await HomeBackup(home: configuration.home, folder: folder) { [database] in try await database.backup(to: $0) }
    }
}
