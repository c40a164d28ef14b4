import Contracts

/// One execution of a pipeline.
public struct PipelineRun: Sendable, Hashable {
    public enum State: String, Sendable, CaseIterable { case running, succeeded, failed, cancelled }

    public let id: String
    public let pipeline: String
    public let parameters: JSON
    /// Who or what started it, in words.
    public let reason: String
    /// The run's now, in event time.
    public let now: Timestamp
    public let state: State
    public let error: String?
    public let startedAt: Timestamp
    public let finishedAt: Timestamp?
    /// In the order of the spec; empty in lists of runs.
    public var steps: [StepRun]

    public var json: JSON {
        var json: JSON = [
            "id": .string(id), "pipeline": .string(pipeline), "state": .string(state.rawValue), "reason": .string(reason),
            "now": .string(now.description), "parameters": parameters, "started_at": .string(startedAt.description),
        ]
        if let finishedAt { json["finished_at"] = .string(finishedAt.description) }
        if let error { json["error"] = .string(error) }
        if !steps.isEmpty { json["steps"] = .array(steps.map(\.json)) }
        return json
    }
}

/// A step of one run.
public struct StepRun: Sendable, Hashable {
    public enum State: String, Sendable, CaseIterable {
        case pending, running, succeeded, failed, cancelled
        /// The result of an earlier run with the same inputs was taken.
        case cached
        /// Not reached, because another step failed.
        case skipped

        var isDone: Bool { self == .succeeded || self == .cached }
    }

    public let name: String
    public let uses: String
    public internal(set) var state: State
    /// Started ones, over retries and restarts of the server.
    public internal(set) var attempts: Int
    /// Attempts that ended badly, of which `retries` says how many there may be.
    var failures = 0
    /// Attempts during which the server ended without having been asked to.
    public internal(set) var interruptions = 0
    /// Why the cache was used or not: `miss: input trees changed 150 → 200`.
    public internal(set) var cache: String?
    public internal(set) var outputs: JSON?
    public internal(set) var error: String?
    public internal(set) var startedAt: Timestamp?
    public internal(set) var finishedAt: Timestamp?
    /// While it runs: the share done and what is being done.
    public internal(set) var progress: Double?
    public internal(set) var message: String?
    /// Where the lines of its last attempt are in its log, and their digest; not kept over a restart.
    var log: JSON?
    /// The last line it wrote, while it runs.
    public internal(set) var lastLine: String?

    /// So many interruptions are the step's doing: it is not started again.
    public static let interruptionsMax = 3

    init(name: String, uses: String) {
        self.name = name
        self.uses = uses
        state = .pending
        attempts = 0
    }

    public var json: JSON {
        var json: JSON = [
            "name": .string(name), "uses": .string(uses), "state": .string(state.rawValue), "attempts": .int(Int64(attempts)),
        ]
        if interruptions > 0 { json["interruptions"] = .int(Int64(interruptions)) }
        if let lastLine { json["last_line"] = .string(lastLine) }
        if let cache { json["cache"] = .string(cache) }
        if let startedAt { json["started_at"] = .string(startedAt.description) }
        if let finishedAt { json["finished_at"] = .string(finishedAt.description) }
        if let progress { json["progress"] = .double(progress) }
        if let message { json["message"] = .string(message) }
        if let error { json["error"] = .string(error) }
        if let outputs { json["outputs"] = outputs }
        return json
    }
}

/// What those who watch a run see.
public enum PipelineEvent: Sendable, Hashable {
    case stepStarted(step: String, attempt: Int)
    case stepProgress(step: String, done: Double, message: String)
    case stepLog(step: String, line: String)
    case stepFinished(StepRun)
    /// The last event.
    case runFinished(PipelineRun.State, error: String?)

    public var json: JSON {
        switch self {
        case .stepStarted(let step, let attempt): ["event": "step_started", "step": .string(step), "attempt": .int(Int64(attempt))]
        case .stepProgress(let step, let done, let message):
            ["event": "step_progress", "step": .string(step), "done": .double(done), "message": .string(message)]
        case .stepLog(let step, let line): ["event": "step_log", "step": .string(step), "line": .string(line)]
        case .stepFinished(let step): ["event": "step_finished", "step": step.json]
        case .runFinished(let state, let error):
            ["event": "run_finished", "state": .string(state.rawValue), "error": error.map(JSON.string) ?? .null]
        }
    }
}
