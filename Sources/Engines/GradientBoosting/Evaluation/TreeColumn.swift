/// What nodes compare: a feature, prepared so that the comparison `value >= threshold` alone sends missing values to the side they belong on.
///
/// A row is prepared once for all trees. Nodes that treat a missing value of the same feature differently have columns of their own.
struct TreeColumn: Hashable, Sendable {
    /// How a value is prepared. In the order in which a forest keeps its columns.
    enum Rule: UInt8, CaseIterable, Sendable {
        /// NaN goes left: it stays NaN, which is never at or above a threshold.
        case missingLeft
        /// NaN goes right: it becomes infinity, which always is.
        case missingRight
        /// NaN is the number 0 (LightGBM's missing type None).
        case missingIsZero
        /// NaN and 0 go left (LightGBM's missing type Zero).
        case zeroLeft
        /// NaN and 0 go right.
        case zeroRight
        /// The number of a category; NaN and numbers that are no category are in no set.
        case category
        /// The number of a category; NaN is in every set.
        case categoryMissingRight
        /// The same for LightGBM, where a category is a 32-bit integer.
        case wideCategory
    }

    var feature: UInt32
    var rule: Rule

    /// A category that is in no set, and one that is in every set.
    static let inNoSet = -1
    static let inEverySet = -2
    /// LightGBM takes numbers as near to 0 as this (a float32) for 0.
    static let zeroMax = Double(1e-35 as Float)
}

extension TreeColumn.Rule {
    var isCategory: Bool { self == .category || self == .categoryMissingRight || self == .wideCategory }

    /// The value as nodes of a column with this rule compare it.
    @inline(__always)
    func prepared<Scalar: TreeScalar>(_ value: Scalar) -> Scalar {
        switch self {
        case .missingLeft: value
        case .missingRight: value.isNaN ? .infinity : value
        case .missingIsZero: value.isNaN ? 0 : value
        case .zeroLeft: value.isNaN || value == 0 ? .nan : value
        case .zeroRight: value.isNaN || value == 0 ? .infinity : value
        case .category: TreeColumn.Rule.category(value, isInside: value >= 0 && value < 0x1p24)
        case .categoryMissingRight:
            value.isNaN ? Scalar(TreeColumn.inEverySet) : TreeColumn.Rule.category(value, isInside: value >= 0 && value < 0x1p24)
        case .wideCategory: TreeColumn.Rule.category(value, isInside: value > -1 && value < 0x1p31)
        }
    }

    /// Both libraries cut a fraction off.
    @inline(__always)
    private static func category<Scalar: TreeScalar>(_ value: Scalar, isInside: Bool) -> Scalar {
        isInside ? value.rounded(.towardZero) : Scalar(TreeColumn.inNoSet)
    }
}
