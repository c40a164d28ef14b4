import Contracts

#if canImport(Glibc)
    import Glibc
#endif

/// A lock that servers and tasks hold by turns while they make the same environment. It ends with its holder, however that ends.
final class EnvironmentLock: Sendable {
    private let file: Descriptor

    /// Waits until nobody else holds it; the task may be cancelled meanwhile.
    init(_ path: String) async throws {
        let number = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw AtomicFile.failure("lock \(path)") }
        file = Descriptor(number)
        while flock(number, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else { throw AtomicFile.failure("lock \(path)") }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// Nil when somebody else holds it, or there can be none.
    init?(ifFree path: String) {
        let number = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard number >= 0 else { return nil }
        file = Descriptor(number)
        guard flock(number, LOCK_EX | LOCK_NB) == 0 else {
            file.close()
            return nil
        }
    }

    func release() { file.close() }
}
