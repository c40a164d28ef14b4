import Contracts

/// Gradient-boosted trees for the request path: evaluates models that XGBoost and LightGBM saved, without these libraries, with their own
/// arithmetic in their own order: XGBoost's in float32, LightGBM's in float64.
///
/// A model that loads is whole: no input leads out of its arrays or in circles, and its cost for a row is bounded. What is not supported is
/// refused by name. Predictions are the same to the last bit whether rows come alone or in a batch, and any number of threads may predict
/// at once.
public final class TreeEnsemble: Sendable {
    public enum Library: String, Sendable { case xgboost, lightgbm }

    /// Which iterations of boosting predict, in a model that was trained with early stopping.
    public enum Iterations: Sendable {
        /// All that are in the file, as XGBoost's own `Booster.predict` does.
        case all
        /// Those up to the best one, as XGBoost's scikit-learn interface predicts; all when the file names none.
        case best
    }

    public let library: Library
    /// The library's name of the objective: `binary:logistic`; LightGBM's with its parameters, `binary sigmoid:1`; empty for a LightGBM
    /// model with an objective of its own.
    public let objective: String
    /// What the values of a row are.
    public let output: ModelOutput
    /// How many values a row gives: 1, or one for each class, quantile or target.
    public let outputCount: Int
    /// 2 for a binary classifier; nil when the model does not classify.
    public let classCount: Int?
    public let featureCount: Int
    /// Empty when the model was trained without names. LightGBM writes names with underscores for spaces.
    public let featureNames: [String]
    /// The iteration with the best score, from 0, if XGBoost's early stopping recorded it. (LightGBM saves no trees after it.)
    public let bestIteration: Int?
    /// Of those that predict; 0 for a linear model.
    public let treeCount: Int
    /// How many nodes the walk for one row visits: what a prediction costs, whatever the row.
    public let stepsPerRow: Int
    private let evaluator: LoadedEnsemble.Evaluator

    /// Reads a model that XGBoost saved as JSON or UBJ; the bytes tell which.
    ///
    /// - Throws: `corrupted` for bytes that are no whole and consistent model; `invalidArgument` for XGBoost's old binary format and for
    ///   what is not supported, named.
    public convenience init(xgboost bytes: [UInt8], iterations: Iterations = .all) throws(KeelError) {
        self.init(.xgboost, try LoadedEnsemble(XGBoostDocument(bytes), iterations: iterations))
    }

    /// Reads a model that LightGBM saved as text (`model.txt`).
    ///
    /// - Throws: `corrupted` for bytes that are no whole and consistent model; `invalidArgument` for what is not supported, named.
    public convenience init(lightgbm bytes: [UInt8]) throws(KeelError) {
        self.init(.lightgbm, try LoadedEnsemble(LightGBMDocument(bytes)))
    }

    private init(_ library: Library, _ model: LoadedEnsemble) {
        self.library = library
        objective = model.objective
        output = model.output
        classCount = model.classCount
        featureCount = model.featureCount
        featureNames = model.featureNames
        bestIteration = model.bestIteration
        treeCount = model.treeCount
        evaluator = model.evaluator
        switch model.evaluator {
        case .float(let forest):
            outputCount = forest.outputCount
            stepsPerRow = forest.stepsPerRow
        case .double(let forest):
            outputCount = forest.outputCount
            stepsPerRow = forest.stepsPerRow
        case .linear(let linear):
            outputCount = linear.outputCount
            stepsPerRow = model.featureCount * linear.outputCount
        }
    }

    /// Predicts rows of `featureCount` values each, one after another; NaN is a missing value. Fills `outputCount` values a row, in the order
    /// in which the library gives them.
    ///
    /// This is exact for models of XGBoost, which reads its input as float32. For LightGBM give float64.
    /// - Throws: `invalidArgument` when the buffers do not hold whole rows, as many of each.
    public func predict(_ rows: UnsafeBufferPointer<Float>, into output: UnsafeMutableBufferPointer<Float>) throws(KeelError) {
        try run(rows, into: output)
    }

    /// The same for float64, which XGBoost's models round to float32 and LightGBM's take as it is.
    public func predict(_ rows: UnsafeBufferPointer<Double>, into output: UnsafeMutableBufferPointer<Double>) throws(KeelError) {
        try run(rows, into: output)
    }

    /// The prediction for one row, of a model with one output.
    ///
    /// - Throws: `invalidArgument` when the row has another length, or the model several outputs.
    public func predict(_ row: UnsafeBufferPointer<Float>) throws(KeelError) -> Float {
        var output: Float = 0
        let result: Result<Void, KeelError> = withUnsafeMutablePointer(to: &output) { pointer in
            do throws(KeelError) {
                return .success(try run(row, into: UnsafeMutableBufferPointer(start: pointer, count: 1)))
            } catch { return .failure(error) }
        }
        try result.get()
        return output
    }

    /// Predictions row by row, `outputCount` each.
    public func predict(_ matrix: FloatMatrix) throws(KeelError) -> [Float] {
        var out = [Float](repeating: 0, count: matrix.rowCount * outputCount)
        let result: Result<Void, KeelError> = out.withUnsafeMutableBufferPointer { out in
            matrix.values.withUnsafeBufferPointer { values in
                do throws(KeelError) {
                    guard matrix.columnCount == featureCount else {
                        throw .invalid("the model takes \(featureCount) features, the rows have \(matrix.columnCount)")
                    }
                    return .success(try run(values, into: out))
                } catch { return .failure(error) }
            }
        }
        try result.get()
        return out
    }

    @inline(__always)
    private func run<Value: TreeScalar>(_ rows: UnsafeBufferPointer<Value>, into output: UnsafeMutableBufferPointer<Value>)
        throws(KeelError)
    {
        let (count, rest) = rows.count == featureCount ? (1, 0) : rows.count.quotientAndRemainder(dividingBy: featureCount)
        guard rest == 0 else { throw .invalid("the model takes \(featureCount) features, there are \(rows.count) values") }
        guard output.count == count * outputCount else {
            throw .invalid("the model gives \(outputCount) values a row, there is room for \(output.count) for \(count) rows")
        }
        guard let rows = rows.baseAddress, let output = output.baseAddress else { return }
        switch evaluator {
        case .float(let forest): forest.predict(rows, count: count, into: output)
        case .double(let forest): forest.predict(rows, count: count, into: output)
        case .linear(let linear): linear.predict(rows, count: count, into: output)
        }
    }
}
