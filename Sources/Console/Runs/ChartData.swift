import Contracts

/// What charts.js draws: see there for the form of it.
enum ChartData {
    /// A number as charts take it: JSON has neither NaN nor infinities, so these are texts.
    static func number(_ value: Double) -> JSON {
        // Tracking clamps infinities to the largest finite numbers.
        if value.isNaN { return "NaN" }
        if value >= Double.greatestFiniteMagnitude { return "Infinity" }
        if value <= -Double.greatestFiniteMagnitude { return "-Infinity" }
        return .double(value)
    }

    static func point(_ x: JSON, _ y: Double) -> JSON { .array([x, number(y)]) }

    static func instant(_ time: Timestamp) -> JSON { .int(time.milliseconds) }

    /// - Parameter x: what is along the axis: `step`, `time` or `value`.
    static func lines(x: String, _ series: [JSON], marks: [JSON] = [], limits: [JSON] = []) -> JSON {
        ["x": .string(x), "series": .array(series), "marks": .array(marks), "limits": .array(limits)]
    }

    /// A line upon the axis of times.
    /// - Parameter tone: `ok`, `warn`, `bad`, `info`.
    static func mark(_ time: Timestamp, _ label: String, tone: String, href: String? = nil) -> JSON {
        ["at": instant(time), "label": .string(label), "tone": .string(tone), "href": href.map(JSON.string) ?? .null]
    }

    /// A word of a state in the colour that the console gives it.
    static func tone(_ state: String) -> String {
        switch state.lowercased() {
        case "succeeded", "finished", "cached", "active", "stable", "passed": "ok"
        case "failed", "drifted", "alerted": "bad"
        case "cancelled", "killed", "paused", "quarantined", "skipped": "warn"
        case "running", "scheduled", "candidate": "info"
        default: ""
        }
    }

    static func badge(_ state: String) -> View {
        ["word": state.lowercased(), "tone": tone(state), "isMoving": state.lowercased() == "running"]
    }
}
