/// How the sums of the leaves become predictions, in the arithmetic of the library that trained the model.
enum OutputTransform: Sendable, Equatable {
    case identity
    /// XGBoost's sigmoid, which keeps clear of infinity.
    case logistic
    /// LightGBM's sigmoid; of several outputs, each for itself.
    case scaledLogistic(Double)
    case exponential
    /// log(1 + exp(x)).
    case softplus
    /// The square with its sign: LightGBM's `reg_sqrt`.
    case signedSquare
    /// 1 above 0, otherwise 0.
    case hinge
    case softmax
    /// The number of the class with the highest margin; the first of equals.
    case mostLikelyClass

    func outputCount(margins: Int) -> Int { self == .mostLikelyClass ? 1 : margins }

    /// The prediction from one margin. (Of one class alone, for the last two.)
    @inline(__always)
    func apply<Scalar: TreeScalar>(_ margin: Scalar) -> Scalar {
        switch self {
        case .identity: margin
        case .logistic: 1 / (Scalar.exponential(min(-margin, 88.7)) + 1 + 1e-16)
        case .scaledLogistic(let scale): 1 / (1 + Scalar.exponential(-Scalar(scale) * margin))
        case .exponential: Scalar.exponential(margin)
        case .softplus: Scalar.logarithmOfOnePlus(Scalar.exponential(margin))
        case .signedSquare: margin < 0 ? -margin * margin : margin * margin
        case .hinge: margin > 0 ? 1 : 0
        case .softmax: 1
        case .mostLikelyClass: 0
        }
    }

    /// The predictions from several margins, `stride` apart.
    func apply<Scalar: TreeScalar, Value: TreeScalar>(
        _ margins: UnsafeMutablePointer<Scalar>, stride: Int, count: Int, into output: UnsafeMutablePointer<Value>
    ) {
        guard self == .softmax || self == .mostLikelyClass else {
            for i in 0..<count { output[i] = apply(margins[i * stride]).rounded(to: Value.self) }
            return
        }
        var best = 0
        for i in 1..<max(1, count) where margins[i * stride] > margins[best * stride] { best = i }
        if self == .mostLikelyClass {
            output[0] = Value(best)
            return
        }
        // As both libraries do: exponentials in the precision of the margins, their sum in float64.
        let highest = margins[best * stride]
        var sum = 0.0
        for i in 0..<count {
            let weight = Scalar.exponential(margins[i * stride] - highest)
            margins[i * stride] = weight
            sum += weight.rounded(to: Double.self)
        }
        let total = Scalar(sum)
        for i in 0..<count { output[i] = (margins[i * stride] / total).rounded(to: Value.self) }
    }
}
