import Atomics
import Contracts
import Dispatch
import Synchronization

/// One request that another release is to score for comparison.
struct ShadowJob: Sendable {
    let release: ServedRelease
    /// As it was answered.
    let batch: InferenceBatch
    let params: JSON
    /// Of the request.
    let bytes: Int
    /// When both releases take the same features, those that were read for the answer are used again: the comparison is then of the models alone.
    let sharesFeatures: Bool
    let policy: LogPolicy
    /// How long the model may take.
    let duration: Duration
}

/// Scores requests by a second release, off the response path, in order, on one thread. Bounded: what does not fit is left out and counted.
final class ShadowQueue: Sendable {
    private let queue = DispatchQueue(label: "keel.serving.shadow")
    private let waiting = Mutex<[ShadowJob]>([])
    private let rows = ManagedAtomic<Int>(0)
    private let rowsMax: Int
    private let log: PredictionLog
    let dropped = ManagedAtomic<Int>(0)
    private static let flushMax = DispatchTimeInterval.seconds(5)

    init(log: PredictionLog, rowsMax: Int) { (self.log, self.rowsMax) = (log, rowsMax) }

    func add(_ job: ShadowJob) {
        let count = job.batch.ids.count
        guard rows.wrappingIncrementThenLoad(by: count, ordering: .relaxed) <= rowsMax else {
            rows.wrappingDecrement(by: count, ordering: .relaxed)
            dropped.wrappingIncrement(by: count, ordering: .relaxed)
            return
        }
        let first = waiting.withLock { jobs in
            jobs.append(job)
            return jobs.count == 1
        }
        if first { queue.async { [self] in drain() } }
    }

    /// Waits until what was added before is scored and handed to the log, but no longer than some seconds: a slow model holds nobody up.
    func flush() async {
        await withCheckedContinuation { continuation in
            let isResumed = ManagedAtomic<Bool>(false)
            let resume: @Sendable () -> Void = {
                if !isResumed.exchange(true, ordering: .relaxed) { continuation.resume() }
            }
            queue.async { [self] in
                drain()
                resume()
            }
            DispatchQueue.global().asyncAfter(deadline: .now() + ShadowQueue.flushMax, execute: resume)
        }
    }

    private func drain() {
        let jobs = waiting.withLock { jobs in
            defer { jobs = [] }
            return jobs
        }
        for job in jobs {
            score(job)
            rows.wrappingDecrement(by: job.batch.ids.count, ordering: .relaxed)
        }
    }

    /// Waits for the model: this thread has nothing else to do, and a slow model must not make it take more.
    private func score(_ job: ShadowJob) {
        let (batch, served) = (job.batch, job.release)
        let isDone = DispatchSemaphore(value: 0)
        Scored.make(
            by: served, batch.request, job.params, reusing: job.sharesFeatures ? batch.inputs : nil, until: .now + job.duration
        ) { [self] result in
            keep(result, job)
            isDone.signal()
        }
        isDone.wait()
    }

    private func keep(_ result: Result<Scored, KeelError>, _ job: ShadowJob) {
        let (batch, served) = (job.batch, job.release)
        let rows = batch.ids.count
        switch result {
        case .failure(let error):
            served.meter.failedRows.wrappingIncrement(by: rows, ordering: .relaxed)
            served.meter.count(error.code)
        case .success(let scored):
            served.meter.addShadow(scored.timing, rows: rows)
            do throws(KeelError) {
                let ticket = try log.admit(rows: rows, bytes: job.bytes, job.policy)
                log.append(scored.batch(of: served, batch.ids, batch.request, at: batch.at, shadow: true), ticket) { [dropped] error in
                    if error != nil { dropped.wrappingIncrement(by: rows, ordering: .relaxed) }
                }
            } catch {
                // The log has no room: callers' predictions go first.
                dropped.wrappingIncrement(by: rows, ordering: .relaxed)
            }
        }
    }
}
