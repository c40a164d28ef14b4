import Contracts
import Storage

extension PipelineService {
    /// The whole id of a run that is named by it or by its beginning.
    /// - Throws: `notFound`; `invalidArgument` when several runs begin so.
    public func id(beginning text: String, grant: Grant) async throws -> String {
        try grant.require(.pipelinesRead, .pipelinesRun)
        let found = try await database.read(in: grant.workspace) { try PipelineStore.ids(beginning: text, $0) }
        guard let id = found.first else {
            throw KeelError.notFound("there is no pipeline run '\(text.prefix(80))'", hint: "keel get runs lists them")
        }
        guard found.count == 1 || id == text else {
            throw KeelError.invalid("several runs begin with '\(text.prefix(80))'", hint: "give more of the id", path: "id")
        }
        return id
    }

    /// Lines of a step's log, of all its attempts.
    /// - Parameters:
    ///   - from: the byte that they begin at; the `next` of the page before.
    ///   - tail: the last so many lines instead.
    /// - Throws: `notFound` for a run or a step that there is not.
    public func log(_ id: String, step: String, from: Int64, tail: Int?, grant: Grant) async throws -> LogPage {
        try grant.require(.pipelinesRead, .pipelinesRun)
        let run = try await stored(id, in: grant.workspace)
        guard run.steps.contains(where: { $0.name == step }) else {
            throw KeelError.notFound(
                "run \(id) has no step '\(step.prefix(140))'",
                hint: nearest(step, in: run.steps.map(\.name)).map { "did you mean '\($0)'?" }
                    ?? "its steps: \(run.steps.map(\.name).joined(separator: ", "))")
        }
        let path = StepLog.path(run: id, step: step, in: workFolder)
        return try await Blocking.run { try LogPage.read(path, from: from, tail: tail) }
    }
}
