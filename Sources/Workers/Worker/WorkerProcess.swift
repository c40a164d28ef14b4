import Contracts
import Dispatch
import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// One life of a worker: a Python process that has loaded an extension, from its start to its end. One thread calls it at a time.
final class WorkerProcess: Sendable {
    /// What a call may end with besides an answer.
    enum Failure: Error {
        /// The extension refused the call or met an error of its own; the worker can take the next call.
        case ofExtension(KeelError)
        /// The worker is of no more use.
        case ofWorker(KeelError)
    }

    private struct State {
        var supervisor: pid_t?
        /// Why it was ended, when that was this server's doing.
        var cause: String?
        var end: String?
        var running: ChildProcess.Running?
        /// Those who wait for its end.
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let spec: WorkerSpec
    private let channel: FrameChannel
    private let state = Mutex(State())
    /// Signalled once, when no process of it is left.
    private let ended = DispatchSemaphore(value: 0)

    /// Starts the process; `load` makes it useful.
    /// - Parameter folder: its own, new and empty; it is removed with it.
    init(
        _ spec: WorkerSpec, program: String, folder: String, isolation: ProgramIsolation, log: @escaping @Sendable (String) -> Void,
        mask: SecretMask
    ) throws {
        self.spec = spec
        let access = ProgramIsolation.Access(
            readable: spec.environment.folders + [spec.folder.path, program], hasNetwork: spec.hasNetwork,
            temporaryBytes: spec.temporaryBytes)
        let isolation = try isolation.forOneProgram()
        try isolation.prepare(folder: folder, access: access)
        let (near, far) = try Descriptor.socketPair()
        channel = try FrameChannel(near)
        var limits = ProgramLimits()
        limits.dataBytes = spec.memoryBytes * 2 + 1 << 30
        limits.files = 1024
        limits.fileBytes = spec.temporaryBytes
        limits.processes = Int64(spec.tasksMax)
        // Not the command's own options alone: `-I` also keeps variables and the user's packages out.
        let command = [spec.environment.python, "-I", "-B", "-u", program, String(ChildProcess.channelNumber)]
        var child = try isolation.process(
            command, environment: WorkerProcess.variables(spec, home: isolation.home(in: folder)), workingDirectory: folder, limits: limits,
            access: access)
        child.channel = far
        child.graceSeconds = 0
        child.started = { [weak self] in self?.watch($0) }
        run(child, folder, Lines(masking: mask, to: log))
    }

    deinit { state.withLock { $0.running }?.cancel() }

    private static func variables(_ spec: WorkerSpec, home: String) -> [String: String] {
        var out = ProgramIsolation.variables(workingDirectory: home)
        let threads = String(spec.threads)
        for name in ["OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "RAYON"] { out["\(name)_NUM_THREADS"] = threads }
        // A user that has no name gets one, which libraries name their caches by.
        out["USER"] = "model"
        out["LOGNAME"] = "model"
        // What libraries would look for in the network, which there is none of.
        out["MLFLOW_DISABLE_TELEMETRY"] = "true"
        out["DO_NOT_TRACK"] = "1"
        if !spec.hasNetwork { out["HF_HUB_OFFLINE"] = "1" }
        return out
    }

    private func run(_ child: ChildProcess, _ folder: String, _ lines: Lines) {
        // The thread does not keep the worker: one that nobody refers to any more ends.
        let running = child.start(output: { lines.add($0) }) { [weak self] result in
            lines.finish()
            switch result {
            case .success(let end): self?.finish(end.description)
            case .failure(let error): self?.finish("was ended: \(KeelError.wrapping(error).message)")
            }
            try? FileManager.default.removeItem(atPath: folder)
        }
        let isEnding = state.withLock { state in
            state.running = running
            return state.cause != nil
        }
        if isEnding { running.cancel() }
    }

    private func watch(_ supervisor: pid_t) {
        state.withLock { $0.supervisor = supervisor }
        ProcessWatch.shared.add(supervisor, .init(memoryBytes: spec.memoryBytes, processes: spec.processesMax)) { [weak self] what in
            self?.end("it \(what)")
        }
    }

    private func finish(_ end: String) {
        let (supervisor, waiting) = state.withLock { state in
            state.end = state.cause ?? end
            defer { state.waiting = [] }
            return (state.supervisor, state.waiting)
        }
        if let supervisor { ProcessWatch.shared.remove(supervisor) }
        ended.signal()
        for continuation in waiting { continuation.resume() }
    }

    // MARK: Its life

    var isUsable: Bool { state.withLock { $0.end == nil && $0.cause == nil } && !channel.isBroken }
    var usage: ProcessTable.Usage {
        state.withLock { $0.supervisor }.map { ProcessWatch.shared.usage(of: $0) } ?? ProcessTable.Usage()
    }

    /// Ends it with everything that it started; the first cause counts.
    func end(_ cause: String) {
        let running = state.withLock { state in
            if state.end == nil, state.cause == nil { state.cause = cause }
            return state.running
        }
        running?.cancel()
    }

    /// Waits until no process of it is left.
    func hasEnded() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if state.end == nil { state.waiting.append(continuation) }
                return state.end != nil
            }
            if isOver { continuation.resume() }
        }
    }

    /// Why it ended, for people. It waits a little for that to be known.
    func endText() -> String {
        if ended.wait(timeout: .now() + .seconds(5)) == .success { ended.signal() }
        return state.withLock { $0.end ?? $0.cause } ?? "does not answer"
    }

    // MARK: Its messages

    func load(until deadline: ContinuousClock.Instant) throws(Failure) {
        _ = try ask(
            ["op": "load", "kind": .string(spec.kind.rawValue), "path": .string(spec.folder.path)], [], until: deadline,
            "load the extension")
    }

    func ping(until deadline: ContinuousClock.Instant) throws(Failure) { _ = try ask(["op": "ping"], [], until: deadline, "answer") }

    /// - Parameter layout: of the table, whose buffers are in `body`.
    func call(_ name: String, _ layout: JSON, _ body: [UInt8], params: JSON, until deadline: ContinuousClock.Instant) throws(Failure)
        -> Table
    {
        let message: JSON = [
            "op": "call", "name": .string(name), "table": layout, "params": params, "bytes_max": .int(Int64(spec.frameBytesMax)),
        ]
        let answer = try ask(message, body, until: deadline, "answer")
        do throws(KeelError) { return try TableFrame.decode(answer.header["table"] ?? .null, answer.body) } catch {
            end("it answered with something that is no table")
            throw .ofWorker(KeelError(.unavailable, "the worker's answer is no table: \(error)"))
        }
    }

    private func ask(
        _ message: JSON, _ body: [UInt8], until deadline: ContinuousClock.Instant, _ what: String
    ) throws(Failure) -> FrameChannel.Message {
        let answer: FrameChannel.Message
        do throws(FrameChannel.Fault) {
            try channel.send(message, body: body, until: deadline)
            answer = try channel.receive(bodyBytesMax: spec.frameBytesMax, until: deadline)
        } catch { throw failure(error, what) }
        if answer.header["ok"]?.bool == true { return answer }
        guard let error = answer.header["error"], let message = error["message"]?.string else {
            throw failure(.rubbish("its header says neither that it worked nor what went wrong"), what)
        }
        let type = error["type"]?.string ?? ""
        let text = error["refused"]?.bool == true || type.isEmpty ? message : "\(type.prefix(100)): \(message)"
        throw .ofExtension(KeelError(.invalidArgument, "the model failed: " + WorkerProcess.shown(text)))
    }

    private func failure(_ fault: FrameChannel.Fault, _ what: String) -> Failure {
        switch fault {
        case .late:
            end("it did not \(what) in time")
            return .ofWorker(KeelError(.deadlineExceeded, "the worker did not \(what) in time, and was ended"))
        case .closed:
            // Not ended by what follows: it had ended before.
            let text = endText()
            end("it closed its socket")
            return .ofWorker(
                KeelError(.unavailable, "the worker ended: \(text)", hint: "another call may succeed; the endpoint's log says more"))
        case .rubbish(let why):
            end("it wrote something that is no message")
            return .ofWorker(KeelError(.unavailable, "what the worker wrote is no message: \(why)"))
        }
    }

    /// Texts of the extension's, as an error may hold them.
    private static func shown(_ text: String) -> String {
        String(text.unicodeScalars.prefix(2000).map { $0.value < 32 && $0 != "\n" ? " " : Character($0) })
    }
}
