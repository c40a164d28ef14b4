import Contracts
import Foundation
import Storage
import Synchronization

/// Pipelines that were checked and are not in force yet. See `PipelineService.prepare`.
public struct PipelineDraft: Sendable {
    /// The workspace whose pipelines they are: those of others stay as they are.
    let workspace: WorkspaceID
    let pipelines: [String: ValidPipeline]
}

/// Starts, follows, cancels and resumes pipeline runs.
public final class PipelineService: Sendable {
    /// Runs under way at once; each has at most `concurrency` steps running.
    public static let activeRunsMax = 32

    let database: Storage.Database
    let kinds: [String: any StepKind]
    let workFolder: String
    private let concurrency: Int
    private let clock: any Clock
    private let backoff: @Sendable (Int) -> TimeSpan

    private struct State {
        /// By workspace and name.
        var pipelines: [WorkspaceID: [String: ValidPipeline]] = [:]
        /// Runs of all workspaces, by their ids.
        var live: [String: LiveRun] = [:]
        var reserved = 0
        var isStopped = false
    }
    private let state = Mutex(State())

    /// - Parameters:
    ///   - kinds: what `uses` may name.
    ///   - workFolder: where steps get their working directories, `<run>/<step>`.
    ///   - concurrency: steps of one run that run at once.
    ///   - backoff: the pause after failed attempt 1, 2, …; doubling from half a second to half a minute unless given.
    public init(
        database: Storage.Database, kinds: [any StepKind], workFolder: String,
        concurrency: Int = max(2, ProcessInfo.processInfo.activeProcessorCount),
        clock: any Clock = SystemClock(),
        backoff: @escaping @Sendable (Int) -> TimeSpan = { .milliseconds(min(30_000, 500 << min($0 - 1, 10))) }
    ) {
        self.database = database
        self.kinds = Dictionary(kinds.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        self.workFolder = workFolder
        self.concurrency = concurrency
        self.clock = clock
        self.backoff = backoff
    }

    /// Takes the pipelines that are declared in a workspace now, all or none. Runs under way go on with what they began with.
    public func configure(_ specs: [PipelineSpec], in workspace: WorkspaceID) throws(KeelError) {
        activate(try prepare(specs, in: workspace))
    }

    /// Checks pipelines against the kinds of steps. Nothing changes until `activate`.
    /// - Throws: one error that holds all that was found.
    public func prepare(_ specs: [PipelineSpec], in workspace: WorkspaceID) throws(KeelError) -> PipelineDraft {
        PipelineDraft(workspace: workspace, pipelines: try check(specs))
    }

    /// References of a pipeline to outputs that its steps do not have: they would fail in a run.
    public func unknownOutputs(in spec: PipelineSpec) -> [KeelError] { spec.unknownOutputs(kinds: kinds) }

    /// Puts a draft in force. Cannot fail.
    public func activate(_ draft: PipelineDraft) { state.withLock { $0.pipelines[draft.workspace] = draft.pipelines } }

    private func check(_ specs: [PipelineSpec]) throws(KeelError) -> [String: ValidPipeline] {
        var out: [String: ValidPipeline] = [:]
        var errors: [KeelError] = []
        for spec in specs {
            do throws(KeelError) { out[spec.name] = try spec.validated(kinds: kinds) } catch {
                errors.append(error.at("Pipeline/\(spec.name)"))
            }
        }
        if let error = KeelError.joined(errors) { throw error }
        return out
    }

    /// Starts a run and returns its id as soon as its start is durable.
    /// - Parameters:
    ///   - parameters: an object over the declared defaults.
    ///   - reason: who or what started it, in words.
    ///   - now: what `now` and `$now` mean in it: event time.
    ///   - useCache: false runs every step; results are kept for later runs all the same.
    /// - Throws: `notFound`; `invalidArgument` for parameters; `unavailable` when too many runs are under way.
    public func start(
        pipeline name: String, parameters: JSON = .object([]), reason: String, now: Timestamp, useCache: Bool = true, grant: Grant
    ) async throws -> String {
        try await start(pipeline: name, parameters: parameters, reason: reason, now: now, useCache: useCache, grant: grant) { _, _ in }
    }

    /// `also` joins the transaction that starts the run.
    func start(
        pipeline name: String, parameters: JSON, reason: String, now: Timestamp, useCache: Bool, grant: Grant,
        also: @escaping @Sendable (Transaction, _ runID: String) throws -> Void
    ) async throws -> String {
        try grant.require(.pipelinesRun, on: ResourceRef("Pipeline", name, in: grant.workspace))
        let pipeline = try declared(name, in: grant.workspace)
        let bound = try pipeline.spec.bind(parameters, now: now)
        try checkInputs(pipeline, bound, now)
        try reserve()
        defer { state.withLock { $0.reserved -= 1 } }
        let startedAt = clock.now()
        let started = PipelineStore.Started(
            id: Identifier.uuid(at: startedAt), spec: Resource(kind: "Pipeline", name: name, spec: pipeline.spec.json), parameters: bound,
            reason: reason, now: now, useCache: useCache, caller: grant.caller, startedAt: startedAt)
        try await database.write(in: grant.workspace) { tx in
            try PipelineStore.insert(started, steps: pipeline.steps, tx)
            try tx.record(
                "pipeline.run.started", on: "Pipeline/\(name)",
                ["run": .string(started.id), "reason": .string(reason), "now": .string(now.description), "parameters": bound], by: grant)
            try also(tx, started.id)
        }
        launch(LiveRun(started, pipeline, steps: pipeline.steps.map { StepRun(name: $0.name, uses: $0.uses) }))
        return started.id
    }

    /// Waits until a run has ended and returns it.
    public func wait(_ id: String, grant: Grant) async throws -> PipelineRun {
        try grant.require(.pipelinesRead, .pipelinesRun)
        try await live(id, in: grant.workspace)?.wait()
        return try await stored(id, in: grant.workspace)
    }

    /// A run with its steps, as they are this moment.
    public func run(_ id: String, grant: Grant) async throws -> PipelineRun {
        try grant.require(.pipelinesRead, .pipelinesRun)
        let live = live(id, in: grant.workspace)?.steps
        var run = try await stored(id, in: grant.workspace)
        if run.state == .running, let live { run.steps = live }
        return run
    }

    /// Runs without their steps, newest first; `before` is the id of the last one of the page before.
    public func runs(pipeline: String? = nil, before: String? = nil, limit: Int = 50, grant: Grant) async throws -> [PipelineRun] {
        try grant.require(.pipelinesRead, .pipelinesRun)
        let limit = min(max(1, limit), 1000)
        return try await database.read(in: grant.workspace) { try PipelineStore.runs(pipeline: pipeline, before: before, limit: limit, $0) }
    }

    /// Ends a run: its steps are cancelled and waited for.
    /// - Throws: `failedPrecondition` when it has ended already.
    public func cancel(_ id: String, grant: Grant) async throws -> PipelineRun {
        try grant.require(.pipelinesRun)
        guard let live = live(id, in: grant.workspace) else {
            let run = try await stored(id, in: grant.workspace)
            throw KeelError(.failedPrecondition, "run \(id) is not running: its state is '\(run.state.rawValue)'")
        }
        live.cancel(by: grant.caller)
        try await live.wait()
        return try await stored(id, in: grant.workspace)
    }

    /// What happens in a run from now on; the last event is `runFinished`, at once for a run that has ended. A slow reader loses the oldest events.
    public func events(_ id: String, grant: Grant) async throws -> AsyncStream<PipelineEvent> {
        try grant.require(.pipelinesRead, .pipelinesRun)
        if let live = live(id, in: grant.workspace) { return live.watch() }
        let run = try await stored(id, in: grant.workspace)
        return AsyncStream { continuation in
            continuation.yield(.runFinished(run.state, error: run.error))
            continuation.finish()
        }
    }

    /// Stops all work so that `resumeUnfinished` can go on with it; no run starts afterwards.
    public func shutdown() async {
        let live = state.withLock { state in
            state.isStopped = true
            return Array(state.live.values)
        }
        for run in live { run.stop() }
        for run in live { try? await run.wait() }
    }

    /// Whether a pipeline runs programs of its author.
    public func runsPrograms(_ spec: PipelineSpec) -> Bool { spec.steps.contains { kinds[$0.uses]?.runsPrograms == true } }

    // MARK: -

    func isLive(_ id: String) -> Bool { state.withLock { $0.live[id] != nil } }

    /// A run under way; one of another workspace is as unknown as one that is not there.
    private func live(_ id: String, in workspace: WorkspaceID) -> LiveRun? {
        state.withLock { $0.live[id] }.flatMap { $0.started.workspace == workspace ? $0 : nil }
    }

    private func declared(_ name: String, in workspace: WorkspaceID) throws(KeelError) -> ValidPipeline {
        let known = state.withLock { $0.pipelines[workspace] ?? [:] }
        let (found, names) = (known[name], known.keys.sorted())
        guard let found else {
            throw .notFound(
                "there is no pipeline '\(name.prefix(140))'",
                hint: nearest(name, in: names).map { "did you mean '\($0)'?" }
                    ?? (names.isEmpty ? "none is applied yet" : "known: \(names.joined(separator: ", "))"))
        }
        return found
    }

    /// What the kinds say of the run's own parameter values, before anything runs.
    private func checkInputs(_ pipeline: ValidPipeline, _ parameters: JSON, _ now: Timestamp) throws(KeelError) {
        for step in pipeline.steps {
            guard let kind = kinds[step.uses] else { continue }
            let with = try Reference.resolve(step.with, skipping: kind.literalFields) { reference throws(KeelError) in
                if reference.root == PipelineSpec.now { return .string(now.description) }
                guard let value = parameters[reference.root] else { return nil }
                return try reference.pick(from: value)
            }
            do throws(KeelError) { try kind.validate(with) } catch { throw error.at("\(step.name).with") }
        }
    }

    private func reserve() throws(KeelError) {
        let refusal: KeelError? = state.withLock { state in
            if state.isStopped { return KeelError(.unavailable, "the server is shutting down: no pipeline can be started") }
            guard state.live.count + state.reserved < PipelineService.activeRunsMax else {
                return KeelError(
                    .unavailable, "\(PipelineService.activeRunsMax) pipeline runs are under way", hint: "wait for one to end, or cancel one"
                )
            }
            state.reserved += 1
            return nil
        }
        if let refusal { throw refusal }
    }

    func launch(_ live: LiveRun) {
        let executor = RunExecutor(
            live: live, database: database, kinds: kinds, workFolder: workFolder, concurrency: concurrency, clock: clock, backoff: backoff)
        let isStopped = state.withLock { state in
            if !state.isStopped { state.live[live.started.id] = live }
            return state.isStopped
        }
        // Started while the server went down: the next start resumes it.
        if isStopped { return live.close() }
        live.launch { [self] in
            defer { state.withLock { $0.live[live.started.id] = nil } }
            try await executor.execute()
        }
    }

    /// - Throws: `notFound`, also for a run of another workspace.
    func stored(_ id: String, in workspace: WorkspaceID) async throws -> PipelineRun {
        guard let run = try await database.read(in: workspace, { try PipelineStore.run(id, $0) }) else {
            throw KeelError.notFound("there is no pipeline run '\(id.prefix(80))'")
        }
        return run
    }
}
