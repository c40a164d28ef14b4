import Foundation

/// Folders that survive a power cut: a new name in a folder is durable only once the folder itself is synced.
public enum Folder {
    /// Makes a folder and those above it that are missing, readable by their owner alone, each durable in the one above.
    public static func make(_ path: String) throws(KeelError) {
        if mkdir(path, 0o700) == 0 { return try sync(parent(of: path)) }
        switch errno {
        case EEXIST:
            var status = stat()
            guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                throw KeelError(.failedPrecondition, "'\(path)' is not a folder")
            }
        case ENOENT where parent(of: path) != path:
            try make(parent(of: path))
            try make(path)
        default: throw AtomicFile.failure("make the folder \(path)")
        }
    }

    /// The names in a folder, in no order.
    public static func names(_ path: String) throws(KeelError) -> [String] {
        guard let folder = opendir(path) else {
            guard errno != ENOENT else { throw KeelError.notFound("there is no folder '\(path)'") }
            throw AtomicFile.failure("list the folder \(path)")
        }
        defer { closedir(folder) }
        var out: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { out.append(name) }
        }
        return out
    }

    /// Whether a path leads to a folder, through links too.
    package static func exists(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Brings the names in a folder to the disk.
    public static func sync(_ path: String) throws(KeelError) {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw AtomicFile.failure("open the folder \(path)") }
        defer { close(folder) }
        // EINVAL: this file system has no separate sync of folders.
        guard fsync(folder) == 0 || errno == EINVAL else { throw AtomicFile.failure("sync the folder \(path)") }
    }

    /// The folder that holds `path`; `.` for a name alone.
    package static func parent(of path: String) -> String {
        let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        guard let slash = trimmed.lastIndex(of: "/") else { return "." }
        return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
    }
}
