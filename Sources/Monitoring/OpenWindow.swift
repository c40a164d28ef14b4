import Contracts
import Statistics

/// The rows of one release in one window.
struct ReleaseRows {
    let release: Int
    /// Nil when the release has no reference.
    var bins: BinCounter?
    var rows = 0
    /// Rows whose number of features is not the reference's.
    var misfits = 0
    var labels = LabelSample()
}

/// A window that still takes rows.
struct OpenWindow {
    /// More releases than this in one window are counted, not measured.
    static let releasesMax = 16

    let from: Timestamp
    let until: Timestamp
    private(set) var releases: [ReleaseRows] = []
    private var unmeasured = 0

    init(from: Timestamp, until: Timestamp) { (self.from, self.until) = (from, until) }

    private mutating func place(_ release: Int, _ layout: BinLayout?) -> Int? {
        if let i = releases.firstIndex(where: { $0.release == release }) { return i }
        guard releases.count < OpenWindow.releasesMax else { return nil }
        releases.append(ReleaseRows(release: release, bins: layout.map(BinCounter.init)))
        return releases.count - 1
    }

    mutating func add(_ prediction: ObservedPrediction, layout: BinLayout?, binning: Bool) {
        guard let i = place(prediction.release, layout) else {
            unmeasured += 1
            return
        }
        releases[i].rows += 1
        guard binning, let features = releases[i].bins?.layout.features else { return }
        if features == prediction.features.count {
            releases[i].bins?.add(prediction.features, score: prediction.score)
        } else {
            releases[i].misfits += 1
        }
    }

    mutating func add(_ label: ObservedLabel, layout: BinLayout?) {
        guard let i = place(label.release, layout) else { return }
        releases[i].labels.add(id: label.id, score: label.score, label: label.label, isRight: label.isRight)
    }

    /// The counts are not needed once drift is measured.
    mutating func dropBins() { for i in releases.indices { releases[i].bins?.clear() } }

    // MARK: Measuring

    /// The release that served the most rows, the newer of equals.
    private var leader: ReleaseRows? { releases.max { ($0.rows, $0.release) < ($1.rows, $1.release) } }
    private var totalRows: Int { releases.reduce(unmeasured) { $0 + $1.rows } }

    /// Nil when no row came.
    func drift(_ spec: MonitorSpec, _ drift: MonitorSpec.Drift) -> WindowMeasurement? {
        guard let leader, leader.rows > 0 else { return nil }
        var notes: [String] = []
        if leader.misfits > 0 { notes.append("\(leader.misfits) rows do not have the number of features of the reference") }
        let columns = leader.bins.map { OpenWindow.columns(of: $0, spec: drift, rows: leader.rows - leader.misfits, &notes) } ?? []
        if leader.bins == nil { notes.append("release \(leader.release) has no reference to compare with") }
        if leader.rows < drift.minimumRows { notes.append("\(leader.rows) rows are fewer than the \(drift.minimumRows) an alert takes") }
        return WindowMeasurement(
            monitor: spec.ref, endpoint: spec.endpoint, kind: .drift, from: from, until: until, release: leader.release, rows: leader.rows,
            totalRows: totalRows, late: 0, value: columns.map(\.psi).max(), alerted: columns.contains(where: \.drifted), columns: columns,
            metrics: [:],
            reference: leader.bins?.layout.reference.metrics ?? [:], notes: notes)
    }

    private static func columns(
        of bins: BinCounter, spec: MonitorSpec.Drift, rows: Int, _ notes: inout [String]
    ) -> [WindowMeasurement.Column] {
        let reference = bins.layout.reference
        var chosen = reference.inputs.enumerated().filter { spec.covers($0.element.name) }.map { ($0.offset, $0.element) }
        if spec.score, let score = reference.score { chosen.append((reference.inputs.count, score)) }
        if spec.score, reference.score == nil { notes.append("the reference has no score") }
        for name in spec.names where !reference.inputs.contains(where: { $0.name == name }) {
            let near = nearest(name, in: reference.inputs.map(\.name)).map { "; did you mean '\($0)'?" } ?? ""
            notes.append("the model has no input '\(name)'\(near)")
        }
        return chosen.compactMap { i, column in
            let counts = bins.counts(ofColumn: i)
            let counted = counts.map(Double.init)
            let psi = populationStability(reference: column.shares, current: counted)
            guard psi.isFinite else { return nil }
            let used = zip(counts, column.shares).count { $0 > 0 || $1 > 0 }
            // A column with one bin in use has no chance to move.
            let chance =
                used > 1
                ? populationStabilityThreshold(bins: used, reference: Double(reference.rows), current: counted.reduce(0, +)) : 0
            return WindowMeasurement.Column(
                name: column.name, psi: psi, calibratedThreshold: chance,
                drifted: rows >= spec.minimumRows && psi > spec.threshold && psi > chance,
                counts: counts, reference: column.shares)
        }
    }

    /// Nil when neither row nor label came.
    func performance(_ spec: MonitorSpec, _ performance: MonitorSpec.Performance) -> WindowMeasurement? {
        guard let leader, leader.rows > 0 || leader.labels.count > 0 else { return nil }
        var notes: [String] = []
        let found: BinaryMetrics?
        do throws(KeelError) { found = try leader.labels.metrics() } catch {
            notes.append("\(error)")
            found = nil
        }
        if leader.labels.invalid > 0 {
            notes.append(
                """
                \(leader.labels.invalid) labels cannot be used: they are neither 0 nor 1, or their scores no probabilities, and no classes of the model's \
                either
                """)
        }
        let labels = leader.labels.count
        var metrics: [String: Double?] = [
            "auc": found?.auc, "logloss": found?.logLoss, "brier": found?.brier, "accuracy": leader.labels.accuracyOfClasses ?? found?.accuracy,
            "calibration": found?.calibration.expectedError,
        ]
        metrics["labels"] = Double(labels)
        metrics["rows"] = Double(leader.rows)
        metrics["coverage"] = leader.rows > 0 ? Double(labels) / Double(leader.rows) : nil
        let reference = leader.bins?.layout.reference.metrics ?? [:]
        var alerted = false
        if labels < performance.minimumLabels {
            notes.append("\(labels) labels are fewer than the \(performance.minimumLabels) an alert takes")
        } else if let condition = performance.alertWhen {
            var numbers = MonitorSpec.conditionNames(of: condition)
            for (name, value) in metrics { numbers[name] = value }
            for (name, value) in reference { numbers["reference.\(name)"] = value }
            do throws(KeelError) {
                let holds = try condition.holds(numbers)
                if holds == nil { notes.append("'\(condition.text)' could not be decided: a number is missing") }
                alerted = holds ?? false
            } catch { notes.append("'\(condition.text)': \(error)") }
        }
        return WindowMeasurement(
            monitor: spec.ref, endpoint: spec.endpoint, kind: .performance, from: from, until: until, release: leader.release,
            rows: leader.rows,
            totalRows: totalRows, late: 0, value: metrics[performance.metric.rawValue] ?? nil, alerted: alerted, columns: [],
            metrics: metrics,
            reference: reference, notes: notes)
    }
}
