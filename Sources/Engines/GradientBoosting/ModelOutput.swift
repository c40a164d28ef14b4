/// What the values are that a model gives for a row.
public enum ModelOutput: Sendable, Equatable {
    /// The chance of class 1, one value; or of each class in turn.
    case probability
    /// The number of the most likely class, from 0; one value.
    case classNumber
    /// In the unit of the labels: a regression, a count, a quantile, a rate.
    case value
    /// A number without a unit: a ranking score, log-odds, or the raw sum of a model with an objective of its own.
    case score
}

/// A model read from its file, for either library: what `TreeEnsemble` is made of.
struct LoadedEnsemble {
    var objective: String
    var output: ModelOutput
    var classCount: Int?
    var featureNames: [String]
    var featureCount: Int
    var treeCount: Int
    var bestIteration: Int?
    var evaluator: Evaluator

    enum Evaluator: Sendable {
        case float(ForestEvaluator<Float>)
        case double(ForestEvaluator<Double>)
        case linear(LinearEvaluator)
    }
}
