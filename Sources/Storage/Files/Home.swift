import Contracts
import Foundation

/// The folder that holds everything a server keeps, locked against every other process that would write to it.
///
/// The lock is the kernel's (`flock`), so it ends with the process, however that ends; programs started by this one do not inherit it. It is taken
/// before anything else in the folder is read or changed.
public final class Home: Sendable {
    public let path: String
    /// Whether the folder was made just now, or held nothing but the lock.
    public let isNew: Bool
    private let lock: Int32
    private static let lockName = "keel.lock"

    /// Makes the folder when it is absent, locks it, and takes from other users of the machine what they may do in it.
    /// - Parameter user: who holds the lock, as the error of the next one names it: an address, or what a command does.
    /// - Throws: `failedPrecondition` when another process has it.
    public init(_ path: String, user: String) throws {
        self.path = path
        try Folder.make(path)
        lock = open(path + "/" + Home.lockName, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw AtomicFile.failure("open the lock of the home folder") }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            let holder = Home.text(lock)
            close(lock)
            errno = reason
            guard reason == EWOULDBLOCK else { throw AtomicFile.failure("lock the home folder") }
            throw KeelError(
                .failedPrecondition, "the home folder '\(path)' is in use by \(holder.isEmpty ? "a process that is starting" : holder)",
                hint: "stop it first, or choose another folder with --home")
        }
        isNew = try Folder.names(path).allSatisfy { $0 == Home.lockName }
        let text = Array("\(user), pid \(getpid()), since \(Timestamp.systemNow())\n".utf8)
        guard ftruncate(lock, 0) == 0, pwrite(lock, text, text.count, 0) == text.count else {
            throw AtomicFile.failure("write the lock of the home folder")
        }
        try closeToOthers()
    }

    deinit { close(lock) }

    private static func text(_ descriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 500)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Takes the permissions of group and others from everything in the folder. The folder's own come last, so that they say whether it was all done.
    private func closeToOthers() throws {
        guard try mode(path) & 0o077 != 0 else { return }
        if !isNew {
            let names = FileManager.default.enumerator(atPath: path)
            while let name = names?.nextObject() as? String {
                let file = path + "/" + name
                // What a running program removes meanwhile needs no permissions, and a link's are those of its target.
                guard let bits = try? mode(file), bits & S_IFMT != S_IFLNK, bits & 0o077 != 0 else { continue }
                guard chmod(file, bits & 0o700) == 0 || errno == ENOENT else { throw AtomicFile.failure("close \(file) to other users") }
            }
        }
        guard chmod(path, 0o700) == 0 else { throw AtomicFile.failure("close the home folder to other users") }
    }

    private func mode(_ file: String) throws -> mode_t {
        var status = stat()
        guard lstat(file, &status) == 0 else { throw AtomicFile.failure("look at \(file)") }
        return status.st_mode
    }

    /// Makes a folder of the home when there is none. A symbolic link to a folder counts as one.
    ///
    /// Anything else under its name is moved to `damaged/` and reported, and a new folder made.
    /// - Parameter name: below the home folder, such as `lake/datasets`; the folder above it must exist.
    public func folder(_ name: String, damage: DamageRegister) throws {
        let folder = "\(path)/\(name)"
        var status = stat()
        guard lstat(folder, &status) == 0 else { return try Folder.make(folder) }
        if Folder.exists(folder) {
            guard access(folder, R_OK | W_OK | X_OK) != 0 else { return }
            if chmod(folder, 0o700) == 0, access(folder, R_OK | W_OK | X_OK) == 0 { return reportMode(name, damage) }
        }
        let aside = try StoredFile.setAside(folder, into: path + "/damaged")
        let isFolder = status.st_mode & S_IFMT == S_IFDIR
        let isLink = status.st_mode & S_IFMT == S_IFLNK
        let what =
            isFolder
            ? "the folder \(name) could not be read and written"
            : "\(name) was \(StoredFile.kind(status.st_mode))\(isLink ? " to no folder" : "")"
        damage.report(
            "Home/\(name)",
            KeelError(
                .corrupted, "\(what): it was moved to damaged/\(aside), and an empty folder made",
                hint: "stop the server, put the folder back, and start it again"))
        try Folder.make(folder)
    }

    /// Clears the way for files that SQLite keeps beside the database. What is no file there is moved to `damaged/` and reported.
    public func clearSidecars(of database: String, damage: DamageRegister) throws {
        for (ending, loss) in [("-wal", "changes that were in it are lost"), ("-shm", "nothing is lost")] {
            let name = database + ending
            let file = "\(path)/\(name)"
            var status = stat()
            guard lstat(file, &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFREG {
                // What cannot be opened in spite of this stops the start: the write-ahead log may hold the newest changes.
                if access(file, R_OK | W_OK) != 0, chmod(file, 0o600) == 0 { reportMode(name, damage) }
                continue
            }
            let aside = try StoredFile.setAside(file, into: path + "/damaged")
            damage.report(
                "Home/\(name)",
                KeelError(
                    .corrupted, "\(name) was \(StoredFile.kind(status.st_mode)), not a file: it was moved to damaged/\(aside); \(loss)",
                    hint: "check what put it there; 'keel restore' brings back a backup"))
        }
    }

    private func reportMode(_ name: String, _ damage: DamageRegister) {
        damage.report(
            "Home/\(name)",
            KeelError(
                .corrupted, "the permissions of \(name) kept the server out: they were set right, and nothing is lost",
                hint: "check what changed them"))
    }

    /// A secret of 32 bytes, and whether it will be the same at the next start.
    public struct Key: Sendable, Equatable {
        public let bytes: [UInt8]
        public let isStored: Bool
    }

    /// The secret of 32 bytes in a file of the folder; a new one when there is none yet.
    ///
    /// A file that holds anything else, and anything that is no file, is moved to `damaged/` and reported: what was made with it cannot be used any
    /// more, everything else can. A file that cannot be read now may be readable later: it stays, and the key is one for this process alone.
    public func key(_ name: String, new: () -> [UInt8], damage: DamageRegister) throws -> Key {
        let file = path + "/" + name
        do {
            let bytes = try StoredFile.contents(file, name: name)
            if bytes.count == 32 { return Key(bytes: bytes, isStored: true) }
            try setAside(name, "the key in \(name) had \(bytes.count) bytes, not 32", damage)
        } catch let error as KeelError where error.code == .corrupted {
            try setAside(name, error.message, damage)
        } catch let error as KeelError where error.code != .notFound {
            damage.report(
                "Home/\(name)",
                KeelError(
                    error.code,
                    "\(error.message). The file was left as it is; until the server can read it, what was made with its key cannot be used",
                    hint: "make the file readable for the server's user, then start the server again"))
            return Key(bytes: new(), isStored: false)
        } catch let error as KeelError where error.code == .notFound {}
        let key = new()
        let made = try AtomicFile(path: file, temporaryFolder: path)
        try made.write(key)
        try made.commit()
        return Key(bytes: key, isStored: true)
    }

    private func setAside(_ name: String, _ what: String, _ damage: DamageRegister) throws {
        _ = try StoredFile.setAside("\(path)/\(name)", into: path + "/damaged")
        damage.report(
            "Home/\(name)",
            KeelError(
                .corrupted, "\(what): it was set aside and a new one made",
                hint: "put the file back from a backup, or set what it protected again"))
    }
}
