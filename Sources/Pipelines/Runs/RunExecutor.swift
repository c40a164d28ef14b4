import Contracts
import Foundation
import Storage

/// Executes one run: steps start as soon as what they need is done, as child tasks of the run's task.
struct RunExecutor: Sendable {
    let live: LiveRun
    let database: Storage.Database
    let kinds: [String: any StepKind]
    let workFolder: String
    let concurrency: Int
    let clock: any Clock
    let backoff: @Sendable (Int) -> TimeSpan

    private var run: PipelineStore.Started { live.started }
    private var name: String { run.spec.name }

    func execute() async throws {
        let failure = await runSteps()
        // Only here, when no step is about to make its folder inside it.
        rmdir("\(workFolder)/\(run.id)")
        if live.isStopping {
            // A step that was stopped on purpose is not one that the server died of.
            let id = run.id
            try await database.write(in: run.workspace) { tx in try PipelineStore.suspend(run: id, tx) }
            live.close()
            return
        }
        let state: PipelineRun.State = live.cancelledBy != nil ? .cancelled : failure != nil ? .failed : .succeeded
        let message = live.cancelledBy.map { "cancelled by \($0.name)" } ?? failure.map { "step '\($0.step)' failed: \($0.error)" }
        let unfinished = live.steps.filter { $0.state == .pending || $0.state == .running }.compactMap { step in
            live.update(step.name) {
                $0.state = $0.state == .running || state == .cancelled ? .cancelled : .skipped
                $0.finishedAt = $0.startedAt == nil ? nil : clock.now()
            }
        }
        let run = run
        let caller = live.cancelledBy ?? run.caller
        try await database.write(in: run.workspace) { tx in
            for step in unfinished { try PipelineStore.update(step, run: run.id, tx) }
            try PipelineStore.finish(run: run.id, state: state, error: message, tx)
            var data: JSON = [
                "run": .string(run.id), "now": .string(run.now.description), "seconds": .double((tx.now - run.startedAt).seconds),
            ]
            if let message { data["error"] = .string(message) }
            try tx.record(
                "pipeline.run.\(state == .succeeded ? "finished" : state.rawValue)", on: "Pipeline/\(run.spec.name)", data, by: caller)
        }
        live.announce(.runFinished(state, error: message))
    }

    /// Returns the first failure, after every started step has ended.
    private func runSteps() async -> (step: String, error: KeelError)? {
        let steps = live.pipeline.steps
        var outputs: [String: JSON] = [:]
        for step in live.steps where step.state.isDone { outputs[step.name] = step.outputs ?? .object([]) }
        var (waitsFor, dependents) = ([Int](repeating: 0, count: steps.count), [String: [Int]]())
        var ready: [Int] = []
        for (i, step) in steps.enumerated() where outputs[step.name] == nil {
            let open = step.dependencies.filter { outputs[$0] == nil }
            waitsFor[i] = open.count
            for dependency in open { dependents[dependency, default: []].append(i) }
            if open.isEmpty { ready.append(i) }
        }
        var (next, running) = (0, 0)
        var failure: (step: String, error: KeelError)?
        await withTaskGroup(of: (Int, Result<JSON, KeelError>).self) { group in
            while true {
                while failure == nil, !Task.isCancelled, running < concurrency, next < ready.count {
                    let i = ready[next]
                    let needed = Dictionary(
                        uniqueKeysWithValues: steps[i].dependencies.compactMap { name in outputs[name].map { (name, $0) } })
                    group.addTask { (i, await perform(steps[i], needed)) }
                    next += 1
                    running += 1
                }
                guard running > 0, let (i, result) = await group.next() else { break }
                running -= 1
                switch result {
                case .success(let value):
                    outputs[steps[i].name] = value
                    for dependent in dependents[steps[i].name] ?? [] {
                        waitsFor[dependent] -= 1
                        if waitsFor[dependent] == 0 { ready.append(dependent) }
                    }
                case .failure(let error):
                    guard failure == nil else { continue }
                    failure = (steps[i].name, error)
                    group.cancelAll()
                }
            }
        }
        return failure
    }

    /// One step from its inputs to its recorded end.
    private func perform(_ step: PipelineSpec.Step, _ outputs: [String: JSON]) async -> Result<JSON, KeelError> {
        do {
            let begun = clock.now()
            _ = live.update(step.name) {
                $0.state = .running
                $0.startedAt = begun
            }
            guard let kind = kinds[step.uses] else { throw KeelError.invalid("'\(step.uses)' is not a kind of step") }
            let with = try resolve(step, kind, outputs)
            let (key, hit) = try await consultCache(step, kind, with, outputs)
            if let hit {
                try await record(step.name, key: nil) {
                    $0.state = .cached
                    $0.outputs = hit
                }
                return .success(hit)
            }
            let result = try await attempts(step, kind, with)
            try await record(step.name, key: key) {
                $0.state = .succeeded
                $0.outputs = result
            }
            return .success(result)
        } catch {
            let error = KeelError.wrapping(error)
            // A step ended from outside is recorded with the run's end; after a stop it is to run again.
            if !Task.isCancelled {
                do {
                    try await record(step.name, key: nil) {
                        $0.state = .failed
                        $0.error = error.description
                    }
                } catch { return .failure(KeelError.wrapping(error)) }
            }
            return .failure(error)
        }
    }

    private func resolve(_ step: PipelineSpec.Step, _ kind: any StepKind, _ outputs: [String: JSON]) throws(KeelError) -> JSON {
        try Reference.resolve(step.with, skipping: kind.literalFields) { reference throws(KeelError) in
            if reference.root == PipelineSpec.now { return .string(run.now.description) }
            guard let value = run.parameters[reference.root] ?? outputs[reference.root] else {
                throw .invalid("\(reference) names no step and no parameter")
            }
            return try reference.pick(from: value)
        }
    }

    /// The key to keep the result under, when it may be kept, and the outputs of an earlier run, when there are any.
    private func consultCache(
        _ step: PipelineSpec.Step, _ kind: any StepKind, _ with: JSON, _ outputs: [String: JSON]
    ) async throws -> (StepCache.Key?, JSON?) {
        guard step.cache ?? kind.cachedByDefault else {
            let why = step.cache == nil ? "\(kind.name) steps run each time unless they say cache: true" : "the step says cache: false"
            _ = live.update(step.name) { $0.cache = "miss: cache disabled (\(why))" }
            return (nil, nil)
        }
        let after = JSON.object(
            step.needs.sorted().map { JSON.Member($0, .string(Digest(of: (outputs[$0] ?? .null).canonical).short)) })
        let key = StepCache.Key(
            kind: kind, with: with, parameters: run.parameters, after: after, fingerprint: try await kind.fingerprint(with, now: run.now, in: run.workspace))
        guard run.useCache else {
            _ = live.update(step.name) { $0.cache = "miss: cache disabled (the run was started without it)" }
            return (key, nil)
        }
        let pipeline = name
        switch try await database.read(in: run.workspace, { try StepCache.look(for: key, pipeline: pipeline, step: step.name, $0) }) {
        case .hit(let outputs, let reason, let earlier):
            let usable = await kind.isUsable(outputs)
            _ = live.update(step.name) { $0.cache = usable ? reason : "miss: what run \(earlier) made is gone" }
            return (key, usable ? outputs : nil)
        case .miss(let reason):
            _ = live.update(step.name) { $0.cache = reason }
            return (key, nil)
        }
    }

    private func attempts(_ step: PipelineSpec.Step, _ kind: any StepKind, _ with: JSON) async throws -> JSON {
        let folder = "\(workFolder)/\(run.id)/\(step.name)"
        do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
            throw KeelError(
                .unavailable, "no working directory can be made for the step: \(error.localizedDescription)",
                hint: "is there space on the disk?")
        }
        // rmdir(2) removes only what is empty: a step that left files keeps its folder.
        defer { rmdir(folder) }
        let log = StepLog(path: StepLog.path(run: run.id, step: step.name, in: workFolder))
        defer { log.close() }
        while true {
            let attempt = try await begin(step.name)
            log.beginAttempt()
            defer { _ = live.update(step.name) { $0.log = log.reference } }
            let context = context(step.name, with, folder, log, attempt)
            do {
                let outputs = try await timed(step, kind, context)
                guard case .object = outputs else {
                    throw KeelError(.internal, "a \(kind.name) step must return an object, not \(outputs.kind)")
                }
                return outputs
            } catch {
                let error = KeelError.wrapping(error)
                let failures = live.update(step.name) { $0.failures += 1 }?.failures ?? 1
                let useless = error.code == .invalidArgument || error.code == .permissionDenied || error.code == .cancelled
                guard failures <= step.retries, !useless, !Task.isCancelled else { throw error }
                let pause = backoff(failures)
                context.log("attempt \(failures) of \(step.retries + 1) failed: \(error); again in \(pause)")
                try await Task.sleep(for: .microseconds(pause.microseconds))
            }
        }
    }

    /// Stores that an attempt begins, before it does: one during which the server ends is counted when it starts again.
    /// - Returns: its number.
    private func begin(_ step: String) async throws -> Int {
        guard let begun = live.update(step, { $0.attempts += 1 }) else { throw KeelError(.internal, "there is no step '\(step)'") }
        let id = run.id
        try await database.write(in: run.workspace) { tx in try PipelineStore.update(begun, run: id, tx) }
        live.announce(.stepStarted(step: step, attempt: begun.attempts))
        return begun.attempts
    }

    private func context(_ step: String, _ with: JSON, _ folder: String, _ log: StepLog, _ attempt: Int) -> StepContext {
        let live = live
        return StepContext(
            runID: run.id, pipeline: name, step: step, with: with, parameters: run.parameters, now: run.now, workingDirectory: folder,
            attempt: attempt, caller: run.caller,
            log: { line in
                log.write(line)
                _ = live.update(step) { $0.lastLine = String(line.prefix(400)) }
                live.announce(.stepLog(step: step, line: line))
            },
            outputs: { kind in
                let names = Set(live.pipeline.steps.filter { $0.uses == kind }.map(\.name))
                return live.steps.filter { names.contains($0.name) && $0.state.isDone }.compactMap(\.outputs)
            },
            progress: { done, message in
                _ = live.update(step) {
                    $0.progress = done
                    $0.message = message
                }
                live.announce(.stepProgress(step: step, done: done, message: message))
            })
    }

    /// One attempt within its time limit. The attempt is cancelled when the time is over, and waited for.
    private func timed(_ step: PipelineSpec.Step, _ kind: any StepKind, _ context: StepContext) async throws -> JSON {
        guard let limit = step.timeout else { return try await kind.run(context) }
        return try await withThrowingTaskGroup(of: JSON?.self) { group in
            group.addTask { try await kind.run(context) }
            group.addTask {
                try await Task.sleep(for: .microseconds(limit.microseconds))
                return nil
            }
            let first = try await group.next() ?? nil
            group.cancelAll()
            if let first { return first }
            // Its own complaint about being cancelled is not the reason.
            while await group.nextResult() != nil {}
            throw KeelError(
                .deadlineExceeded, "not done within its timeout of \(limit)", hint: "raise `timeout` of the step, or make it do less")
        }
    }

    private func record(_ step: String, key: StepCache.Key?, _ change: (inout StepRun) -> Void) async throws {
        let end = clock.now()
        guard
            let finished = live.update(
                step,
                {
                    change(&$0)
                    $0.finishedAt = end
                    $0.lastLine = nil
                })
        else { return }
        let (run, pipeline) = (run, name)
        try await database.write(in: run.workspace) { tx in
            try PipelineStore.update(finished, run: run.id, tx)
            if let key, let outputs = finished.outputs {
                try StepCache.keep(outputs, for: key, pipeline: pipeline, step: step, run: run.id, tx)
            }
            var data: JSON = ["run": .string(run.id), "step": .string(step), "state": .string(finished.state.rawValue)]
            if let cache = finished.cache { data["cache"] = .string(cache) }
            if let error = finished.error { data["error"] = .string(error) }
            // What the step wrote may hold anything, and the ledger forgets nothing: it says where the lines are, and what they were.
            if let log = finished.log { data["log"] = log }
            try tx.record("pipeline.step.finished", on: "Pipeline/\(pipeline)", data, by: run.caller)
        }
        live.announce(.stepFinished(finished))
    }
}
