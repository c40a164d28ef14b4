import Contracts

/// What a rollout has decided.
public enum RolloutAction: Sendable, Hashable {
    /// Let the candidate answer this share of requests: canary step `step`, counted from 0.
    case canary(step: Int, share: Double)
    /// Make the candidate stable.
    case promote
    /// Take the candidate back: the condition that was true, and the numbers.
    case rollBack(condition: String, numbers: [String: Double])
}

/// The progress of one candidate from shadow over canary steps to promotion, or back. It does no I/O: it is told what happened and says what to
/// do; who executes an action reports it with `apply`.
public struct Rollout: Sendable {
    public enum Phase: Sendable, Hashable {
        case shadow
        case canary(step: Int)
        case promoted
        case rolledBack(String)

        public var isOver: Bool {
            switch self {
            case .shadow, .canary: false
            case .promoted, .rolledBack: true
            }
        }
    }

    public enum Observation: Sendable {
        /// Requests that count towards the end of this phase.
        case progress(requests: Int)
        /// Totals since the rollout began.
        case totals(candidate: (requests: Int, errors: Int), incumbent: (requests: Int, errors: Int))
        /// 99th percentiles in seconds.
        case latency(candidate: Double?, incumbent: Double?)
        /// What is known of one request: scores by each release, the label.
        case request(id: String, candidate: Double?, incumbent: Double?, label: Double?)
    }

    public let plan: RolloutPlan
    public private(set) var phase: Phase
    /// Requests in this phase.
    public private(set) var phaseRequests: Int
    /// A paused rollout stays in its phase, whatever it has seen. It goes on observing, and a breached condition still takes the candidate back.
    public var isPaused = false
    private var evidence = RolloutEvidence()
    private let wanted: Set<String>
    private let minimumRequests: Int

    /// - Parameter phase: where to go on after a restart; nil begins with the plan's first phase.
    public init(plan: RolloutPlan, phase: Phase? = nil, phaseRequests: Int = 0) {
        self.plan = plan
        self.phase = phase ?? (plan.shadowRequests > 0 || plan.shares.isEmpty ? .shadow : .canary(step: 0))
        self.phaseRequests = phaseRequests
        wanted = Set(plan.rollbackWhen.flatMap(\.names))
        let first = plan.shadowRequests > 0 ? plan.shadowRequests : plan.stepRequests
        minimumRequests = min(plan.minimumRequests, first)
    }

    /// The candidate's share of answers now.
    public var share: Double {
        switch phase {
        case .shadow, .rolledBack: 0
        case .canary(let step): plan.shares.indices.contains(step) ? plan.shares[step] : 1
        case .promoted: 1
        }
    }

    /// Requests that this phase takes.
    public var phaseTarget: Int {
        if case .canary = phase { plan.stepRequests } else { plan.shadowRequests }
    }

    public mutating func observe(_ observation: Observation) {
        guard !phase.isOver else { return }
        switch observation {
        case .progress(let requests): phaseRequests += requests
        case .totals(let candidate, let incumbent): (evidence.candidate, evidence.incumbent) = (candidate, incumbent)
        case .latency(let candidate, let incumbent): evidence.latencies = (candidate, incumbent)
        case .request(let id, let candidate, let incumbent, let label):
            evidence.score(id, candidate: candidate, incumbent: incumbent, label: label)
        }
    }

    /// The numbers there is enough evidence for, by the names of `RolloutEvidence`.
    public var numbers: [String: Double] {
        evidence.numbers(wanted, minimumRequests: minimumRequests, minimumLabels: plan.minimumLabels)
    }

    /// What is to be done now: at most one action. A breached condition comes before everything.
    public func decide() -> [RolloutAction] {
        guard !phase.isOver else { return [] }
        let numbers = numbers
        if let breached = plan.rollbackWhen.first(where: { $0.isBreached(by: numbers) }) {
            return [.rollBack(condition: breached.text, numbers: numbers)]
        }
        guard !isPaused, phaseRequests >= phaseTarget else { return [] }
        let next: Int
        if case .canary(let step) = phase { next = step + 1 } else { next = 0 }
        return plan.shares.indices.contains(next) ? [.canary(step: next, share: plan.shares[next])] : [.promote]
    }

    /// An action was executed.
    public mutating func apply(_ action: RolloutAction) {
        guard !phase.isOver else { return }
        phaseRequests = 0
        switch action {
        case .canary(let step, _): phase = .canary(step: step)
        case .promote: phase = .promoted
        case .rollBack(let condition, _): phase = .rolledBack(condition)
        }
    }
}
