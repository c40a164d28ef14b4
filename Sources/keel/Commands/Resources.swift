import ArgumentParser
import Contracts
import KeelClient

struct Plan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what apply would change.", discussion: "Example: keel plan Examples/flights/resources")
    @Argument(help: "A folder of YAML files, or one file.") var path: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let answer = try await ResourceFiles(path).post("/api/v1/plan", "plan", connection)
        connection.show(answer) { answer in
            printChanges(answer["changes"] ?? [])
        }
    }
}

struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the server hold what the files declare, all or nothing.",
        discussion: "Example: keel apply Examples/flights/resources")
    @Argument(help: "A folder of YAML files, or one file.") var path: String
    @OptionGroup var connection: Connection

    func run() async throws {
        let answer = try await ResourceFiles(path).post("/api/v1/apply", "apply", connection)
        connection.show(answer) { answer in
            let count = printChanges(answer["changes"] ?? [])
            if count > 0 {
                Terminal.print(
                    "  \(count) change\(count == 1 ? "" : "s") applied as revision \(answer.cell("revision")) (ledger \(answer.cell("ledger_seq")))"
                )
            }
            for deployment in answer["deployments"]?.items ?? [] { Deploy.show(deployment) }
            let said = (answer["deployments"]?.items ?? []).flatMap { $0["warnings"]?.items ?? [] }
            for warning in answer["warnings"]?.items ?? [] where !said.contains(warning) { Terminal.print("  warning: \(warning.string ?? "")") }
        }
    }
}

extension ResourceFiles {
    /// Sends the resources; errors come back with the file and the line that each is about.
    fileprivate func post(_ path: String, _ title: String, _ connection: Connection) async throws -> JSON {
        let body: JSON = ["resources": .array(resources.map(\.json))]
        do { return try await connection.post(path, body, title, waitingFor: "features and models are made ready") } catch let error as KeelError {
            throw placed(error)
        }
    }
}

/// Prints one line a change and its fields; returns how many there are.
@discardableResult
private func printChanges(_ changes: JSON) -> Int {
    let rows = changes.items.filter { $0["change"]?.string != "unchanged" }
    let width = rows.map { $0.cell("id").count }.max() ?? 0
    for row in rows {
        let name = row.cell("id") + String(repeating: " ", count: width - row.cell("id").count)
        if row["change"]?.string == "new" {
            Terminal.print("  + \(name)  new")
        } else {
            for field in row["differences"]?.items ?? [] {
                Terminal.print("  ~ \(name)  \(field.cell("path"))  \((field["old"] ?? .null).text) -> \((field["new"] ?? .null).text)")
            }
        }
        for effect in row["effects"]?.items ?? [] { Terminal.print("      \(effect.string ?? "")") }
    }
    if rows.isEmpty { Terminal.print("  nothing to change: the server holds this already") }
    return rows.count
}

struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List things of one kind.",
        discussion: """
            Kinds: endpoints, models, releases, runs, triggers, snapshots, alerts, damage, and every kind of resource (datasets, featureviews, pipelines, monitors …).
            Examples:
              keel get endpoints
              keel get snapshots departures
              keel get datasets --json
            """)
    @Argument(help: "What to list.") var kind: String
    @Argument(
        help: "Which one: its name, or the dataset of snapshots, the endpoint of releases, the pipeline of runs, the monitor of alerts.")
    var name: String?
    @OptionGroup var connection: Connection

    func run() async throws {
        switch kind.lowercased() {
        case "endpoints", "endpoint":
            connection.show(try named(try await connection.get("/api/v1/endpoints"), "endpoints", by: "name")) { answer in
                Terminal.table(
                    ["name", "env", "release", "share", "requests", "p50", "p99", "errors", "drift", "rollout"],
                    answer["endpoints"]?.items.flatMap(endpointRows) ?? [])
            }
        case "releases":
            guard let name else { throw KeelError.invalid("of which endpoint?", hint: "keel get releases ENDPOINT") }
            var list = try Releases.List.parse([name])
            list.connection = connection
            try await list.run()
        case "models", "model":
            ModelList.show(try named(try await ModelList.all(connection), "models", by: "name"), connection)
        case "runs":
            connection.show(try named(try await connection.get("/api/v1/runs"), "runs", by: "pipeline")) { answer in
                let runs = answer["runs"]?.items ?? []
                let short = ShortID.texts(runs.map { $0.cell("id") })
                Terminal.table(
                    ["run", "pipeline", "state", "started", "reason"],
                    runs.map {
                        [
                            short[$0.cell("id")] ?? "-", $0.cell("pipeline"), $0.cell("state"), $0.cell("started_at"), $0.cell("reason"),
                        ]
                    })
            }
        case "triggers", "trigger":
            PipelineRunView.listTriggers(try named(try await connection.get("/api/v1/triggers"), "triggers", by: "name"), connection)
        case "snapshots":
            guard let name else { throw KeelError.invalid("of which dataset?", hint: "keel get snapshots DATASET") }
            connection.show(try await connection.get("/api/v1/datasets/\(escaped(name))/snapshots")) { answer in
                Terminal.table(
                    ["snapshot", "rows", "quarantined", "from", "until", "created", "digest"],
                    (answer["snapshots"]?.items ?? []).map {
                        [
                            $0.cell("number"), $0.cell("rows"), $0.cell("quarantined"), $0.cell("from"), $0.cell("until"),
                            $0.cell("created"), String($0.cell("digest").prefix(12)),
                        ]
                    })
            }
        case "alerts":
            let subject = name.map { "&subject=\(escaped("Monitor/\($0)"))" } ?? ""
            connection.show(try await connection.get("/api/v1/ledger?kind=monitor.alert\(subject)")) { answer in
                Terminal.table(
                    ["event time", "monitor", "kind", "release", "rows", "value", "columns"],
                    (answer["events"]?.items ?? []).map { event in
                        let data = event["data"] ?? .null
                        let columns = (data["columns"]?.items ?? []).map { "\($0.cell("name")) \(Terminal.decimals($0["psi"]?.number, 2))" }
                        return [
                            data.cell("eventTime"), event.cell("subject"), data.cell("kind"), data.cell("release"), data.cell("rows"),
                            Terminal.decimals(data["value"]?.number, 3), columns.isEmpty ? "-" : columns.joined(separator: ", "),
                        ]
                    })
            }
        case "damage":
            connection.show(try named(try await connection.get("/api/v1/damage"), "damage", by: "subject")) { answer in
                Terminal.table(
                    ["subject", "workspace", "since", "what", "hint"],
                    (answer["damage"]?.items ?? []).map {
                        [$0.cell("subject"), $0.cell("workspace"), $0.cell("since"), $0.cell("what"), $0.cell("hint")]
                    })
            }
        default:
            connection.show(try named(try await connection.get("/api/v1/resources/\(escaped(kind))"), "resources", by: "name")) { answer in
                Terminal.table(
                    ["name", "env", "revision", "digest"],
                    (answer["resources"]?.items ?? []).map {
                        [$0.cell("name"), $0.cell("environment"), $0.cell("revision"), String($0.cell("digest").prefix(12))]
                    })
            }
        }
    }

    /// The answer with those of the list that have the asked name; all of it when none was asked for.
    /// - Throws: `notFound` when the list has no such name, with the nearest.
    private func named(_ answer: JSON, _ list: String, by field: String) throws(KeelError) -> JSON {
        guard let name else { return answer }
        let items = answer[list]?.items ?? []
        // Of endpoints NAME@ENVIRONMENT is one; those that declare no environment are in production.
        let found = items.filter { $0[field]?.string == name || "\($0.cell(field))@\($0["environment"]?.string ?? "production")" == name }
        guard !found.isEmpty else {
            let near = nearest(name, in: items.compactMap { $0[field]?.string })
            throw .notFound("there is none of the \(field) '\(name)' among the \(list)", hint: near.map { "did you mean '\($0)'?" })
        }
        var answer = answer
        answer[list] = .array(found)
        return answer
    }

    private func endpointRows(_ endpoint: JSON) -> [[String]] {
        let releases = endpoint["releases"]?.items ?? []
        if releases.isEmpty {
            let why = endpoint["phase"]?.string == "starting" ? "starting: its models are loaded" : "no release"
            return [[endpoint.cell("name"), endpoint.cell("environment"), why] + Array(repeating: "-", count: 7)]
        }
        return releases.map { release in
            [
                endpoint.cell("name"), endpoint.cell("environment"),
                "\(endpoint.cell("name"))/\(release.cell("number")) \(release.cell("role"))",
                release.cell("share"), release.cell("requests"), Terminal.duration(microseconds: release["p50_us"]?.number),
                Terminal.duration(microseconds: release["p99_us"]?.number), release.cell("errors"), drift(release),
                release.cell("step"),
            ]
        }
    }

    /// A window with too few rows for a number shows how many they are.
    private func drift(_ release: JSON) -> String {
        guard release["drift"]?.number == nil, let rows = release["drift_rows"]?.integer else { return release.cell("drift") }
        return rows == 1 ? "1 row" : "\(rows) rows"
    }
}
