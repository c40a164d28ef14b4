import Contracts
import Engines
import Storage

/// A model in memory, checked against its signature and warmed. Immutable; any number of threads may predict at once.
public final class LoadedModel: Sendable {
    private enum Engine: Sendable {
        case trees(TreeEnsemble)
        case onnx(ONNXModel)
    }

    public let bundle: ModelBundle
    private let engine: Engine
    /// How many rows may be scored on an event loop: as many as take a fraction of a millisecond. 0 for a native model, whose time nobody knows.
    let inlineRowsMax: Int
    /// Nodes of trees that are visited in that time.
    private static let inlineStepsMax = 200_000
    /// How long a model may take for each prediction that warms it.
    private static let warmingMax = Duration.seconds(10)

    /// Loads, checks and warms. It blocks: call it away from event loops.
    /// - Throws: `corrupted` for bytes that are no whole model, `contractViolation` when it does not fit the signature, `engineMissing`,
    ///   `deadlineExceeded` for a model that does not answer.
    public init(_ bundle: ModelBundle, model bytes: [UInt8]) throws(KeelError) {
        self.bundle = bundle
        guard !bundle.signature.inputs.isEmpty else { throw KeelError(.contractViolation, "the signature has no inputs") }
        guard bytes.count == bundle.modelBytes else {
            throw KeelError(
                .corrupted, "the model file has \(bytes.count) bytes instead of \(bundle.modelBytes)",
                hint: "register and release the model again")
        }
        switch bundle.flavor {
        case .xgboost:
            let trees = try TreeEnsemble(xgboostJSON: bytes)
            guard trees.outputCount == 1 else {
                throw KeelError(.contractViolation, "the model gives \(trees.outputCount) values a row; one is served")
            }
            guard trees.featureCount == bundle.signature.inputs.count else {
                throw KeelError(
                    .contractViolation,
                    "the model takes \(trees.featureCount) features, its signature has \(bundle.signature.inputs.count) inputs")
            }
            let names = bundle.signature.inputs.map(\.name)
            guard trees.featureNames.isEmpty || trees.featureNames == names else {
                let i = zip(trees.featureNames, names).enumerated().first { $1.0 != $1.1 }?.offset ?? 0
                throw KeelError(
                    .contractViolation, "the model's feature \(i) is '\(trees.featureNames[i])', its signature says '\(names[i])'")
            }
            engine = .trees(trees)
            inlineRowsMax = LoadedModel.inlineStepsMax / max(1, trees.stepsPerRow)
        case .onnx:
            engine = .onnx(try ONNXModel(bytes: bytes))
            inlineRowsMax = 0
        }
        try warm()
    }

    /// Reads the bundle's model file and loads it off the cooperative threads.
    public static func load(_ digest: Digest, from objects: any ObjectStore) async throws -> LoadedModel {
        let bundle = try await ModelBundle.read(digest, from: objects)
        let bytes = try await objects.get(bundle.model)
        return try await Blocking.run { try LoadedModel(bundle, model: bytes) }
    }

    /// Scores `rows` rows of a row-major matrix with one column for each input of the signature; NaN is missing.
    /// - Parameter deadline: when a native model is ended. Trees have a bounded cost and take no notice of it.
    /// - Throws: `invalidArgument` for a matrix of another shape; `deadlineExceeded`; `internal` when the model gives something that is not a
    ///   finite number.
    public func predict(_ matrix: [Float], rows: Int, until deadline: ContinuousClock.Instant) throws(KeelError) -> [Float] {
        let width = bundle.signature.inputs.count
        guard rows > 0, matrix.count == rows * width else { throw .invalid("\(matrix.count) values are no \(rows) rows of \(width)") }
        var scores: [Float]
        switch engine {
        case .trees(let trees):
            var failure: KeelError?
            scores = [Float](unsafeUninitializedCapacity: rows) { out, count in
                matrix.withUnsafeBufferPointer { values in
                    for i in 0..<rows {
                        do throws(KeelError) {
                            out.initializeElement(
                                at: i, to: try trees.predict(UnsafeBufferPointer(rebasing: values[i * width..<(i + 1) * width])))
                        } catch {
                            failure = error
                            return
                        }
                        count = i + 1
                    }
                }
            }
            if let failure { throw failure }
        case .onnx(let model):
            let result: Result<[Float], KeelError> = matrix.withUnsafeBufferPointer { values in
                do throws(KeelError) {
                    return .success(try model.predict(values, rowCount: rows, until: deadline))
                } catch { return .failure(error) }
            }
            let all = try result.get()
            guard all.count.isMultiple(of: rows), all.count > 0 else {
                throw KeelError(.internal, "the model gave \(all.count) values for \(rows) rows")
            }
            // A classifier gives a column for each class: the last is the positive one.
            let columns = all.count / rows
            scores = columns == 1 ? all : (0..<rows).map { all[$0 * columns + columns - 1] }
        }
        guard scores.allSatisfy(\.isFinite) else { throw KeelError(.internal, "the model gave a score that is not a finite number") }
        return scores
    }

    /// Predicts a few rows, present and missing, so that the first caller meets no cold code or memory, and a model that cannot run is refused.
    private func warm() throws(KeelError) {
        let width = bundle.signature.inputs.count
        for value: Float in [0, 1, .nan] {
            // An ONNX model need not take missing values.
            if case .onnx = engine, value.isNaN { continue }
            for rows in [1, 8] {
                _ = try predict([Float](repeating: value, count: rows * width), rows: rows, until: .now + LoadedModel.warmingMax)
            }
        }
    }
}
