import Contracts
import Foundation
import Registry
import Storage

/// A registry in a database of its own, and grants to read and write it.
struct Fixture {
    let database: Storage.Database
    let registry: RegistryService
    let read: Grant
    let write: Grant

    init(_ make: (Storage.Database) -> RegistryService = { RegistryService(database: $0) }) async throws {
        let folder = NSTemporaryDirectory() + "keel-registry-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate(
            Ledger.migrations + RegistryTables.migrations + RegistryTables.importMigrations, backupFolder: folder + "/backups")
        registry = make(database)
        let owner = Caller(name: "ada", persona: .owner)
        read = try Grant.check(owner, may: .registryRead)
        write = try Grant.check(owner, may: .registryWrite)
    }
}

extension Sequence {
    func asyncMap<T>(_ body: (Element) async throws -> T) async rethrows -> [T] {
        var out: [T] = []
        for element in self { out.append(try await body(element)) }
        return out
    }
}
