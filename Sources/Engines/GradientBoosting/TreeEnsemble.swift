import Contracts
import Glibc

/// Gradient-boosted trees for the request path: evaluates a model that XGBoost saved, without XGBoost, with the same float32
/// arithmetic in the same order, and without allocation.
///
/// `@unchecked Sendable`: the node buffer is written in `init` and only read afterwards.
public final class TreeEnsemble: @unchecked Sendable {
    /// One node in 16 bytes. The right child lies behind the left one. A leaf leads to itself: its threshold is NaN, which no value
    /// reaches, so that trees of unlike depth can be walked in step.
    private struct Node {
        var threshold: Float
        var value: Float
        /// The column to compare; the highest bit says that a missing value goes right.
        var feature: UInt32
        var left: UInt32
    }

    private struct Tree {
        var root: UInt32
        var depth: UInt32
        var output: UInt32
    }

    /// How the sums of the leaves become predictions.
    private enum Transform {
        case identity, logistic, exponential, softmax, mostLikelyClass
    }

    /// XGBoost's name of the objective: `binary:logistic`.
    public let objective: String
    public let featureCount: Int
    /// How many values a row gives: 1, or the number of classes.
    public let outputCount: Int
    /// Empty when the model was trained without names.
    public let featureNames: [String]
    public var treeCount: Int { trees.count }
    /// How many nodes the walk for one row visits: what a prediction costs, whatever the row.
    public let stepsPerRow: Int
    /// A tree of more levels is refused. XGBoost's default is 6; trees grown leaf by leaf seldom pass 100.
    static let levelsMax = 256
    /// A model that visits more nodes for one row (some 10 ms) is refused.
    static let stepsPerRowMax = 1 << 22
    /// Of all trees: 1 GiB of memory.
    static let nodesMax = 1 << 26

    private let transform: Transform
    /// Sums: 1, or one for each class.
    private let groupCount: Int
    private let baseMargins: [Float]
    private let trees: [Tree]
    private let nodes: UnsafeMutableBufferPointer<Node>

    /// Reads a model in XGBoost's JSON format and checks all of it: a model that loads cannot lead out of its arrays or in circles.
    ///
    /// - Throws: `corrupted` for bytes that are no whole and consistent model; `invalidArgument` for a kind of model that is not
    ///   supported (DART, linear, categorical splits, vector leaves, other objectives).
    public init(xgboostJSON bytes: [UInt8]) throws(KeelError) {
        let document = try XGBoostDocument(bytes)
        guard document.booster == "gbtree" else {
            if document.booster.isEmpty { throw TreeEnsemble.corrupted("it has no booster") }
            throw TreeEnsemble.unsupported("booster '\(document.booster.prefix(40))'")
        }
        let transform = try TreeEnsemble.transform(document.objective)
        let groupCount = max(1, document.classCount)
        guard document.featureCount > 0 else { throw TreeEnsemble.corrupted("it has no features") }
        guard document.targetCount <= 1 else { throw TreeEnsemble.unsupported("several targets") }
        guard groupCount <= max(1, document.trees.count), groupCount == 1 || transform == .softmax || transform == .mostLikelyClass else {
            throw TreeEnsemble.corrupted("\(groupCount) classes do not fit \(document.trees.count) trees of \(document.objective)")
        }
        guard document.featureNames.isEmpty || document.featureNames.count == document.featureCount else {
            throw TreeEnsemble.corrupted("\(document.featureCount) features have \(document.featureNames.count) names")
        }
        guard document.treeGroups.count == document.trees.count else {
            throw TreeEnsemble.corrupted("tree_info does not have one entry a tree")
        }
        baseMargins = try TreeEnsemble.baseMargins(document.baseScores, transform, count: groupCount)
        var flat: [Node] = []
        var trees: [Tree] = []
        for (index, (tree, group)) in zip(document.trees, document.treeGroups).enumerated() {
            guard (0..<groupCount).contains(group) else { throw TreeEnsemble.corrupted("tree \(index) belongs to class \(group)") }
            do throws(KeelError) {
                let (root, depth) = try TreeEnsemble.flatten(tree, featureCount: document.featureCount, into: &flat)
                trees.append(Tree(root: root, depth: depth, output: UInt32(group)))
            } catch {
                throw KeelError(error.code, "tree \(index): \(error.message)", hint: error.hint)
            }
        }
        // Four trees are walked in step, as deep as the deepest of them.
        let steps = stride(from: 0, to: trees.count, by: 4).reduce(0) { steps, i in
            let group = trees[i..<min(i + 4, trees.count)]
            return steps + group.count * Int(group.map(\.depth).max() ?? 0)
        }
        guard steps <= TreeEnsemble.stepsPerRowMax else {
            throw TreeEnsemble.unsupported(
                "\(steps) steps for one row (\(trees.count) trees); the limit is \(TreeEnsemble.stepsPerRowMax)",
                hint: "train fewer or shallower trees")
        }
        stepsPerRow = steps
        nodes = .allocate(capacity: flat.count)
        _ = nodes.initialize(from: flat)
        self.trees = trees
        self.transform = transform
        self.groupCount = groupCount
        outputCount = transform == .softmax ? groupCount : 1
        featureCount = document.featureCount
        featureNames = document.featureNames
        objective = document.objective
    }

    deinit { nodes.deallocate() }

    /// The prediction for one row of `featureCount` values (NaN = missing), of a model with one output.
    ///
    /// - Throws: `invalidArgument` when the row has another length, or the model several outputs.
    public func predict(_ row: UnsafeBufferPointer<Float>) throws(KeelError) -> Float {
        if groupCount == 1 {
            try check(row, outputs: 1)
            var margin = baseMargins[0]
            withUnsafeMutablePointer(to: &margin) { addLeaves(row, to: $0) }
            return finish(margin)
        }
        return try withUnsafeTemporaryAllocation(of: Float.self, capacity: 1) { output throws(KeelError) in
            try predict(row, into: output)
            return output[0]
        }
    }

    /// The predictions for one row of `featureCount` values (NaN = missing), `outputCount` of them.
    ///
    /// - Throws: `invalidArgument` when a buffer has another length.
    public func predict(_ row: UnsafeBufferPointer<Float>, into output: UnsafeMutableBufferPointer<Float>) throws(KeelError) {
        try check(row, outputs: output.count)
        guard groupCount > 1 else {
            var margin = baseMargins[0]
            withUnsafeMutablePointer(to: &margin) { addLeaves(row, to: $0) }
            output[0] = finish(margin)
            return
        }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: groupCount) { margins in
            _ = margins.initialize(from: baseMargins)
            if let start = margins.baseAddress { addLeaves(row, to: start) }
            finish(margins, into: output)
        }
    }

    /// Predictions row by row, `outputCount` each.
    public func predict(_ matrix: FloatMatrix) throws(KeelError) -> [Float] {
        var out = [Float](repeating: 0, count: matrix.rowCount * outputCount)
        let result: Result<Void, KeelError> = out.withUnsafeMutableBufferPointer { out in
            matrix.values.withUnsafeBufferPointer { values in
                do throws(KeelError) {
                    for i in 0..<matrix.rowCount {
                        let row = UnsafeBufferPointer(rebasing: values[i * matrix.columnCount..<(i + 1) * matrix.columnCount])
                        try predict(row, into: UnsafeMutableBufferPointer(rebasing: out[i * outputCount..<(i + 1) * outputCount]))
                    }
                    return .success(())
                } catch { return .failure(error) }
            }
        }
        try result.get()
        return out
    }

    private func check(_ row: UnsafeBufferPointer<Float>, outputs: Int) throws(KeelError) {
        guard row.count == featureCount else { throw .invalid("the model takes \(featureCount) features, the row has \(row.count)") }
        guard outputs == outputCount else { throw .invalid("the model gives \(outputCount) values a row, there is room for \(outputs)") }
    }

    /// Adds each tree's leaf to its output's margin, in the order of the trees. Four trees are walked in step, so that their loads from
    /// memory overlap.
    @inline(__always)
    private func addLeaves(_ row: UnsafeBufferPointer<Float>, to margins: UnsafeMutablePointer<Float>) {
        guard let nodes = UnsafePointer(nodes.baseAddress), let row = row.baseAddress else { return }
        @inline(__always) func step(_ at: UInt32) -> UInt32 {
            let node = nodes[Int(at)]
            let value = row[Int(node.feature & 0x7FFF_FFFF)]
            let right: UInt32 = value >= node.threshold ? 1 : 0
            let missing: UInt32 = value != value ? 1 : 0
            return node.left &+ (right | (missing & node.feature >> 31))
        }
        trees.withUnsafeBufferPointer { trees in
            var i = 0
            while i &+ 4 <= trees.count {
                var (a, b, c, d) = (trees[i].root, trees[i &+ 1].root, trees[i &+ 2].root, trees[i &+ 3].root)
                let depth = max(max(trees[i].depth, trees[i &+ 1].depth), max(trees[i &+ 2].depth, trees[i &+ 3].depth))
                for _ in 0..<depth { (a, b, c, d) = (step(a), step(b), step(c), step(d)) }
                margins[Int(trees[i].output)] += nodes[Int(a)].value
                margins[Int(trees[i &+ 1].output)] += nodes[Int(b)].value
                margins[Int(trees[i &+ 2].output)] += nodes[Int(c)].value
                margins[Int(trees[i &+ 3].output)] += nodes[Int(d)].value
                i &+= 4
            }
            while i < trees.count {
                var at = trees[i].root
                for _ in 0..<trees[i].depth { at = step(at) }
                margins[Int(trees[i].output)] += nodes[Int(at)].value
                i &+= 1
            }
        }
    }

    private func finish(_ margin: Float) -> Float {
        switch transform {
        case .logistic: 1 / (expf(min(-margin, 88.7)) + 1 + 1e-16)
        case .exponential: expf(margin)
        case .softmax: 1
        case .mostLikelyClass: 0
        case .identity: margin
        }
    }

    private func finish(_ margins: UnsafeMutableBufferPointer<Float>, into output: UnsafeMutableBufferPointer<Float>) {
        var best = 0
        for i in 1..<margins.count where margins[i] > margins[best] { best = i }
        if transform == .mostLikelyClass {
            output[0] = Float(best)
            return
        }
        // As XGBoost: exponentials in float32, their sum in float64.
        let highest = margins[best]
        var sum = 0.0
        for i in 0..<margins.count {
            output[i] = expf(margins[i] - highest)
            sum += Double(output[i])
        }
        for i in 0..<margins.count { output[i] /= Float(sum) }
    }

    // MARK: - loading

    private static func transform(_ objective: String) throws(KeelError) -> Transform {
        switch objective {
        case "binary:logistic", "reg:logistic": return .logistic
        case "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror", "binary:logitraw", "rank:pairwise",
            "rank:ndcg",
            "rank:map":
            return .identity
        case "count:poisson", "reg:gamma", "reg:tweedie": return .exponential
        case "multi:softprob": return .softmax
        case "multi:softmax": return .mostLikelyClass
        case "": throw corrupted("it has no objective")
        default: throw unsupported("objective '\(objective.prefix(40))'")
        }
    }

    /// XGBoost keeps the base score as a prediction; margins start from its inverse.
    private static func baseMargins(_ scores: [Float], _ transform: Transform, count: Int) throws(KeelError) -> [Float] {
        guard scores.count == 1 || scores.count == count else { throw corrupted("it has \(scores.count) base scores for \(count) outputs") }
        var margins: [Float] = []
        for score in scores.count == 1 ? Array(repeating: scores[0], count: count) : scores {
            let margin: Float =
                switch transform {
                case .logistic: -logf(1 / score - 1)
                case .exponential: logf(score)
                default: score
                }
            guard margin.isFinite else { throw corrupted("base score \(score) is not possible") }
            margins.append(margin)
        }
        return margins
    }

    /// Lays the nodes that can be reached one level after another, children side by side.
    private static func flatten(
        _ tree: XGBoostDocument.Tree, featureCount: Int, into flat: inout [Node]
    ) throws(KeelError) -> (root: UInt32, depth: UInt32) {
        let count = tree.left.count
        guard count > 0, tree.right.count == count, tree.features.count == count, tree.conditions.count == count,
            tree.defaultLeft.count == count,
            tree.parents.count == count, tree.splitTypes.isEmpty || tree.splitTypes.count == count
        else { throw corrupted("its arrays differ in length") }
        guard tree.leafVectorSize <= 1 else { throw unsupported("vector leaves") }
        guard flat.count + count <= nodesMax else {
            throw unsupported("more than \(nodesMax) nodes", hint: "train fewer or shallower trees")
        }
        let root = UInt32(flat.count)
        flat.append(Node(threshold: 0, value: 0, feature: 0, left: 0))
        var level = [(source: 0, target: Int(root))]
        var visited = 1
        var depth: UInt32 = 0
        while true {
            var next: [(source: Int, target: Int)] = []
            for (source, target) in level {
                let (left, right) = (tree.left[source], tree.right[source])
                if left == -1, right == -1 {
                    guard tree.conditions[source].isFinite else { throw corrupted("a leaf has the value \(tree.conditions[source])") }
                    flat[target] = Node(threshold: .nan, value: tree.conditions[source], feature: 0, left: UInt32(target))
                    continue
                }
                guard (0..<count).contains(left), (0..<count).contains(right), left != right, tree.parents[left] == source,
                    tree.parents[right] == source
                else { throw corrupted("node \(source) has children \(left) and \(right)") }
                // Each node has one parent, so more visits than nodes mean a circle.
                visited += 2
                guard visited <= count else { throw corrupted("its nodes lead in a circle") }
                guard tree.splitTypes.isEmpty || tree.splitTypes[source] == 0 else { throw unsupported("categorical splits") }
                guard (0..<featureCount).contains(tree.features[source]) else {
                    throw corrupted("node \(source) uses feature \(tree.features[source]) of \(featureCount)")
                }
                guard !tree.conditions[source].isNaN, tree.defaultLeft[source] == 0 || tree.defaultLeft[source] == 1 else {
                    throw corrupted("node \(source) has no valid split")
                }
                let child = flat.count
                flat.append(Node(threshold: 0, value: 0, feature: 0, left: 0))
                flat.append(Node(threshold: 0, value: 0, feature: 0, left: 0))
                next.append((left, child))
                next.append((right, child + 1))
                flat[target] = Node(
                    threshold: tree.conditions[source], value: 0,
                    feature: UInt32(tree.features[source]) | (tree.defaultLeft[source] == 1 ? 0 : 1 << 31), left: UInt32(child))
            }
            if next.isEmpty { return (root, depth) }
            depth += 1
            guard depth <= levelsMax else {
                throw unsupported("more than \(levelsMax) levels", hint: "train with a smaller max_depth or max_leaves")
            }
            level = next
        }
    }

    private static func corrupted(_ what: String) -> KeelError { KeelError(.corrupted, "the model is damaged: \(what)") }

    private static func unsupported(_ what: String, hint: String = "export it as ONNX and serve that") -> KeelError {
        .invalid("the model needs \(what), which is not supported", hint: hint)
    }
}
