import Contracts

/// What prediction needs to know of LightGBM's objectives, which the file names with their parameters: `binary sigmoid:1`.
struct LightGBMObjective {
    let transform: OutputTransform
    let output: ModelOutput
    var isBinary = false
    var isMultiClass = false

    init(_ text: String) throws(KeelError) {
        let words = text.split(separator: " ").map(String.init)
        let hasRoot = words.dropFirst().contains("sqrt")
        switch words.first ?? "" {
        case "regression", "regression_l1", "quantile", "mape", "fair":
            transform = hasRoot ? .signedSquare : .identity
            output = .value
        case "huber":
            transform = .identity
            output = .value
        case "poisson", "gamma", "tweedie":
            transform = .exponential
            output = .value
        case "binary":
            transform = .scaledLogistic(try LightGBMObjective.sigmoid(words))
            output = .probability
            isBinary = true
        case "multiclass":
            transform = .softmax
            output = .probability
            isMultiClass = true
        case "multiclassova":
            transform = .scaledLogistic(try LightGBMObjective.sigmoid(words))
            output = .probability
            isMultiClass = true
        case "cross_entropy":
            transform = .scaledLogistic(1)
            output = .value
        case "cross_entropy_lambda":
            transform = .softplus
            output = .value
        case "lambdarank", "rank_xendcg", "":
            transform = .identity
            output = .score
        case let name: throw ModelDamage.unsupported("objective '\(name.prefix(40))'")
        }
    }

    private static func sigmoid(_ words: [String]) throws(KeelError) -> Double {
        guard let word = words.first(where: { $0.hasPrefix("sigmoid:") }) else { return 1 }
        guard let value = Double(word.dropFirst("sigmoid:".count)), value.isFinite, value > 0 else {
            throw ModelDamage.error("its objective has the parameter \(word.prefix(40))")
        }
        return value
    }
}
