import Contracts
import Synchronization

/// A run under way in this process: its steps' state and those who watch it.
final class LiveRun: Sendable {
    let started: PipelineStore.Started
    let pipeline: ValidPipeline

    private struct State {
        var steps: [String: StepRun]
        var watchers: [String: AsyncStream<PipelineEvent>.Continuation] = [:]
        var task: Task<Void, any Error>?
        var cancelledBy: Caller?
        var isStopping = false
        var ended: PipelineEvent?
    }
    private let state: Mutex<State>

    /// Events kept for a slow watcher; older ones are dropped, the last never is.
    static let bufferedEventsMax = 1024

    init(_ started: PipelineStore.Started, _ pipeline: ValidPipeline, steps: [StepRun]) {
        self.started = started
        self.pipeline = pipeline
        state = Mutex(State(steps: Dictionary(uniqueKeysWithValues: steps.map { ($0.name, $0) })))
    }

    var steps: [StepRun] { state.withLock { state in pipeline.steps.compactMap { state.steps[$0.name] } } }
    var cancelledBy: Caller? { state.withLock { $0.cancelledBy } }
    /// The process is going down: the run is to be resumed, not recorded as cancelled.
    var isStopping: Bool { state.withLock { $0.isStopping } }

    func launch(_ body: @escaping @Sendable () async throws -> Void) {
        state.withLock { $0.task = Task { try await body() } }
    }

    /// Waits for the end of the run's task.
    func wait() async throws {
        if let task = state.withLock({ $0.task }) { try await task.value }
    }

    func cancel(by caller: Caller) {
        let task = state.withLock { state in
            if state.cancelledBy == nil { state.cancelledBy = caller }
            return state.task
        }
        task?.cancel()
    }

    func stop() {
        let task = state.withLock { state in
            state.isStopping = true
            return state.task
        }
        task?.cancel()
    }

    func update(_ step: String, _ change: (inout StepRun) -> Void) -> StepRun? {
        state.withLock { state in
            guard var run = state.steps[step] else { return nil }
            change(&run)
            state.steps[step] = run
            return run
        }
    }

    func announce(_ event: PipelineEvent) {
        let watchers = state.withLock { state in
            if case .runFinished = event { state.ended = event }
            return Array(state.watchers.values)
        }
        for watcher in watchers {
            watcher.yield(event)
            if case .runFinished = event { watcher.finish() }
        }
    }

    /// What happens from now on; ends with the run.
    func watch() -> AsyncStream<PipelineEvent> {
        let id = Identifier.hex32()
        return AsyncStream(bufferingPolicy: .bufferingNewest(LiveRun.bufferedEventsMax)) { continuation in
            let ended = state.withLock { state in
                if state.ended == nil { state.watchers[id] = continuation }
                return state.ended
            }
            if let ended {
                continuation.yield(ended)
                continuation.finish()
            }
            continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.watchers[id] = nil } }
        }
    }

    /// Ends the streams of those who watch, when the run stops without having finished.
    func close() {
        for watcher in state.withLock({ Array($0.watchers.values) }) { watcher.finish() }
    }
}
