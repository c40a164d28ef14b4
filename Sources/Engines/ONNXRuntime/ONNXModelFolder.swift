import Contracts
import Glibc

/// Reads the files of a model's folder.
enum ONNXModelFolder {
    /// Reads the file at a path that the caller chose.
    static func read(_ path: String) throws(KeelError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .notFound("cannot open the model '\(path)': \(String(cString: strerror(errno)))") }
        defer { close(file) }
        return try contents(file, path)
    }

    /// Reads a file that the model names. No step of its path may be a link, which could lead out of the folder.
    ///
    /// - Parameter path: relative, without empty parts, `.` and `..`.
    static func read(_ path: String, below folder: String) throws(KeelError) -> [UInt8] {
        func failure() -> KeelError { .notFound("cannot open '\(path)' beside the model: \(String(cString: strerror(errno)))") }
        var at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard at >= 0 else { throw failure() }
        defer { close(at) }
        let parts = path.split(separator: "/").map(String.init)
        for (i, part) in parts.enumerated() {
            let isLast = i == parts.count - 1
            // A pipe would be waited for without O_NONBLOCK; it is refused below.
            let next = openat(at, part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (isLast ? 0 : O_DIRECTORY))
            guard next >= 0 else { throw failure() }
            close(at)
            at = next
        }
        return try contents(at, path)
    }

    private static func contents(_ file: Int32, _ path: String) throws(KeelError) -> [UInt8] {
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw .invalid("'\(path)' is not a file") }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(status.st_size))
        var block = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = block.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw KeelError(.internal, "cannot read '\(path)': \(String(cString: strerror(errno)))") }
            if count == 0 { return bytes }
            bytes += block[..<count]
        }
    }
}
