import Contracts

/// A tree as its file numbers the nodes: read, not yet checked. Both libraries' trees are laid out by `ForestBuilder` through this.
protocol SourceTree {
    associatedtype Scalar: TreeScalar
    /// Nodes are 0..<nodeCount; node 0 is the root.
    var nodeCount: Int { get }
    /// - Throws: `corrupted` or `invalidArgument` for a node that says nothing possible. The places it leads to are not checked.
    func node(_ index: Int) throws(KeelError) -> SourceNode<Scalar>
}

enum SourceNode<Scalar: TreeScalar> {
    case leaf(SourceLeaf<Scalar>)
    /// To `second` when the prepared value is at or above the threshold, otherwise to `first`.
    case threshold(TreeColumn, Scalar, first: Int, second: Int)
    /// To `second` when the category is in the set: bit `c % 32` of word `c / 32` for category c.
    case categories(TreeColumn, [UInt32], first: Int, second: Int)
}

enum SourceLeaf<Scalar: TreeScalar> {
    case value(Scalar)
    /// A value for each output.
    case vector(ArraySlice<Scalar>)
    /// A linear model: `constant` and the sum of feature × coefficient, or `otherwise` when one of the features is missing.
    case linear(constant: Scalar, features: ArraySlice<Int32>, coefficients: ArraySlice<Scalar>, otherwise: Scalar)
}
