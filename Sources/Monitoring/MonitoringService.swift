import Contracts
import Storage

/// How far an endpoint is from its training data, in short.
public struct DriftSummary: Sendable, Hashable {
    public let monitor: ResourceRef
    public let release: Int
    /// The end of the window measured.
    public let until: Timestamp
    /// The greatest PSI of all columns; nil for a window of fewer rows than the monitor's `minimumRows`, in which any PSI is noise.
    public let psi: Double?
    /// The column with the greatest PSI.
    public let column: String
    /// The rows of the window.
    public let rows: Int
}

/// Rows that could not be counted, since the process started.
public struct MonitoringCounters: Sendable, Hashable {
    /// Came after their window was closed.
    public var late = 0
    /// Their event time is more than a day ahead of the clock, or before 1900: counting them would close every window.
    public var implausible = 0
}

/// Monitors that are ready and not in force yet. See `MonitoringService.prepare`.
public struct MonitorDraft: Sendable {
    /// Whose monitors they are; those of other workspaces stay as they are.
    let workspace: WorkspaceID
    var states: [MonitorState] = []
    /// Measured but not yet in the database.
    var measured: [WindowMeasurement] = []
    var newMarks: [(monitor: ResourceRef, marks: MonitorMarks)] = []

    /// Writes where monitors begin that were never there before.
    public func store(_ tx: Transaction) throws {
        for (monitor, marks) in newMarks { try tx.store(marks, monitor: monitor) }
    }
}

/// Watches endpoints: counts predictions and labels into windows of event time, measures a window when it closes, and raises alerts.
///
/// Rows are observed in batches by one background writer, off the request path; batches are worked on one after another.
public actor MonitoringService {
    private let database: Database
    private let references: any ReferenceSource
    private let history: any PredictionHistory
    private let clock: any Clock

    private struct ReleaseKey: Hashable {
        let endpoint: ResourceRef
        let release: Int
    }
    /// Kept at most, the oldest let go first; a release is asked for again when it is needed again.
    private static let layoutsMax = 64
    private static let accepted = (past: Timestamp(seconds: -2_208_988_800), ahead: TimeSpan.days(1))

    private var states: [MonitorState] = []
    private var layouts: [ReleaseKey: BinLayout?] = [:]
    private var layoutOrder: [ReleaseKey] = []
    /// Measured but not yet in the database.
    private var pending: [WindowMeasurement] = []
    private var pendingLate: [(monitor: ResourceRef, late: MonitorState.Late, count: Int)] = []
    private let turn = Turn()
    public private(set) var counters = MonitoringCounters()

    public init(database: Database, references: any ReferenceSource, history: any PredictionHistory, clock: any Clock = SystemClock()) {
        (self.database, self.references, self.history, self.clock) = (database, references, history, clock)
    }

    // MARK: Configuration

    /// Makes these the monitors of a workspace, at start and after each apply. A monitor whose spec is as before goes on; a new or changed one has its open
    /// windows rebuilt from the prediction log. A monitor that was never there before begins with the window the log is in.
    public func configure(_ specs: [MonitorSpec], in workspace: WorkspaceID = .default) async throws {
        let draft = try await prepare(specs, in: workspace)
        do { try await database.write { tx in try draft.store(tx) } } catch {
            discard(draft)
            throw error
        }
        await activate(draft)
    }

    /// Rebuilds the windows of these monitors, which are all of a workspace. Nothing changes until `store` and then `activate`; a draft that is given up goes to `discard`.
    ///
    /// Until one of the two is called, predictions that are observed wait.
    public func prepare(_ specs: [MonitorSpec], in workspace: WorkspaceID) async throws -> MonitorDraft {
        await turn.take()
        do {
            var draft = MonitorDraft(workspace: workspace)
            for spec in specs {
                if let running = states.first(where: { $0.spec == spec }) {
                    draft.states.append(running)
                } else {
                    try await rebuild(spec, &draft)
                }
            }
            return draft
        } catch {
            turn.give()
            throw error
        }
    }

    /// Puts a draft in force whose `store` is committed. Cannot fail: what the database does not take now is written with the next batch.
    public func activate(_ draft: MonitorDraft) async {
        defer { turn.give() }
        states = states.filter { $0.spec.ref.workspace != draft.workspace } + draft.states
        pending += draft.measured
        do { try await commit() } catch {}
    }

    /// Gives a draft up: what was in force stays.
    public func discard(_ draft: MonitorDraft) { turn.give() }

    /// The state as if every logged row had been observed by this monitor.
    private func rebuild(_ spec: MonitorSpec, _ draft: inout MonitorDraft) async throws {
        let last = try await history.lastEventTime(endpoint: spec.endpoint)
        let stored = try await database.read { try $0.marks(of: spec.ref) }
        var state = MonitorState(spec, marks: stored ?? MonitorState.beginning(spec, at: last))
        if stored == nil { draft.newMarks.append((spec.ref, state.marks)) }
        guard let last else { return draft.states.append(state) }
        state.skipAncient(before: last)
        let building = Rebuilding(state)
        try await history.forEach(endpoint: spec.endpoint, since: state.horizon) { rows in
            let layouts = try await self.layouts(for: rows.map { ($0.prediction.endpoint, $0.prediction.release) })
            await building.add(rows, layouts)
        }
        var rebuilt = await building.state
        draft.measured += rebuilt.advance(to: last)
        draft.states.append(rebuilt)
    }

    // MARK: Observing

    /// Counts predictions, in the order they were logged. Those that are not from a monitored endpoint and shadows cost next to nothing.
    /// - Throws: when a reference cannot be read, before anything is counted; when the database refuses, after: what was measured is kept
    ///   and written with the next batch.
    public func observe(_ predictions: [ObservedPrediction]) async throws {
        try await inTurn { try await self.count(predictions) }
    }

    /// Counts labels, each once.
    public func observe(labels: [ObservedLabel]) async throws {
        try await inTurn { try await self.count(labels: labels) }
    }

    private func count(_ predictions: [ObservedPrediction]) async throws {
        let watched = Set(states.map(\.spec.endpoint))
        let now = clock.now()
        var relevant: [ObservedPrediction] = []
        for prediction in predictions where !prediction.shadow && watched.contains(prediction.endpoint) {
            guard plausible(prediction.eventTime, now) else {
                counters.implausible += 1
                continue
            }
            relevant.append(prediction)
        }
        guard !relevant.isEmpty else { return }
        let layouts = try await layouts(for: relevant.map { ($0.endpoint, $0.release) })
        for i in states.indices {
            let endpoint = states[i].spec.endpoint
            for prediction in relevant where prediction.endpoint == endpoint {
                pending += states[i].observe(prediction, layout: layouts[endpoint]?[prediction.release] ?? nil)
            }
        }
        try await commit()
    }

    private func count(labels: [ObservedLabel]) async throws {
        let watched = Set(states.filter { $0.spec.performance != nil }.map(\.spec.endpoint))
        let now = clock.now()
        let relevant = labels.filter { !$0.shadow && watched.contains($0.endpoint) && plausible($0.eventTime, now) }
        guard !relevant.isEmpty else { return }
        let layouts = try await layouts(for: relevant.map { ($0.endpoint, $0.release) })
        for i in states.indices {
            let endpoint = states[i].spec.endpoint
            for label in relevant where label.endpoint == endpoint {
                states[i].add(label, layout: layouts[endpoint]?[label.release] ?? nil)
            }
        }
        try await commit()
    }

    private func plausible(_ time: Timestamp, _ now: Timestamp) -> Bool {
        time >= MonitoringService.accepted.past && time <= now + MonitoringService.accepted.ahead
    }

    /// The bins of every release named, by endpoint and release.
    private func layouts(for releases: [(ResourceRef, Int)]) async throws -> [ResourceRef: [Int: BinLayout?]] {
        var out: [ResourceRef: [Int: BinLayout?]] = [:]
        var last: (endpoint: ResourceRef, release: Int)?
        for (endpoint, release) in releases {
            // Rows come in long runs of one release.
            if let last, last.release == release, last.endpoint == endpoint { continue }
            last = (endpoint, release)
            if out[endpoint]?[release] != nil { continue }
            let key = ReleaseKey(endpoint: endpoint, release: release)
            if layouts[key] == nil {
                let found = try await references.reference(endpoint: endpoint, release: release).map(BinLayout.init)
                layouts.updateValue(found, forKey: key)
                layoutOrder.append(key)
                if layoutOrder.count > MonitoringService.layoutsMax { layouts.removeValue(forKey: layoutOrder.removeFirst()) }
                out[endpoint, default: [:]].updateValue(found, forKey: release)
            } else {
                out[endpoint, default: [:]].updateValue(layouts[key] ?? nil, forKey: release)
            }
        }
        return out
    }

    /// Writes what was measured: each window with its alert and the monitor's mark, all in one transaction.
    private func commit() async throws {
        for i in states.indices {
            for (late, count) in states[i].takeLate() {
                counters.late += count
                pendingLate.append((states[i].spec.ref, late, count))
            }
        }
        guard !pending.isEmpty || !pendingLate.isEmpty else { return }
        let measured = pending
        let late = pendingLate
        let touched = Set(measured.map(\.monitor))
        let marks = states.filter { touched.contains($0.spec.ref) }.map { ($0.spec.ref, $0.marks) }
        try await database.write { tx in
            for measurement in measured { try tx.store(measurement) }
            for (monitor, late, count) in late { try tx.addLate(count, monitor: monitor, kind: late.kind, until: late.until) }
            for (monitor, marks) in marks { try tx.store(marks, monitor: monitor) }
        }
        pending = []
        pendingLate = []
    }

    /// Runs `body` after all that was asked before has ended.
    private func inTurn(_ body: () async throws -> Void) async throws { try await turn.run(body) }

    // MARK: Queries

    /// Measurements of a monitor whose windows end after `after`, oldest first; without `kind` both kinds.
    public func windows(
        _ monitor: ResourceRef, kind: WindowMeasurement.Kind? = nil, after: Timestamp = .distantPast, limit: Int = 100, by grant: Grant
    ) async throws -> [WindowMeasurement] {
        try grant.require(.monitorsRead, on: monitor)
        return try await database.read(in: monitor.workspace) {
            try $0.measurements(monitor: monitor, kind: kind, after: after, alertsOnly: false, limit: min(max(1, limit), 1000))
        }
    }

    /// The newest measurements of each kind, oldest first.
    public func newestWindows(_ monitor: ResourceRef, count: Int, by grant: Grant) async throws -> [WindowMeasurement] {
        try grant.require(.monitorsRead, on: monitor)
        let found = try await database.read(in: monitor.workspace) { reader in
            try WindowMeasurement.Kind.allCases.flatMap {
                try reader.newestMeasurements(monitor: monitor, kind: $0, limit: min(max(1, count), 1000))
            }
        }
        return found.sorted { ($0.until, $0.kind.rawValue) < ($1.until, $1.kind.rawValue) }
    }

    /// Those of them that raised an alert.
    public func alerts(
        _ monitor: ResourceRef, after: Timestamp = .distantPast, limit: Int = 100, by grant: Grant
    ) async throws -> [WindowMeasurement] {
        try grant.require(.monitorsRead, on: monitor)
        return try await database.read(in: monitor.workspace) {
            try $0.measurements(monitor: monitor, kind: nil, after: after, alertsOnly: true, limit: min(max(1, limit), 1000))
        }
    }

    /// The drift of an endpoint in the last window measured; nil before the first.
    public func latest(endpoint: ResourceRef, by grant: Grant) async throws -> DriftSummary? {
        try grant.require(.monitorsRead, on: endpoint)
        guard let found = try await database.read({ try $0.latestMeasurement(endpoint: endpoint, kind: .drift) }),
            let worst = found.columns.max(by: { $0.psi < $1.psi })
        else { return nil }
        let minimum = states.first { $0.spec.ref == found.monitor }?.spec.drift?.minimumRows ?? MonitorSpec.Drift().minimumRows
        return DriftSummary(
            monitor: found.monitor, release: found.release, until: found.until, psi: found.rows < minimum ? nil : worst.psi,
            column: worst.name, rows: found.rows)
    }

    /// What a monitor last measured of a release; nil before the first window in which it served the most.
    public func latest(endpoint: ResourceRef, release: Int, by grant: Grant) async throws -> WindowMeasurement? {
        try grant.require(.monitorsRead, on: endpoint)
        return try await database.read { try $0.latestMeasurement(endpoint: endpoint, release: release) }
    }
}

/// A monitor's state while its log is read.
private actor Rebuilding {
    private(set) var state: MonitorState
    init(_ state: MonitorState) { self.state = state }

    func add(_ rows: [(prediction: ObservedPrediction, label: ObservedLabel?)], _ layouts: [ResourceRef: [Int: BinLayout?]]) {
        for (prediction, label) in rows where !prediction.shadow {
            let layout = layouts[prediction.endpoint]?[prediction.release] ?? nil
            state.add(prediction, layout: layout)
            if let label { state.add(label, layout: layout) }
        }
        // Rows of windows that were closed before the restart were counted then.
        _ = state.takeLate()
    }
}
