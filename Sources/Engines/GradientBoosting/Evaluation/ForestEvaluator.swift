/// Predicts with a `Forest`: a single row by walking several trees in step, a batch by blocks of rows.
///
/// All ways add the same leaves in the same order, that of the trees, so they give the same results to the last bit.
final class ForestEvaluator<Scalar: TreeScalar>: Sendable {
    private let nodes: FixedArray<Forest<Scalar>.Node>
    private let values: FixedArray<Scalar>
    private let trees: FixedArray<Forest<Scalar>.Tree>
    private let sets: FixedArray<UInt32>
    private let preparation: RowPreparation<Scalar>
    private let linear: LinearLeafTerms<Scalar>?
    private let baseMargins: FixedArray<Scalar>
    private let plan: BlockPlan<Scalar>?
    private let transform: OutputTransform
    private let featureCount: Int
    private let leafWidth: Int
    private let divisor: Scalar
    let outputCount: Int
    let stepsPerRow: Int
    /// Rows that are walked together where no plan fits.
    private static var walkedRowsMax: Int { 64 }

    init(_ forest: Forest<Scalar>, transform: OutputTransform) {
        nodes = FixedArray(forest.nodes)
        values = FixedArray(forest.values)
        trees = FixedArray(forest.trees)
        sets = FixedArray(forest.sets)
        preparation = RowPreparation(forest)
        linear = forest.linear.map(LinearLeafTerms.init)
        baseMargins = FixedArray(forest.baseMargins)
        plan = BlockPlan(forest)
        self.transform = transform
        featureCount = forest.featureCount
        leafWidth = forest.leafWidth
        divisor = forest.divisor
        outputCount = transform.outputCount(margins: forest.baseMargins.count)
        stepsPerRow = forest.stepsPerRow
    }

    /// - Parameter rows: `count` rows of `featureCount` values, one after another.
    /// - Parameter output: room for `outputCount` values a row.
    func predict<Value: TreeScalar>(_ rows: UnsafePointer<Value>, count: Int, into output: UnsafeMutablePointer<Value>) {
        var done = 0
        if let plan, count >= plan.rowsMin {
            let groupCount = baseMargins.count
            plan.withScratch { scratch in
                withUnsafeTemporaryAllocation(of: Scalar.self, capacity: groupCount * plan.rowsMax) { margins in
                    guard let margins = margins.baseAddress else { return }
                    while count - done >= plan.rowsMin {
                        let block = min(count - done, plan.rowsMax)
                        start(margins, rows: block)
                        plan.addLeaves(rows + done * featureCount, rows: block, featureCount: featureCount, to: margins, scratch)
                        finish(margins, rows: block, into: output + done * outputCount)
                        done += block
                    }
                }
            }
        }
        while done < count {
            let block = count - done < Forest<Scalar>.lanes ? 1 : min(count - done, ForestEvaluator.walkedRowsMax)
            walk(rows + done * featureCount, rows: block, into: output + done * outputCount)
            done += block
        }
    }

    /// Margins are kept output by output: that of row r and output g is number `g * rows + r`.
    private func start(_ margins: UnsafeMutablePointer<Scalar>, rows: Int) {
        for g in 0..<baseMargins.count {
            (margins + g * rows).initialize(repeating: baseMargins.base[g], count: rows)
        }
    }

    private func finish<Value: TreeScalar>(_ margins: UnsafeMutablePointer<Scalar>, rows: Int, into output: UnsafeMutablePointer<Value>) {
        let count = baseMargins.count
        if divisor != 1 {
            for i in 0..<count * rows { margins[i] /= divisor }
        }
        if count == 1 {
            for r in 0..<rows { output[r] = transform.apply(margins[r]).rounded(to: Value.self) }
            return
        }
        for r in 0..<rows {
            transform.apply(margins + r, stride: rows, count: count, into: output + r * outputCount)
        }
    }

    private func walk<Value: TreeScalar>(_ rows: UnsafePointer<Value>, rows count: Int, into output: UnsafeMutablePointer<Value>) {
        let width = preparation.count
        withUnsafeTemporaryAllocation(of: Scalar.self, capacity: (width + baseMargins.count) * count) { scratch in
            guard let margins = scratch.baseAddress else { return }
            let prepared = margins + baseMargins.count * count
            for r in 0..<count { preparation.prepare(rows + r * featureCount, into: prepared + r * width) }
            start(margins, rows: count)
            if leafWidth == 1, linear == nil {
                if count == 1 {
                    if sets.count == 0 { walkTrees(prepared, to: margins, withSets: false) } else { walkTrees(prepared, to: margins, withSets: true) }
                } else {
                    walkRows(prepared, count) { tree, row, node in margins[Int(tree.output) * count + row] += values.base[Int(node)] }
                }
            } else {
                walkRows(prepared, count) { tree, row, node in
                    addLeaf(node, of: tree, row: rows + row * featureCount, to: margins + row, stride: count)
                }
            }
            finish(margins, rows: count, into: output)
        }
    }

    /// One row through all trees, four at a time.
    @inline(__always)
    private func walkTrees(_ prepared: UnsafePointer<Scalar>, to margins: UnsafeMutablePointer<Scalar>, withSets: Bool) {
        let nodes = nodes.base
        let sets = sets.base
        let values = values.base
        let trees = trees.buffer
        @inline(__always) func step(_ at: UInt32) -> UInt32 {
            ForestEvaluator.step(nodes, sets, prepared, at, withSets: withSets)
        }
        var i = 0
        while i &+ 4 <= trees.count {
            var (a, b, c, d) = (trees[i].root, trees[i &+ 1].root, trees[i &+ 2].root, trees[i &+ 3].root)
            let depth = max(max(trees[i].depth, trees[i &+ 1].depth), max(trees[i &+ 2].depth, trees[i &+ 3].depth))
            for _ in 0..<depth { (a, b, c, d) = (step(a), step(b), step(c), step(d)) }
            margins[Int(trees[i].output)] += values[Int(a)]
            margins[Int(trees[i &+ 1].output)] += values[Int(b)]
            margins[Int(trees[i &+ 2].output)] += values[Int(c)]
            margins[Int(trees[i &+ 3].output)] += values[Int(d)]
            i &+= 4
        }
        while i < trees.count {
            var at = trees[i].root
            for _ in 0..<trees[i].depth { at = step(at) }
            margins[Int(trees[i].output)] += values[Int(at)]
            i &+= 1
        }
    }

    /// Several rows through one tree after another, four rows at a time. `leaf` is told the tree, the row and the leaf that it reached.
    @inline(__always)
    private func walkRows(
        _ prepared: UnsafePointer<Scalar>, _ count: Int, leaf: (_ tree: Forest<Scalar>.Tree, _ row: Int, _ node: UInt32) -> Void
    ) {
        let nodes = nodes.base
        let sets = sets.base
        let width = preparation.count
        let hasSets = self.sets.count > 0
        @inline(__always) func step(_ row: UnsafePointer<Scalar>, _ at: UInt32) -> UInt32 {
            ForestEvaluator.step(nodes, sets, row, at, withSets: hasSets)
        }
        for tree in trees.buffer {
            var r = 0
            while r &+ 4 <= count {
                let row = prepared + r &* width
                var (a, b, c, d) = (tree.root, tree.root, tree.root, tree.root)
                for _ in 0..<tree.depth {
                    (a, b, c, d) = (step(row, a), step(row + width, b), step(row + 2 &* width, c), step(row + 3 &* width, d))
                }
                leaf(tree, r, a)
                leaf(tree, r &+ 1, b)
                leaf(tree, r &+ 2, c)
                leaf(tree, r &+ 3, d)
                r &+= 4
            }
            while r < count {
                var at = tree.root
                for _ in 0..<tree.depth { at = step(prepared + r &* width, at) }
                leaf(tree, r, at)
                r &+= 1
            }
        }
    }

    @inline(__always)
    private static func step(
        _ nodes: UnsafePointer<Forest<Scalar>.Node>, _ sets: UnsafePointer<UInt32>, _ row: UnsafePointer<Scalar>, _ at: UInt32,
        withSets: Bool
    ) -> UInt32 {
        let node = nodes[Int(at)]
        if withSets, node.column & Forest<Scalar>.Node.isSet != 0 {
            let category = row[Int(node.column & ~Forest<Scalar>.Node.isSet)]
            return node.first &+ (CategorySets.contains(sets, at: Int(node.threshold), category) ? 1 : 0)
        }
        return node.first &+ (row[Int(node.column)] >= node.threshold ? 1 : 0)
    }

    /// A leaf that is no single value.
    private func addLeaf<Value: TreeScalar>(
        _ node: UInt32, of tree: Forest<Scalar>.Tree, row: UnsafePointer<Value>, to margins: UnsafeMutablePointer<Scalar>, stride: Int
    ) {
        if let linear {
            margins[Int(tree.output) * stride] += linear.value(of: Int(node), row, otherwise: values.base[Int(node)])
        } else {
            for k in 0..<leafWidth { margins[k * stride] += values.base[Int(node) * leafWidth + k] }
        }
    }
}
