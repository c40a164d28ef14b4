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
        isNew = try FileManager.default.contentsOfDirectory(atPath: path).allSatisfy { $0 == Home.lockName }
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

    /// The secret of 32 bytes in a file of the folder; a new one when there is none yet.
    ///
    /// A file that holds anything else is moved aside, to `damaged/`, and reported: what was made with it cannot be used any more, everything else can.
    public func key(_ name: String, new: () -> [UInt8], damage: DamageRegister) throws -> [UInt8] {
        let file = path + "/" + name
        if let data = FileManager.default.contents(atPath: file) {
            if data.count == 32 { return Array(data) }
            try Folder.make(path + "/damaged")
            guard rename(file, "\(path)/damaged/\(name)-\(Identifier.hex32())") == 0 else { throw AtomicFile.failure("move the damaged \(name) aside") }
            damage.report(
                "Home/\(name)",
                KeelError(
                    .corrupted, "the key in \(name) had \(data.count) bytes, not 32: it was set aside and a new one made",
                    hint: "put the file back from a backup, or set what it protected again"))
        }
        let key = new()
        let made = try AtomicFile(path: file, temporaryFolder: path)
        try made.write(key)
        try made.commit()
        return key
    }
}
