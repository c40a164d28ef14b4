import Contracts

/// Lays trees out for evaluation and checks them: every node is reached once at most, every place is inside its array, and the work for a
/// row is bounded.
struct ForestBuilder<Scalar: TreeScalar> {
    private var forest = Forest<Scalar>()
    private var columnNumbers: [TreeColumn: UInt32] = [:]
    private var setNumbers: [[UInt32]: UInt32] = [:]
    /// Linear leaves by node, until all nodes are known.
    private var linearLeaves: [Int: (constant: Scalar, terms: [(feature: UInt32, coefficient: Scalar)])] = [:]
    private var added = 0

    /// - Parameter baseMargins: where the sum of each output begins; there are as many outputs.
    /// - Parameter leafWidth: 1, or the number of outputs when each leaf has a value for every one.
    init(featureCount: Int, baseMargins: [Scalar], leafWidth: Int = 1, divisor: Scalar = 1, readsAsLightGBM: Bool = false) {
        forest.featureCount = featureCount
        forest.baseMargins = baseMargins
        forest.leafWidth = leafWidth
        forest.divisor = divisor
        forest.tinyIsZero = readsAsLightGBM
        forest.infinityIsFinite = readsAsLightGBM
    }

    /// Appends a tree.
    ///
    /// - Parameter output: the margin its leaves are added to; 0 when leaves have a value for every one.
    /// - Parameter isKept: false for a tree that is only checked.
    /// - Throws: `corrupted` for a tree that does not hold together; `invalidArgument` for one that is too large.
    mutating func add<Source: SourceTree>(_ tree: Source, output: Int, isKept: Bool = true) throws(KeelError)
    where Source.Scalar == Scalar {
        let number = added
        added += 1
        let nodeCount = forest.nodes.count
        do throws(KeelError) {
            try lay(tree, output: output)
        } catch {
            throw KeelError(error.code, "tree \(number): \(error.message)", hint: error.hint)
        }
        guard !isKept else { return }
        forest.nodes.removeLast(forest.nodes.count - nodeCount)
        forest.values.removeLast(forest.values.count - nodeCount * forest.leafWidth)
        forest.trees.removeLast()
    }

    private mutating func lay<Source: SourceTree>(_ tree: Source, output: Int) throws(KeelError) where Source.Scalar == Scalar {
        guard (0..<forest.baseMargins.count).contains(output) else { throw ModelDamage.error("it belongs to output \(output)") }
        let count = tree.nodeCount
        guard count > 0 else { throw ModelDamage.error("it has no nodes") }
        guard forest.nodes.count + count <= TreeLimits.nodesMax else {
            throw ModelDamage.unsupported("more than \(TreeLimits.nodesMax) nodes", hint: "train fewer or shallower trees")
        }
        var isReached = [Bool](repeating: false, count: count)
        isReached[0] = true
        let root = append()
        // The nodes that can be reached, one level after another, children side by side.
        var level = [(source: 0, target: root)]
        var depth: UInt32 = 0
        var leafCount: UInt32 = 0
        while true {
            var next: [(source: Int, target: Int)] = []
            for (source, target) in level {
                let children: (first: Int, second: Int)
                var node: Forest<Scalar>.Node
                switch try tree.node(source) {
                case .leaf(let leaf):
                    forest.nodes[target] = Forest.Node(threshold: .nan, column: 0, first: UInt32(target))
                    try set(leaf, of: target)
                    leafCount += 1
                    continue
                case .threshold(let column, let threshold, let first, let second):
                    guard !threshold.isNaN else { throw ModelDamage.error("node \(source) has no threshold") }
                    node = Forest.Node(threshold: threshold, column: try self.column(column, source), first: 0)
                    children = (first, second)
                case .categories(let column, let words, let first, let second):
                    node = Forest.Node(
                        threshold: try set(words), column: try self.column(column, source) | Forest<Scalar>.Node.isSet, first: 0)
                    children = (first, second)
                }
                for child in [children.first, children.second] {
                    guard isReached.indices.contains(child) else {
                        throw ModelDamage.error("node \(source) leads to node \(child) of \(count)")
                    }
                    guard !isReached[child] else { throw ModelDamage.error("node \(child) is reached twice: its nodes lead in a circle") }
                    isReached[child] = true
                }
                let child = append()
                _ = append()
                node.first = UInt32(child)
                forest.nodes[target] = node
                next.append((children.first, child))
                next.append((children.second, child + 1))
            }
            if next.isEmpty { break }
            depth += 1
            guard depth <= TreeLimits.levelsMax else {
                throw ModelDamage.unsupported(
                    "more than \(TreeLimits.levelsMax) levels", hint: "train with a smaller max_depth or max_leaves")
            }
            level = next
        }
        forest.trees.append(Forest.Tree(root: UInt32(root), depth: depth, output: UInt32(output), leafCount: leafCount))
    }

    private mutating func append() -> Int {
        forest.nodes.append(Forest.Node(threshold: .nan, column: 0, first: UInt32(forest.nodes.count)))
        forest.values.append(contentsOf: repeatElement(0, count: forest.leafWidth))
        return forest.nodes.count - 1
    }

    private mutating func set(_ leaf: SourceLeaf<Scalar>, of node: Int) throws(KeelError) {
        switch leaf {
        case .value(let value):
            guard forest.leafWidth == 1 else { throw ModelDamage.error("a leaf has one value instead of \(forest.leafWidth)") }
            try set(value, node)
        case .vector(let values):
            guard values.count == forest.leafWidth else {
                throw ModelDamage.error("a leaf has \(values.count) values instead of \(forest.leafWidth)")
            }
            for (k, value) in values.enumerated() { try set(value, node * forest.leafWidth + k) }
        case .linear(let constant, let features, let coefficients, let otherwise):
            try set(otherwise, node)
            try setLinear(node, constant, features, coefficients)
        }
    }

    private mutating func set(_ value: Scalar, _ place: Int) throws(KeelError) {
        guard value.isFinite else { throw ModelDamage.error("a leaf has the value \(value)") }
        forest.values[place] = value
    }

    private mutating func setLinear(
        _ node: Int, _ constant: Scalar, _ features: ArraySlice<Int32>, _ coefficients: ArraySlice<Scalar>
    ) throws(KeelError) {
        guard constant.isFinite, features.count == coefficients.count, coefficients.allSatisfy(\.isFinite) else {
            throw ModelDamage.error("a linear leaf has no valid coefficients")
        }
        var terms: [(feature: UInt32, coefficient: Scalar)] = []
        for (feature, coefficient) in zip(features, coefficients) {
            guard (0..<forest.featureCount).contains(Int(feature)) else {
                throw ModelDamage.error("a linear leaf uses feature \(feature) of \(forest.featureCount)")
            }
            terms.append((UInt32(feature), coefficient))
        }
        linearLeaves[node] = (constant, terms)
    }

    private mutating func column(_ column: TreeColumn, _ node: Int) throws(KeelError) -> UInt32 {
        guard column.feature < forest.featureCount else {
            throw ModelDamage.error("node \(node) uses feature \(column.feature) of \(forest.featureCount)")
        }
        if let number = columnNumbers[column] { return number }
        let number = UInt32(forest.columns.count)
        columnNumbers[column] = number
        forest.columns.append(column)
        return number
    }

    /// Where a set begins, as a threshold: exact below 2^24.
    private mutating func set(_ words: [UInt32]) throws(KeelError) -> Scalar {
        if let start = setNumbers[words] { return Scalar(start) }
        let start = forest.sets.count
        guard start + words.count < 1 << 24 else {
            throw ModelDamage.unsupported("more than \(1 << 24) words of category sets", hint: "encode the categories otherwise")
        }
        forest.sets.append(UInt32(words.count))
        forest.sets += words
        setNumbers[words] = UInt32(start)
        return Scalar(start)
    }

    /// The finished forest.
    ///
    /// - Throws: `invalidArgument` when a row costs too many steps.
    consuming func finish() throws(KeelError) -> Forest<Scalar> {
        let steps = forest.stepsPerRow
        guard steps <= TreeLimits.stepsPerRowMax else {
            throw ModelDamage.unsupported(
                "\(steps) steps for one row (\(forest.trees.count) trees); the limit is \(TreeLimits.stepsPerRowMax)",
                hint: "train fewer or shallower trees")
        }
        sortColumns()
        if !linearLeaves.isEmpty { layLinearLeaves() }
        return forest
    }

    /// Columns in the order of their rules; there is one at least, which leaves compare with nothing.
    private mutating func sortColumns() {
        if forest.columns.isEmpty { forest.columns = [TreeColumn(feature: 0, rule: .missingLeft)] }
        let order = forest.columns.indices.sorted {
            (forest.columns[$0].rule.rawValue, forest.columns[$0].feature) < (forest.columns[$1].rule.rawValue, forest.columns[$1].feature)
        }
        var places = [UInt32](repeating: 0, count: order.count)
        for (place, number) in order.enumerated() { places[number] = UInt32(place) }
        forest.columns = order.map { forest.columns[$0] }
        for i in forest.nodes.indices {
            let column = forest.nodes[i].column
            let flag = column & Forest<Scalar>.Node.isSet
            forest.nodes[i].column = places[Int(column & ~Forest<Scalar>.Node.isSet)] | flag
        }
    }

    private mutating func layLinearLeaves() {
        var leaves = Forest<Scalar>.LinearLeaves()
        for node in forest.nodes.indices {
            leaves.starts.append(UInt32(leaves.features.count))
            // A leaf that is a plain value is a linear model without terms.
            let leaf = linearLeaves[node]
            leaves.constants.append(leaf?.constant ?? forest.values[node])
            for term in leaf?.terms ?? [] {
                leaves.features.append(term.feature)
                leaves.coefficients.append(term.coefficient)
            }
        }
        leaves.starts.append(UInt32(leaves.features.count))
        forest.linear = leaves
    }
}

/// What a model may cost.
enum TreeLimits {
    /// A tree of more levels is refused. XGBoost's default is 6; trees grown leaf by leaf seldom pass 100.
    static let levelsMax = 256
    /// A model that visits more nodes for one row (some 10 ms) is refused.
    static let stepsPerRowMax = 1 << 22
    /// Of all trees: about 1 GiB of memory.
    static let nodesMax = 1 << 26
}

/// The errors of reading a model.
enum ModelDamage {
    static func error(_ what: String) -> KeelError { KeelError(.corrupted, "the model is damaged: \(what)") }

    static func unsupported(_ what: String, hint: String = "export it as ONNX and serve that") -> KeelError {
        .invalid("the model needs \(what), which is not supported", hint: hint)
    }
}
