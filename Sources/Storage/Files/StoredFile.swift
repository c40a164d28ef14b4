import Contracts
import Foundation

/// Opens files of the home folder. Only regular files are opened, and opening one never waits.
///
/// A folder, a FIFO, a socket, a device or a symbolic link under a file's name is damage: reading it could wait for ever, or never end.
public enum StoredFile {
    /// - Parameters:
    ///   - name: what errors call the file.
    ///   - flags: of `open`, such as `O_RDONLY`.
    ///   - followsLinks: whether the name may be a symbolic link to a file; for files that a person names.
    /// - Returns: a descriptor, which the caller closes.
    /// - Throws: `notFound` when nothing has the name, `corrupted` when it is no regular file, `unavailable` when the system refuses to open it.
    package static func open(_ path: String, name: String, _ flags: Int32 = O_RDONLY, followsLinks: Bool = false) throws(KeelError) -> Int32
    {
        let descriptor = Foundation.open(path, flags | O_CLOEXEC | O_NONBLOCK | (followsLinks ? 0 : O_NOFOLLOW), 0o600)
        let reason = errno
        var status = stat()
        guard descriptor >= 0 else {
            if lstat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG, !followsLinks || status.st_mode & S_IFMT != S_IFLNK {
                throw wrongKind(name, status.st_mode)
            }
            if reason == ENOENT || reason == ENOTDIR { throw KeelError.notFound("there is no \(name)") }
            throw KeelError(
                .unavailable, "could not open \(name): \(String(cString: strerror(reason)))",
                hint: "check its permissions and the disk, then start the server again")
        }
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw wrongKind(name, status.st_mode)
        }
        return descriptor
    }

    /// Maps the whole file into memory.
    public static func map(_ path: String, name: String) throws(KeelError) -> Data {
        let descriptor = try open(path, name: name)
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw AtomicFile.failure("read \(name)") }
        let count = Int(status.st_size)
        guard count > 0 else { return Data() }
        guard let bytes = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), bytes != MAP_FAILED else {
            throw AtomicFile.failure("read \(name)")
        }
        return Data(bytesNoCopy: bytes, count: count, deallocator: .unmap)
    }

    /// Reads the whole file.
    public static func contents(_ path: String, name: String) throws -> [UInt8] {
        let reader = try ObjectReader(path: path, name: name)
        var out = [UInt8](repeating: 0, count: Int(reader.bytes))
        var filled = 0
        while filled < out.count {
            let offset = filled
            let count = try out.withUnsafeMutableBytes {
                try reader.read(at: Int64(offset), into: UnsafeMutableRawBufferPointer(rebasing: $0[offset...]))
            }
            guard count > 0 else { return Array(out[..<filled]) }
            filled += count
        }
        return out
    }

    static func wrongKind(_ name: String, _ mode: mode_t) -> KeelError {
        KeelError(.corrupted, "\(name) is \(kind(mode)), not a file", hint: "put the file back from a backup")
    }

    /// What a mode says something is, with its article.
    static func kind(_ mode: mode_t) -> String {
        switch mode & S_IFMT {
        case S_IFREG: "a file"
        case S_IFDIR: "a folder"
        case S_IFLNK: "a symbolic link"
        case S_IFIFO: "a FIFO"
        case S_IFSOCK: "a socket"
        default: "a device"
        }
    }

    /// Moves whatever has a name to a folder for what is damaged, under a name of its own there.
    /// - Returns: the new name, without its folder.
    static func setAside(_ path: String, into folder: String) throws -> String {
        do { try Folder.make(folder) } catch {
            // Even this folder may be something else by now.
            guard rename(folder, "\(folder)-\(Identifier.hex32())") == 0 else { throw error }
            try Folder.make(folder)
        }
        let name = "\((path as NSString).lastPathComponent)-\(Identifier.hex32())"
        guard rename(path, "\(folder)/\(name)") == 0 else { throw AtomicFile.failure("move \(path) aside") }
        return name
    }
}
