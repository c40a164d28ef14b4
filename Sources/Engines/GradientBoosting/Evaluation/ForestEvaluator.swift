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
            let block = count - done < Lanes.count ? 1 : min(count - done, ForestEvaluator.walkedRowsMax)
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
            let hasSets = sets.count > 0
            if leafWidth > 1 || linear != nil {
                walkRows(prepared, count, by: StepWithSets.self) { tree, row, node in
                    addLeaf(node, of: tree, row: rows + row * featureCount, to: margins + row, stride: count)
                }
            } else if count == 1 {
                if hasSets {
                    walkTrees(prepared, to: margins, by: StepWithSets.self)
                } else {
                    walkTrees(prepared, to: margins, by: PlainStep.self)
                }
            } else {
                let values = values.base
                func add(_ tree: Forest<Scalar>.Tree, _ row: Int, _ node: UInt32) {
                    margins[Int(tree.output) &* count &+ row] += values[Int(node)]
                }
                if hasSets {
                    walkRows(prepared, count, by: StepWithSets.self, leaf: add)
                } else {
                    walkRows(prepared, count, by: PlainStep.self, leaf: add)
                }
            }
            finish(margins, rows: count, into: output)
        }
    }

    /// One row through all trees, eight at a time.
    private func walkTrees<Step: WalkStep<Scalar>>(
        _ prepared: UnsafePointer<Scalar>, to margins: UnsafeMutablePointer<Scalar>, by: Step.Type
    ) {
        let walk = Step(nodes: nodes.base, sets: sets.base)
        let values = values.base
        let trees = trees.buffer
        let hasOneOutput = baseMargins.count == 1
        // In a register: each sum waits for the one before.
        var margin = margins[0]
        var i = 0
        while i &+ Lanes.count <= trees.count {
            var at = Lanes { trees[i &+ $0].root }
            var depth: UInt32 = 0
            for lane in 0..<Lanes.count { depth = max(depth, trees[i &+ lane].depth) }
            for _ in 0..<depth { at.step { _, node in walk.next(node, prepared) } }
            if hasOneOutput {
                at.visit { _, node in margin += values[Int(node)] }
            } else {
                at.visit { lane, node in margins[Int(trees[i &+ lane].output)] += values[Int(node)] }
            }
            i &+= Lanes.count
        }
        if hasOneOutput { margins[0] = margin }
        let rest = trees.count &- i
        guard rest > 0 else { return }
        // The last ones are walked in step too, some of them twice: one after another each step would wait for the one before.
        var at = Lanes { trees[i &+ min($0, rest &- 1)].root }
        var depth: UInt32 = 0
        for lane in 0..<rest { depth = max(depth, trees[i &+ lane].depth) }
        for _ in 0..<depth { at.step { _, node in walk.next(node, prepared) } }
        at.visit { lane, node in
            if lane < rest { margins[Int(trees[i &+ lane].output)] += values[Int(node)] }
        }
    }

    /// Several rows through one tree after another, eight rows at a time. `leaf` is told the tree, the row and the leaf that it reached.
    private func walkRows<Step: WalkStep<Scalar>>(
        _ prepared: UnsafePointer<Scalar>, _ count: Int, by: Step.Type,
        leaf: (_ tree: Forest<Scalar>.Tree, _ row: Int, _ node: UInt32) -> Void
    ) {
        let walk = Step(nodes: nodes.base, sets: sets.base)
        let width = preparation.count
        for tree in trees.buffer {
            var r = 0
            while r &+ Lanes.count <= count {
                let row = prepared + r &* width
                var at = Lanes { _ in tree.root }
                for _ in 0..<tree.depth { at.step { lane, node in walk.next(node, row + lane &* width) } }
                at.visit { lane, node in leaf(tree, r &+ lane, node) }
                r &+= Lanes.count
            }
            while r < count {
                var at = tree.root
                for _ in 0..<tree.depth { at = walk.next(at, prepared + r &* width) }
                leaf(tree, r, at)
                r &+= 1
            }
        }
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
