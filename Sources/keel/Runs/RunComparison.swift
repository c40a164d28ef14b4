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

        /// Which way is better for a column: as it was said, or by its name.
        init?(_ column: TrackedRun.Column, _ maximize: Set<String>, _ minimize: Set<String>) {
            guard column.entity == .metrics else { return nil }
            if maximize.contains(column.key) {
                self = .up
            } else if minimize.contains(column.key) {
                self = .down
            } else {
                self.init(name: column.key)
            }
        }

        private static let falling: Set<String> = [
            "loss", "logloss", "error", "err", "rmse", "mse", "mae", "mape", "rmsle", "brier", "perplexity", "wer", "cer", "latency",
            "duration",
            "crossentropy",
        ]
        private static let rising: Set<String> = [
            "auc", "roc", "accuracy", "acc", "f1", "precision", "recall", "r2", "score", "ap", "map", "ndcg", "mrr", "gini", "ks", "iou",
            "dice", "bleu",
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
            let direction = Direction(column, maximize, minimize)
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

    /// - Parameter shapes: histories of each run's metrics, to be drawn below their last values; empty when none are.
    func show(_ shapes: [[String: MetricShape]]) {
        let rows = rows.filter { $0.differs || runs.count == 1 }.flatMap { lines($0, shapes) }
        let keyWidth = min(36, rows.map { Terminal.cells($0[0]) }.max() ?? 0)
        let names = runs.map { RunText.oneLine($0.name, 24) }
        let short = ShortID.texts(runs.map(\.id))
        for part in parts(names, rows, room: (Terminal.width ?? .max / 2) - keyWidth) {
            let table =
                [[""] + part.map { short[runs[$0].id] ?? "" }]
                + rows.map { row in [RunText.oneLine(row[0], 36)] + part.map { row[$0 + 1] } }
            Terminal.table([""], keys: part.map { names[$0] }, table)
            Terminal.print("")
        }
        if self.rows.contains(where: { !$0.best.isEmpty }) {
            Terminal.print("* the best value")
            Terminal.print("")
        }
        let same = self.rows.filter { !$0.differs }
        if runs.count > 1, !same.isEmpty {
            Terminal.print("The same")
            let width = min(36, same.map { Terminal.cells($0.column.text) }.max() ?? 0)
            for row in same {
                let key = RunText.oneLine(row.column.text, width)
                Terminal.print(key + String(repeating: " ", count: width - Terminal.cells(key) + 2) + RunText.oneLine(row.cells[0], 40))
            }
        }
    }

    /// A row of text, and below a metric's values their histories, all drawn to one scale.
    private func lines(_ row: Row, _ shapes: [[String: MetricShape]]) -> [[String]] {
        let values =
            [row.column.text] + row.cells.enumerated().map { i, cell in RunText.oneLine(cell, 24) + (row.best.contains(i) ? " *" : "") }
        let histories = shapes.map { row.column.entity == .metrics ? $0[row.column.key] : nil }
        guard histories.contains(where: { ($0?.count ?? 0) > 1 }) else { return [values] }
        return [values, [""] + Sparkline.texts(histories.map { $0?.values ?? [] }, width: 12)]
    }

    /// Runs that stand side by side within `room` columns.
    private func parts(_ names: [String], _ rows: [[String]], room: Int) -> [[Int]] {
        var (parts, used): ([[Int]], Int) = ([], 0)
        for i in runs.indices {
            let width = 2 + max(8, Terminal.cells(names[i]), rows.map { Terminal.cells($0[i + 1]) }.max() ?? 0)
            if parts.isEmpty || used + width > room { (parts, used) = (parts + [[]], 0) }
            parts[parts.count - 1].append(i)
            used += width
        }
        return parts
    }

    var json: JSON {
        [
            "runs": .array(runs.map { ["run_id": .string($0.id), "name": .string($0.name), "experiment": .string($0.experiment)] }),
            "rows": .array(
                rows.map { row in
                    [
                        "key": .string(row.column.text), "differs": .bool(row.differs),
                        "direction": row.direction.map { .string($0.rawValue) } ?? .null,
                        "values": .array(runs.map { value($0, row.column) }),
                        "best": .array(row.best.sorted().map { .string(runs[$0].id) }),
                    ]
                }),
        ]
    }

    private func value(_ run: TrackedRun, _ column: TrackedRun.Column) -> JSON {
        guard column.entity == .metrics else { return run.params.first { $0.key == column.key }.map { .string($0.value) } ?? .null }
        return run.metric(column.key).map { $0.isNaN ? "NaN" : .double($0) } ?? .null
    }
}
