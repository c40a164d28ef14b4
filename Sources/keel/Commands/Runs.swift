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
                  keel runs list --columns metrics.auc,params.depth,tags.team
                """)
        @OptionGroup var choice: RunChoice
        @Option(help: "Columns after the usual ones: metrics.KEY, params.KEY, tags.KEY, with commas between them.") var columns: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            let chosen = try TrackedRun.Column.list(columns)
            let runs = try await choice.runs(try TrackedRuns(connection))
            connection.show(["runs": .array(runs.map(\.json))]) { _ in
                let columns = chosen ?? RunColumns.telling(runs)
                let isMixed = Set(runs.map(\.experiment)).count > 1
                Terminal.table(
                    ["run", "name"] + (isMixed ? ["experiment"] : []) + ["status", "started", "duration", "user"], keys: columns.map(\.text),
                    runs.map { run in
                        [String(run.id.prefix(10)), short(run.name)] + (isMixed ? [short(run.experiment)] : [])
                            + [run.info.cell("status").lowercased(), RunText.time(run.started), run.duration, run.info.cell("user_id")]
                            + columns.map { short(run.cell($0)) }
                    })
                if runs.count == choice.limit { Terminal.print("(the first \(choice.limit); --limit shows more)") }
            }
        }

        private func short(_ text: String) -> String { RunText.oneLine(text, 32) }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show everything about a run.",
            discussion: "A run is named by its id, the beginning of its id, or its name.\nExample: keel runs show 4a1d14cf")
        @Argument(help: "The run.") var run: String
        @OptionGroup var connection: Connection

        func run() async throws {
            let server = try TrackedRuns(connection)
            let found = try await server.find(run)
            var histories: [(key: String, values: [Double])] = []
            for metric in found.metrics { histories.append((metric.key, try await server.history(found.id, metric.key).map(\.value))) }
            var (files, elsewhere): ([JSON], String?) = ([], nil)
            do { files = try await server.artifacts(found.id) } catch let error as KeelError where error.code != .unavailable { elsewhere = error.message }
            var answer = found.json
            answer["artifacts"] = .array(files)
            answer["history"] = .object(histories.map { history in JSON.Member(history.key, RunText.summary(history.values)) })
            connection.show(answer) { _ in
                RunText.show(found, histories, files, elsewhere)
            }
        }
    }
}

/// Which runs are meant.
struct RunChoice: ParsableArguments {
    @Option(help: "Only runs of the experiment of this name.") var experiment: String?
    @Option(help: "Only runs for which this holds, in MLflow's filter language: metrics.auc > 0.8 AND params.kind = 'tree'.") var filter: String?
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
    /// The metrics that most runs have, and the params that differ: a few of each.
    static func telling(_ runs: [TrackedRun]) -> [TrackedRun.Column] {
        func common(_ keys: [[String]], _ count: Int) -> [String] {
            var counts: [String: Int] = [:]
            for key in keys.joined() { counts[key, default: 0] += 1 }
            return counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(count).map(\.key)
        }
        let metrics = common(runs.map { $0.metrics.map(\.key).filter { !$0.hasPrefix("system/") } }, 3)
        let first = Dictionary(runs.flatMap(\.params).map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        let counts = Dictionary(grouping: runs.flatMap(\.params), by: \.key)
        let differing = Set(counts.filter { key, pairs in pairs.count < runs.count || pairs.contains { $0.value != first[key] } }.keys)
        let varied = runs.map { $0.params.map(\.key).filter(differing.contains) }
        return metrics.map { .init(.metrics, $0) } + common(varied, 3).map { .init(.params, $0) }
    }
}
