import ArgumentParser
import Contracts
import Foundation
import Plotting

struct Runs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, show and compare tracked runs (runs of pipelines are under 'keel get runs').",
        subcommands: [List.self, Show.self, Compare.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List runs, the newest first.",
            discussion: """
                Examples:
                  keel runs list --experiment flights --limit 20
                  keel runs list --filter "metrics.auc > 0.8 AND params.kind = 'tree'" --order "metrics.auc DESC"
                  keel runs list --columns metrics.auc,params.depth,tags.team --history loss
                """)
        @OptionGroup var choice: RunChoice
        @Option(help: "Columns instead of those that tell the runs apart: metrics.KEY, params.KEY, tags.KEY, with commas between them.")
        var columns: String?
        @Option(help: "A metric whose course over the steps is drawn for each run.") var history: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            let chosen = try TrackedRun.Column.list(columns)
            let server = try TrackedRuns(connection)
            let runs = try await choice.runs(server)
            var shapes: [String: MetricShape] = [:]
            if let history, !connection.json {
                for run in runs where run.metric(history) != nil { shapes[run.id] = try await server.shape(run.id, history, points: 240) }
                if shapes.isEmpty, !runs.isEmpty { throw TrackedRun.unknown(metric: history, in: runs) }
            }
            connection.show(["runs": .array(runs.map(\.json))]) { _ in
                show(runs, chosen ?? RunColumns.telling(runs), shapes)
                if runs.count == choice.limit { Terminal.print("(the first \(choice.limit); --limit shows more)") }
            }
        }

        /// What is the same of all runs has no column.
        private func show(_ runs: [TrackedRun], _ columns: [TrackedRun.Column], _ shapes: [String: MetricShape]) {
            let short = ShortID.texts(runs.map(\.id))
            var table: [(heading: String, cell: (TrackedRun) -> String)] = [
                ("RUN", { short[$0.id] ?? $0.id }), ("NAME", { RunText.oneLine($0.name, 40) }),
                ("STATUS", { $0.info.cell("status").lowercased() }),
                ("STARTED", { RunText.ago($0.started) }),
            ]
            if Set(runs.map(\.experiment)).count > 1 { table.insert(("EXPERIMENT", { RunText.oneLine($0.experiment, 40) }), at: 2) }
            if let history { table.append((history, { shapes[$0.id].map { Sparkline.text($0.values, width: 16) } ?? "" })) }
            // The last value of what is drawn stands beside it.
            let drawn = history.map { TrackedRun.Column(.metrics, $0) }
            for column in columns.filter({ $0 == drawn }) + columns.filter({ $0 != drawn }) {
                // The key alone says what is meant when it stands for one thing only.
                let isAlone = columns.filter { $0.key == column.key }.count == 1
                table.append((isAlone ? column.key : column.text, { RunText.oneLine($0.cell(column), 32) }))
            }
            table.append(("DURATION", \.duration))
            if Set(runs.map { $0.info.cell("user_id") }).count > 1 { table.append(("USER", { $0.info.cell("user_id") })) }
            Terminal.table([], keys: table.map(\.heading), runs.map { run in table.map { $0.cell(run) } })
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show everything about a run.",
            discussion: "A run is named by its id, the beginning or the end of its id, or its name.\nExample: keel runs show 4a1d14cf")
        @Argument(help: "The run.") var run: String
        @OptionGroup var connection: Connection

        func run() async throws {
            let server = try TrackedRuns(connection)
            let found = try await server.find(run)
            var histories: [MetricShape] = []
            for metric in found.metrics { histories.append(try await server.shape(found.id, metric.key, points: 240)) }
            var (files, elsewhere): ([JSON], String?) = ([], nil)
            do { files = try await server.artifacts(found.id) } catch let error as KeelError where error.code != .unavailable {
                elsewhere = error.message
            }
            var answer = found.json
            answer["artifacts"] = .array(files)
            answer["history"] = .object(zip(found.metrics, histories).map { JSON.Member($0.key, RunText.summary($1)) })
            connection.show(answer) { _ in
                RunText.show(found, histories, files, elsewhere)
            }
        }
    }
}

/// Which runs are meant.
struct RunChoice: ParsableArguments {
    @Option(help: "Only runs of the experiment of this name.") var experiment: String?
    @Option(help: "Only runs for which this holds, in MLflow's filter language: metrics.auc > 0.8 AND params.kind = 'tree'.") var filter:
        String?
    @Option(help: "The order, such as 'metrics.auc DESC'; may be given several times.") var order: [String] = []
    @Option(help: "At most this many.") var limit = 50

    func validate() throws {
        guard (1...10_000).contains(limit) else { throw ValidationError("--limit must be 1 to 10000") }
    }

    func runs(_ server: TrackedRuns) async throws -> [TrackedRun] {
        try await server.search(try await server.experiments(named: experiment), filter: filter, order: order, limit: limit)
    }
}

/// Which columns tell runs apart.
enum RunColumns {
    /// Of the metrics and the params that differ those that most runs have: a few of each.
    static func telling(_ runs: [TrackedRun]) -> [TrackedRun.Column] {
        func common(_ keys: [[String]], _ count: Int) -> [String] {
            var counts: [String: Int] = [:]
            for key in keys.joined() { counts[key, default: 0] += 1 }
            return counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(count).map(\.key)
        }
        func isVaried(_ key: String) -> Bool { runs.count == 1 || Set(runs.map { $0.metric(key) }).count > 1 }
        let metrics = common(runs.map { $0.metrics.map(\.key).filter { !$0.hasPrefix("system/") && isVaried($0) } }, 3)
        let first = Dictionary(runs.flatMap(\.params).map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        let counts = Dictionary(grouping: runs.flatMap(\.params), by: \.key)
        let differing = Set(counts.filter { key, pairs in pairs.count < runs.count || pairs.contains { $0.value != first[key] } }.keys)
        let varied = runs.map { $0.params.map(\.key).filter(differing.contains) }
        return metrics.map { .init(.metrics, $0) } + common(varied, 3).map { .init(.params, $0) }
    }
}
