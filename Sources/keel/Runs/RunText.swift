import Contracts
import Foundation
import Plotting

/// Runs in words.
package enum RunText {
    static func oneLine(_ text: String, _ limit: Int) -> String { Terminal.cut(Terminal.safe(text), to: limit) }

    /// `2026-11-24 19:10`, in UTC.
    static func time(_ time: Timestamp?) -> String { time.map { String($0.description.prefix(16)).replacing("T", with: " ") } ?? "-" }

    /// `3 min ago`; after a month the day.
    static func ago(_ time: Timestamp?) -> String {
        guard let time else { return "-" }
        let seconds = Int64(saturating: (Double(Timestamp.systemNow().microseconds) - Double(time.microseconds)) / 1_000_000)
        switch seconds {
        case ..<0: return RunText.time(time)
        case ..<60: return "\(seconds) s ago"
        case ..<3600: return "\(seconds / 60) min ago"
        case ..<86_400: return "\(seconds / 3600) h ago"
        case ..<2_592_000: return "\(seconds / 86_400) d ago"
        default: return String(time.description.prefix(10))
        }
    }

    static func summary(_ history: MetricShape) -> JSON {
        func json(_ value: Double?) -> JSON { value.map { $0.isNaN ? "NaN" : .double($0) } ?? .null }
        return [
            "points": .int(history.count), "last": json(history.values.last), "min": json(history.range?.lowerBound),
            "max": json(history.range?.upperBound),
        ]
    }

    static func show(_ run: TrackedRun, _ histories: [MetricShape], _ files: [JSON], _ elsewhere: String?) {
        let info = run.info
        let lines = [
            ("run", run.id), ("name", oneLine(run.name, 200)),
            ("experiment", "\(oneLine(run.experiment, 200)) (\(info.cell("experiment_id")))"),
            ("status", info.cell("status").lowercased() + (info["lifecycle_stage"]?.string == "deleted" ? ", deleted" : "")),
            ("user", info.cell("user_id")),
            ("started", time(run.started) + " UTC"), ("duration", run.duration), ("artifacts", info.cell("artifact_uri")),
        ]
        for (name, value) in lines { Terminal.print(name.padding(toLength: 12, withPad: " ", startingAt: 0) + value) }
        section("Params", ["param", "value"], run.params.map { [$0.key, oneLine($0.value, 100)] })
        section(
            "Metrics", ["metric", "last", "min", "max", "points", "history"],
            zip(run.metrics, histories).map { metric, history in
                [
                    metric.key, Scale.short(metric.value), history.range.map { Scale.short($0.lowerBound) } ?? "-",
                    history.range.map { Scale.short($0.upperBound) } ?? "-", Terminal.count(history.count),
                    history.count > 1 ? Sparkline.text(history.values, width: 16) : "",
                ]
            })
        section("Tags", ["tag", "value"], run.tags.map { [$0.key, oneLine($0.value, 100)] })
        let inputs = run.json["inputs"]?["dataset_inputs"]?.items ?? []
        section(
            "Datasets", ["dataset", "digest", "context", "source"],
            inputs.map { input in
                let context = input["tags"]?.items.first { $0["key"]?.string == "mlflow.data.context" }?.cell("value") ?? "-"
                let dataset = input["dataset"] ?? .null
                return [dataset.cell("name"), dataset.cell("digest"), context, oneLine(dataset.cell("source"), 60)]
            })
        let models = [("input", "inputs", "model_inputs"), ("output", "outputs", "model_outputs")].flatMap { word, side, list in
            (run.json[side]?[list]?.items ?? []).map { [word, $0.cell("model_id"), $0.cell("step")] }
        }
        section("Models", ["role", "model", "step"], models)
        tree(files, elsewhere)
    }

    private static func section(_ title: String, _ headings: [String], _ rows: [[String]]) {
        guard !rows.isEmpty else { return }
        Terminal.print("")
        Terminal.print(title)
        Terminal.table(headings, rows)
    }

    private static func tree(_ files: [JSON], _ elsewhere: String?) {
        guard !files.isEmpty || elsewhere != nil else { return }
        Terminal.print("")
        Terminal.print("Artifacts")
        if let elsewhere { Terminal.print("  " + elsewhere) }
        for file in files {
            let parts = file.cell("path").split(separator: "/")
            let isFolder = file["is_dir"]?.bool == true
            let indent = String(repeating: "  ", count: parts.count)
            Terminal.print("\(indent)\(parts.last ?? "")\(isFolder ? "/" : "  \(bytes(file["file_size"]?.integer ?? 0))")")
        }
    }

    package static func bytes(_ count: Int64) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var (value, unit) = (Double(count), 0)
        while value >= 1000, unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
        return unit == 0 ? "\(count) B" : "\(Terminal.decimals(value, 1)) \(units[unit])"
    }
}
