import Contracts
import Engines

/// One value that the online and the batch engine disagree on.
public struct ParityDifference: Sendable, Hashable {
    public let row: Int
    public let feature: String
    public let online: Value
    public let offline: Value

    public init(row: Int, feature: String, online: Value, offline: Value) {
        self.row = row
        self.feature = feature
        self.online = online
        self.offline = offline
    }
}

/// What a comparison of logged online reads with the offline join found.
public struct ParityReport: Sendable, Hashable {
    public let rows: Int
    /// Values compared: rows × features.
    public let compared: Int
    public let differences: [ParityDifference]
}

extension FeatureStore {
    /// Replays logged online reads through the offline join, with the rows that had come by each read, and reports every difference.
    ///
    /// Numbers are compared as float32: equal, or both missing; all else as it is. Only sums, means and standard deviations (and request
    /// expressions over them) may differ by 1e-6 of their size (or by 1e-6 around zero), because floating-point sums depend on the order of their terms.
    ///
    /// - Parameters:
    ///   - requests: the service's request columns, a row for each read.
    ///   - times: as of when each row was read; may be left out when the service names a time column.
    ///   - known: of each read, the rows that it saw: all that were accepted up to the lower bound, and none that were accepted after the upper one.
    ///     Nil when that is not known: then all rows.
    ///   - values: what the online engine gave, a row for each request in the order of `inputs`.
    ///   - source: the rows of a dataset. They must hold every event that had been applied before the reads.
    public func verify(
        service name: String, requests: Table, times: [Timestamp]? = nil, known: [ClosedRange<Timestamp>?]? = nil, values: [[Value]],
        inputs: [Signature.Input], on connection: DuckDBConnection, source: (String) throws(KeelError) -> SourceRows
    ) throws(KeelError) -> ParityReport {
        let service = try catalog.resolved(name)
        guard values.count == requests.rowCount, values.allSatisfy({ $0.count == inputs.count }),
            times.map({ $0.count == requests.rowCount }) ?? true, known.map({ $0.count == requests.rowCount }) ?? true
        else {
            throw .invalid(
                "\(requests.rowCount) requests need as many rows of \(inputs.count) values, and as many times when these are given")
        }
        let bounds = known ?? Array(repeating: nil, count: requests.rowCount)
        func differences(_ rows: [Int], _ bound: (ClosedRange<Timestamp>) -> Timestamp) throws(KeelError) -> [ParityDifference] {
            let offline = try self.offline(
                service, requests: requests.taking(rows: rows), times: times.map { times in rows.map { times[$0] } },
                known: rows.map { bounds[$0].map(bound) ?? nil }, .accepted, on: connection, source: source)
            return try FeatureStore.differences(rows, offline, values, inputs, service)
        }
        var found = try differences(Array(0..<requests.rowCount)) { $0.upperBound }
        // While a row was on its way into the features, a read saw it or not.
        let open = Set(found.map(\.row)).filter { row in bounds[row].map { $0.lowerBound < $0.upperBound } ?? false }.sorted()
        if !open.isEmpty {
            let left = Set(try differences(open) { $0.lowerBound }.map { Place(row: $0.row, feature: $0.feature) })
            found.removeAll { open.contains($0.row) && !left.contains(Place(row: $0.row, feature: $0.feature)) }
        }
        return ParityReport(rows: requests.rowCount, compared: requests.rowCount * inputs.count, differences: found)
    }

    private struct Place: Hashable {
        let row: Int
        let feature: String
    }

    /// - Parameter rows: those of `values` that `offline` has, in order.
    private static func differences(
        _ rows: [Int], _ offline: Table, _ values: [[Value]], _ inputs: [Signature.Input], _ service: ResolvedService
    ) throws(KeelError) -> [ParityDifference] {
        let columns = try inputs.map { input throws(KeelError) in try offline.column(input.name) }
        let inexact = FeatureStore.inexactSlots(service)
        let tolerant = inputs.map { input in service.outputs.contains { $0.name == input.name && inexact.contains($0.slot) } }
        var out: [ParityDifference] = []
        for (position, row) in rows.enumerated() {
            for (i, input) in inputs.enumerated() {
                let online = values[row][i]
                let offline = columns[i][position]
                if FeatureStore.agree(online, offline, input, tolerant: tolerant[i]) { continue }
                out.append(ParityDifference(row: row, feature: input.name, online: online, offline: offline))
            }
        }
        return out
    }

    private static func agree(_ online: Value, _ offline: Value, _ input: Signature.Input, tolerant: Bool) -> Bool {
        func float(_ value: Value) -> Float? {
            if value.isNull { return .nan }
            if let number = value.number { return Float(number) }
            // Predictions of a version before texts were logged have the position of a category.
            guard online.text == nil, let categories = input.categories, let text = value.text else { return nil }
            return categories.firstIndex(of: text).map { Float($0) } ?? .nan
        }
        guard let a = float(online), let b = float(offline) else { return online == offline }
        if a == b || a.isNaN && b.isNaN { return true }
        return tolerant && abs(a - b) <= 1e-6 * max(1, abs(a), abs(b))
    }

    /// The request columns and features of each request in order, by the batch engine.
    ///
    /// - Parameters:
    ///   - times: as in `verify`.
    ///   - known: rows that came later do not count; nil for all rows.
    public func offlineRead(
        service name: String, requests: Table, times: [Timestamp]? = nil, known: [Timestamp]? = nil, on connection: DuckDBConnection,
        source: (String) throws(KeelError) -> SourceRows
    ) throws(KeelError) -> Table {
        let known: [Timestamp?] = known ?? Array(repeating: nil, count: requests.rowCount)
        return try offline(try catalog.resolved(name), requests: requests, times: times, known: known, .accepted, on: connection, source: source)
    }

    private func offline(
        _ service: ResolvedService, requests: Table, times: [Timestamp]?, known: [Timestamp?], _ time: KnownTime,
        on connection: DuckDBConnection, source: (String) throws(KeelError) -> SourceRows
    ) throws(KeelError) -> Table {
        let columns = try RequestColumns(requests, service)
        guard times != nil || service.timeSlot != nil else {
            throw .invalid("feature service '\(service.name)' names no time column, so the times of the reads are needed", path: "times")
        }
        let rows = 0..<requests.rowCount
        var pairs: [(name: String, column: Column)] = [
            ("rid", Column(.int64, .int64(rows.map(Int64.init)))),
            ("t", Column(.int64, .int64(rows.map { times?[$0].microseconds ?? columns.time($0, service, now: 0) }))),
            ("k", Column(.int64, .int64(rows.map { known[$0]?.microseconds ?? Timestamp.range.upperBound }))),
        ]
        for (i, column) in columns.columns.enumerated() { pairs.append(("r\(i)", column)) }
        let prefix = FeatureStore.temporaryPrefix()
        let questions = "\(prefix)_questions"
        try connection.insert(try Table(pairs), into: questions)
        defer { FeatureStore.drop([questions] + service.uses.indices.map { "\(prefix)_view\($0)" }, on: connection) }
        let joined = try BatchQuery(service: service, connection: connection, prefix: prefix, time: time)
            .features(questions: questions, source: source)
        var selected = service.requestFields.enumerated().map { "j.r\($0.offset) AS \(BatchQuery.quoted($0.element.name))" }
        for output in service.outputs {
            selected.append("CAST(j.f\(output.slot) AS \(output.type.duckDBName)) AS \(BatchQuery.quoted(output.name))")
        }
        return try connection.query("SELECT \(selected.joined(separator: ", ")) FROM (\(joined)) j ORDER BY j.rid")
    }

    /// Slots whose value depends on the order in which floating-point numbers were added.
    private static func inexactSlots(_ service: ResolvedService) -> Set<Int> {
        var slots: Set<Int> = []
        for use in service.uses {
            for (index, slot) in use.features {
                if case .windowed(let aggregate, _) = use.view.features[index].source, [.sum, .mean, .stddev].contains(aggregate) {
                    slots.insert(slot)
                }
            }
        }
        for computed in service.computed where !slots.isDisjoint(with: computed.slots) { slots.insert(computed.slot) }
        return slots
    }
}
