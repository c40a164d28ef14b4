import Contracts
import Expressions

/// What a `Monitor` declares: which endpoint, over which windows, and when to raise an alert.
public struct MonitorSpec: Sendable, Hashable {
    public enum Metric: String, Sendable, CaseIterable { case auc, logloss, brier, accuracy }
    public enum Method: String, Sendable, CaseIterable { case psi }

    public struct Drift: Sendable, Hashable {
        public var method: Method = .psi
        /// A column drifts when its PSI is above this and above what chance alone gives (see `populationStabilityThreshold`).
        public var threshold: Double = 0.2
        /// All model inputs.
        public var features = true
        public var score = true
        /// Single inputs, when not all.
        public var names: [String] = []
        /// A window of fewer rows raises no alert.
        public var minimumRows = 500

        func covers(_ column: String) -> Bool { features || names.contains(column) }
    }

    public struct Performance: Sendable, Hashable {
        /// How long after a window's end its labels are waited for.
        public var within: TimeSpan
        /// Shown as the window's value.
        public var metric: Metric
        /// Nil measures only.
        public var alertWhen: Expression?
        /// A window of fewer labels raises no alert.
        public var minimumLabels = 200

        /// Whether labels must be 0 or 1: accuracy alone is also that of classes.
        public var needsBinaryLabels: Bool { metric != .accuracy }
    }

    public static let kind = "Monitor"
    public var ref: ResourceRef
    /// Of the monitor's own environment.
    public var endpoint: ResourceRef
    /// Windows tumble, and start at whole multiples since 1970-01-01T00:00:00Z.
    public var window: TimeSpan
    /// How far event time goes past a window's end before it closes, for rows out of order.
    public var lateness: TimeSpan
    public var drift: Drift?
    public var performance: Performance?

    /// At most this many windows may wait for their labels at a time.
    public static let openWindowsMax = 128

    /// Decodes the spec strictly.
    public init(resource: Resource) throws(KeelError) {
        if let environment = resource.environment { _ = try EnvironmentName(environment) }
        ref = resource.ref(in: resource.workspace ?? .default)
        let reader = try FieldReader(resource.spec, path: "spec")
        endpoint = ResourceRef("Endpoint", try reader.string("endpoint"), environment: ref.environment, in: ref.workspace)
        window = try reader.span("window")
        guard window >= .seconds(1), window <= .days(366) else {
            throw reader.failure("window", "a window of \(window) is too \(window < .seconds(1) ? "short" : "long")", hint: "1s to 366d")
        }
        let usual = TimeSpan(microseconds: min(window.microseconds / 100, TimeSpan.hours(1).microseconds))
        lateness = try reader.optionalSpan("lateness") ?? usual
        guard lateness <= window else { throw reader.failure("lateness", "must not be longer than the window of \(window)") }
        if let section = try reader.optionalObject("drift") { drift = try MonitorSpec.drift(section) }
        if let section = try reader.optionalObject("performance") { performance = try MonitorSpec.performance(section) }
        try reader.finish()
        guard drift != nil || performance != nil else {
            throw .invalid("the monitor measures nothing", hint: "give 'drift', 'performance' or both", path: "spec")
        }
        if let performance, performance.within.microseconds / window.microseconds > Int64(MonitorSpec.openWindowsMax - 4) {
            throw .invalid(
                "labels within \(performance.within) would keep more than \(MonitorSpec.openWindowsMax) windows of \(window) open",
                hint: "make the window longer", path: "spec.performance.label.within")
        }
    }

    private static func drift(_ reader: FieldReader) throws(KeelError) -> Drift {
        var drift = Drift()
        drift.method = try reader.word("method", default: .psi)
        drift.threshold = try reader.optionalDouble("threshold") ?? drift.threshold
        guard drift.threshold > 0, drift.threshold.isFinite else {
            throw reader.failure("threshold", "must be above 0", hint: "0.1 is a small change by convention, 0.2 a large one")
        }
        if let columns = try reader.strings("columns") {
            guard !columns.isEmpty else { throw reader.failure("columns", "names no column", hint: "use [features, score]") }
            (drift.features, drift.score) = (columns.contains("features"), columns.contains("score"))
            drift.names = columns.filter { $0 != "features" && $0 != "score" }
        }
        drift.minimumRows = try reader.optionalInt("minimumRows") ?? drift.minimumRows
        guard drift.minimumRows > 0 else { throw reader.failure("minimumRows", "must be above 0") }
        try reader.finish()
        return drift
    }

    private static func performance(_ reader: FieldReader) throws(KeelError) -> Performance {
        let label = try reader.object("label")
        let within = try label.span("within")
        try label.finish()
        var performance = Performance(within: within, metric: try reader.word("metric", default: .auc))
        if let text = try reader.optionalString("alertWhen") {
            do throws(KeelError) {
                let condition = try Expression(parsing: text)
                _ = try condition.holds(conditionNames(of: condition))
                performance.alertWhen = condition
            } catch { throw error.at("\(reader.path).alertWhen") }
        }
        performance.minimumLabels = try reader.optionalInt("minimumLabels") ?? performance.minimumLabels
        guard performance.minimumLabels > 0 else { throw reader.failure("minimumLabels", "must be above 0") }
        try reader.finish()
        return performance
    }

    /// What a condition may name: the window's measurements, and as `reference.…` whatever the release was evaluated with.
    static let measurements = ["auc", "logloss", "brier", "accuracy", "calibration", "labels", "rows", "coverage"]

    /// Every name a condition may use, without a value.
    static func conditionNames(of condition: Expression) -> [String: Double?] {
        var names: [String: Double?] = [:]
        for name in measurements + ["auc", "logloss", "brier", "accuracy", "calibration"].map({ "reference.\($0)" }) {
            names[name] = Double?.none
        }
        for name in condition.identifiers where name.hasPrefix("reference.slices.") { names[name] = Double?.none }
        return names
    }
}

extension MonitorSpec {
    /// The same of another endpoint.
    package func watching(_ endpoint: ResourceRef) -> MonitorSpec {
        var spec = self
        spec.endpoint = endpoint
        return spec
    }
}
