import Contracts
import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// Finds the addresses of a host.
package protocol HostResolver: Sendable {
    /// - Throws: `unavailable` when no answer came, or none with an address.
    func addresses(of host: String) async throws -> [NetworkAddress]
}

/// As the system resolves names, with a limit on how long and on how many at a time.
package struct SystemResolver: HostResolver {
    private let limit: TimeAmount
    private let lookUp: @Sendable (String) throws -> [NetworkAddress]
    private let underWay = UnderWay()
    /// The system's look-up cannot be called off: one that is given up holds a thread until the system gives up too. A thread of its own, because
    /// threads that Dispatch has to spare are missed by everything else.
    private static let underWayMax = 16

    package init(limit: TimeAmount = .seconds(5), lookUp: @escaping @Sendable (String) throws -> [NetworkAddress] = NetworkAddress.resolve)
    {
        (self.limit, self.lookUp) = (limit, lookUp)
    }

    package func addresses(of host: String) async throws -> [NetworkAddress] {
        if let literal = NetworkAddress(literal: host) { return [literal] }
        guard underWay.enter(atMost: SystemResolver.underWayMax) else {
            throw KeelError(.unavailable, "cannot resolve '\(host)': \(SystemResolver.underWayMax) look-ups of names are under way already")
        }
        return try await withCheckedThrowingContinuation { continuation in
            let answer = FirstAnswer(continuation)
            Thread.detachNewThread {
                let found = Result { try lookUp(host) }
                underWay.leave()
                answer.give(found)
            }
            MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: limit) {
                answer.give(.failure(KeelError(.unavailable, "cannot resolve '\(host)': no answer in time")))
            }
        }
    }

    private final class UnderWay: Sendable {
        private let count = Mutex(0)
        func enter(atMost limit: Int) -> Bool {
            count.withLock { count in
                guard count < limit else { return false }
                count += 1
                return true
            }
        }
        func leave() { count.withLock { $0 -= 1 } }
    }

    /// Passes on the first of two answers.
    private final class FirstAnswer: Sendable {
        private let waiting: Mutex<CheckedContinuation<[NetworkAddress], any Error>?>
        init(_ continuation: CheckedContinuation<[NetworkAddress], any Error>) { waiting = Mutex(continuation) }
        func give(_ answer: Result<[NetworkAddress], any Error>) {
            let first = waiting.withLock { waiting in
                defer { waiting = nil }
                return waiting
            }
            first?.resume(with: answer)
        }
    }
}
