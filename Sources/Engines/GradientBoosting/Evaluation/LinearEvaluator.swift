import Contracts

/// XGBoost's `gblinear`: a weighted sum of the features for each output; missing values add nothing.
final class LinearEvaluator: Sendable {
    /// For each feature the weights of all outputs, then the biases.
    private let weights: FixedArray<Float>
    private let baseMargins: FixedArray<Float>
    private let featureCount: Int
    private let transform: OutputTransform
    let outputCount: Int

    init(weights: [Float], featureCount: Int, baseMargins: [Float], transform: OutputTransform) throws(KeelError) {
        let (count, overflow) = (featureCount + 1).multipliedReportingOverflow(by: baseMargins.count)
        guard !overflow, weights.count == count, weights.allSatisfy(\.isFinite) else {
            throw ModelDamage.error("it has \(weights.count) weights for \(featureCount) features and \(baseMargins.count) outputs")
        }
        self.weights = FixedArray(weights)
        self.baseMargins = FixedArray(baseMargins)
        self.featureCount = featureCount
        self.transform = transform
        outputCount = transform.outputCount(margins: baseMargins.count)
    }

    func predict<Value: TreeScalar>(_ rows: UnsafePointer<Value>, count: Int, into output: UnsafeMutablePointer<Value>) {
        let groups = baseMargins.count
        let biases = weights.base + featureCount * groups
        withUnsafeTemporaryAllocation(of: Float.self, capacity: groups) { scratch in
            guard let margins = scratch.baseAddress else { return }
            for r in 0..<count {
                let row = rows + r * featureCount
                for g in 0..<groups { margins[g] = biases[g] + baseMargins.base[g] }
                for f in 0..<featureCount {
                    let value = row[f].rounded(to: Float.self)
                    if value.isNaN { continue }
                    for g in 0..<groups { margins[g] += value * weights.base[f * groups + g] }
                }
                transform.apply(margins, stride: 1, count: groups, into: output + r * outputCount)
            }
        }
    }
}
