import ArgumentParser
import Contracts
import Foundation
import KeelClient
import NIOHTTP1

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a pipeline and watch it.", discussion: "Example: keel run train-delay --with until=2013-04-01 --with trees=200")
    @Argument(help: "The pipeline.") var pipeline: String
    @Option(name: .customLong("with"), help: "A parameter, as NAME=VALUE; can be repeated.") var parameters: [String] = []
    @Option(help: "The instant that 'now' means, when the events are of another time than the clock.") var now: String?
    @Flag(inversion: .prefixedNo, help: "Reuse the results of steps whose inputs are the same.") var cache = true
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
        let client = try connection.client()
        let started = try await client.json(.POST, "/api/v1/pipelines/\(escaped(pipeline))/runs", body)
        let id = started.cell("run")
        var seen: Set<String> = []
        let line = ProgressLine(pipeline)
        while true {
            let run = try await client.json(.GET, "/api/v1/runs/\(escaped(id))")
            if !connection.json {
                for step in run["steps"]?.items ?? []
                where ["succeeded", "failed", "cached", "skipped"].contains(step.cell("state")) && seen.insert(step.cell("name")).inserted {
                    let name = step.cell("name") + String(repeating: " ", count: max(0, 12 - step.cell("name").count))
                    let hit = (step["cache"]?.string ?? "").hasPrefix("hit")
                    let mark = ["failed": "✗", "skipped": "-"][step.cell("state")] ?? "✓"
                    Terminal.print("  \(mark) \(name) \(elapsed(step))\(hit ? "  \(step.cell("cache"))" : "")")
                }
                if let step = run["steps"]?.items.first(where: { $0.cell("state") == "running" }), let share = step["progress"]?.number {
                    line.update(share, "\(step.cell("name")): \(step.cell("message"))")
                }
            }
            let state = run.cell("state")
            if state != "running" && state != "pending" {
                connection.show(run) { run in Terminal.print("run \(id) \(state)" + (run["error"]?.string.map { ": \($0)" } ?? "")) }
                if state != "succeeded" { throw ExitCode(1) }
                return
            }
            try await Task.sleep(for: .milliseconds(150))
        }
    }
}

/// The time between a step's or run's start and end.
private func elapsed(_ json: JSON) -> String {
    guard let start = json["started_at"]?.string.flatMap({ Timestamp($0) }),
        let end = json["finished_at"]?.string.flatMap({ Timestamp($0) })
    else { return "-" }
    return Terminal.decimals((end - start).seconds, 1) + " s"
}

struct Predict: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask an endpoint for a prediction.", discussion: #"Example: keel predict delay '{"carrier":"UA","origin":"EWR", …}'"#)
    @Argument(help: "The endpoint.") var endpoint: String
    @Argument(help: "A JSON object of request columns, or a list of them.") var rows: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let parsed = try JSON.parse(rows)
        let body: JSON = ["dataframe_records": parsed.array == nil ? .array([parsed]) : parsed]
        let answer = try await connection.post("/endpoints/\(escaped(endpoint))/invocations", body)
        connection.show(answer) { answer in
            Terminal.table(
                ["score", "release"],
                (answer["predictions"]?.items ?? []).map { [Terminal.decimals($0.number, 4), answer.cell("release")] })
        }
    }
}

struct Label: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Post the truth of an earlier prediction.", discussion: "Example: keel label 0190f3c2-… 1")
    @Argument(help: "The prediction's id.") var id: String
    @Argument(help: "The true value.") var value: Double
    @OptionGroup var connection: Connection

    func run() async throws {
        let answer = try await connection.post("/api/v1/labels", ["labels": [["id": .string(id), "value": .double(value)]]])
        connection.show(answer) { Terminal.print("\($0.cell("accepted")) accepted") }
    }
}

struct Release: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Release a registered model to an endpoint; it goes through the endpoint's rollout.",
        discussion: "Example: keel release delay models:/delay@champion")
    @Argument(help: "The endpoint.") var endpoint: String
    @Argument(help: "The model, as models:/NAME/VERSION or models:/NAME@ALIAS.") var model: String
    @Flag(help: "Release it although its gate refused it, for those who may.") var force = false
    @Option(help: "Why, for the ledger.") var reason: String?
    @OptionGroup var connection: Connection

    func run() async throws {
        var body: JSON = ["model": .string(model), "force": .bool(force)]
        if let reason { body["reason"] = .string(reason) }
        let answer = try await connection.post("/api/v1/endpoints/\(escaped(endpoint))/releases", body)
        connection.show(answer) {
            Terminal.print(
                "release \(endpoint)/\($0.cell("release")) of models:/\($0.cell("model"))/\($0.cell("version")), gate \($0.cell("gate"))")
        }
    }
}

struct Releases: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the releases of an endpoint.", discussion: "Example: keel releases delay")
    @Argument(help: "The endpoint.") var endpoint: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let answer = try await connection.get("/api/v1/endpoints/\(escaped(endpoint))/releases")
        connection.show(answer) { answer in
            Terminal.table(
                ["release", "model", "gate", "state", "created", "by", "digest"],
                (answer["releases"]?.items ?? []).map {
                    [
                        $0.cell("number"), $0.cell("model"), String($0.cell("gate").prefix(48)), $0.cell("state"), $0.cell("created"),
                        $0.cell("by"), String($0.cell("digest").prefix(12)),
                    ]
                })
        }
    }
}

struct Rollback: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Go back to an earlier release, at once.", discussion: "Example: keel rollback delay --to 3")
    @Argument(help: "The endpoint.") var endpoint: String
    @Option(help: "The release's number; by default the one before.") var to: Int?
    @OptionGroup var connection: Connection

    func run() async throws {
        let answer = try await connection.post("/api/v1/endpoints/\(escaped(endpoint))/rollback", to.map { ["to": .int(Int64($0))] } ?? [:])
        connection.show(answer) { Terminal.print("\(endpoint) serves release \($0.cell("release"))") }
    }
}

struct Promote: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give the candidate of a rollout all traffic, at once.", discussion: "Example: keel promote delay")
    @Argument(help: "The endpoint.") var endpoint: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let answer = try await connection.post("/api/v1/endpoints/\(escaped(endpoint))/promote", [:])
        connection.show(answer) { Terminal.print("\(endpoint) serves release \($0.cell("release"))") }
    }
}
