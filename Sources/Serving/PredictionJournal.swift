import Contracts
import Dispatch
import Storage
import Synchronization

/// The write-ahead log of predictions: nothing is answered before it is in here, so that a killed server loses no answer.
///
/// Requests hand in their batches and go on. One thread writes what has gathered as one append, which costs the event loops no system call, and
/// then releases the answers of the whole group. An `acknowledged` batch is released after the group was synced as well; a `buffered` one may be
/// lost to a power cut within the log's sync interval.
final class PredictionJournal: Sendable {
    struct Entry: Sendable {
        let batch: InferenceBatch
        let policy: LogPolicy
        /// Called on the journal's thread: the batch as it is logged and the offset behind it, or why it could not be written.
        let written: @Sendable (Result<(batch: LoggedBatch, end: UInt64), KeelError>) -> Void
    }

    enum Work: Sendable {
        case append(Entry)
        /// Called in its turn: behind everything that was handed in before.
        case inOrder(@Sendable () -> Void)
    }

    private let log: DurableLog
    private let report: @Sendable (KeelError) -> Void
    private let thread = DispatchQueue(label: "keel.serving.journal")
    private let pending = Mutex<[Work]>([])
    /// Of one append.
    private static let groupMax = 512

    static let segmentBytes = 16 << 20

    init(folder: String, report: @escaping @Sendable (KeelError) -> Void) throws {
        self.report = report
        log = try DurableLog(folder: folder, segmentBytesMax: PredictionJournal.segmentBytes, report: report)
    }

    /// The offset behind the last record.
    var end: UInt64 { log.end }

    func add(_ work: Work) {
        let isFirst = pending.withLock { pending in
            pending.append(work)
            return pending.count == 1
        }
        if isFirst { thread.async { [self] in drain() } }
    }

    private func drain() {
        // What arrives while a group is written gathers for the next one.
        let works = pending.withLock { pending in
            defer { pending = [] }
            return pending
        }
        var group: [Entry] = []
        for work in works {
            switch work {
            case .append(let entry):
                group.append(entry)
                if group.count == PredictionJournal.groupMax { write(&group) }
            case .inOrder(let body):
                write(&group)
                body()
            }
        }
        write(&group)
    }

    private func write(_ group: inout [Entry]) {
        guard !group.isEmpty else { return }
        defer { group = [] }
        let batches = group.map { LoggedBatch($0.batch, sample: $0.policy.sample) }
        var end = log.end
        do {
            let records = batches.filter { !$0.rows.isEmpty }.map(\.journalRecord)
            if !records.isEmpty { end = try log.append(records) }
        } catch {
            for entry in group { entry.written(.failure(PredictionJournal.refusal(error))) }
            return
        }
        // One sync for all of the group that ask for it.
        var unsynced: KeelError?
        if zip(group, batches).contains(where: { $0.policy.durability == .acknowledged && !$1.rows.isEmpty }) {
            do { try log.sync() } catch { unsynced = PredictionJournal.refusal(error) }
        }
        for (entry, batch) in zip(group, batches) {
            if let unsynced, entry.policy.durability == .acknowledged {
                entry.written(.failure(unsynced))
            } else {
                entry.written(.success((batch, end)))
            }
        }
    }

    private static func refusal(_ error: any Error) -> KeelError {
        KeelError(
            .unavailable, "the prediction could not be logged: \(KeelError.wrapping(error).message)",
            hint: "free space on the disk that holds the home folder; or declare log.whenFull: drop")
    }

    /// Every batch at or after `offset`. A record that cannot be read is reported and left out.
    func batches(from offset: UInt64) throws -> [LoggedBatch] {
        var batches: [LoggedBatch] = []
        try log.replay(from: offset) { record, _ in
            do throws(KeelError) { batches.append(try LoggedBatch(journalRecord: record)) } catch { report(error) }
        }
        return batches
    }

    /// Removes what lies before `offset`, as far as it fills whole files.
    func trim(before offset: UInt64) throws { try log.removeSegments(before: offset) }
}
