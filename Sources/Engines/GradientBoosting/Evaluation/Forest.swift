import Contracts

/// Trees laid out for evaluation, in a library's own arithmetic. `ForestBuilder` makes it and checks that no walk can leave its arrays or go
/// in circles.
///
/// A row is evaluated by walking several trees in step, so that their loads from memory overlap; a batch by `BlockPlan`, or where that
/// does not fit by walking several rows through one tree. All three add the same leaves in the same order: the order of the trees.
struct Forest<Scalar: TreeScalar>: Sendable {
    /// The second child lies behind the first. A leaf leads to itself: its threshold is NaN, which no value reaches, so that trees of unlike
    /// depth can be walked in step.
    struct Node: Sendable {
        /// What is compared with the column's value; in a node with a set of categories, where in `sets` that begins.
        var threshold: Scalar
        /// The highest bit says that it is a set.
        var column: UInt32
        var first: UInt32

        static var isSet: UInt32 { 1 << 31 }
    }

    struct Tree: Sendable {
        var root: UInt32
        var depth: UInt32
        /// The margin that its leaves are added to.
        var output: UInt32
        var leafCount: UInt32
    }

    /// LightGBM's linear leaves: those of node i are the terms from `starts[i]` to `starts[i + 1]`.
    struct LinearLeaves: Sendable {
        var starts: [UInt32] = []
        var constants: [Scalar] = []
        var features: [UInt32] = []
        var coefficients: [Scalar] = []
    }

    var featureCount = 0
    /// In the order of their rules.
    var columns: [TreeColumn] = []
    var nodes: [Node] = []
    /// `leafWidth` for each node; those of inner nodes are 0.
    var values: [Scalar] = []
    var leafWidth = 1
    var trees: [Tree] = []
    /// Sets of categories: a number of words, then the words.
    var sets: [UInt32] = []
    var linear: LinearLeaves?
    /// Where the sum of each output begins.
    var baseMargins: [Scalar] = []
    /// The sums are divided by this: the number of trees in LightGBM's random forests.
    var divisor: Scalar = 1
    /// Numbers next to 0 are 0, as LightGBM reads its input.
    var tinyIsZero = false
    /// Infinity compares as the largest finite number. Missing values become infinity, and in LightGBM some splits have only them on
    /// one side: their threshold is infinite.
    var infinityIsFinite = false

    var hasSets: Bool { !sets.isEmpty }
    /// How many nodes the walk for one row visits, whatever the row.
    var stepsPerRow: Int {
        stride(from: 0, to: trees.count, by: Lanes.count).reduce(0) { steps, i in
            let group = trees[i..<min(i + Lanes.count, trees.count)]
            return steps + group.count * Int(group.map(\.depth).max() ?? 0)
        }
    }
}
