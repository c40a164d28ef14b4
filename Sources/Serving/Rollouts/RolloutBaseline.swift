import Atomics
import Contracts

/// Turns the meters, which count since a release was loaded, into what a rollout observes.
struct RolloutBaseline: Sendable {
    /// The candidate's totals since the rollout began, over restarts.
    private(set) var candidate: (requests: Int, errors: Int)
    /// What was counted before this process took the rollout over.
    private let stored: (requests: Int, errors: Int)
    /// The incumbent's totals when the rollout began.
    private let incumbent: (requests: Int, errors: Int)
    private var lastShadow = 0
    private var lastAnswered: Int
    private var noted: ContinuousClock.Instant = .now

    /// - Parameters:
    ///   - requests: the candidate's requests, and `errors` its failures, that were stored before a restart.
    ///   - incumbent: the meter of the release that serves, when it counted before the rollout.
    init(requests: Int = 0, errors: Int = 0, incumbent: ReleaseMeter? = nil) {
        stored = (requests, errors)
        candidate = stored
        let failed = incumbent?.failedRows.load(ordering: .relaxed) ?? 0
        self.incumbent = ((incumbent?.scoredRows ?? 0) + failed, failed)
        lastAnswered = incumbent?.rows.load(ordering: .relaxed) ?? 0
    }

    mutating func observations(candidate meter: ReleaseMeter, incumbent other: ReleaseMeter, phase: Rollout.Phase) -> [Rollout.Observation]
    {
        let failed = meter.failedRows.load(ordering: .relaxed)
        let otherFailed = other.failedRows.load(ordering: .relaxed)
        // In shadow the candidate's own scores count, and its failures; in canary the endpoint's answers, whoever gave them.
        let shadow = meter.shadowRows.load(ordering: .relaxed) + failed
        let answered = meter.rows.load(ordering: .relaxed) + other.rows.load(ordering: .relaxed)
        let progress = phase == .shadow ? shadow - lastShadow : answered - lastAnswered
        (lastShadow, lastAnswered) = (shadow, answered)
        candidate = (stored.requests + meter.scoredRows + failed, stored.errors + failed)
        return [
            .progress(requests: max(0, progress)),
            .totals(
                candidate: candidate,
                incumbent: (other.scoredRows + otherFailed - incumbent.requests, otherFailed - incumbent.errors)),
            .latency(candidate: meter.p99, incumbent: other.p99),
        ]
    }

    /// True once a second: when the counters are worth a write.
    mutating func isDue() -> Bool {
        guard .now - noted >= .seconds(1) else { return false }
        noted = .now
        return true
    }
}
