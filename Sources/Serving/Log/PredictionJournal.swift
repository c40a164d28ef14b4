import Contracts
import Dispatch
import Storage
import Synchronization

/// The write-ahead log of predictions: nothing is answered before it is in here, so that a killed server loses no answer.
///
/// A `buffered` batch is put in a ring in memory that outlives the process, and answered at once, on the calling thread and without a system call. One
/// thread moves what has gathered there to the log on the disk, as one append, every few milliseconds; a power cut loses what was not synced.
/// An `acknowledged` batch, and one for which the ring has no room, is handed to that thread and answered after the append, an `acknowledged` one after
/// a sync as well, which all batches of an append share.
final class PredictionJournal: Sendable {
    /// Called on the journal's thread once a batch is in the log. The last of an append gets the offset behind it: before there only a part of the append
    /// would be in the table.
    typealias Logged = @Sendable (_ end: UInt64?) -> Void

    struct Entry: Sendable {
        let batch: LoggedBatch
        let durability: LogPolicy.Durability
        /// Called once, on any thread: the batch is safe, or why it could not be written.
        let answer: @Sendable (KeelError?) -> Void
        let logged: Logged
    }

    private enum Work {
        case append(Entry, record: [UInt8])
        /// It is in the ring up to an offset, and answered: nothing of the request is held any more.
        case move(Logged, record: [UInt8], end: UInt64)
        case inOrder(@Sendable () -> Void)

        var record: [UInt8]? {
            switch self {
            case .append(_, let record), .move(_, let record, _): record
            case .inOrder: nil
            }
        }
        var logged: Logged? {
            switch self {
            case .append(let entry, _): entry.logged
            case .move(let logged, _, _): logged
            case .inOrder: nil
            }
        }
        /// The entry that is not answered yet.
        var waiting: Entry? { if case .append(let entry, _) = self { entry } else { nil } }
        var ringEnd: UInt64? { if case .move(_, _, let end) = self { end } else { nil } }
    }

    private struct State {
        var works: [Work] = []
        /// Whether the thread will look: soon, or in a while.
        var isCalled = false
        var isScheduled = false
        /// The log could not be written: the ring takes nothing more until it can.
        var isFailing = false
    }

    private let log: DurableLog
    /// Nil when the disk has no room for one, or something else stands in its place.
    private let ring: MappedRing?
    /// What a killed process left in the ring. It is in the log as well, unless that cannot be written.
    let left: [LoggedBatch]
    private let report: @Sendable (KeelError) -> Void
    private let thread = DispatchQueue(label: "keel.serving.journal")
    private let state = Mutex(State())
    /// Of one append.
    private static let groupMax = 512
    private static let ringBytes = 2 << 20
    /// How long a batch may stay in the ring alone. With the time to the next sync it is what a power cut may take.
    private static let gatherTime = DispatchTimeInterval.milliseconds(5)
    private static let syncInterval = TimeSpan.milliseconds(95)
    private static let retryTime = DispatchTimeInterval.milliseconds(200)

    static let segmentBytes = 16 << 20

    init(folder: String, report: @escaping @Sendable (KeelError) -> Void) throws {
        self.report = report
        log = try DurableLog(
            folder: folder, segmentBytesMax: PredictionJournal.segmentBytes, syncInterval: PredictionJournal.syncInterval, report: report)
        var works: [Work] = []
        var left: [LoggedBatch] = []
        do {
            let ring = try MappedRing(path: folder + "/ring", capacity: PredictionJournal.ringBytes)
            let found = try ring.records()
            found.damage.forEach(report)
            for (record, end) in found.records {
                works.append(.move({ _ in }, record: record, end: end))
                do { left.append(try record.withUnsafeBytes { try LoggedBatch(journalRecord: $0) }) } catch { report(.wrapping(error)) }
            }
            self.ring = ring
        } catch {
            report(KeelError.wrapping(error))
            ring = nil
        }
        self.left = left
        state.withLock { $0.works = works }
        drain()
    }

    /// The offset behind the last record.
    var end: UInt64 { log.end }

    func add(_ entry: Entry) {
        let record = entry.batch.journalRecord
        let isSafe = state.withLock { state in
            if entry.durability == .buffered, !state.isFailing, let ring, let end = ring.append(record) {
                state.works.append(.move(entry.logged, record: record, end: end))
                if ring.free < PredictionJournal.ringBytes / 2 { call(&state) } else { schedule(&state, PredictionJournal.gatherTime) }
                return true
            }
            state.works.append(.append(entry, record: record))
            call(&state)
            return false
        }
        if isSafe { entry.answer(nil) }
    }

    /// Calls `body` on the journal's thread, behind everything that was added before.
    func inOrder(_ body: @escaping @Sendable () -> Void) {
        state.withLock { state in
            state.works.append(.inOrder(body))
            call(&state)
        }
    }

    private func call(_ state: inout State) {
        guard !state.isCalled else { return }
        state.isCalled = true
        thread.async { [self] in drain() }
    }

    private func schedule(_ state: inout State, _ time: DispatchTimeInterval) {
        guard !state.isCalled, !state.isScheduled else { return }
        state.isScheduled = true
        thread.asyncAfter(deadline: .now() + time) { [self] in
            self.state.withLock { $0.isScheduled = false }
            drain()
        }
    }

    private func drain() {
        // What arrives while a group is written gathers for the next one.
        let works = state.withLock { state in
            defer { state.works = [] }
            state.isCalled = false
            return state.works
        }
        var group: [Work] = []
        var failure: KeelError?
        // What was answered and could not be written.
        var kept: [Work] = []
        func finish() {
            if failure == nil { failure = write(group) }
            if let failure {
                for work in group { work.waiting?.answer(failure) }
                kept += group.filter { $0.ringEnd != nil }
            }
            group = []
        }
        for work in works {
            if case .inOrder(let body) = work {
                finish()
                body()
            } else {
                group.append(work)
                if group.count == PredictionJournal.groupMax { finish() }
            }
        }
        finish()
        state.withLock { state in
            state.isFailing = !kept.isEmpty
            guard state.isFailing else { return }
            state.works.insert(contentsOf: kept, at: 0)
            schedule(&state, PredictionJournal.retryTime)
        }
    }

    /// Appends a group and lets its callers be answered.
    /// - Returns: why nothing of it was written.
    private func write(_ group: [Work]) -> KeelError? {
        guard !group.isEmpty else { return nil }
        let end: UInt64
        do { end = try log.append(group.compactMap(\.record)) } catch { return PredictionJournal.refusal(error) }
        // One sync for all of the group that ask for it.
        var unsynced: KeelError?
        if group.contains(where: { $0.waiting?.durability == .acknowledged }) {
            do { try log.sync() } catch { unsynced = PredictionJournal.refusal(error) }
        }
        let isRefused = { (work: Work) in unsynced != nil && work.waiting?.durability == .acknowledged }
        let last = group.lastIndex { !isRefused($0) }
        for (i, work) in group.enumerated() {
            if isRefused(work) {
                work.waiting?.answer(unsynced)
            } else {
                work.logged?(i == last ? end : nil)
                work.waiting?.answer(nil)
            }
        }
        if let moved = group.compactMap(\.ringEnd).last { ring?.release(before: moved) }
        return nil
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
