import Contracts
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// An open file of this process, closed once: when that is asked for, or with the last reference.
package final class Descriptor: Sendable {
    private let state: Mutex<Int32?>

    package init(_ number: Int32) { state = Mutex(number) }

    deinit { close() }

    package func close() {
        state.withLock { number in
            if let number { _ = Glibc.close(number) }
            number = nil
        }
    }

    /// - Throws: `unavailable` when it is closed.
    package func number() throws(KeelError) -> Int32 {
        guard let number = state.withLock({ $0 }) else { throw KeelError(.unavailable, "the socket is closed") }
        return number
    }

    /// The two ends of a socket. The programs that this process starts inherit neither.
    package static func socketPair() throws(KeelError) -> (near: Descriptor, far: Descriptor) {
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw KeelError(.unavailable, "no socket can be made: \(String(cString: strerror(errno)))")
        }
        return (Descriptor(ends[0]), Descriptor(ends[1]))
    }
}
