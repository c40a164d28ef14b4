import Contracts

/// What prediction needs to know of XGBoost's objectives.
struct XGBoostObjective {
    let transform: OutputTransform
    let output: ModelOutput
    /// XGBoost keeps the base score as a prediction; margins begin with what would become that prediction.
    let baseMargin: (Float) -> Float
    let isMultiClass: Bool

    init(_ name: String) throws(KeelError) {
        switch name {
        case "binary:logistic": self.init(.logistic, .probability, baseMargin: XGBoostObjective.logOdds)
        case "reg:logistic": self.init(.logistic, .value, baseMargin: XGBoostObjective.logOdds)
        case "binary:logitraw": self.init(.identity, .score)
        case "binary:hinge": self.init(.hinge, .classNumber)
        case "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror",
            "reg:expectileerror":
            self.init(.identity, .value)
        case "count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft":
            self.init(.exponential, .value, baseMargin: Float.logarithm)
        case "rank:pairwise", "rank:ndcg", "rank:map": self.init(.identity, .score)
        case "multi:softprob": self.init(.softmax, .probability, isMultiClass: true)
        case "multi:softmax": self.init(.mostLikelyClass, .classNumber, isMultiClass: true)
        case "": throw ModelDamage.error("it has no objective")
        default: throw ModelDamage.unsupported("objective '\(name.prefix(40))'")
        }
    }

    private init(
        _ transform: OutputTransform, _ output: ModelOutput, baseMargin: @escaping (Float) -> Float = { $0 }, isMultiClass: Bool = false
    ) {
        self.transform = transform
        self.output = output
        self.baseMargin = baseMargin
        self.isMultiClass = isMultiClass
    }

    private static func logOdds(_ probability: Float) -> Float { -Float.logarithm(1 / probability - 1) }
}
