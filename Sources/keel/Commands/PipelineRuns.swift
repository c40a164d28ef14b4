import ArgumentParser
import Contracts
import Foundation

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a pipeline and watch it.",
        discussion: """
            The run belongs to the server: Ctrl-C says how to cancel it, a second Ctrl-C ends this command alone.
            Example: keel run train-delay --with until=2013-04-01 --with trees=200
            """)
    @Argument(help: "The pipeline.") var pipeline: String
    @Option(name: .customLong("with"), help: "A parameter, as NAME=VALUE; can be repeated.") var parameters: [String] = []
    @Option(help: "The instant that 'now' means, when the events are of another time than the clock.") var now: String?
    @Flag(inversion: .prefixedNo, help: "Whether to reuse the results of steps whose inputs are the same.") var cache = true
    @OptionGroup var connection: Connection

    func run() async throws {
        var values: [JSON.Member] = []
        for parameter in parameters {
            let parts = parameter.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw KeelError.invalid("'\(parameter)' is not NAME=VALUE") }
            values.append(JSON.Member(parts[0], (try? JSON.parse(parts[1])) ?? .string(parts[1])))
        }
        var body: JSON = ["parameters": .object(values), "cache": .bool(cache)]
        if let now { body["now"] = .string(now) }
        let started = try await connection.post("/api/v1/pipelines/\(escaped(pipeline))/runs", body)
        let id = started.cell("run")
        let interruption = Interruption("the run goes on in the server; 'keel cancel \(id)' ends it. Ctrl-C again ends this command alone")
        let ended = try await RunWatch(title: pipeline, connection: connection).follow(id)
        interruption.end()
        connection.show(ended) { run in
            Terminal.print("run \(id) \(run.cell("state"))" + (run["error"]?.string.map { ": \($0)" } ?? ""))
        }
        if ended.cell("state") != "succeeded" {
            if !connection.json { try await PipelineRunView.showEndOfLog(ended, connection) }
            throw ExitCode(1)
        }
    }
}

struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cancel a run of a pipeline: its programs are ended.",
        discussion: "Example: keel cancel 5f0c2b7a        (an id, its beginning or its end)")
    @Argument(help: "The run.") var run: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let id = try await connection.pipelineRun(run)
        let answer = try await connection.post("/api/v1/runs/\(escaped(id))/cancel", [:])
        connection.show(answer) { Terminal.print("run \($0.cell("id")) \($0.cell("state"))") }
    }
}

struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what the steps of a run wrote.",
        discussion: """
            Examples:
              keel logs 5f0c2b7a               all steps, one after the other
              keel logs 5f0c2b7a train -f      one step, and what it writes from now on
              keel logs 5f0c2b7a --tail 20
            """)
    @Argument(help: "The run.") var run: String
    @Argument(help: "The step; all unless given.") var step: String?
    @Flag(name: .shortAndLong, help: "Go on until the run has ended.") var follow = false
    @Option(help: "Only the last so many lines of each step.") var tail: Int?
    @OptionGroup var connection: Connection

    func run() async throws {
        let id = try await connection.pipelineRun(run)
        let found = try await connection.get("/api/v1/runs/\(escaped(id))")
        let all = (found["steps"]?.items ?? []).map { $0.cell("name") }
        // A step that there is not is the server's to name.
        let steps = step.map { [$0] } ?? all
        var places: [String: Int64] = [:]
        for step in steps {
            places[step] = try await StepLogPages(connection, id, step).show(from: 0, tail: tail, prefix: steps.count > 1)
        }
        guard follow else { return }
        while true {
            // Asked before the pages: what was written until the end is read after it.
            let state = try await connection.get("/api/v1/runs/\(escaped(id))").cell("state")
            for step in steps {
                places[step] = try await StepLogPages(connection, id, step).show(
                    from: places[step] ?? 0, tail: nil, prefix: steps.count > 1)
            }
            if state != "running" { return }
            try await Task.sleep(for: .milliseconds(300))
        }
    }
}

struct Pause: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop a trigger from firing, until it is resumed.", discussion: "Example: keel pause trigger retrain")
    @OptionGroup var thing: PausedThing

    func run() async throws { try await thing.set("pause") }
}

struct Resume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a paused trigger fire again; what happened meanwhile is not made up for.",
        discussion: "Example: keel resume trigger retrain")
    @OptionGroup var thing: PausedThing

    func run() async throws { try await thing.set("resume") }
}

struct PausedThing: ParsableArguments {
    @Argument(help: "The kind: trigger.") var kind: String
    @Argument(help: "The trigger.") var name: String
    @OptionGroup var connection: Connection

    func set(_ verb: String) async throws {
        guard ["trigger", "triggers"].contains(kind.lowercased()) else {
            throw KeelError.invalid("a \(kind) cannot be paused", hint: "keel \(verb) trigger NAME")
        }
        let answer = try await connection.post("/api/v1/triggers/\(escaped(name))/\(verb)", [:])
        connection.show(answer) { Terminal.print("trigger \($0.cell("name")) is \($0.cell("state"))") }
    }
}
