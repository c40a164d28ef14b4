import Dispatch
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Runs work that blocks (native engines, file I/O, processes) away from Swift's cooperative threads, of which there are only as many as cores.
///
/// The threads are its own. Those of Dispatch's global queues are the ones that Swift's executor takes its threads from: work that blocks there keeps
/// every task of the server waiting.
public enum Blocking {
    private static let pool = ThreadPool()

    /// Runs work on a thread of the pool, or after other work when all `threadsMax` of them are busy.
    public static func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            pool.submit { continuation.resume(with: Result { try body() }) }
        }
    }

    /// Runs work that may wait for hours, such as for the end of a program, on a thread of its own, so that it takes no place in the pool.
    public static func runAlone<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            guard startThread({ continuation.resume(with: Result { try body() }) }) else {
                continuation.resume(
                    throwing: KeelError(.unavailable, "no thread can be started", hint: "is the limit of processes reached (ulimit -u)?"))
                return
            }
        }
    }

    /// Runs work in place when its input is small, and away from Swift's threads when it is large enough to keep others waiting.
    // Inlined into its callers it crashes the compiler (CONTRIBUTING.md, faults of the compiler).
    @inline(never)
    public static func unlessSmall<T: Sendable>(_ bytes: Int, _ body: @escaping @Sendable () throws -> T) async throws -> T {
        guard bytes > smallBytes else { return try body() }
        return try await run(body)
    }

    private static let smallBytes = 64 << 10
    /// How much work runs at one time. Most of it waits for the disk.
    package static let threadsMax = 64

    /// - Returns: whether the system gave a thread.
    fileprivate static func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
        final class Work: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        // As much as a main thread has; pages that nobody touches cost nothing.
        pthread_attr_setstacksize(&attributes, 8 << 20)
        let work = Unmanaged.passRetained(Work(body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, work.toOpaque())
        if code != 0 { work.release() }
        return code == 0
    }
}

/// Threads that are started when work comes and none is free, and end when they had none for a while.
private final class ThreadPool: Sendable {
    private struct State {
        /// The work that waits is what begins at `next`.
        var queue: [@Sendable () -> Void] = []
        var next = 0
        var threads = 0
        var idle = 0

        mutating func take() -> (@Sendable () -> Void)? {
            guard next < queue.count else { return nil }
            let work = queue[next]
            next += 1
            if next == queue.count || next > 1024 {
                queue.removeFirst(next)
                next = 0
            }
            return work
        }
    }

    private static let idleSeconds = 30
    private let state = Mutex(State())
    /// What idle threads wait for. One that looks for work before it waits misses none: those that are busy look again before they are idle.
    private let wakeups = DispatchSemaphore(value: 0)

    func submit(_ work: @escaping @Sendable () -> Void) {
        let (isServed, hasIdle) = state.withLock { state in
            state.queue.append(work)
            let isBusy = state.queue.count - state.next > state.idle && state.threads < Blocking.threadsMax
            if isBusy, Blocking.startThread({ self.serve() }) { state.threads += 1 }
            if state.threads == 0 { state.queue.removeLast() }
            return (state.threads > 0, state.idle > 0)
        }
        if hasIdle { wakeups.signal() }
        // A machine that gives no thread at all still gets its work done.
        if !isServed { work() }
    }

    private func serve() {
        while true {
            while let work = next() { work() }
            let isWoken = wakeups.wait(timeout: .now() + .seconds(ThreadPool.idleSeconds)) == .success
            let isOver = state.withLock { state in
                state.idle -= 1
                guard !isWoken, state.next == state.queue.count else { return false }
                state.threads -= 1
                return true
            }
            if isOver { return }
        }
    }

    /// The next piece of work; without one the thread counts as idle.
    private func next() -> (@Sendable () -> Void)? {
        state.withLock { state in
            let work = state.take()
            if work == nil { state.idle += 1 }
            return work
        }
    }
}
