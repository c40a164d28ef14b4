import Contracts
import Plotting

/// Params and metrics of runs side by side: what differs first, the best values marked.
struct RunComparison {
    enum Direction: String {
        case up = "maximize"
        case down = "minimize"

        /// Which way is better, as far as a metric's name tells.
        init?(name: String) {
            let words = Set(name.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init))
            if !words.isDisjoint(with: Direction.falling) {
                self = .down
            } else if !words.isDisjoint(with: Direction.rising) {
                self = .up
            } else {
                return nil
            }
        }

        private static let falling: Set<String> = [
            "loss", "logloss", "error", "err", "rmse", "mse", "mae", "mape", "rmsle", "brier", "perplexity", "wer", "cer", "latency", "duration",
            "crossentropy",
        ]
        private static let rising: Set<String> = [
            "auc", "roc", "accuracy", "acc", "f1", "precision", "recall", "r2", "score", "ap", "map", "ndcg", "mrr", "gini", "ks", "iou", "dice", "bleu",
            "rouge",
        ]
    }

    struct Row {
        let column: TrackedRun.Column
        let cells: [String]
        let differs: Bool
        /// Places of the best values.
        let best: Set<Int>
        let direction: Direction?
    }

    let runs: [TrackedRun]
    let rows: [Row]

    init(_ runs: [TrackedRun], maximize: Set<String>, minimize: Set<String>) {
        self.runs = runs
        func columns(_ entity: TrackedRun.Column.Entity, _ keys: (TrackedRun) -> [String]) -> [TrackedRun.Column] {
            Set(runs.flatMap(keys)).sorted().map { .init(entity, $0) }
        }
        let all = columns(.metrics) { $0.metrics.map(\.key) } + columns(.params) { $0.params.map(\.key) }
        let rows = all.map { column in
            let cells = runs.map { $0.cell(column) }
            let direction: Direction? =
                column.entity != .metrics ? nil : maximize.contains(column.key) ? .up : minimize.contains(column.key) ? .down : Direction(name: column.key)
            return Row(
                column: column, cells: cells, differs: Set(cells).count > 1,
                best: direction.map { RunComparison.best(runs.map { $0.metric(column.key) }, $0) } ?? [], direction: direction)
        }
        // Metrics stand before params in each part.
        self.rows = rows.filter(\.differs) + rows.filter { !$0.differs }
    }

    /// The places of the best values; none when all are alike.
    static func best(_ values: [Double?], _ direction: Direction) -> Set<Int> {
        let known = values.compactMap { $0 }.filter { !$0.isNaN }
        guard let low = known.min(), let high = known.max(), low < high else { return [] }
        let best = direction == .up ? high : low
        return Set(values.indices.filter { values[$0] == best })
    }

    func show() {
        let names = runs.map { run in RunText.oneLine(run.name, 20) + " " + run.id.prefix(8) }
        for (title, part) in [("Different", rows.filter(\.differs)), ("The same", rows.filter { !$0.differs })] where !part.isEmpty {
            Terminal.print(title)
            Terminal.table(
                [""], keys: names,
                part.map { row in
                    [row.column.text] + row.cells.enumerated().map { i, cell in RunText.oneLine(cell, 40) + (row.best.contains(i) ? " *" : "") }
                })
            Terminal.print("")
        }
        if rows.contains(where: { !$0.best.isEmpty }) { Terminal.print("* the best value") }
    }

    var json: JSON {
        [
            "runs": .array(runs.map { ["run_id": .string($0.id), "name": .string($0.name), "experiment": .string($0.experiment)] }),
            "rows": .array(
                rows.map { row in
                    [
                        "key": .string(row.column.text), "differs": .bool(row.differs), "direction": row.direction.map { .string($0.rawValue) } ?? .null,
                        "values": .array(runs.map { value($0, row.column) }), "best": .array(row.best.sorted().map { .string(runs[$0].id) }),
                    ]
                }),
        ]
    }

    private func value(_ run: TrackedRun, _ column: TrackedRun.Column) -> JSON {
        guard column.entity == .metrics else { return run.params.first { $0.key == column.key }.map { .string($0.value) } ?? .null }
        return run.metric(column.key).map { $0.isNaN ? "NaN" : .double($0) } ?? .null
    }
}
