import Contracts

/// What a release's answers took altogether since this process loaded it, in nanoseconds: what model servers call statistics. Scores in shadow are not in it,
/// but for the runs of a pooled model, which may hold both.
public struct ReleaseTotals: Sendable, Hashable {
    /// Of answered requests: the whole, reading the request and its features, waiting for a thread, the model itself, and making and logging the answer.
    public let answered: Int
    public let input: Int
    public let queue: Int
    public let model: Int
    public let output: Int
    /// Requests that the release was chosen for and did not answer, and how long they took.
    public let failedRequests: Int
    public let failed: Int
    /// How often the model was run: requests that waited together are one run.
    public let runs: Int
    /// When it last answered; nil when it never did.
    public let lastAnswer: Timestamp?

    init(_ meter: ReleaseMeter, isPooled: Bool) {
        answered = meter.whole.total
        input = meter.decode.total + meter.features.total
        queue = meter.queue.total
        model = meter.model.total
        output = meter.encode.total + meter.logging.total
        failedRequests = meter.failedRequests.load(ordering: .relaxed)
        failed = meter.failedNanoseconds.load(ordering: .relaxed)
        runs = isPooled ? meter.pooledRuns.load(ordering: .relaxed) : meter.requests.load(ordering: .relaxed)
        let last = meter.lastAnswer.load(ordering: .relaxed)
        lastAnswer = last == 0 ? nil : Timestamp(microseconds: last)
    }
}
