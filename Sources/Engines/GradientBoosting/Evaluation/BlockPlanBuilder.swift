/// Makes the parts of a `BlockPlan`.
struct BlockPlanBuilder<Scalar: TreeScalar> {
    typealias Plan = BlockPlan<Scalar>
    typealias Node = Forest<Scalar>.Node

    struct Parts {
        var rowsMin = 0
        var codes: [Plan.Codes] = []
        var memberships: [Plan.Membership] = []
        var thresholds: [Scalar] = []
        var starts: [UInt16] = []
        var selections: [Plan.Selection] = []
        var bits: [UInt16] = []
        var leafValues: [Scalar] = []
        var programs: [Plan.Program] = []
        var chunks: [Plan.Chunk] = []
    }

    /// What a node asks. Sets are told from thresholds by the column's highest bit.
    private struct Comparison: Hashable {
        let column: UInt32
        let threshold: Scalar
    }

    private let forest: Forest<Scalar>
    private var parts = Parts()
    /// Of the chunk that is being made: the plane of each comparison, and results of selections that are free again.
    private var planes: [Comparison: UInt16] = [:]
    private var planeCount = 0
    /// Planes from here on hold results of selections.
    private var firstResult = 0
    private var freePlanes: [UInt16] = []

    private init(_ forest: Forest<Scalar>) { self.forest = forest }

    /// nil when walking is faster, or a tree does not fit.
    static func parts(of forest: Forest<Scalar>) -> Parts? {
        guard forest.leafWidth == 1, forest.linear == nil, !forest.trees.isEmpty,
            forest.trees.allSatisfy({ $0.leafCount <= 1 << Plan.bitsMax })
        else { return nil }
        var builder = BlockPlanBuilder(forest)
        builder.makeChunks()
        return builder.chooseRowsMin() ? builder.parts : nil
    }

    // MARK: - chunks

    private mutating func makeChunks() {
        var first = 0
        var comparisons: Set<Comparison> = []
        for (i, tree) in forest.trees.enumerated() {
            let own = self.comparisons(of: tree)
            if i > first, comparisons.count + own.count(where: { !comparisons.contains($0) }) > Plan.comparisonsMax {
                makeChunk(first..<i, comparisons)
                first = i
                comparisons = []
            }
            comparisons.formUnion(own)
        }
        makeChunk(first..<forest.trees.count, comparisons)
    }

    private func comparisons(of tree: Forest<Scalar>.Tree) -> [Comparison] {
        var found: [Comparison] = []
        var pending = [Int(tree.root)]
        while let place = pending.popLast() {
            let node = forest.nodes[place]
            guard Int(node.first) != place else { continue }
            found.append(Comparison(column: node.column, threshold: node.threshold))
            pending += [Int(node.first), Int(node.first) + 1]
        }
        return found
    }

    private mutating func makeChunk(_ trees: Range<Int>, _ comparisons: Set<Comparison>) {
        let codes = parts.codes.count
        let memberships = parts.memberships.count
        let programs = parts.programs.count
        planes = [:]
        freePlanes = []
        planeCount = 2
        for (column, comparisons) in Dictionary(grouping: comparisons, by: \.column).sorted(by: { $0.key < $1.key }) {
            if column & Node.isSet == 0 {
                addCodes(column, comparisons.map(\.threshold).sorted())
            } else {
                for comparison in comparisons.sorted(by: { $0.threshold < $1.threshold }) { addMembership(comparison) }
            }
        }
        firstResult = planeCount
        for i in trees { addProgram(forest.trees[i]) }
        parts.chunks.append(
            Plan.Chunk(
                codes: ArrayPart(codes..<parts.codes.count), memberships: ArrayPart(memberships..<parts.memberships.count),
                programs: ArrayPart(programs..<parts.programs.count),
                planeCount: planeCount))
    }

    private mutating func addMembership(_ comparison: Comparison) {
        let column = forest.columns[Int(comparison.column & ~Node.isSet)]
        parts.memberships.append(
            Plan.Membership(feature: column.feature, rule: column.rule, set: Int(comparison.threshold), plane: planeCount))
        planes[comparison] = UInt16(planeCount)
        planeCount += 1
    }

    /// - Parameter thresholds: ascending, each once.
    private mutating func addCodes(_ column: UInt32, _ thresholds: [Scalar]) {
        let finite = thresholds.filter(\.isFinite)
        let low = finite.first ?? 0
        let high = finite.last ?? 0
        // Two buckets a threshold.
        var bucketCount = 1
        while bucketCount < 2 * thresholds.count, bucketCount < 1024, thresholds.count > 1 { bucketCount *= 2 }
        let scale = Scalar(bucketCount - 1) / (high - low)
        var codes = Plan.Codes(
            feature: forest.columns[Int(column)].feature, rule: forest.columns[Int(column)].rule, thresholds: parts.thresholds.count,
            count: thresholds.count, firstPlane: planeCount, low: low, scale: scale.isFinite ? scale : 0,
            lastBucket: Scalar(bucketCount - 1),
            buckets: parts.starts.count, stepBits: 0)
        var sizes = [Int](repeating: 0, count: bucketCount)
        for threshold in thresholds { sizes[Int(codes.bucket(of: threshold))] += 1 }
        var before = 0
        for size in sizes {
            parts.starts.append(UInt16(before))
            before += size
        }
        let largest = sizes.max() ?? 0
        while (2 << codes.stepBits) - 1 < largest { codes.stepBits += 1 }
        parts.thresholds += thresholds
        parts.thresholds += repeatElement(.nan, count: 2 << codes.stepBits)
        parts.codes.append(codes)
        for (k, threshold) in thresholds.enumerated() {
            planes[Comparison(column: column, threshold: threshold)] = UInt16(planeCount + k + 1)
        }
        planeCount += thresholds.count + 1
    }

    // MARK: - trees

    private mutating func addProgram(_ tree: Forest<Scalar>.Tree) {
        var bitCount = 0
        while 1 << bitCount < tree.leafCount { bitCount += 1 }
        let selections = parts.selections.count
        let values = parts.leafValues.count
        let bits = parts.bits.count
        let found = self.bits(of: Int(tree.root), bitCount, firstLeaf: values)
        parts.bits += found
        for plane in found { release(plane) }
        parts.programs.append(
            Plan.Program(
                selections: ArrayPart(selections..<parts.selections.count), bits: ArrayPart(bits..<parts.bits.count), values: values,
                output: Int(tree.output)))
    }

    /// The planes of the bits of the leaf's number, for rows that reach a node. Leaves are numbered from left to right. (Trees have at most
    /// `TreeLimits.levelsMax` levels.)
    private mutating func bits(of place: Int, _ bitCount: Int, firstLeaf: Int) -> [UInt16] {
        let node = forest.nodes[place]
        guard Int(node.first) != place else {
            let number = parts.leafValues.count - firstLeaf
            parts.leafValues.append(forest.values[place])
            return (0..<bitCount).map { number >> $0 & 1 == 1 ? Plan.ones : Plan.zeros }
        }
        let first = bits(of: Int(node.first), bitCount, firstLeaf: firstLeaf)
        let second = bits(of: Int(node.first) + 1, bitCount, firstLeaf: firstLeaf)
        let condition = planes[Comparison(column: node.column, threshold: node.threshold)] ?? Plan.zeros
        return zip(first, second).map { first, second in
            if first == second { return first }
            if first == Plan.zeros, second == Plan.ones { return condition }
            release(first)
            release(second)
            let result = freePlanes.popLast() ?? newPlane()
            parts.selections.append(Plan.Selection(condition: condition, second: second, first: first, result: result))
            return result
        }
    }

    private mutating func newPlane() -> UInt16 {
        planeCount += 1
        return UInt16(planeCount - 1)
    }

    private mutating func release(_ plane: UInt16) {
        if Int(plane) >= firstResult { freePlanes.append(plane) }
    }

    // MARK: - cost

    /// Finds from how many rows on a block costs less than walking; false when it never does. In rough numbers of instructions.
    private mutating func chooseRowsMin() -> Bool {
        let block = 3 * parts.chunks.reduce(0) { $0 + $1.planeCount } + 6 * parts.selections.count
        let row = 20 * parts.codes.count + 12 * parts.memberships.count + 8 * parts.programs.count
        let walkedRow = 6 * forest.trees.reduce(0) { $0 + Int($1.depth) } + 4 * forest.columns.count
        guard row < walkedRow else { return false }
        parts.rowsMin = block / (walkedRow - row) + 1
        return parts.rowsMin <= 64 * Plan.Plane.scalarCount
    }
}
