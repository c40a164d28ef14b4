import Contracts
import Serving
import Storage

/// How far back the charts of an endpoint reach.
package enum HistoryRange: String, CaseIterable, Sendable {
    case hour
    case sixHours = "6h"
    case day

    var title: String {
        switch self {
        case .hour: "Last hour"
        case .sixHours: "Last 6 hours"
        case .day: "Last day"
        }
    }

    package var span: TimeSpan {
        switch self {
        case .hour: .hours(1)
        case .sixHours: .hours(6)
        case .day: .days(1)
        }
    }

    /// - Throws: `invalidArgument` for a range that there is not.
    init(_ query: PageQuery) throws(KeelError) {
        guard let text = query["range"] else {
            self = .hour
            return
        }
        guard let range = HistoryRange(rawValue: text) else {
            throw .invalid(
                "there is no range '\(text.prefix(40))'", hint: HistoryRange.allCases.map(\.rawValue).joined(separator: ", "), path: "range"
            )
        }
        self = range
    }

    /// The whole minutes of the range, oldest first; the last is the one under way.
    package func minutes(until now: Timestamp) -> [Timestamp] {
        let minute = TimeSpan.seconds(60).microseconds
        let last = floorDivide(now.microseconds, minute)
        let count = span.microseconds / minute
        return (last - count + 1...last).map { Timestamp(microseconds: $0 * minute) }
    }
}

/// What an endpoint did over time, as charts take it. The numbers are those that the server keeps in memory (`EndpointHistory`): nothing is read from the log.
package struct EndpointHistoryCharts {
    enum Of: String, CaseIterable { case traffic, errors, latency, stages }

    /// Nothing is drawn through minutes that have no value.
    package static func lines(_ series: [JSON], marks: [JSON] = [], isFromZero: Bool = true) -> JSON {
        ["x": "time", "isFromZero": .bool(isFromZero), "hasGaps": .bool(true), "series": .array(series), "marks": .array(marks)]
    }

    /// One curve over all minutes of the range.
    /// - Parameters:
    ///   - values: by the minute's start.
    ///   - missing: what stands where there is no value; null breaks the curve.
    package static func curve(_ name: String, _ minutes: [Timestamp], _ values: [Timestamp: Double], missing: JSON = .null) -> JSON {
        [
            "name": .string(name),
            "data": .array(minutes.map { minute in .array([ChartData.instant(minute), values[minute].map(ChartData.number) ?? missing]) }),
        ]
    }

    let ref: ResourceRef
    let asked: PageRequest
    let minutes: [Timestamp]

    init(_ asked: PageRequest) throws {
        self.asked = asked
        ref = try asked.thing(EndpointSpec.kind)
        minutes = try HistoryRange(asked.query).minutes(until: asked.now)
    }

    private var since: Timestamp { minutes.first ?? asked.now }

    /// Of an endpoint that is deployed all day only the newest releases are drawn.
    private static let releasesMax = 20

    func json() async throws -> JSON {
        guard let of = Of(rawValue: asked.query["of"] ?? Of.traffic.rawValue) else {
            throw KeelError.invalid("there is no such chart", hint: Of.allCases.map(\.rawValue).joined(separator: ", "), path: "of")
        }
        let history = try asked.platform.endpointHistory.traffic(of: ref, since: since, asked.grant)
        return EndpointHistoryCharts.lines(try series(of, history), marks: try await marks())
    }

    /// Without the older releases; what has no release stays.
    private func newest(_ history: [(release: Int?, minutes: [EndpointMinute])]) -> [(release: Int?, minutes: [EndpointMinute])] {
        let drawn = history.compactMap(\.release).suffix(EndpointHistoryCharts.releasesMax)
        return history.filter { $0.release.map(drawn.contains) ?? true }
    }

    private func series(_ of: Of, _ history: [(release: Int?, minutes: [EndpointMinute])]) throws -> [JSON] {
        switch of {
        case .traffic:
            return newest(history).flatMap { release, known -> [JSON] in
                guard let release else { return [filled("failed", known) { Double($0.failures) }] }
                var series: [JSON] = []
                if known.contains(where: { $0.requests > 0 }) { series.append(filled("release \(release)", known) { Double($0.requests) }) }
                // A release in shadow answers nobody; the rows that it scores are told apart.
                if known.contains(where: { $0.shadowRows > 0 }) {
                    series.append(filled("release \(release) in shadow (rows)", known) { Double($0.shadowRows) })
                }
                return series
            }
        case .errors:
            return errors(history)
        case .latency:
            return newest(history).flatMap { release, known -> [JSON] in
                guard let release, known.contains(where: { $0.p50 != nil }) else { return [] }
                return [
                    curve("release \(release) p50", known) { $0.p50.map { Double($0) * 1000 } },
                    curve("release \(release) p99", known) { $0.p99.map { Double($0) * 1000 } },
                ]
            }
        case .stages:
            let release = try asked.query["release"].map { text -> Int in
                guard let number = Int(text) else { throw KeelError.invalid("a release is named by its number", path: "release") }
                return number
            }
            guard let known = history.first(where: { $0.release != nil && (release == nil || $0.release == release) })?.minutes else {
                return []
            }
            let stages = RequestStage.allCases.filter { stage in known.contains { $0.mean(stage) != nil } }.map { stage in
                curve(stage.rawValue, known) { $0.mean(stage).map { $0 * 1000 } }
            }
            return stages.isEmpty ? [] : stages + [curve("whole", known) { $0.mean(nil).map { $0 * 1000 } }]
        }
    }

    /// The share of requests that were answered with an error, then the share of rows that releases failed at, in percent.
    private func errors(_ history: [(release: Int?, minutes: [EndpointMinute])]) -> [JSON] {
        var answered: [Timestamp: Int] = [:]
        var failed: [Timestamp: Int] = [:]
        for (release, known) in history {
            for minute in known where release == nil { failed[minute.start, default: 0] += minute.failures }
            for minute in known where release != nil { answered[minute.start, default: 0] += minute.requests }
        }
        var shares: [Timestamp: Double] = [:]
        for minute in Set(answered.keys).union(failed.keys) {
            let errors = failed[minute] ?? 0
            let whole = errors + (answered[minute] ?? 0)
            if whole > 0 { shares[minute] = Double(errors) / Double(whole) * 100 }
        }
        guard !shares.isEmpty else { return [] }
        var series = [EndpointHistoryCharts.curve("all requests", minutes, shares)]
        // What a candidate fails at is answered by the stable release: no caller hears of it.
        for (release, known) in newest(history) where known.contains(where: { $0.failedRows > 0 }) {
            if let release { series.append(curve("release \(release)", known) { $0.errorShare.map { $0 * 100 } }) }
        }
        return series
    }

    /// The median of each release's scores, with the range in which nine of ten lie.
    func scores() async throws -> JSON {
        let history = try asked.platform.endpointHistory.scores(of: ref, since: since, asked.grant)
        let series: [JSON] = history.suffix(EndpointHistoryCharts.releasesMax).map { release, known in
            let spreads = Dictionary(known.map { ($0.start, $0.spread) }, uniquingKeysWith: { $1 })
            let band: [JSON] = minutes.map { minute in
                let spread = spreads[minute]
                return .array([
                    ChartData.instant(minute), spread.map { ChartData.number(Double($0.low)) } ?? .null,
                    spread.map { ChartData.number(Double($0.high)) } ?? .null,
                ])
            }
            return [
                "name": .string("release \(release)"), "band": .array(band),
                "data": .array(
                    minutes.map { .array([ChartData.instant($0), spreads[$0].map { ChartData.number(Double($0.median)) } ?? .null]) }),
            ]
        }
        return EndpointHistoryCharts.lines(series, marks: try await marks(), isFromZero: false)
    }

    private func curve(_ name: String, _ known: [EndpointMinute], _ value: (EndpointMinute) -> Double?) -> JSON {
        EndpointHistoryCharts.curve(name, minutes, values(known, value))
    }

    /// Where nothing is known, nothing happened.
    private func filled(_ name: String, _ known: [EndpointMinute], _ value: (EndpointMinute) -> Double?) -> JSON {
        EndpointHistoryCharts.curve(name, minutes, values(known, value), missing: .int(0))
    }

    private func values(_ known: [EndpointMinute], _ value: (EndpointMinute) -> Double?) -> [Timestamp: Double] {
        var values: [Timestamp: Double] = [:]
        for minute in known { values[minute.start] = value(minute) }
        return values
    }

    /// Rollouts and what serves since: from the ledger, for those who may read it.
    private func marks() async throws -> [JSON] {
        guard asked.grant(.ledgerRead) != nil else { return [] }
        let subject = ref.subject
        let events = try await asked.platform.database.read(in: ref.workspace) {
            try $0.ledgerEvents(on: subject, before: .max, limit: 100)
        }
        return events.filter { $0.at >= since }.reversed().compactMap { EndpointHistoryCharts.mark($0) }
    }

    private static func mark(_ event: LedgerEvent) -> JSON? {
        let release = event.data["release"]?.integer.map { "release \($0) " } ?? ""
        let what: (word: String, tone: String)? =
            switch event.kind {
            case "release.promoted": ("promoted", "ok")
            case "release.rolledback": ("rolled back", "bad")
            case "rollout.started": ("rollout", "info")
            case "rollout.aborted": ("aborted", "bad")
            default: nil
            }
        return what.map { ChartData.mark(event.at, release + $0.word, tone: $0.tone, href: ConsolePath.event(event.seq)) }
    }
}

func addEndpointHistory(to pages: ConsoleRoutes) {
    pages.data("/endpoints/:name/history.json", .releasesRead, on: .placed(EndpointSpec.kind)) {
        try await EndpointHistoryCharts($0).json()
    }
    pages.data("/endpoints/:name/scores-over-time.json", .predictionsRead, on: .placed(EndpointSpec.kind)) {
        try await EndpointHistoryCharts($0).scores()
    }
}
