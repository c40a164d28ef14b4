import Contracts
import Glibc

/// A file that appears whole or not at all: written under a temporary name beside its own, synced, then renamed. One that is not
/// committed is removed.
struct DurableFile: ~Copyable {
    let path: String
    /// Where to write.
    let temporary: String

    init(_ path: String) {
        self.path = path
        temporary = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max)).tmp"
    }

    deinit { unlink(temporary) }

    /// Makes the file appear under its own name, also after a crash of the machine.
    func commit() throws(KeelError) {
        try DurableFile.sync(temporary)
        guard rename(temporary, path) == 0 else { throw DurableFile.failure("cannot rename to '\(path)'") }
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        try DurableFile.sync(slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ".")
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
