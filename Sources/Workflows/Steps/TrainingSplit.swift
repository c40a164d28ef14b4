import Contracts

/// How examples are parted into those to train on and those held out.
///
/// All but `time` go by a hash of each example or group with the seed: the same examples are always parted the same way, equal examples never stand
/// on both sides, and with `random` and `grouped` an example stays on its side when others are added.
package struct TrainingSplit: Sendable {
    package enum Kind: String, Sendable, CaseIterable {
        /// The last examples in time are held out.
        case time
        case random
        /// The same share of each value of the label is held out.
        case stratified
        /// Examples with one value in a column stay together.
        case grouped
    }

    let kind: Kind
    /// The share held out, between 0 and 1.
    let holdout: Double
    let group: String?
    let seed: Int
    /// More values than this are no classes.
    private static let classesMax = 1000

    /// - Parameter hasTime: whether the examples have a time; nil when that is not known yet.
    init(_ reader: FieldReader, hasTime: Bool?) throws(KeelError) {
        let share = try reader.optionalString("holdout") ?? "15%"
        guard share.hasSuffix("%"), let percent = Double(share.dropLast()), percent > 0, percent < 100 else {
            throw reader.failure("holdout", "must be a share such as 15%")
        }
        holdout = percent / 100
        group = try reader.optionalString("groupBy")
        let given = try reader.optionalInt("seed")
        seed = given ?? 0
        if hasTime == false, reader.optional("split") == nil {
            throw reader.failure(
                "split", "the examples have no time by which the last of them could be held out",
                hint: "choose split: random, stratified or grouped, or name the column of their time with at:")
        }
        kind = try reader.word("split", default: .time)
        if kind == .time, hasTime == false {
            throw reader.failure(
                "split", "the examples have no time", hint: "name its column with at:, or use random, stratified or grouped")
        }
        guard (kind == .grouped) == (group != nil) else {
            throw kind == .grouped
                ? reader.failure("groupBy", "split: grouped needs the column whose values stay together")
                : reader.failure("groupBy", "belongs to split: grouped")
        }
        guard kind != .time || given == nil else { throw reader.failure("seed", "split: time has no seed") }
    }

    /// The rows of each part, in their order.
    ///
    /// - Parameter times: of each row; ascending numbers.
    /// - Throws: when a part would be empty.
    func parts(of table: Table, times: [Double]?) throws(KeelError) -> (train: [Int], holdout: [Int]) {
        let held: Set<Int>
        switch kind {
        case .time:
            let order = (times ?? []).enumerated().sorted { ($0.element, $0.offset) < ($1.element, $1.offset) }.map(\.offset)
            let cut = Int(saturating: (Double(order.count) * (1 - holdout)).rounded())
            return try checked(Array(order[..<cut]), Array(order[cut...]))
        case .random: held = Set((0..<table.rowCount).filter { position(table.row($0)) < holdout })
        case .grouped:
            let column = try table.column(group ?? "")
            held = Set((0..<table.rowCount).filter { position([column[$0]]) < holdout })
        case .stratified:
            let labels = try table.column("label")
            var strata: [Value: [(position: Double, row: Int)]] = [:]
            for row in 0..<table.rowCount { strata[labels[row], default: []].append((position(table.row(row)), row)) }
            guard strata.count <= TrainingSplit.classesMax else {
                throw .invalid("the label has \(strata.count) values, which are no classes", hint: "use split: random", path: "with.split")
            }
            held = Set(strata.values.flatMap { share(of: $0) })
        }
        return try checked((0..<table.rowCount).filter { !held.contains($0) }, held.sorted())
    }

    /// The exact share of one class; equal examples stay together.
    private func share(of stratum: [(position: Double, row: Int)]) -> [Int] {
        let sorted = stratum.sorted { ($0.position, $0.row) < ($1.position, $1.row) }
        var cut = Int(saturating: (Double(sorted.count) * holdout).rounded())
        while cut > 0, cut < sorted.count, sorted[cut].position == sorted[cut - 1].position { cut += 1 }
        return sorted[..<cut].map(\.row)
    }

    private func checked(_ train: [Int], _ holdout: [Int]) throws(KeelError) -> (train: [Int], holdout: [Int]) {
        guard !train.isEmpty, !holdout.isEmpty else {
            throw KeelError(
                .failedPrecondition, "split: \(kind.rawValue) leaves no examples to \(train.isEmpty ? "train on" : "hold out")",
                hint: group.map { "there are too few values of '\($0)'; another seed may do" } ?? "use more examples or another holdout")
        }
        return (train, holdout)
    }

    /// Where values stand between 0 and 1.
    private func position(_ values: [Value]) -> Double {
        let text = JSON.array([.int(Int64(seed))] + values.map { JSON($0) }).bytes
        return Double(UInt64(Digest(of: text).hex.prefix(13), radix: 16) ?? 0) / 0x1p52
    }
}
