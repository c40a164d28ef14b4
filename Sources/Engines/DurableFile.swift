import Contracts
import Glibc

/// Files that appear whole or not at all.
enum DurableFile {
    /// Lets `body` write a temporary file beside `path`, syncs it, renames it to `path` and syncs the folder. On an error nothing is left.
    static func write<T>(to path: String, _ body: (String) throws(KeelError) -> T) throws(KeelError) -> T {
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max)).tmp"
        do throws(KeelError) {
            let result = try body(temporary)
            try sync(temporary)
            guard rename(temporary, path) == 0 else { throw failure("cannot rename to '\(path)'") }
            let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
            try sync(slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ".")
            return result
        } catch {
            unlink(temporary)
            throw error
        }
    }

    private static func sync(_ path: String) throws(KeelError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("cannot open '\(path)'") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("cannot sync '\(path)'") }
    }

    private static func failure(_ what: String) -> KeelError {
        KeelError(.internal, "\(what): \(String(cString: strerror(errno)))")
    }
}
