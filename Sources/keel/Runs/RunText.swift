import Contracts
import Foundation
import Plotting

/// Runs in words.
enum RunText {
    static func oneLine(_ text: String, _ limit: Int) -> String {
        let line = String(text.map { $0.isNewline || $0 == "\t" ? " " : $0 })
        return line.count > limit ? line.prefix(limit - 1) + "…" : line
    }

    /// `2026-11-24 19:10`, in UTC.
    static func time(_ time: Timestamp?) -> String { time.map { String($0.description.prefix(16)).replacing("T", with: " ") } ?? "-" }

    static func summary(_ values: [Double]) -> JSON {
        let known = values.filter { !$0.isNaN }
        func json(_ value: Double?) -> JSON { value.map { $0.isNaN ? "NaN" : .double($0) } ?? .null }
        return ["points": .int(Int64(values.count)), "last": json(values.last), "min": json(known.min()), "max": json(known.max())]
    }

    static func show(_ run: TrackedRun, _ histories: [(key: String, values: [Double])], _ files: [JSON], _ elsewhere: String?) {
        let info = run.info
        let lines = [
            ("run", run.id), ("name", run.name), ("experiment", "\(run.experiment) (\(info.cell("experiment_id")))"),
            ("status", info.cell("status").lowercased() + (info["lifecycle_stage"]?.string == "deleted" ? ", deleted" : "")), ("user", info.cell("user_id")),
            ("started", time(run.started) + " UTC"), ("duration", run.duration), ("artifacts", info.cell("artifact_uri")),
        ]
        for (name, value) in lines { Terminal.print(name.padding(toLength: 12, withPad: " ", startingAt: 0) + value) }
        section("Params", ["param", "value"], run.params.map { [$0.key, oneLine($0.value, 100)] })
        section(
            "Metrics", ["metric", "last", "min", "max", "points", "history"],
            zip(run.metrics, histories).map { metric, history in
                let known = history.values.filter { !$0.isNaN }
                return [
                    metric.key, Scale.short(metric.value), known.min().map { Scale.short($0) } ?? "-", known.max().map { Scale.short($0) } ?? "-",
                    Terminal.count(Int64(history.values.count)), history.values.count > 1 ? Sparkline.text(history.values) : "",
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
        Terminal.print("\n\(title)")
        Terminal.table(headings, rows)
    }

    private static func tree(_ files: [JSON], _ elsewhere: String?) {
        guard !files.isEmpty || elsewhere != nil else { return }
        Terminal.print("\nArtifacts")
        if let elsewhere { Terminal.print("  " + elsewhere) }
        for file in files {
            let parts = file.cell("path").split(separator: "/")
            let isFolder = file["is_dir"]?.bool == true
            let indent = String(repeating: "  ", count: parts.count)
            Terminal.print("\(indent)\(parts.last ?? "")\(isFolder ? "/" : "  \(bytes(file["file_size"]?.integer ?? 0))")")
        }
    }

    static func bytes(_ count: Int64) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var (value, unit) = (Double(count), 0)
        while value >= 1000, unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
        return unit == 0 ? "\(count) B" : "\(Terminal.decimals(value, 1)) \(units[unit])"
    }
}
