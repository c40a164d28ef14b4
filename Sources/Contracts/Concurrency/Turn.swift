import Synchronization

/// Lets one task, or a few, through at a time, in order of arrival, without blocking a thread.
///
/// The work runs where its caller does. So an actor whose verbs must not interleave, though others may come in at each of their awaits, runs
/// each of them inside one turn, and they read and change its state as usual. `take` and `give` are for what spans several calls, such as preparing a
/// change and then putting it in force.
public final class Turn: Sendable {
    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state: Mutex<State>

    /// - Parameter width: how many go through at a time.
    public init(width: Int = 1) { state = Mutex(State(free: width)) }

    /// Waits for its turn, does the work, and passes the turn on, also when the work throws.
    ///
    /// A task that is cancelled while it waits stays in the queue: the work itself finds out. Work that asks for the same turn waits for ever.
    public func run<T>(isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> T) async throws -> T {
        await take()
        defer { give() }
        return try await body()
    }

    /// Waits for its turn. Whoever takes it must give it back, once.
    public func take(isolation: isolated (any Actor)? = #isolation) async {
        await withCheckedContinuation { continuation in
            let mine = state.withLock { state in
                guard state.free > 0 else {
                    state.waiting.append(continuation)
                    return false
                }
                state.free -= 1
                return true
            }
            if mine { continuation.resume() }
        }
    }

    /// Passes the turn on to whoever waited longest.
    public func give() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard !state.waiting.isEmpty else {
                state.free += 1
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume()
    }
}
