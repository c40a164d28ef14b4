import ArgumentParser
import Contracts
import Foundation
import Plotting

extension Runs {
    struct Compare: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compare runs side by side, in a table or a picture.",
            discussion: """
                Rows that differ come first; the best value of a metric has a star when it is known which way is better: by its name (auc, f1, loss,
                rmse …) or by --maximize and --minimize.
                Examples:
                  keel runs compare 4a1d14 b3d5f0
                  keel runs compare --experiment flights --filter "params.kind = 'tree'" --limit 6
                  keel runs compare --experiment flights --plot loss.svg --metric loss --log
                  keel runs compare --experiment flights --plot sweep.png --parallel params.depth,params.rate,metrics.auc
                """)
        @Argument(help: "Runs, by id, the beginning or the end of an id, or name.") var runs: [String] = []
        @OptionGroup var choice: RunChoice
        @Option(help: "A metric of which more is better; may be given several times.") var maximize: [String] = []
        @Option(help: "A metric of which less is better; may be given several times.") var minimize: [String] = []
        @Option(help: "Draw into this file, .svg or .png: a metric over its steps, or parallel coordinates with --parallel.") var plot:
            String?
        @Option(help: "The metric to draw; by default the one with the longest history.") var metric: String?
        @Flag(help: "Draw the metric on a logarithmic axis.") var log = false
        @Option(help: "Axes of a plot of parallel coordinates: params.KEY, metrics.KEY, tags.KEY, with commas between them.") var parallel:
            String?
        @OptionGroup var connection: Connection

        func validate() throws {
            if plot == nil, parallel != nil || metric != nil || log {
                throw ValidationError("--metric, --log and --parallel say what --plot draws: name its file")
            }
            if parallel != nil, metric != nil || log {
                throw ValidationError("--parallel draws other pictures than --metric and --log: choose one")
            }
            if let plot, !plot.hasSuffix(".svg"), !plot.hasSuffix(".png") {
                throw ValidationError("--plot writes .svg or .png, not '\(plot)'")
            }
            if runs.isEmpty, choice.experiment == nil, choice.filter == nil {
                throw ValidationError("name the runs to compare, or choose them with --experiment or --filter")
            }
        }

        func run() async throws {
            let axes = try TrackedRun.Column.list(parallel)
            let server = try TrackedRuns(connection)
            var chosen: [TrackedRun] = []
            if runs.isEmpty {
                chosen = try await choice.runs(server)
            } else {
                for name in runs { chosen.append(try await server.find(name)) }
            }
            guard !chosen.isEmpty else {
                throw KeelError.notFound("there are no such runs", hint: "'keel runs list' shows which there are")
            }
            if let plot {
                try await draw(chosen, axes, server, plot)
                connection.show(["plot": .string(plot), "runs": .array(chosen.map { .string($0.id) })]) { _ in
                    Terminal.print("\(plot): \(chosen.count) runs")
                }
                return
            }
            let table = RunComparison(chosen, maximize: Set(maximize), minimize: Set(minimize))
            // Of more runs the numbers alone are compared.
            var shapes: [[String: MetricShape]] = []
            if !connection.json, chosen.count <= 8 {
                for run in chosen {
                    var own: [String: MetricShape] = [:]
                    for metric in run.metrics { own[metric.key] = try await server.shape(run.id, metric.key, points: 240) }
                    shapes.append(own)
                }
            }
            connection.show(table.json) { _ in table.show(shapes) }
        }

        private func draw(_ chosen: [TrackedRun], _ axes: [TrackedRun.Column]?, _ server: TrackedRuns, _ path: String) async throws {
            let drawing: Drawing
            if let axes {
                for axis in axes where !chosen.contains(where: { $0.value(axis) != nil }) {
                    throw KeelError.notFound("none of these runs has '\(axis.text)'", hint: hint(chosen))
                }
                let rows = chosen.map { run in axes.map { run.value($0) ?? .none } }
                let isLeastBest = axes.last.flatMap { RunComparison.Direction($0, Set(maximize), Set(minimize)) } == .down
                drawing = ParallelPlot(title: title(chosen), axes: axes.map(\.text), rows: rows, isLeastBest: isLeastBest).drawing()
            } else {
                drawing = try await lines(chosen, server)
            }
            if path.hasSuffix(".png"), !drawing.isWritable {
                Terminal.note("a PNG shows only Latin letters, others as boxes; write an .svg to see them")
            }
            let bytes = path.hasSuffix(".svg") ? Array(drawing.svg.utf8) : try drawing.png()
            guard FileManager.default.createFile(atPath: path, contents: Data(bytes)) else {
                throw KeelError(.unavailable, "could not write '\(path)'", hint: "is its folder there, and may it be written to?")
            }
        }

        private func lines(_ chosen: [TrackedRun], _ server: TrackedRuns) async throws -> Drawing {
            let key: String
            if let metric { key = metric } else { key = try await longest(chosen, server) }
            var series: [LinePlot.Series] = []
            for run in chosen where run.metric(key) != nil {
                // Twice as many as the picture has columns of pixels.
                series.append(.init(name: label(run, chosen), points: try await server.shape(run.id, key, points: 2000).points))
            }
            guard !series.isEmpty else { throw TrackedRun.unknown(metric: key, in: chosen) }
            let title = "\(key) - \(title(chosen.filter { $0.metric(key) != nil }))"
            if series.allSatisfy({ $0.points.count == 1 }), series.count <= DotPlot.dotsMax {
                return DotPlot(title: title, isLogarithmic: log, dots: series.map { ($0.name, $0.points[0].y) }).drawing()
            }
            return LinePlot(title: title, isLogarithmic: log, series: series).drawing()
        }

        private func title(_ chosen: [TrackedRun]) -> String {
            let experiments = Set(chosen.map(\.experiment)).sorted()
            let place = experiments.count == 1 ? RunText.oneLine(experiments[0], 40) : "\(experiments.count) experiments"
            return "\(chosen.count == 1 ? "1 run" : "\(chosen.count) runs") of \(place)"
        }

        /// The metric with the longest history in the first run that has any.
        private func longest(_ chosen: [TrackedRun], _ server: TrackedRuns) async throws -> String {
            guard let run = chosen.first(where: { !$0.metrics.isEmpty }) else {
                throw KeelError.notFound("none of these runs has a metric")
            }
            var best = (key: run.metrics[0].key, count: Int64(0))
            for metric in run.metrics {
                let count = try await server.shape(run.id, metric.key, points: 2).count
                if count > best.count { best = (metric.key, count) }
            }
            return best.key
        }

        private func label(_ run: TrackedRun, _ all: [TrackedRun]) -> String {
            all.filter { $0.name == run.name }.count == 1 && !run.name.isEmpty ? run.name : "\(run.name) \(run.id.suffix(ShortID.least))"
        }

        private func hint(_ chosen: [TrackedRun]) -> String {
            let columns = RunColumns.telling(chosen).map(\.text)
            return columns.isEmpty ? "they have no metrics" : "they have \(columns.joined(separator: ", ")) …"
        }
    }
}
