import Contracts
import Synchronization

/// The trace of one request while it is worked on, by one thread after another.
final class OpenTrace: Sendable {
    private let tracer: any RequestTracer
    private let id: TraceID
    private let parent: UInt64?
    private let endpoint: ResourceRef
    private let startTime: Timestamp
    private let start = Tick.now
    private let stages = Mutex<[RequestTrace.Stage]>([])

    /// Nil when the request is not recorded.
    init?(_ tracer: any RequestTracer, _ parent: TraceParent?, _ endpoint: ResourceRef, at now: Timestamp) {
        guard let id = tracer.trace(of: parent) else { return nil }
        self.id = id
        self.tracer = tracer
        self.parent = parent?.span
        self.endpoint = endpoint
        startTime = now
    }

    func add(_ stage: RequestStage, from begin: Tick, to end: Tick) {
        let stage = RequestTrace.Stage(stage: stage, start: begin - start, end: end - start)
        stages.withLock { $0.append(stage) }
    }

    /// Called once, before the request is answered.
    func end(_ outcome: RequestTrace.Outcome) {
        tracer.record(
            RequestTrace(
                id: id, parent: parent, endpoint: endpoint, start: startTime, duration: .now - start, stages: stages.withLock { $0 },
                outcome: outcome))
    }
}
