/// LightGBM's linear leaves: each is a linear model of some features.
final class LinearLeafTerms<Scalar: TreeScalar>: Sendable {
    private let starts: FixedArray<UInt32>
    private let constants: FixedArray<Scalar>
    private let features: FixedArray<UInt32>
    private let coefficients: FixedArray<Scalar>

    init(_ leaves: Forest<Scalar>.LinearLeaves) {
        starts = FixedArray(leaves.starts)
        constants = FixedArray(leaves.constants)
        features = FixedArray(leaves.features)
        coefficients = FixedArray(leaves.coefficients)
    }

    /// - Parameter otherwise: the value when one of the leaf's features is missing.
    func value<Value: TreeScalar>(of node: Int, _ row: UnsafePointer<Value>, otherwise: Scalar) -> Scalar {
        var sum = constants.base[node]
        for term in Int(starts.base[node])..<Int(starts.base[node + 1]) {
            let feature = row[Int(features.base[term])].rounded(to: Scalar.self)
            if feature.isNaN { return otherwise }
            // LightGBM reads numbers next to 0 as 0.
            if feature.magnitude > Scalar(TreeColumn.zeroMax) { sum += coefficients.base[term] * feature }
        }
        return sum
    }
}
