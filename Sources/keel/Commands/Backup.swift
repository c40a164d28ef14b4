import ArgumentParser
import Contracts
import Foundation
import KeelClient
import Platform
import Workflows
import Storage
import Synchronization

struct Backup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a backup of everything the server holds to a file, while it serves.",
        discussion: """
            The file is a tar archive. It holds the server's keys and all data: keep it as safe as the home folder. Only owners may make one.
            Example: keel backup keel-2026-05-01.tar
            """)
    @Argument(help: "The file to write; it must not exist.") var file: String
    @OptionGroup var connection: Connection

    func run() async throws {
        guard !FileManager.default.fileExists(atPath: file) else {
            throw KeelError(.alreadyExists, "there is a file '\(file)' already", hint: "choose another name")
        }
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent().path
        let archive = try AtomicFile(path: URL(fileURLWithPath: file).path, temporaryFolder: folder)
        let failure = Mutex<(any Error)?>(nil)
        let answer = try await connection.client().download("/api/v1/backup") { part in
            failure.withLock { failure in
                guard failure == nil else { return }
                do { try archive.write(part) } catch { failure = error }
            }
        }
        if let error = failure.withLock({ $0 }) { throw error }
        _ = try KeelClient.decode(answer)
        try archive.commit()
        connection.show(["file": .string(file), "bytes": .int(archive.size)]) { _ in
            Terminal.print("\(file): \(Terminal.count(archive.size)) bytes")
        }
    }
}

struct Restore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring a backup back into an empty home folder, and check all of it.",
        discussion: """
            Every file is held against its digest; the database and the ledger's chain are read whole. No server may use the folder.
            A copy of the database that an upgrade made, backups/keel-….sqlite of a home, is put back into that home in place of its database, so
            that an earlier version of Keel can serve it again. What came after the upgrade is lost; the database that is replaced stays in backups/.
            Examples:
              keel restore keel-2026-05-01.tar --home /var/lib/keel
              keel restore .keel/backups/keel-1777594554000.sqlite --home .keel
            """)
    @Argument(help: "A file that 'keel backup' wrote, or a copy of the database from before an upgrade.") var file: String
    @Option(help: "The folder to restore into, empty or absent; for a copy of the database, the home that it was made in.") var home: String

    func run() async throws {
        umask(0o077)
        if try DatabaseRestore.isDatabase(file) {
            let restore = DatabaseRestore(copy: file, home: home, migrations: Platform.migrations) {
                try await BackingUp.storedReferences($0, home: $1)
            }
            let report = try await restore.run()
            Terminal.print("\(home): the database as it was before the upgrade, \(Terminal.count(report.ledgerEvents)) ledger events")
            Terminal.print("\(Terminal.count(report.ledgerEventsLost)) events that came after it are in \(report.replaced) only")
            if let first = report.missing.first {
                Terminal.print("\(report.missing.count) files that it refers to were removed since, the first is '\(first)'")
            }
            return
        }
        let report = try await HomeRestore(archive: file, home: home) { try await BackingUp.storedReferences($0, home: $1) }.run()
        Terminal.print(
            "\(home): \(Terminal.count(Int64(report.files))) files, \(Terminal.count(report.bytes)) bytes, \(Terminal.count(report.ledgerEvents)) ledger events, all as they were"
        )
        if let first = report.missing.first {
            Terminal.print("\(report.missing.count) files were gone when the backup was made, the first is '\(first)'")
        }
    }
}
