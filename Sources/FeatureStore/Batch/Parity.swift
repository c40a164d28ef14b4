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
    /// Values that were read while rows were on their way into the features, and that are neither what they would be without any of these rows nor with
    /// all. They may have been made of some of them, or be wrong: they are no difference, and not confirmed either.
    public let undecided: Int
}

extension FeatureStore {
    /// Replays logged online reads through the offline join, with the rows that had come by each read, and reports every difference.
    ///
    /// A value that was read while rows were on their way into the features is compared with what it would be with all of them and with none. Where these
    /// two are the same, or the value is one of them, that decides; else it is undecided, and counted as such.
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
        /// What differs at one of the bounds.
        func differences(_ rows: [Int], _ bound: (ClosedRange<Timestamp>) -> Timestamp) throws(KeelError) -> [ParityDifference] {
            let offline = try self.offline(
                service, requests: requests.taking(rows: rows), times: times.map { times in rows.map { times[$0] } },
                known: rows.map { bounds[$0].map(bound) ?? nil }, .accepted, on: connection, source: source)
            return try FeatureStore.differences(rows, offline, values, inputs, service)
        }
        var found = try differences(Array(0..<requests.rowCount)) { $0.upperBound }
        // While a row was on its way into the features, a read saw it or not.
        let open = Set(found.map(\.row)).filter { row in bounds[row].map { $0.lowerBound < $0.upperBound } ?? false }.sorted()
        var undecided = 0
        if !open.isEmpty {
            let isOpen = Set(open)
            var lower: [Place: Value] = [:]
            for one in try differences(open, { $0.lowerBound }) { lower[Place(row: one.row, feature: one.feature)] = one.offline }
            let monotone = FeatureStore.aggregateSlots(service) { [.count, .countDistinct, .min, .max].contains($0) }
            let tolerant = FeatureStore.inexactSlots(service)
            let kinds = Dictionary(inputs.map { ($0.name, $0) }) { a, _ in a }
            let slots = Dictionary(service.outputs.map { ($0.name, $0.slot) }) { a, _ in a }
            found.removeAll { one in
                guard isOpen.contains(one.row) else { return false }
                guard let least = lower[Place(row: one.row, feature: one.feature)] else { return true }
                guard let input = kinds[one.feature] else { return false }
                // A column of the request is in no row.
                guard let slot = slots[one.feature] else { return false }
                if FeatureStore.agree(least, one.offline, input, tolerant: tolerant.contains(slot)) { return false }
                // These go one way with every further row: with some of the rows on their way they lie between.
                if monotone.contains(slot), !FeatureStore.isBetween(one.online, least, one.offline) { return false }
                undecided += 1
                return true
            }
        }
        return ParityReport(rows: requests.rowCount, compared: requests.rowCount * inputs.count, differences: found, undecided: undecided)
    }

    /// Whether a value lies between two others, as float32; what is no number may.
    private static func isBetween(_ value: Value, _ a: Value, _ b: Value) -> Bool {
        guard let value = value.number, let a = a.number, let b = b.number else { return true }
        return !(Float(value) < Float(min(a, b)) || Float(value) > Float(max(a, b)))
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
        var slots = aggregateSlots(service) { [.sum, .mean, .stddev].contains($0) }
        for computed in service.computed where !slots.isDisjoint(with: computed.slots) { slots.insert(computed.slot) }
        return slots
    }

    /// The slots of features that are windowed aggregates of certain kinds.
    private static func aggregateSlots(_ service: ResolvedService, _ isOf: (Aggregate) -> Bool) -> Set<Int> {
        var slots: Set<Int> = []
        for use in service.uses {
            for (index, slot) in use.features {
                if case .windowed(let aggregate, _) = use.view.features[index].source, isOf(aggregate) { slots.insert(slot) }
            }
        }
        return slots
    }
}
