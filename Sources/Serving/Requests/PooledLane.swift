import Contracts
import Dispatch
import Synchronization

/// Runs what would hold up an event loop: native models, and requests with many rows.
///
/// A bounded queue, worked off by threads of its own, so that nothing else of the server waits for a slow model. Each job has a deadline. One that
/// is still waiting then is not run; one that is running is answered then, while its thread comes back when the model is ended.
final class PooledLane: Sendable {
    struct Job: Sendable {
        let deadline: ContinuousClock.Instant
        let run: @Sendable () -> Void
        /// Called at most once, instead of `run` or while it is under way.
        let expire: @Sendable (KeelError) -> Void
    }

    private struct State {
        /// Oldest first, from `first` on.
        var waiting: ArraySlice<Job> = []
        var idle: [Int]
        /// By thread.
        var running: [Job?]
        var isWatched = false
    }

    private let threads: [DispatchQueue]
    private let waitingMax: Int
    private let state: Mutex<State>
    private let watch = DispatchQueue(label: "keel.serving.deadlines")
    /// How late a job may be answered that is past its deadline.
    private static let tick = DispatchTimeInterval.milliseconds(10)

    init(threads count: Int, waitingMax: Int) {
        threads = (0..<count).map { DispatchQueue(label: "keel.serving.pooled.\($0)") }
        state = Mutex(State(idle: Array(0..<count), running: Array(repeating: nil, count: count)))
        self.waitingMax = waitingMax
    }

    /// Runs the job on one of the threads, or says at once that there is no room.
    func submit(_ job: Job) throws(KeelError) {
        enum Place {
            case thread(Int)
            case queue, none
        }
        let (place, mustWatch) = state.withLock { state -> (Place, Bool) in
            let place: Place
            if let thread = state.idle.popLast() {
                state.running[thread] = job
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
        case .thread(let thread): threads[thread].async { [self] in work(thread, job) }
        case .queue: return
        case .none:
            throw KeelError(.unavailable, "\(waitingMax) requests wait for a thread to run their model", hint: "try again in a second")
        }
    }

    private func work(_ thread: Int, _ first: Job) {
        var job: Job? = first
        while let now = job {
            now.run()
            job = state.withLock { state in
                state.running[thread] = state.waiting.popFirst()
                if state.running[thread] == nil { state.idle.append(thread) }
                return state.running[thread]
            }
        }
    }

    private func scheduleTick() {
        watch.asyncAfter(deadline: .now() + PooledLane.tick) { [self] in
            let now = ContinuousClock.now
            let (expired, goesOn) = state.withLock { state -> ([Job], Bool) in
                var expired = state.waiting.filter { $0.deadline <= now }
                if !expired.isEmpty { state.waiting.removeAll { $0.deadline <= now } }
                for i in state.running.indices {
                    guard let job = state.running[i], job.deadline <= now else { continue }
                    expired.append(job)
                    // Its thread is taken until the model is ended; there is nothing left to watch.
                    state.running[i] = nil
                }
                state.isWatched = !state.waiting.isEmpty || state.running.contains { $0 != nil }
                return (expired, state.isWatched)
            }
            for job in expired { job.expire(KeelError(.deadlineExceeded, "the model did not answer before the endpoint's deadline")) }
            if goesOn { scheduleTick() }
        }
    }
}
