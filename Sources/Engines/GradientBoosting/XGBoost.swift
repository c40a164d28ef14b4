import CGradientBoosting
import Contracts

/// Training of gradient-boosted trees with XGBoost.
public enum XGBoost {
    /// Rows to train on, or to measure on while training.
    public struct Examples: Sendable {
        public var matrix: FloatMatrix
        /// One for each row: the class number, 0 or 1, or the number to predict.
        public var labels: [Float]
        /// How much each row counts; nil is 1 for all.
        public var weights: [Float]?

        public init(matrix: FloatMatrix, labels: [Float], weights: [Float]? = nil) {
            (self.matrix, self.labels, self.weights) = (matrix, labels, weights)
        }
    }

    /// A finished round of training.
    public struct Round: Sendable {
        /// From 0.
        public let index: Int
        /// XGBoost's evaluation metrics, such as `train-logloss` and `validation-logloss`.
        public let metrics: [String: Double]
    }

    /// Trains a model and returns it in XGBoost's own JSON format. One thread unless `nthread` says otherwise. With one thread the bytes
    /// are the same for the same input and `seed`.
    ///
    /// - Parameters:
    ///   - featureNames: kept in the model; nil or one for each column.
    ///   - parameters: XGBoost's, by its own names (`objective`, `max_depth`, `eta`, `seed` …).
    ///   - progress: called after each round on the calling thread. Metrics are computed each round, which costs a prediction.
    ///   - shouldStop: asked before each round.
    /// - Throws: `invalidArgument` for a parameter that XGBoost does not know, with its message; `cancelled` when `shouldStop` said so;
    ///   `engineMissing`.
    public static func train(
        _ training: Examples, validation: Examples? = nil, featureNames: [String]? = nil, parameters: [String: String], rounds: Int,
        progress: ((Round) -> Void)? = nil, shouldStop: () -> Bool = { false }
    ) throws(KeelError) -> [UInt8] {
        guard rounds > 0 else { throw .invalid("training takes at least one round, not \(rounds)") }
        let library = try XGBoostLibrary.shared.get()
        let api = library.api
        withUnsafePointer(to: api) { keel_xgboost_capture_log($0) }
        let matrix = try BoosterMatrix(library, training)
        let held = try validation.map { examples throws(KeelError) in try BoosterMatrix(library, examples) }
        let booster = try Booster(library, caching: [matrix, held].compactMap(\.self))
        if let featureNames {
            guard featureNames.count == training.matrix.columnCount else {
                throw .invalid("\(training.matrix.columnCount) columns have \(featureNames.count) feature names")
            }
            try booster.setFeatureNames(featureNames)
        }
        var all = ["nthread": "1", "verbosity": "1", "validate_parameters": "true"]
        all.merge(parameters) { _, given in given }
        for (name, value) in all.sorted(by: { $0.key < $1.key }) {
            try library.check(api.booster_set_param(booster.handle, name, value)) { "parameter \(name): \($0)" }
        }
        for index in 0..<rounds {
            if shouldStop() { throw KeelError(.cancelled, "training was stopped after \(index) of \(rounds) rounds") }
            try library.check(api.booster_update_one_iter(booster.handle, Int32(index), matrix.handle))
            if index == 0 { try refuseUnknownParameters() }
            if let progress { progress(Round(index: index, metrics: try booster.evaluate(index, training: matrix, validation: held))) }
        }
        return try booster.saved()
    }

    /// XGBoost only warns about parameters that it does not use; a setting must never be ignored silently.
    private static func refuseUnknownParameters() throws(KeelError) {
        let log = String(cString: keel_xgboost_captured_log())
        guard let end = log.firstRange(of: "} are not used"), let start = log[..<end.lowerBound].lastIndex(of: "{") else { return }
        let names = log[log.index(after: start)..<end.lowerBound].trimmingSpaces
        throw .invalid(
            "XGBoost does not know or does not use: \(names)", hint: "see XGBoost's parameters for this objective and tree method")
    }
}

/// A trained XGBoost model in XGBoost itself, for batches and explanations. On the request path use `TreeEnsemble`.
///
/// `@unchecked Sendable`: XGBoost's handle is used under `lock` only.
public final class XGBoostModel: @unchecked Sendable {
    private let library: XGBoostLibrary
    private let booster: Booster
    private let lock = NativeLock()
    public let featureCount: Int
    /// How many values a row gives: 1, or the number of classes.
    public let outputCount: Int

    /// Loads a model that XGBoost saved as JSON. It is checked first, since XGBoost trusts what it reads.
    ///
    /// - Throws: `corrupted` for bytes that are no whole model; `invalidArgument` for a kind of model that Keel does not run.
    public init(bytes: [UInt8]) throws(KeelError) {
        let checked = try TreeEnsemble(xgboost: bytes)
        featureCount = checked.featureCount
        outputCount = checked.outputCount
        library = try XGBoostLibrary.shared.get()
        booster = try Booster(library, caching: [])
        let state = bytes.withUnsafeBytes { library.api.booster_load_from_buffer(booster.handle, $0.baseAddress, UInt64($0.count)) }
        guard state == 0 else { throw KeelError(.corrupted, "XGBoost cannot load the model: \(library.lastError)") }
        try library.check(library.api.booster_set_param(booster.handle, "nthread", "1"))
    }

    /// Predictions row by row, `outputCount` each.
    public func predict(_ matrix: FloatMatrix) throws(KeelError) -> [Float] { try run(matrix, kind: 0) }

    /// Sums of the leaves before the objective's transformation (log-odds for `binary:logistic`).
    public func margins(_ matrix: FloatMatrix) throws(KeelError) -> [Float] { try run(matrix, kind: 1) }

    /// SHAP values by TreeSHAP (Lundberg et al., 2018): for each row, and for each output, `featureCount` contributions and the bias.
    /// They add up to the margin.
    public func contributions(_ matrix: FloatMatrix) throws(KeelError) -> [Float] { try run(matrix, kind: 2) }

    /// The average gain of each feature's splits, the largest first; features that no split uses are not in it.
    public func gains() throws(KeelError) -> [(feature: String, gain: Double)] {
        lock.lock()
        defer { lock.unlock() }
        var (count, dimensions): (UInt64, UInt64) = (0, 0)
        var features: UnsafePointer<UnsafePointer<CChar>?>?
        var shape: UnsafePointer<UInt64>?
        var scores: UnsafePointer<Float>?
        try library.check(
            library.api.booster_feature_score(
                booster.handle, #"{"importance_type": "gain"}"#, &count, &features, &dimensions, &shape, &scores))
        var out: [(feature: String, gain: Double)] = []
        for i in 0..<Int(count) {
            if let name = features?[i], let score = scores?[i] { out.append((String(cString: name), Double(score))) }
        }
        return out.sorted { ($1.gain, $0.feature) < ($0.gain, $1.feature) }
    }

    private func run(_ matrix: FloatMatrix, kind: Int) throws(KeelError) -> [Float] {
        guard matrix.columnCount == featureCount else {
            throw .invalid("the model takes \(featureCount) features, the rows have \(matrix.columnCount)")
        }
        guard matrix.rowCount > 0 else { return [] }
        lock.lock()
        defer { lock.unlock() }
        let data = try BoosterMatrix(library, matrix)
        // XGBoost is given the bare handle, which does not keep the matrix alive.
        defer { withExtendedLifetime(data) {} }
        let config = #"{"type": \#(kind), "training": false, "iteration_begin": 0, "iteration_end": 0, "strict_shape": true}"#
        var dimensions: UInt64 = 0
        var shape: UnsafePointer<UInt64>?
        var result: UnsafePointer<Float>?
        try library.check(library.api.booster_predict(booster.handle, data.handle, config, &shape, &dimensions, &result))
        var count = 1
        for i in 0..<Int(dimensions) { count *= Int(shape?[i] ?? 0) }
        return Array(UnsafeBufferPointer(start: result, count: count))
    }
}

extension Substring {
    fileprivate var trimmingSpaces: String {
        String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }
}
