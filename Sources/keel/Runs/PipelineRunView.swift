import Contracts
import Dispatch
import Foundation
import Synchronization

/// Runs of pipelines and triggers, for people.
enum PipelineRunView {
    static func describe(_ name: String, _ connection: Connection) async throws {
        let run = try await connection.get("/api/v1/runs/\(escaped(try await connection.pipelineRun(name)))")
        connection.show(run) { show($0) }
        if !connection.json { try await showEndOfLog(run, connection) }
    }

    private static func show(_ run: JSON) {
        var lines = [
            ("run", run.cell("id")), ("pipeline", run.cell("pipeline")), ("state", run.cell("state")), ("reason", run.cell("reason")),
            ("now", run.cell("now")), ("started", run.cell("started_at")), ("took", elapsed(run)),
        ]
        if let error = run["error"]?.string { lines.append(("error", error)) }
        for member in run["parameters"]?.members ?? [] {
            lines.append(("parameter", "\(member.key) = \(member.value.string ?? member.value.text)"))
        }
        for (name, value) in lines { Terminal.print(name.padding(toLength: 12, withPad: " ", startingAt: 0) + " " + value) }
        Terminal.print("")
        let steps = run["steps"]?.items ?? []
        Terminal.table(
            ["step", "uses", "state", "attempts", "took", "cache"],
            steps.map {
                let interrupted = ($0["interruptions"]?.integer).map { ", \($0) interrupted" } ?? ""
                return [
                    $0.cell("name"), $0.cell("uses"), $0.cell("state"), $0.cell("attempts") + interrupted, elapsed($0), $0.cell("cache"),
                ]
            })
        for step in steps {
            if let error = step["error"]?.string { Terminal.print("\(step.cell("name")): \(error)") }
        }
        for step in steps {
            guard let outputs = step["outputs"], outputs != .object([]) else { continue }
            Terminal.print("outputs of \(step.cell("name"))")
            Terminal.print(json: outputs)
        }
    }

    /// The last lines of the step that failed, or that runs.
    static func showEndOfLog(_ run: JSON, _ connection: Connection) async throws {
        let steps = run["steps"]?.items ?? []
        guard let step = steps.first(where: { $0.cell("state") == "failed" }) ?? steps.first(where: { $0.cell("state") == "running" })
        else { return }
        let name = step.cell("name")
        let page = try await connection.get("/api/v1/runs/\(escaped(run.cell("id")))/steps/\(escaped(name))/log?tail=12")
        let lines = page["lines"]?.items ?? []
        guard !lines.isEmpty else { return }
        Terminal.print("the end of the log of \(name) ('keel logs \(run.cell("id")) \(name)' shows all of it):")
        for line in lines { Terminal.print("  " + (line.string ?? "")) }
    }

    static func listTriggers(_ answer: JSON, _ connection: Connection) {
        connection.show(answer) { answer in
            Terminal.table(
                ["trigger", "state", "when", "runs", "author", "last fired"],
                (answer["triggers"]?.items ?? []).map { trigger in
                    let state = trigger["paused_by"]?.string.map { "paused by \($0)" } ?? trigger.cell("state")
                    let when = (trigger["when"]?.items ?? []).compactMap(\.string).joined(separator: ", ")
                    return [trigger.cell("name"), state, when, trigger.cell("run"), trigger.cell("author"), trigger.cell("fired_at")]
                })
        }
    }

    /// The time between a step's or run's start and end; until now when it has none.
    static func elapsed(_ json: JSON) -> String {
        guard let start = json["started_at"]?.string.flatMap({ Timestamp($0) }) else { return "-" }
        let end = json["finished_at"]?.string.flatMap { Timestamp($0) } ?? .systemNow()
        return Terminal.decimals((end - start).seconds, 1) + " s"
    }
}

/// Reads a step's log page by page.
struct StepLogPages {
    private let connection: Connection
    private let path: String
    private let step: String

    init(_ connection: Connection, _ run: String, _ step: String) {
        self.connection = connection
        self.step = step
        path = "/api/v1/runs/\(escaped(run))/steps/\(escaped(step))/log"
    }

    /// Shows all that there is from a byte on.
    /// - Returns: where what comes later begins.
    func show(from: Int64, tail: Int?, prefix: Bool) async throws -> Int64 {
        var from = from
        var query = tail.map { "tail=\($0)" } ?? "from=\(from)"
        while true {
            let page = try await connection.get("\(path)?\(query)")
            if let leftOut = page["left_out"]?.integer, leftOut > 0 { show("… \(leftOut) bytes of the log are not kept", prefix) }
            for line in page["lines"]?.items ?? [] { show(line.string ?? "", prefix) }
            Terminal.flush()
            let next = page["next"]?.integer ?? from
            if tail != nil || next <= from { return max(next, from) }
            from = next
            query = "from=\(from)"
        }
    }

    private func show(_ line: String, _ prefix: Bool) {
        if connection.json { return Terminal.print(lines: JSON.of(["step": .string(step), "line": .string(line)]).text.visibleJSON) }
        Terminal.print(prefix ? "\(step) | \(line)" : line)
    }
}

/// Watches a run until it has ended: a line for each step that is done, and one that shows what goes on.
struct RunWatch {
    let title: String
    let connection: Connection

    func follow(_ id: String) async throws -> JSON {
        let client = try connection.client()
        let line = ProgressLine(title)
        var done: Set<String> = []
        var begun: Set<String> = []
        while true {
            let run = try await client.json(.GET, "/api/v1/runs/\(escaped(id))")
            let steps = run["steps"]?.items ?? []
            if !connection.json {
                for step in steps where ["succeeded", "failed", "cached", "skipped", "cancelled"].contains(step.cell("state")) {
                    if done.insert(step.cell("name")).inserted { show(step, line) }
                }
                if let step = steps.first(where: { $0.cell("state") == "running" }) { progress(step, line, &begun) }
            }
            if run.cell("state") != "running" { return run }
            try await Task.sleep(for: .milliseconds(150))
        }
    }

    private func show(_ step: JSON, _ line: ProgressLine) {
        line.clear()
        let name = step.cell("name") + String(repeating: " ", count: max(0, 12 - step.cell("name").count))
        let hit = (step["cache"]?.string ?? "").hasPrefix("hit")
        let mark = ["failed": "✗", "skipped": "-", "cancelled": "-"][step.cell("state")] ?? "✓"
        Terminal.print("  \(mark) \(name) \(PipelineRunView.elapsed(step))\(hit ? "  \(step.cell("cache"))" : "")")
    }

    /// On a terminal the step that runs, with its share or its last line; else one line when it begins.
    private func progress(_ step: JSON, _ line: ProgressLine, _ begun: inout Set<String>) {
        let name = step.cell("name")
        if begun.insert(name).inserted, !line.isTerminal { Terminal.printError(lines: "  … \(Terminal.safe(name))") }
        if let share = step["progress"]?.number { return line.update(share, "\(name): \(step.cell("message"))") }
        line.update(nil, "\(name) \(PipelineRunView.elapsed(step))  \(step["last_line"]?.string ?? "")")
    }
}

/// What Ctrl-C does while something is watched that belongs to the server: the first says so, the second ends the command.
struct Interruption {
    private let source: any DispatchSourceSignal
    private let previous: sighandler_t?

    init(_ words: String) {
        previous = signal(SIGINT, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        let count = Count()
        source.setEventHandler {
            if count.increment() > 1 { Foundation.exit(130) }
            Terminal.printError(lines: "\n" + words)
        }
        source.resume()
        self.source = source
    }

    func end() {
        source.cancel()
        signal(SIGINT, previous)
    }

    private final class Count: Sendable {
        private let value = Mutex(0)
        func increment() -> Int {
            value.withLock { value in
                value += 1
                return value
            }
        }
    }
}
