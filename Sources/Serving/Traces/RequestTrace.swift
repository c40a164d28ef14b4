import Contracts

/// What was recorded of one request: a span with its stages inside.
public struct RequestTrace: Sendable {
    public struct Stage: Sendable {
        public let stage: RequestStage
        /// Nanoseconds after the request's own start.
        public let start: Int
        public let end: Int
    }

    public let id: TraceID
    /// The caller's span; nil when the trace begins here.
    public let parent: UInt64?
    public let endpoint: ResourceRef
    /// When the request had come as a whole.
    public let start: Timestamp
    /// Nanoseconds until it was answered.
    public let duration: Int
    /// In the order in which they ended.
    public let stages: [Stage]
    public let outcome: Outcome

    public enum Outcome: Sendable {
        case answered(release: Int, model: String, modelVersion: String, rows: Int, firstID: String)
        case failed(KeelError.Code)
    }

    public init(
        id: TraceID, parent: UInt64?, endpoint: ResourceRef, start: Timestamp, duration: Int, stages: [Stage], outcome: Outcome
    ) {
        self.id = id
        self.parent = parent
        self.endpoint = endpoint
        self.start = start
        self.duration = duration
        self.stages = stages
        self.outcome = outcome
    }
}

/// Records requests, where somebody wants their traces. Called on event loops: it must not block, and what it has no room for it leaves out.
public protocol RequestTracer: Sendable {
    /// Decides whether a request is recorded.
    /// - Parameter parent: what the request says of its trace; nil when it says nothing.
    /// - Returns: the trace that the request's spans go to; nil when they are not recorded.
    func trace(of parent: TraceParent?) -> TraceID?

    /// Takes what was recorded of a request that was answered.
    func record(_ trace: RequestTrace)
}
