import Contracts
import Dispatch
import Synchronization

/// Runs what would hold up an event loop: models that are not trees, and requests with many rows or bytes.
///
/// A bounded queue, worked off by threads of its own, so that nothing else of the server waits for a slow model. A thread takes the oldest job and, with it,
/// those that can be run together with it: what has gathered while it was busy, without waiting for more. Each job has a deadline. One that is still waiting
/// then is not run; one that is running is answered then, while its thread comes back when the model is ended.
final class PooledLane<Work: Sendable>: Sendable {
    struct Job: Sendable {
        let work: Work
        let deadline: ContinuousClock.Instant
        /// Called instead of running the job, or while it runs.
        let expire: @Sendable (KeelError) -> Void
    }

    /// Where a job goes.
    private enum Place {
        case thread(Int)
        case queue, none
    }

    private struct State {
        /// Oldest first.
        var waiting: [Job] = []
        var idle: [Int]
        /// By thread.
        var running: [[Job]]
        var isWatched = false
    }

    private let threads: [DispatchQueue]
    private let waitingMax: Int
    private let joined: @Sendable (_ first: Work, _ waiting: [Work]) -> [Int]
    private let run: @Sendable ([Work]) -> Void
    private let state: Mutex<State>
    private let watch = DispatchQueue(label: "keel.serving.deadlines")
    /// How late a job may be answered that is past its deadline, ms.
    private static var tick: Int { 10 }

    /// - Parameters:
    ///   - joined: the positions, ascending, of waiting work that is run together with the first; none by default. Called under the lane's lock.
    ///   - run: called on one of the threads with work that belongs together.
    init(
        threads count: Int, waitingMax: Int, joined: @escaping @Sendable (_ first: Work, _ waiting: [Work]) -> [Int] = { _, _ in [] },
        run: @escaping @Sendable ([Work]) -> Void
    ) {
        threads = (0..<count).map { DispatchQueue(label: "keel.serving.pooled.\($0)") }
        state = Mutex(State(idle: Array(0..<count), running: Array(repeating: [], count: count)))
        self.waitingMax = waitingMax
        self.joined = joined
        self.run = run
    }

    /// Jobs that wait for a thread.
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// Runs the job on one of the threads, or says at once that there is no room.
    /// - Throws: `unavailable`.
    func submit(_ work: Work, until deadline: ContinuousClock.Instant, expire: @escaping @Sendable (KeelError) -> Void) throws(KeelError) {
        let job = Job(work: work, deadline: deadline, expire: expire)
        let (place, mustWatch) = state.withLock { state -> (Place, Bool) in
            let place: Place
            if let thread = state.idle.popLast() {
                state.running[thread] = [job]
                place = .thread(thread)
            } else if state.waiting.count < waitingMax {
                state.waiting.append(job)
                place = .queue
            } else {
                return (.none, false)
            }
            let isFirst = !state.isWatched
            state.isWatched = true
            return (place, isFirst)
        }
        if mustWatch { scheduleTick() }
        switch place {
        case .thread(let thread): threads[thread].async { [self] in runAll(thread, [job]) }
        case .queue: return
        case .none:
            throw KeelError(.unavailable, "\(waitingMax) requests wait for a thread to run their model", hint: "try again in a second")
        }
    }

    private func runAll(_ thread: Int, _ first: [Job]) {
        var jobs = first
        while !jobs.isEmpty {
            run(jobs.map(\.work))
            jobs = state.withLock { state in
                let next = takeJobs(&state)
                state.running[thread] = next
                if next.isEmpty { state.idle.append(thread) }
                return next
            }
        }
    }

    /// The oldest job and those that go with it.
    private func takeJobs(_ state: inout State) -> [Job] {
        guard let first = state.waiting.first else { return [] }
        state.waiting.removeFirst()
        let others = state.waiting.isEmpty ? [] : joined(first.work, state.waiting.map(\.work))
        let jobs = [first] + others.map { state.waiting[$0] }
        for position in others.reversed() { state.waiting.remove(at: position) }
        return jobs
    }

    private func scheduleTick() {
        watch.asyncAfter(deadline: .now() + .milliseconds(Self.tick)) { [self] in
            let now = ContinuousClock.now
            let (expired, goesOn) = state.withLock { state -> ([Job], Bool) in
                var expired = state.waiting.filter { $0.deadline <= now }
                if !expired.isEmpty { state.waiting.removeAll { $0.deadline <= now } }
                for i in state.running.indices where state.running[i].contains(where: { $0.deadline <= now }) {
                    expired += state.running[i].filter { $0.deadline <= now }
                    // Its thread is taken until the model is ended; there is nothing left to watch.
                    state.running[i].removeAll { $0.deadline <= now }
                }
                state.isWatched = !state.waiting.isEmpty || state.running.contains { !$0.isEmpty }
                return (expired, state.isWatched)
            }
            for job in expired { job.expire(KeelError(.deadlineExceeded, "the model did not answer before the endpoint's deadline")) }
            if goesOn { scheduleTick() }
        }
    }
}
