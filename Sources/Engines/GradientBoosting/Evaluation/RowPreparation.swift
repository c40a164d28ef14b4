/// Turns a row into the values that nodes compare: one for each column of a forest.
final class RowPreparation<Scalar: TreeScalar>: Sendable {
    private let features: FixedArray<UInt32>
    /// The columns of rule r are those from `ends[r - 1]` to `ends[r]`.
    private let ends: FixedArray<Int>
    /// Numbers up to this one, of either sign, are 0; -1 when none are.
    private let tinyMax: Scalar
    var count: Int { features.count }

    init(_ forest: Forest<Scalar>) {
        features = FixedArray(forest.columns.map(\.feature))
        ends = FixedArray(
            TreeColumn.Rule.allCases.map { rule in forest.columns.prefix { $0.rule.rawValue <= rule.rawValue }.count })
        tinyMax = forest.tinyIsZero ? Scalar(TreeColumn.zeroMax) : -1
    }

    @inline(__always)
    static func read<Value: TreeScalar>(_ value: Value, tinyMax: Scalar) -> Scalar {
        let read = value.rounded(to: Scalar.self)
        return read.magnitude <= tinyMax ? 0 : read
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
        let tinyMax = tinyMax
        for i in start..<end {
            out[i] = rule.prepared(RowPreparation.read(row[Int(features[i])], tinyMax: tinyMax))
        }
    }
}
