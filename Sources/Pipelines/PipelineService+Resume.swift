import Contracts
import Storage

extension PipelineService {
    /// At server start: runs of all workspaces that were under way when the process ended go on, each in its own. Steps that had finished are not run again; a step that ran at the
    /// end of too many servers ends its run.
    /// - Returns: the ids of the runs that go on.
    @discardableResult
    public func resumeUnfinished() async throws -> [String] {
        var resumed: [String] = []
        for started in try await database.read({ try PipelineStore.unfinished($0) }) where !isLive(started.id) {
            do {
                let pipeline = try PipelineSpec(resource: started.spec).validated(kinds: kinds)
                guard let steps = try await reopen(started) else { continue }
                launch(LiveRun(started, pipeline, steps: steps))
                resumed.append(started.id)
            } catch let error as KeelError where error.code == .invalidArgument {
                // This version of Keel no longer knows a kind of step the run needs.
                try await database.write(in: started.workspace) { tx in try PipelineService.fail(started, "cannot be resumed: \(error)", tx) }
            }
        }
        return resumed
    }

    /// The steps as they go on; nil when the run ended here.
    private func reopen(_ started: PipelineStore.Started) async throws -> [StepRun]? {
        try await database.write(in: started.workspace) { tx in
            guard let run = try PipelineStore.run(started.id, tx) else { return nil }
            var steps = run.steps
            for i in steps.indices where !steps[i].state.isDone {
                if steps[i].state == .running { steps[i].interruptions += 1 }
                steps[i].state = .pending
                try PipelineStore.update(steps[i], run: run.id, tx)
            }
            if let i = steps.firstIndex(where: { $0.interruptions >= StepRun.interruptionsMax && !$0.state.isDone }) {
                try PipelineService.giveUp(on: i, of: steps, started, tx)
                return nil
            }
            try tx.record(
                "pipeline.run.resumed", on: "Pipeline/\(started.spec.name)",
                [
                    "run": .string(run.id), "finished_steps": .int(Int64(steps.count { $0.state.isDone })),
                    "steps": .int(Int64(steps.count)),
                ], by: Caller.system("pipelines", in: started.workspace))
            return steps
        }
    }

    private static func giveUp(on index: Int, of steps: [StepRun], _ started: PipelineStore.Started, _ tx: Transaction) throws {
        let step = steps[index]
        let error = "the server ended \(step.interruptions) times while this step ran: it is not started again"
        for (i, other) in steps.enumerated() where !other.state.isDone {
            var ended = other
            ended.state = i == index ? .failed : .skipped
            ended.error = i == index ? error : nil
            ended.finishedAt = i == index ? tx.now : nil
            try PipelineStore.update(ended, run: started.id, tx)
        }
        try tx.record(
            "pipeline.step.finished", on: "Pipeline/\(started.spec.name)",
            ["run": .string(started.id), "step": .string(step.name), "state": "failed", "error": .string(error)],
            by: Caller.system("pipelines", in: started.workspace))
        try fail(started, "step '\(step.name)' failed: \(error)", tx)
    }

    private static func fail(_ started: PipelineStore.Started, _ message: String, _ tx: Transaction) throws {
        try PipelineStore.finish(run: started.id, state: .failed, error: message, tx)
        try tx.record(
            "pipeline.run.failed", on: "Pipeline/\(started.spec.name)", ["run": .string(started.id), "error": .string(message)],
            by: Caller.system("pipelines", in: started.workspace))
    }
}
