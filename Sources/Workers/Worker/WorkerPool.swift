import Contracts
import Dispatch
import Foundation
import Synchronization

/// Workers that all have the same extension loaded, and are called from the caller's own threads, one call a worker at a time.
///
/// A worker that crashes, hangs, takes too much or writes rubbish fails the call that it was in, and no other; it is started again, after pauses that grow.
/// The code of an extension is not trusted: what its process can reach, `ProgramIsolation` says, and what it sends is checked byte by byte.
public final class WorkerPool: Sendable {
    private struct Counters {
        var starts = 0
        var restarts = 0
        var calls = 0
        var failures = 0
    }

    private struct State {
        var idle: [WorkerProcess] = []
        /// Those that live, idle or not, by their place.
        var alive: [Int: WorkerProcess] = [:]
        /// Those that are loading the extension.
        var starting: [Int: WorkerProcess] = [:]
        /// Places without a worker, with the reason: it ended badly, or could not be started.
        var problems: [Int: KeelError] = [:]
        /// Those of them for which it is not worth waiting.
        var resting: Set<Int> = []
        /// Threads that wait for an idle worker.
        var callers = 0
        /// Of every place, what its first start came to.
        var first: [Int: Result<Void, KeelError>] = [:]
        var keepers: [Task<Void, Never>] = []
        var isStopped = false
        var counters = Counters()
    }

    private let spec: WorkerSpec
    private let isolation: ProgramIsolation
    private let folder: String
    private let program: String
    private let log: WorkerLog
    private let mask: SecretMask
    private let state = Mutex(State())
    /// Signalled for callers that wait, when there may be a worker for one: they look again.
    private let arrivals = DispatchSemaphore(value: 0)

    /// Makes the pool's folder; what lies there, from a server before, is removed.
    /// - Parameters:
    ///   - folder: the pool's own, an absolute path: logs, and working folders of workers.
    ///   - secrets: texts that its log never holds.
    /// - Throws: `failedPrecondition` when the isolation starts no programs.
    public init(_ spec: WorkerSpec, folder: String, isolation: ProgramIsolation, secrets: [String] = []) throws {
        self.spec = spec
        self.isolation = isolation
        self.folder = ProgramIsolation.Folders.resolved(folder)
        program = self.folder + "/worker.py"
        log = WorkerLog(path: self.folder + "/log")
        mask = SecretMask(secrets)
        try? FileManager.default.removeItem(atPath: self.folder)
        try Folder.make(self.folder)
        let file = try AtomicFile(path: program, temporaryFolder: self.folder)
        try file.write(PackageResources.worker_py)
        try file.commit()
        chmod(program, 0o444)
    }

    /// Removes what pools left that were stopped: their logs.
    /// - Parameters:
    ///   - root: the folder of all pools' folders.
    ///   - names: of those that are in use.
    ///   - limit: what was used since is kept, as somebody may want to know why it ended.
    ///   - dryRun: removes nothing.
    /// - Returns: how many folders are gone, or would be.
    @discardableResult
    public static func sweep(_ root: String, keeping names: Set<String>, before limit: Timestamp, dryRun: Bool = false) -> Int {
        ClosedFolder.sweep(ProgramIsolation.Folders.resolved(root), before: limit, dryRun: dryRun) { names.contains($0) }.count
    }

    deinit {
        for keeper in state.withLock({ $0.keepers }) { keeper.cancel() }
    }

    /// What a worker of this pool could reach although it should not, for plan, card and log; empty where the isolation is whole.
    public var warnings: [String] { isolation.gaps(hasNetwork: spec.hasNetwork) }

    // MARK: Its life

    /// Starts all workers and waits until each has loaded the extension.
    /// - Throws: what kept one from it (`failedPrecondition` with the extension's own error, `unavailable`, `deadlineExceeded`), with the last lines of the
    ///   log as hint; the pool is then stopped.
    public func start() async throws {
        let places = max(1, spec.workers)
        state.withLock { state in
            guard !state.isStopped, state.keepers.isEmpty else { return }
            state.keepers = (0..<places).map { place in Task { [weak self] in await WorkerPool.keep(place) { [weak self] in self } } }
        }
        while true {
            let first = state.withLock { $0.first }
            for result in first.values {
                guard case .failure(let error) = result else { continue }
                await stop()
                throw error
            }
            if first.count == places { return }
            if state.withLock({ $0.isStopped }) { throw stopped }
            do { try await Task.sleep(for: .milliseconds(5)) } catch {
                await stop()
                throw error
            }
        }
    }

    /// Ends all workers and waits for that. Calls under way fail with `unavailable`.
    public func stop() async {
        let (keepers, alive) = state.withLock { state in
            state.isStopped = true
            return (state.keepers, Array(state.alive.values) + Array(state.starting.values))
        }
        for worker in alive { worker.end("its pool was stopped") }
        for keeper in keepers { keeper.cancel() }
        wakeAll()
        for keeper in keepers { await keeper.value }
        for worker in alive { await worker.hasEnded() }
        log.close()
        for name in (try? Folder.names(folder)) ?? [] where !name.hasPrefix("log") {
            try? FileManager.default.removeItem(atPath: folder + "/" + name)
        }
    }

    /// Keeps one place filled until the pool is stopped or gone.
    private static func keep(_ place: Int, _ pool: @Sendable () -> WorkerPool?) async {
        var pause = RestartPause()
        var isFirst = true
        while !Task.isCancelled {
            guard let worker = await pool()?.begin(place, isFirst) else {
                // What cannot be started the first time is not tried again: `start` says why.
                if isFirst { return }
                try? await Task.sleep(for: pause.next(after: nil))
                continue
            }
            isFirst = false
            let start = ContinuousClock.now
            await withTaskCancellationHandler {
                await worker.hasEnded()
            } onCancel: {
                worker.end("its pool was stopped")
            }
            guard let strong = pool() else { return }
            let length = pause.next(after: ContinuousClock.now - start)
            strong.lost(worker, place, isLong: length > .seconds(1))
            try? await Task.sleep(for: length)
        }
    }

    /// - Returns: nil when no worker became ready.
    private func begin(_ place: Int, _ isFirst: Bool) async -> WorkerProcess? {
        let isStopped = state.withLock { state in
            state.resting.remove(place)
            state.counters.starts += 1
            if !isFirst { state.counters.restarts += 1 }
            return state.isStopped
        }
        guard !isStopped else { return nil }
        let result: Result<WorkerProcess, KeelError>
        do { result = .success(try await Blocking.runAlone { [self] in try ready(place) }) } catch {
            result = .failure(KeelError.wrapping(error))
        }
        defer { wakeAll() }
        return state.withLock { state in
            state.starting[place] = nil
            switch result {
            case .success(let worker):
                guard !state.isStopped else {
                    worker.end("its pool was stopped")
                    return worker
                }
                state.first[place] = state.first[place] ?? .success(())
                state.alive[place] = worker
                state.idle.append(worker)
                state.problems[place] = nil
                return worker
            case .failure(let error):
                state.first[place] = state.first[place] ?? .failure(error)
                state.problems[place] = error
                state.resting.insert(place)
                return nil
            }
        }
    }

    /// A worker that has loaded the extension.
    private func ready(_ place: Int) throws -> WorkerProcess {
        let name = "worker \(place + 1)"
        let worker = try WorkerProcess(
            spec, program: program, folder: folder + "/" + Identifier.hex32(), isolation: isolation,
            log: { [log] in log.write("\(name): \($0)") }, mask: mask)
        let isStopped = state.withLock { state in
            state.starting[place] = worker
            return state.isStopped
        }
        if isStopped { worker.end("its pool was stopped") }
        do throws(WorkerProcess.Failure) {
            try worker.load(until: .now + spec.startTime)
            return worker
        } catch {
            let hint = "the last lines of its log:\n"
            switch error {
            case .ofExtension(let error):
                worker.end("it could not load the extension")
                _ = worker.endText()
                throw KeelError(.failedPrecondition, "the extension cannot be loaded: \(error.message)", hint: hint + lastLines)
            case .ofWorker(let error):
                _ = worker.endText()
                throw KeelError(error.code, "a worker cannot be started: \(error.message)", hint: hint + lastLines)
            }
        }
    }

    private var lastLines: String { log.tail(20).joined(separator: "\n").visible(keepingLines: true) }

    private func lost(_ worker: WorkerProcess, _ place: Int, isLong: Bool) {
        let text = worker.endText()
        state.withLock { state in
            state.alive[place] = nil
            state.idle.removeAll { $0 === worker }
            state.problems[place] = KeelError(.unavailable, "the worker ended: \(text)")
            if isLong { state.resting.insert(place) }
        }
        log.write("keel: the worker ended: \(text)")
        wakeAll()
    }

    private var stopped: KeelError { KeelError(.unavailable, "the workers of this model were stopped") }

    private func wakeAll() { for _ in 0..<state.withLock({ $0.callers }) { arrivals.signal() } }

    // MARK: Calls

    /// Calls the extension in an idle worker, and waits for its answer. It blocks the thread: call it from one of your own.
    /// - Parameters:
    ///   - name: what is asked of the extension; models have `predict` alone.
    ///   - params: a JSON object.
    ///   - deadline: also of the wait for a worker. A worker that is still busy then is ended.
    /// - Throws: `invalidArgument` with the extension's own error; `payloadTooLarge` for a table of more than `frameBytesMax`; `deadlineExceeded`;
    ///   `unavailable` when the worker ended, or wrote something that is no answer, or none can be started.
    public func call(
        _ table: Table, name: String = "predict", params: JSON = .object([]), until deadline: ContinuousClock.Instant
    ) throws(KeelError) -> Table {
        var body: [UInt8] = []
        let layout = TableFrame.encode(table, to: &body)
        guard body.count <= spec.frameBytesMax else {
            throw KeelError(.payloadTooLarge, "the table has \(body.count) bytes, more than the \(spec.frameBytesMax) that a worker takes")
        }
        state.withLock { $0.counters.calls += 1 }
        do throws(KeelError) {
            let worker = try checkOut(until: deadline)
            do throws(WorkerProcess.Failure) {
                let answer = try worker.call(name, layout, body, params: params, until: deadline)
                checkIn(worker)
                return answer
            } catch {
                switch error {
                case .ofExtension(let error):
                    checkIn(worker)
                    throw error
                case .ofWorker(let error): throw error
                }
            }
        } catch {
            state.withLock { $0.counters.failures += 1 }
            throw error
        }
    }

    /// Whether an idle worker answers. Busy ones are not asked: they have a deadline of their own.
    /// - Throws: as `call`.
    public func ping(until deadline: ContinuousClock.Instant) throws(KeelError) {
        let worker = try checkOut(until: deadline)
        do throws(WorkerProcess.Failure) {
            try worker.ping(until: deadline)
            checkIn(worker)
        } catch {
            switch error {
            case .ofExtension(let error), .ofWorker(let error): throw error
            }
        }
    }

    private func checkOut(until deadline: ContinuousClock.Instant) throws(KeelError) -> WorkerProcess {
        while true {
            let worker = try state.withLock { (state: inout State) throws(KeelError) -> WorkerProcess? in
                if state.isStopped { throw stopped }
                // The last one that came back has its memory at hand.
                if let worker = state.idle.popLast() { return worker }
                if state.resting.count == max(1, spec.workers), let reason = state.problems.values.first {
                    throw KeelError(.unavailable, "no worker of this model runs: \(reason.message)", hint: reason.hint)
                }
                state.callers += 1
                return nil
            }
            if let worker {
                // One that ended while nobody called it fails no call.
                if worker.isUsable { return worker }
                worker.end("it closed its socket")
                continue
            }
            defer { state.withLock { $0.callers -= 1 } }
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { throw KeelError(.deadlineExceeded, "no worker of this model became free in time") }
            let nanoseconds = min(left.components.seconds, 3600) * 1_000_000_000 + left.components.attoseconds / 1_000_000_000
            _ = arrivals.wait(timeout: .now() + .nanoseconds(Int(nanoseconds)))
        }
    }

    private func checkIn(_ worker: WorkerProcess) {
        let mustWake = state.withLock { state in
            if worker.isUsable, !state.isStopped { state.idle.append(worker) }
            return state.callers > 0
        }
        if mustWake { arrivals.signal() }
    }

    // MARK: What it is doing

    public struct Status: Sendable, Hashable {
        /// Workers that have the extension loaded, and those of them that wait for a call.
        public var ready: Int
        public var idle: Int
        /// Processes that were started, and those of them that replaced one.
        public var starts: Int
        public var restarts: Int
        public var calls: Int
        /// Calls that ended with an error, of whatever kind.
        public var failures: Int
        /// Resident memory of all workers with what they started, as it was at most half a second ago.
        public var memoryBytes: Int64
        /// Why a worker is missing, when one is.
        public var problem: String?
    }

    public var status: Status {
        let (state, alive) = state.withLock { state in
            (
                Status(
                    ready: state.alive.count, idle: state.idle.count, starts: state.counters.starts, restarts: state.counters.restarts,
                    calls: state.counters.calls, failures: state.counters.failures, memoryBytes: 0,
                    problem: state.problems.min { $0.key < $1.key }?.value.message), Array(state.alive.values)
            )
        }
        var out = state
        out.memoryBytes = alive.reduce(0) { $0 + $1.usage.memoryBytes }
        return out
    }

    /// The last lines that its workers wrote, the oldest first, each with the worker's number. Secrets are masked.
    public func logLines(_ count: Int = 100) -> [String] { log.tail(count) }
}
