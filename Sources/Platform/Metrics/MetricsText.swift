import Serving

/// Prometheus' text exposition format 0.0.4; each metric's help and type once.
struct MetricsText {
    private struct Family {
        let head: String
        var lines: [String] = []
    }

    /// In the order in which they were first named.
    private var families: [Family] = []
    private var positions: [String: Int] = [:]

    mutating func counter(_ name: String, _ help: String, _ labels: [String: String], _ value: Double) {
        add(name, help, "counter", ["\(name)\(MetricsText.braced(labels)) \(MetricsText.number(value))"])
    }

    mutating func gauge(_ name: String, _ help: String, _ labels: [String: String], _ value: Double) {
        add(name, help, "gauge", ["\(name)\(MetricsText.braced(labels)) \(MetricsText.number(value))"])
    }

    /// - Parameter name: ends with `_seconds`.
    mutating func histogram(_ name: String, _ help: String, _ labels: [String: String], _ durations: DurationCounts) {
        var lines: [String] = []
        let others = MetricsText.list(labels) + (labels.isEmpty ? "" : ",")
        var count = 0
        for (i, inBucket) in durations.counts.enumerated() {
            count += inBucket
            let bound = i < DurationCounts.bounds.count ? MetricsText.number(Double(DurationCounts.bounds[i]) / 1e9) : "+Inf"
            lines.append("\(name)_bucket{\(others)le=\"\(bound)\"} \(count)")
        }
        lines.append("\(name)_sum\(MetricsText.braced(labels)) \(MetricsText.number(Double(durations.nanoseconds) / 1e9))")
        // The same number as that of the last bucket: other requests may be answered meanwhile.
        lines.append("\(name)_count\(MetricsText.braced(labels)) \(count)")
        add(name, help, "histogram", lines)
    }

    private mutating func add(_ name: String, _ help: String, _ type: String, _ lines: [String]) {
        let position = positions[name] ?? families.count
        if position == families.count {
            positions[name] = position
            families.append(Family(head: "# HELP \(name) \(help)\n# TYPE \(name) \(type)"))
        }
        families[position].lines += lines
    }

    private static func braced(_ labels: [String: String]) -> String { labels.isEmpty ? "" : "{\(list(labels))}" }

    private static func list(_ labels: [String: String]) -> String {
        func escaped(_ text: String) -> String {
            text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
        }
        return labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(escaped($0.value))\"" }.joined(separator: ",")
    }

    private static func number(_ value: Double) -> String { value.isNaN ? "NaN" : "\(value)" }

    var text: String { families.map { $0.head + "\n" + $0.lines.joined(separator: "\n") }.joined(separator: "\n") + "\n" }
}
