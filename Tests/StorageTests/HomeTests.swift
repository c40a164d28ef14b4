import Contracts
import Foundation
import Storage
import TestSupport
import Testing

@Suite("Home folder")
struct HomeTests {
    private func mode(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    @Test("S9: the second process is refused, and told who has the home folder")
    func locked() throws {
        let folder = try temporaryFolder() + "/home"
        var first: Home? = try Home(folder, user: "http://127.0.0.1:7070")
        let refusal = #expect(throws: KeelError.self) { try Home(folder, user: "http://127.0.0.1:7071") }
        #expect(refusal?.code == .failedPrecondition)
        #expect(refusal?.message.contains("http://127.0.0.1:7070, pid \(getpid()), since ") == true)
        withExtendedLifetime(first) {}
        first = nil
        _ = try Home(folder, user: "next")
    }

    @Test("D2: a program that was started meanwhile does not keep the lock")
    func notInherited() throws {
        let folder = try temporaryFolder() + "/home"
        var home: Home? = try Home(folder, user: "server")
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/bin/sleep")
        child.arguments = ["60"]
        try child.run()
        defer { child.terminate() }
        withExtendedLifetime(home) {}
        home = nil
        _ = try Home(folder, user: "next server")
    }

    @Test("A5: the home folder and everything in it are closed to other users, programs stay executable")
    func closed() throws {
        let folder = try temporaryFolder() + "/home"
        try FileManager.default.createDirectory(
            atPath: folder + "/work/run", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        for (name, mode) in [("keel.sqlite", 0o644), ("work/run/step.sh", 0o755)] {
            _ = FileManager.default.createFile(atPath: "\(folder)/\(name)", contents: Data(), attributes: [.posixPermissions: mode])
        }
        chmod(folder, 0o755)
        let home = try Home(folder, user: "server")
        #expect(!home.isNew)
        #expect(try ["", "/work", "/work/run", "/work/run/step.sh"].map { try mode(folder + $0) } == [0o700, 0o700, 0o700, 0o700])
        #expect(try mode(folder + "/keel.sqlite") == 0o600)
        #expect(try mode(folder + "/keel.lock") == 0o600)
    }

    @Test("a damaged key is set aside and reported, and a new one made")
    func keys() throws {
        let folder = try temporaryFolder() + "/home"
        let home = try Home(folder, user: "server")
        let damage = DamageRegister()
        let key = try home.key("secrets.key", new: SecretBox.newKey, damage: damage)
        #expect(key.bytes.count == 32 && key.isStored)
        #expect(try home.key("secrets.key", new: SecretBox.newKey, damage: damage) == key)
        #expect(try mode(folder + "/secrets.key") == 0o600)
        #expect(damage.all.isEmpty)
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: folder + "/secrets.key"))
        let next = try home.key("secrets.key", new: SecretBox.newKey, damage: damage)
        #expect(next != key && next.bytes.count == 32 && next.isStored)
        #expect(damage.all.map(\.subject) == ["Home/secrets.key"])
        let aside = try FileManager.default.contentsOfDirectory(atPath: folder + "/damaged")
        #expect(aside.map { FileManager.default.contents(atPath: "\(folder)/damaged/\($0)") } == [Data([1, 2, 3])])
    }

    @Test("what is no file is set aside, and a new key made", arguments: Intruder.allCases)
    func wrongKeys(_ intruder: Intruder) throws {
        let folder = try temporaryFolder() + "/home"
        let home = try Home(folder, user: "server")
        let damage = DamageRegister()
        try intruder.make(folder + "/secrets.key")
        let key = try home.key("secrets.key", new: SecretBox.newKey, damage: damage)
        #expect(key.isStored && FileManager.default.contents(atPath: folder + "/secrets.key") == Data(key.bytes))
        #expect(damage.all.map(\.subject) == ["Home/secrets.key"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/damaged").count == 1)
    }

    @Test("a key that cannot be opened is not replaced: the server runs with one that is not stored")
    func unreadableKey() throws {
        let folder = try temporaryFolder() + "/home"
        let home = try Home(folder, user: "server")
        let damage = DamageRegister()
        // The test may run as root, which may read everything, so the system refuses this one for the length of its name.
        let name = String(repeating: "k", count: 300)
        let key = try home.key(name, new: SecretBox.newKey, damage: damage)
        #expect(key.bytes.count == 32 && !key.isStored)
        #expect(damage.all.map(\.subject) == ["Home/\(name)"])
        #expect(throws: KeelError.self) { try SecretBox(key: key.bytes, canSeal: key.isStored).seal("s", for: "x") }
    }

    @Test("what is no folder is set aside, and an empty folder made", arguments: Intruder.allCases)
    func wrongFolders(_ intruder: Intruder) throws {
        let folder = try temporaryFolder() + "/home"
        let home = try Home(folder, user: "server")
        let damage = DamageRegister()
        if intruder == .folder { try Data().write(to: URL(fileURLWithPath: folder + "/lake")) } else { try intruder.make(folder + "/lake") }
        try home.folder("lake", damage: damage)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/lake").isEmpty)
        #expect(damage.all.map(\.subject) == ["Home/lake"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/damaged").count == 1)
    }

    @Test("a folder behind a symbolic link stays")
    func linkedFolder() throws {
        let folder = try temporaryFolder() + "/home"
        let home = try Home(folder, user: "server")
        let damage = DamageRegister()
        let other = try temporaryFolder()
        try FileManager.default.createSymbolicLink(atPath: folder + "/lake", withDestinationPath: other)
        try home.folder("lake", damage: damage)
        try home.folder("lake/datasets", damage: damage)
        #expect(damage.all.isEmpty && FileManager.default.fileExists(atPath: other + "/datasets"))
    }

    @Test("what is no file beside the database is set aside", arguments: Intruder.allCases)
    func sidecars(_ intruder: Intruder) throws {
        let folder = try temporaryFolder() + "/home"
        let home = try Home(folder, user: "server")
        let damage = DamageRegister()
        for ending in ["-wal", "-shm"] { try intruder.make(folder + "/keel.sqlite" + ending) }
        try home.clearSidecars(of: "keel.sqlite", damage: damage)
        _ = try Storage.Database(path: folder + "/keel.sqlite")
        #expect(damage.all.map(\.subject) == ["Home/keel.sqlite-shm", "Home/keel.sqlite-wal"])
    }

    @Test("errors of Foundation are told as file and reason")
    func words() {
        let missing = #expect(throws: (any Error).self) { try FileManager.default.contentsOfDirectory(atPath: "/nowhere/at/all") }
        let message = missing.map { KeelError.wrapping($0).message } ?? ""
        #expect(message == "could not use the file '/nowhere/at/all': No such file or directory")
    }
}

/// What may lie under a name in the place of what the server put there.
enum Intruder: CaseIterable {
    case folder, fifo, endless, dangling, loop, socket

    func make(_ path: String) throws {
        let files = FileManager.default
        switch self {
        case .folder: try files.createDirectory(atPath: path, withIntermediateDirectories: false)
        case .fifo: #expect(mkfifo(path, 0o600) == 0)
        case .endless: try files.createSymbolicLink(atPath: path, withDestinationPath: "/dev/zero")
        case .dangling: try files.createSymbolicLink(atPath: path, withDestinationPath: "/nowhere/at/all")
        case .loop: try files.createSymbolicLink(atPath: path, withDestinationPath: path)
        case .socket: #expect(mknod(path, S_IFSOCK | 0o600, 0) == 0)
        }
    }
}

@Suite("Backup")
struct BackupTests {
    /// A home with a database, a log, and files at any depth; and an archive of it.
    private func archive(of home: String) async throws -> (file: String, database: Storage.Database) {
        let database = try Storage.Database(path: home + "/keel.sqlite")
        try await database.migrate(Ledger.migrations, backupFolder: home + "/backups")
        let owner = Caller(name: "test", persona: .owner)
        for i in 0..<20 { _ = try await database.write { try $0.record("thing.made", on: "Thing/\(i)", by: owner) } }
        let log = try DurableLog(folder: home + "/streams/clicks/rows")
        for i in 0..<10 { try log.append([[UInt8(i)]]) }
        let objects = try FolderObjectStore(root: home + "/objects")
        for size in [0, 1, 511, 512, 513, 70_000] { _ = try await objects.put(Array(repeating: 7, count: size)) }
        try FileManager.default.createDirectory(atPath: home + "/work/run", withIntermediateDirectories: true)
        try Data([1]).write(to: URL(fileURLWithPath: home + "/work/run/scratch"))
        let folder = home + "/work/backup-1"
        let backup = try await HomeBackup(home: home, folder: folder) { try await database.backup(to: $0) }
        // What happens now is not part of it any more.
        _ = try await database.write { try $0.record("thing.made", on: "Thing/late", by: owner) }
        var bytes: [UInt8] = []
        try await backup.write { bytes += $0 }
        #expect(!FileManager.default.fileExists(atPath: folder))
        let file = try temporaryFolder() + "/backup.tar"
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        return (file, database)
    }

    @Test("a restored home holds what was there when the backup was made, and nothing else")
    func roundTrip() async throws {
        let home = try temporaryFolder()
        let (file, _) = try await archive(of: home)
        let target = try temporaryFolder() + "/home"
        let report = try await HomeRestore(archive: file, home: target).run()
        #expect(report.ledgerEvents == 20)
        let database = try Storage.Database(path: target + "/keel.sqlite")
        #expect(try await database.read { try $0.ledgerEvents() }.count == 20)
        for path in try FileManager.default.subpathsOfDirectory(atPath: home + "/objects/content") {
            #expect(
                FileManager.default.contentsEqual(atPath: "\(home)/objects/content/\(path)", andPath: "\(target)/objects/content/\(path)"))
        }
        var read: [UInt8] = []
        try DurableLog(folder: target + "/streams/clicks/rows").replay { record, _ in read.append(record[0]) }
        #expect(read == Array(0..<10))
        #expect(!FileManager.default.fileExists(atPath: target + "/work"))
        let list = Process()
        let output = Pipe()
        list.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        list.arguments = ["tar", "-tf", file]
        list.standardOutput = output
        try list.run()
        let names = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        list.waitUntilExit()
        #expect(list.terminationStatus == 0 && names.contains("streams/clicks/rows/00000000000000000000.log\n"))
        await #expect(throws: KeelError.self) { try await HomeRestore(archive: file, home: target).run() }
    }

    /// A home with a database and nothing else, and a backup of it to which `change` may add files before it is made.
    private func backup(of home: String, references: @escaping StoredReferences.Finder) async throws -> (file: String, missing: [String]) {
        let database = try Storage.Database(path: home + "/keel.sqlite")
        try await database.migrate(Ledger.migrations, backupFolder: home + "/backups")
        let backup = try await HomeBackup(
            home: home, folder: home + "/work/backup-1", copyDatabase: { try await database.backup(to: $0) }, references: references)
        var bytes: [UInt8] = []
        try await backup.write { bytes += $0 }
        let file = try temporaryFolder() + "/backup.tar"
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        return (file, backup.missing)
    }

    @Test("folders behind symbolic links are in a backup, on this disk or on another", arguments: [nil, "/dev/shm"])
    func linkedFolders(disk: String?) async throws {
        let home = try temporaryFolder()
        let other = try disk.map { "\($0)/keel-test-\(Identifier.hex32())" } ?? temporaryFolder()
        defer { if disk != nil { try? FileManager.default.removeItem(atPath: other) } }
        try FileManager.default.createDirectory(atPath: other + "/datasets", withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(atPath: home + "/objects", withDestinationPath: other)
        try Folder.make(home + "/lake")
        try FileManager.default.createSymbolicLink(atPath: home + "/lake/datasets", withDestinationPath: other + "/datasets")
        try Data([1, 2]).write(to: URL(fileURLWithPath: other + "/datasets/1.parquet"))
        let digest = try await FolderObjectStore(root: home + "/objects").put([7])
        let (file, _) = try await backup(of: home) { _, _ in StoredReferences() }
        let target = try temporaryFolder() + "/home"
        _ = try await HomeRestore(archive: file, home: target).run()
        #expect(FileManager.default.contents(atPath: target + "/lake/datasets/1.parquet") == Data([1, 2]))
        #expect(try await FolderObjectStore(root: target + "/objects").get(digest) == [7])
    }

    @Test("a backup lacks nothing that its database refers to, unless it says so, and holds no file of the lake beyond it")
    func references() async throws {
        let home = try temporaryFolder()
        for name in ["known", "late"] {
            try Folder.make(home + "/lake/datasets")
            try Data([1]).write(to: URL(fileURLWithPath: "\(home)/lake/datasets/\(name)"))
        }
        let references: StoredReferences.Finder = { _, _ in
            StoredReferences(files: ["lake/datasets/known", "lake/datasets/gone"], folders: ["lake/datasets/"])
        }
        let (file, missing) = try await backup(of: home, references: references)
        #expect(missing == ["lake/datasets/gone"])
        let target = try temporaryFolder() + "/home"
        #expect(try await HomeRestore(archive: file, home: target, references: references).run().missing == missing)
        #expect(try FileManager.default.contentsOfDirectory(atPath: target + "/lake/datasets") == ["known"])
        // What the home holds and the archive does not stops the backup; here, as it lies behind a link that is not followed.
        try Folder.make(home + "/elsewhere")
        try Data([1]).write(to: URL(fileURLWithPath: home + "/elsewhere/file"))
        try FileManager.default.createSymbolicLink(atPath: home + "/link", withDestinationPath: home + "/elsewhere")
        await #expect(throws: KeelError.self) { try await backup(of: home) { _, _ in StoredReferences(files: ["link/file"]) } }
        // An archive that lacks a file and does not say so is refused.
        let refusal = await #expect(throws: KeelError.self) {
            try await HomeRestore(archive: file, home: try temporaryFolder() + "/home") { _, _ in StoredReferences(files: ["objects/x"]) }
                .run()
        }
        #expect(refusal?.message.contains("'objects/x'") == true)
    }

    @Test("a backup that was cut or altered anywhere is refused, and the folder stays empty")
    func damaged() async throws {
        let (file, _) = try await archive(of: temporaryFolder())
        let whole = Array(try #require(FileManager.default.contents(atPath: file)))
        var random = Seeded(11)
        for round in 0..<40 {
            var bytes = whole
            if round % 2 == 0 {
                bytes.removeLast(Int.random(in: 1500..<bytes.count, using: &random))
            } else {
                // The zeros that fill a block, and fields of a head that a restore does not use, may change without harm.
                let place = try #require(bytes.indices.filter { bytes[$0] > 127 }.randomElement(using: &random))
                bytes[place] ^= 1
            }
            let copy = try temporaryFolder() + "/damaged.tar"
            try Data(bytes).write(to: URL(fileURLWithPath: copy))
            let target = try temporaryFolder() + "/home"
            await #expect(throws: KeelError.self, "round \(round)") { try await HomeRestore(archive: copy, home: target).run() }
            #expect(try FileManager.default.contentsOfDirectory(atPath: target).isEmpty)
        }
    }
}
