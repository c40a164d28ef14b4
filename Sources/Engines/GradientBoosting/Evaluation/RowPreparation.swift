/// How a library reads a number of its input.
struct InputReading<Scalar: TreeScalar>: Sendable {
    /// Numbers up to this one, of either sign, are 0; -1 when none are.
    private let tinyMax: Scalar
    /// Larger numbers are this one.
    private let max: Scalar

    init(_ forest: Forest<Scalar>) {
        tinyMax = forest.tinyIsZero ? Scalar(TreeColumn.zeroMax) : -1
        max = forest.infinityIsFinite ? .greatestFiniteMagnitude : .infinity
    }

    @inline(__always)
    func callAsFunction<Value: TreeScalar>(_ value: Value) -> Scalar {
        let read = value.rounded(to: Scalar.self)
        let limited = read > max ? max : read
        return limited.magnitude <= tinyMax ? 0 : limited
    }
}

/// Turns a row into the values that nodes compare: one for each column of a forest.
final class RowPreparation<Scalar: TreeScalar>: Sendable {
    private let features: FixedArray<UInt32>
    /// The columns of rule r are those from `ends[r - 1]` to `ends[r]`.
    private let ends: FixedArray<Int>
    private let read: InputReading<Scalar>
    var count: Int { features.count }

    init(_ forest: Forest<Scalar>) {
        features = FixedArray(forest.columns.map(\.feature))
        ends = FixedArray(
            TreeColumn.Rule.allCases.map { rule in forest.columns.prefix { $0.rule.rawValue <= rule.rawValue }.count })
        read = InputReading(forest)
    }

    @inline(__always)
    func prepare<Value: TreeScalar>(_ row: UnsafePointer<Value>, into out: UnsafeMutablePointer<Scalar>) {
        var at = 0
        for rule in TreeColumn.Rule.allCases {
            let end = ends.base[Int(rule.rawValue)]
            guard at < end else { continue }
            // A loop for each rule, so that none asks for it at every column.
            switch rule {
            case .missingLeft: fill(.missingLeft, row, at, end, out)
            case .missingRight: fill(.missingRight, row, at, end, out)
            case .missingIsZero: fill(.missingIsZero, row, at, end, out)
            default: fill(rule, row, at, end, out)
            }
            at = end
        }
    }

    @inline(__always)
    private func fill<Value: TreeScalar>(
        _ rule: TreeColumn.Rule, _ row: UnsafePointer<Value>, _ start: Int, _ end: Int, _ out: UnsafeMutablePointer<Scalar>
    ) {
        let features = features.base
        let read = read
        for i in start..<end {
            out[i] = rule.prepared(read(row[Int(features[i])]))
        }
    }
}
