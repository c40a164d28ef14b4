import Contracts
import Datasets
import Foundation
import Registry
import Serving
import Storage
import Tracking

/// Takes backups of the home folder.
public struct BackingUp: Sendable {
    private let database: Storage.Database
    private let damage: DamageRegister
    private let home: String

    package init(database: Storage.Database, damage: DamageRegister, home: String) {
        self.database = database
        self.damage = damage
        self.home = home
    }

    /// Takes a backup of the home folder as it is now; the server goes on meanwhile. The ledger gets `storage.backup`.
    public func backup(_ grant: Grant) async throws -> HomeBackup {
        try grant.require(.storageBackup)
        try grant.requireServer()
        let folder = home + "/work/backup-" + Identifier.hex32()
        try Folder.make(folder)
        _ = try await database.write { try $0.record("storage.backup", on: "Storage/home", by: grant) }
        do {
            let backup = try await HomeBackup(
                home: home, folder: folder, copyDatabase: { [database] in try await database.backup(to: $0) },
                references: { try await BackingUp.storedReferences($0, home: $1) })
            if let first = backup.missing.first {
                damage.report(
                    "Storage/backup",
                    KeelError(
                        .corrupted,
                        "backups lack \(backup.missing.count) files that the database refers to, as they are gone: the first is '\(first)'",
                        hint: "put them back from an older backup"))
            }
            return backup
        } catch {
            try? FileManager.default.removeItem(atPath: folder)
            throw error
        }
    }

    /// Every file of the lake and every object that a database refers to, and the models that its bundles name.
    ///
    /// A database of an older version is read too: what it has no table for, it does not refer to.
    /// - Parameter home: where the files lie.
    public static func storedReferences(_ database: Storage.Database, home: String) async throws -> StoredReferences {
        let (lake, content, bundles) = try await database.read { db in
            let tables = try db.tables()
            func has(_ needed: String...) -> Bool { tables.isSuperset(of: needed) }
            var lake = try has("data_files", "data_snapshots") ? DatasetService.storedFiles(in: db) : []
            if has("prediction_files") { lake.formUnion(try PredictionFile.stored(in: db)) }
            let content = try has("tracking_artifacts") ? TrackingService.storedContent(in: db) : []
            var bundles = try has("releases") ? DeploymentService.bundles(in: db) : []
            if has("registry_evidence", "registry_versions") { bundles.formUnion(try RegistryService.bundles(in: db)) }
            return (lake, content, bundles)
        }
        func path(_ digest: Digest) -> String { "objects/content/\(digest.hex.prefix(2))/\(digest.hex)" }
        var files = Set(lake.map { "lake/\($0)" } + (content.union(bundles)).map(path))
        for bundle in bundles {
            guard let bytes = try? StoredFile.contents("\(home)/\(path(bundle))", name: "bundle \(bundle)"),
                let json = try? JSON.parse(bytes),
                let contents = try? ModelBundle(json: json).contents
            else { continue }
            files.formUnion(contents.map(path))
        }
        return StoredReferences(files: files, folders: ["lake/datasets/", "lake/predictions/"])
    }
}
