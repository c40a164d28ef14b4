import Contracts
import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// A tree of files that nobody writes to any more, which others may have written. Links in it are never followed.
enum ClosedFolder {
    /// Makes everything in it this user's, readable by all and writable by nobody, and syncs it.
    static func close(_ folder: String) throws {
        try openToOwner(folder)
        for name in try Folder.names(folder) {
            let path = "\(folder)/\(name)"
            if isFolder(path) {
                try close(path)
                continue
            }
            // A link has no permissions of its own, and may not be followed to those of another file.
            guard lchown(path, geteuid(), getegid()) == 0 else { throw AtomicFile.failure("take over '\(path)'") }
            guard let status = status(path), status.st_mode & S_IFMT != S_IFLNK else { continue }
            guard status.st_mode & S_IFMT == S_IFREG else {
                unlink(path)
                continue
            }
            chmod(path, status.st_mode & 0o111 == 0 ? 0o444 : 0o555)
        }
        try Folder.sync(folder)
        chmod(folder, 0o555)
    }

    /// Removes it with all that it holds, also what may not be written. It is not an error when there is none.
    static func remove(_ path: String) {
        func open(_ path: String) {
            guard isFolder(path) else { return }
            try? openToOwner(path)
            for name in (try? Folder.names(path)) ?? [] { open("\(path)/\(name)") }
        }
        open(path)
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Notes that a folder was taken up now: a sweep leaves it alone for some time.
    static func touch(_ path: String) { utimensat(AT_FDCWD, path, nil, AT_SYMLINK_NOFOLLOW) }

    /// Removes what lies in a folder, is not kept, and was neither made nor taken up since an instant. Each is given another name first, so that what a crash
    /// leaves half removed is never taken for whole.
    /// - Parameters:
    ///   - isKept: asked for each name.
    ///   - dryRun: removes nothing.
    /// - Returns: the names that are gone, or would be.
    static func sweep(_ folder: String, before limit: Timestamp, dryRun: Bool, isKept: (_ name: String) -> Bool) -> [String] {
        var gone: [String] = []
        for name in (try? Folder.names(folder)) ?? [] where !isKept(name) {
            let path = "\(folder)/\(name)"
            guard let status = status(path), Int64(status.st_mtim.tv_sec) < limit.microseconds / 1_000_000 else { continue }
            gone.append(name)
            guard !dryRun else { continue }
            let leaving = "\(folder)/\(Identifier.hex32())\(AtomicFile.temporarySuffix)"
            if isFolder(path) { try? openToOwner(path) }
            remove(rename(path, leaving) == 0 ? leaving : path)
        }
        return gone
    }

    static func isFolder(_ path: String) -> Bool { status(path).map { $0.st_mode & S_IFMT == S_IFDIR } ?? false }
    static func isPlainFile(_ path: String) -> Bool { status(path).map { $0.st_mode & S_IFMT == S_IFREG } ?? false }

    private static func openToOwner(_ folder: String) throws(KeelError) {
        guard lchown(folder, geteuid(), getegid()) == 0, chmod(folder, 0o700) == 0 else {
            throw AtomicFile.failure("take over '\(folder)'")
        }
    }

    private static func status(_ path: String) -> stat? {
        var status = stat()
        return lstat(path, &status) == 0 ? status : nil
    }
}
