import Contracts

/// How far a monitor has closed its windows: those that end at these instants or earlier take no more rows.
struct MonitorMarks: Sendable, Hashable {
    var drift = Timestamp.distantPast
    var performance = Timestamp.distantPast
}

/// A monitor at work, without I/O: rows go in, measurements of closed windows come out.
///
/// The event time of the newest row is the monitor's clock. A window's drift closes when it passes the window's end plus `lateness`, its
/// performance when it passes the end plus `label.within`. Memory: the windows between, at most `MonitorSpec.openWindowsMax`, each with the bins
/// of at most `OpenWindow.releasesMax` releases and `LabelSample.limit` labels for each.
struct MonitorState: Sendable {
    /// Rows that came after their window was closed.
    struct Late: Hashable {
        let kind: WindowMeasurement.Kind
        let until: Timestamp
    }

    let spec: MonitorSpec
    private(set) var marks: MonitorMarks
    private(set) var watermark = Timestamp.distantPast
    /// In no order; few, so that a search from the last hit on is the fastest.
    private(set) var windows: [OpenWindow] = []
    private(set) var late: [Late: Int] = [:]
    private var current = 0
    private var nextClose = Timestamp.distantPast

    init(_ spec: MonitorSpec, marks: MonitorMarks = MonitorMarks()) { (self.spec, self.marks) = (spec, marks) }

    private var patience: TimeSpan { max(spec.performance?.within ?? spec.lateness, spec.lateness) }

    /// The last instant before which no row can count any more.
    var horizon: Timestamp {
        switch (spec.drift, spec.performance) {
        case (.some, .some): min(marks.drift, marks.performance)
        case (.some, .none): marks.drift
        default: marks.performance
        }
    }

    /// The marks of a monitor that begins with the window of `time`.
    static func beginning(_ spec: MonitorSpec, at time: Timestamp?) -> MonitorMarks {
        guard let time else { return MonitorMarks() }
        let start = Timestamp(microseconds: floorDivide(time.microseconds, spec.window.microseconds) * spec.window.microseconds)
        return MonitorMarks(drift: start, performance: start)
    }

    /// Raises marks that lie so far back that their windows could not all be open.
    mutating func skipAncient(before time: Timestamp) {
        let oldest = MonitorState.beginning(spec, at: time - patience - spec.window - spec.window)
        (marks.drift, marks.performance) = (max(marks.drift, oldest.drift), max(marks.performance, oldest.performance))
    }

    // MARK: Rows

    /// Counts a prediction; returns what it closed, which is before it is counted itself.
    mutating func observe(_ prediction: ObservedPrediction, layout: BinLayout?) -> [WindowMeasurement] {
        let closed = advance(to: prediction.eventTime)
        add(prediction, layout: layout)
        return closed
    }

    /// Counts a prediction without closing anything.
    mutating func add(_ prediction: ObservedPrediction, layout: BinLayout?) {
        let until = end(of: prediction.eventTime)
        let binning = spec.drift != nil && until > marks.drift
        let labelling = spec.performance != nil && until > marks.performance
        if spec.drift != nil, !binning { late[Late(kind: .drift, until: until), default: 0] += 1 }
        if spec.performance != nil, !labelling { late[Late(kind: .performance, until: until), default: 0] += 1 }
        guard binning || labelling else { return }
        let i = window(until: until)
        windows[i].add(prediction, layout: layout, binning: binning)
    }

    mutating func add(_ label: ObservedLabel, layout: BinLayout?) {
        guard spec.performance != nil else { return }
        let until = end(of: label.eventTime)
        guard until > marks.performance else {
            late[Late(kind: .performance, until: until), default: 0] += 1
            return
        }
        let i = window(until: until)
        windows[i].add(label, layout: layout)
    }

    mutating func takeLate() -> [Late: Int] {
        defer { late = [:] }
        return late
    }

    private func end(of time: Timestamp) -> Timestamp {
        let size = spec.window.microseconds
        return Timestamp(microseconds: (floorDivide(time.microseconds, size) + 1) * size)
    }

    /// Where the window is, opened when it is not.
    private mutating func window(until: Timestamp) -> Int {
        if windows.indices.contains(current), windows[current].until == until { return current }
        if let found = windows.firstIndex(where: { $0.until == until }) {
            current = found
        } else {
            current = windows.count
            windows.append(OpenWindow(from: until - spec.window, until: until))
        }
        return current
    }

    // MARK: Time

    /// Moves the monitor's clock; returns what closes, oldest first.
    mutating func advance(to time: Timestamp) -> [WindowMeasurement] {
        guard time > watermark else { return [] }
        watermark = time
        guard time >= nextClose else { return [] }
        let size = spec.window.microseconds
        func closed(_ wait: TimeSpan) -> Timestamp { Timestamp(microseconds: floorDivide((time - wait).microseconds, size) * size) }
        let before = marks
        marks = MonitorMarks(drift: max(marks.drift, closed(spec.lateness)), performance: max(marks.performance, closed(patience)))
        nextClose = min(closed(spec.lateness) + spec.window + spec.lateness, closed(patience) + spec.window + patience)
        var out: [WindowMeasurement] = []
        windows.sort { $0.until < $1.until }
        for i in windows.indices {
            let until = windows[i].until
            if let drift = spec.drift, until > before.drift, until <= marks.drift {
                if let measured = windows[i].drift(spec, drift) { out.append(measured) }
                windows[i].dropBins()
            }
            if let performance = spec.performance, until > before.performance, until <= marks.performance {
                if let measured = windows[i].performance(spec, performance) { out.append(measured) }
            }
        }
        let horizon = horizon
        windows.removeAll { $0.until <= horizon }
        current = 0
        return out
    }
}
