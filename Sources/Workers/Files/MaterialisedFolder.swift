import Contracts
import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// A folder whose files are exactly those that were asked for, byte for byte by their digests, and read-only.
///
/// Its name is the digest of the list of its files, so two models with the same files share it, and nobody finds it who does not know them all.
public struct MaterialisedFolder: Sendable, Hashable {
    /// Absolute, without symbolic links.
    public let path: String

    static let filesMax = 100_000

    /// Makes the folder, or finds it whole: every byte is compared with its digest in either case.
    ///
    /// It blocks: call it from a thread of your own (`Blocking.run`).
    /// - Parameters:
    ///   - files: relative paths, with `/` between their parts, and what lies there.
    ///   - root: the folder of all such folders, an absolute path that nobody but the server writes to.
    ///   - read: hands over the content of that digest in parts.
    /// - Throws: `invalidArgument` for a path that could lead out of the folder; `corrupted` when the bytes are not those of the digest; what `read` throws.
    public static func make(
        _ files: [String: Digest], in root: String, read: (_ digest: Digest, _ part: ([UInt8]) throws -> Void) throws -> Void
    ) throws -> MaterialisedFolder {
        guard files.count <= filesMax else { throw KeelError.invalid("\(files.count) files are more than \(filesMax)") }
        let paths = files.keys.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        for path in paths { try check(path) }
        try Folder.make(root)
        let root = ProgramIsolation.Folders.resolved(root)
        let folder = "\(root)/\(name(of: files))"
        if isWhole(folder, files) {
            ClosedFolder.touch(folder)
            return MaterialisedFolder(path: folder)
        }
        let building = "\(root)/\(Identifier.hex32())\(AtomicFile.temporarySuffix)"
        defer { ClosedFolder.remove(building) }
        try Folder.make(building)
        for path in paths {
            guard let digest = files[path] else { continue }
            try write("\(building)/\(path)", digest, read)
        }
        try ClosedFolder.close(building)
        try replace(folder, by: building, files)
        try Folder.sync(root)
        return MaterialisedFolder(path: folder)
    }

    /// What the folder of these files is called, whether it is there or not.
    public static func name(of files: [String: Digest]) -> String {
        var name = Digest.Hasher()
        for path in files.keys.sorted(by: { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }) {
            name.update("\(path)\0\(files[path]?.hex ?? "")\n")
        }
        return name.finish().hex
    }

    /// Removes folders under `root` that are in use no more, and those that were never finished, unless they were made or taken up since an instant.
    /// - Parameters:
    ///   - names: of the folders to keep.
    ///   - dryRun: removes nothing.
    /// - Returns: how many are gone, or would be.
    @discardableResult
    public static func sweep(_ root: String, keeping names: Set<String>, before limit: Timestamp, dryRun: Bool = false) -> Int {
        ClosedFolder.sweep(ProgramIsolation.Folders.resolved(root), before: limit, dryRun: dryRun) { names.contains($0) }.count
    }

    /// A path of plain names below the folder.
    private static func check(_ path: String) throws(KeelError) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let isPlain = parts.allSatisfy { part in
            !part.isEmpty && part != "." && part != ".." && part.utf8.count <= 255 && !part.utf8.contains { $0 < 32 || $0 == 127 }
        }
        guard isPlain, path.utf8.count <= 2000, parts.count <= 64 else {
            throw .invalid("'\(path.prefix(200).visible())' is no path of a file in a model's folder")
        }
    }

    private static func write(
        _ path: String, _ digest: Digest, _ read: (_ digest: Digest, _ part: ([UInt8]) throws -> Void) throws -> Void
    ) throws {
        try Folder.make(Folder.parent(of: path))
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw AtomicFile.failure("write '\(path)'") }
        defer { Glibc.close(file) }
        var hasher = Digest.Hasher()
        try read(digest) { part in
            hasher.update(part)
            try part.withUnsafeBytes { try AtomicFile.writeAll(file, $0) }
        }
        guard hasher.finish() == digest else {
            throw KeelError(
                .corrupted, "the content of \(digest) is not what it was", hint: "log the model again, or restore it from a backup")
        }
        guard fsync(file) == 0 else { throw AtomicFile.failure("sync '\(path)'") }
        fchmod(file, 0o444)
    }

    /// Whoever else makes the same folder at this time makes the same files.
    private static func replace(_ folder: String, by building: String, _ files: [String: Digest]) throws {
        // The name of a folder that may not be written cannot be changed by its own user.
        chmod(building, 0o755)
        defer { chmod(folder, 0o555) }
        for _ in 0..<2 {
            if rename(building, folder) == 0 { return }
            guard errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR else { break }
            if isWhole(folder, files) { return }
            ClosedFolder.remove(folder)
        }
        throw AtomicFile.failure("rename a model's folder")
    }

    /// Whether it holds these files with these bytes and nothing else.
    private static func isWhole(_ folder: String, _ files: [String: Digest]) -> Bool {
        var found = 0
        func look(_ path: String, _ relative: String) -> Bool {
            guard let names = try? Folder.names(path) else { return false }
            return names.allSatisfy { name in
                let inner = relative.isEmpty ? name : "\(relative)/\(name)"
                if ClosedFolder.isFolder("\(path)/\(name)") { return look("\(path)/\(name)", inner) }
                found += 1
                return files[inner].map { digest(of: "\(path)/\(name)") == $0 } ?? false
            }
        }
        return ClosedFolder.isFolder(folder) && look(folder, "") && found == files.count
    }

    private static func digest(of path: String) -> Digest? {
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        var status = stat()
        guard file >= 0 else { return nil }
        defer { Glibc.close(file) }
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        var hasher = Digest.Hasher()
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return hasher.finish() }
            buffer.withUnsafeBytes { hasher.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
    }
}
