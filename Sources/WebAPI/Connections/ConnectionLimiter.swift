import NIOCore
import Synchronization

/// How many connections there may be at a time, in all and from one address.
public final class ConnectionLimiter: Sendable {
    private struct State {
        var total = 0
        var clients: [String: Int] = [:]
        var reported: NIODeadline?
    }
    package enum Admission: Equatable {
        case admitted
        /// - Parameter isNews: whether no refusal was reported in the last minute.
        case refused(isNews: Bool)
    }

    public let total: Int
    public let perClient: Int
    private let state = Mutex(State())

    public init(total: Int, perClient: Int) {
        self.total = total
        self.perClient = perClient
    }

    /// How many are open.
    public var count: Int { state.withLock { $0.total } }

    package func open(_ client: String) -> Admission {
        state.withLock { state in
            guard state.total < total, state.clients[client, default: 0] < perClient else {
                let now = NIODeadline.now()
                let isNews = state.reported.map { now - $0 > .seconds(60) } ?? true
                if isNews { state.reported = now }
                return .refused(isNews: isNews)
            }
            state.total += 1
            state.clients[client, default: 0] += 1
            return .admitted
        }
    }

    package func close(_ client: String) {
        state.withLock { state in
            state.total -= 1
            let left = state.clients[client, default: 1] - 1
            state.clients[client] = left == 0 ? nil : left
        }
    }
}
