import Contracts

/// What a monitor found in one window.
public struct WindowMeasurement: Sendable, Hashable {
    public enum Kind: String, Sendable, CaseIterable { case drift, performance }

    /// How far one column is from the training data.
    public struct Column: Sendable, Hashable {
        public let name: String
        public let psi: Double
        /// What chance alone exceeds in 1 of 1000 windows (`populationStabilityThreshold`).
        public let calibratedThreshold: Double
        public let drifted: Bool
        /// Rows per bin of the reference; the last are missing values.
        public let counts: [Int]
        /// The reference's shares of the same bins.
        public let reference: [Double]

        var json: JSON {
            [
                "name": .string(name), "psi": .double(psi), "calibratedThreshold": .double(calibratedThreshold), "drifted": .bool(drifted),
                "counts": .array(counts.map { .int(Int64($0)) }), "reference": .array(reference.map(JSON.double)),
            ]
        }
    }

    public let monitor: ResourceRef
    public let endpoint: ResourceRef
    public let kind: Kind
    /// Event time: `from` belongs to the window, `until` does not.
    public let from: Timestamp
    public let until: Timestamp
    /// The release that served the most rows; everything is measured on its rows, against its reference.
    public let release: Int
    /// The rows of that release.
    public let rows: Int
    /// The rows of all releases.
    public let totalRows: Int
    /// Rows or labels that came after the window was closed.
    public var late: Int
    /// The greatest PSI, or the metric that the monitor names; nil when it could not be measured.
    public let value: Double?
    public let alerted: Bool
    /// Drift only, in the order of the model's inputs.
    public let columns: [Column]
    /// Performance only: `auc`, `logloss`, `labels`, `coverage`, … (`MonitorSpec.measurements`); null when it could not be measured.
    public let metrics: [String: Double?]
    /// What the release was evaluated with.
    public let reference: [String: Double]
    /// Why something could not be measured.
    public let notes: [String]

    /// The names of a measurement in reports and events.
    var numbers: JSON { .object(metrics.sorted { $0.key < $1.key }.map { JSON.Member($0.key, $0.value.map(JSON.double) ?? .null) }) }
    private var referenceNumbers: JSON { .object(reference.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .double($0.value)) }) }

    public var json: JSON {
        [
            "monitor": .string(monitor.qualifiedName), "endpoint": .string(endpoint.qualifiedName), "kind": .string(kind.rawValue), "from": .string(from.description),
            "until": .string(until.description), "release": .int(Int64(release)), "rows": .int(Int64(rows)),
            "total_rows": .int(Int64(totalRows)),
            "late": .int(Int64(late)), "value": value.map(JSON.double) ?? .null, "alerted": .bool(alerted),
            "columns": .array(columns.map(\.json)), "metrics": numbers, "reference": referenceNumbers,
            "notes": .array(notes.map(JSON.string)),
        ]
    }

    /// What the ledger event `monitor.alert` carries: one for all columns of the window.
    var alert: JSON {
        [
            "eventTime": .string(until.description), "window": ["from": .string(from.description), "until": .string(until.description)],
            "endpoint": .string(endpoint.qualifiedName), "release": .int(Int64(release)), "kind": .string(kind.rawValue),
            "columns": .array(
                columns.filter(\.drifted).map {
                    ["name": .string($0.name), "psi": .double($0.psi), "calibratedThreshold": .double($0.calibratedThreshold)]
                }),
            "value": value.map(JSON.double) ?? .null, "metrics": numbers, "reference": referenceNumbers, "rows": .int(Int64(rows)),
        ]
    }
}

extension WindowMeasurement {
    /// Reads what `json` wrote, but for the names.
    /// - Throws: `corrupted` when it is not that.
    init(json: JSON, of monitor: ResourceRef, on endpoint: ResourceRef) throws(KeelError) {
        func require<T>(_ value: T?, _ field: String) throws(KeelError) -> T {
            guard let value else { throw KeelError(.corrupted, "a stored measurement has no valid '\(field)'") }
            return value
        }
        func text(_ field: String) throws(KeelError) -> String { try require(json[field]?.string, field) }
        func whole(_ field: String) throws(KeelError) -> Int { Int(try require(json[field]?.integer, field)) }
        func time(_ field: String) throws(KeelError) -> Timestamp { try require(Timestamp(try text(field)), field) }
        self.monitor = monitor
        self.endpoint = endpoint
        kind = try require(Kind(rawValue: try text("kind")), "kind")
        (from, until) = (try time("from"), try time("until"))
        (release, rows, totalRows, late) = (try whole("release"), try whole("rows"), try whole("total_rows"), try whole("late"))
        value = json["value"]?.number
        alerted = try require(json["alerted"]?.bool, "alerted")
        var columns: [Column] = []
        for item in json["columns"]?.array ?? [] {
            columns.append(
                Column(
                    name: try require(item["name"]?.string, "name"), psi: try require(item["psi"]?.number, "psi"),
                    calibratedThreshold: try require(item["calibratedThreshold"]?.number, "calibratedThreshold"),
                    drifted: try require(item["drifted"]?.bool, "drifted"),
                    counts: (item["counts"]?.array ?? []).compactMap { $0.integer.map(Int.init) },
                    reference: (item["reference"]?.array ?? []).compactMap(\.number)))
        }
        self.columns = columns
        var metrics: [String: Double?] = [:]
        for member in json["metrics"]?.members ?? [] { metrics.updateValue(member.value.number, forKey: member.key) }
        self.metrics = metrics
        reference = Dictionary(
            (json["reference"]?.members ?? []).compactMap { m in m.value.number.map { (m.key, $0) } }, uniquingKeysWith: { a, _ in a })
        notes = (json["notes"]?.array ?? []).compactMap(\.string)
    }
}
