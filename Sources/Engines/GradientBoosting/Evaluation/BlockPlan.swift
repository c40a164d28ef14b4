/// Evaluates blocks of rows with one bit for each row: the fast way for batches.
///
/// Walking a tree costs a chain of dependent loads for each row. Here every distinct comparison of the model, `column >= threshold`, is made
/// once for a block and kept as a *plane*: a bit for each row. A tree is then a short program of bitwise selections: with c the plane of a
/// node's comparison, and l and r planes of its two sides, `(c & r) | (~c & l)` does for all rows at once what a step of a walk does for
/// one. What comes out are the bits of the number of the leaf that each row reaches.
///
/// The planes of one column are made together. The number of thresholds at or below a value, its *code*, is found by a grid that leads next to
/// it and a short search. Each row sets its bit in the plane of its code; a row passes all thresholds up to its code, so an OR from the
/// last plane to the first makes the comparisons of them.
///
/// The idea is related to QuickScorer (Lucchese et al., SIGIR 2015), which keeps a bit for each leaf of a row instead.
final class BlockPlan<Scalar: TreeScalar>: Sendable {
    typealias Plane = SIMD4<UInt64>

    /// The distinct thresholds of a column, ascending, and the grid that leads to them.
    struct Codes {
        var feature: UInt32
        var rule: TreeColumn.Rule
        /// Thresholds and, at the end, NaN for the search to run into.
        var thresholds: Int
        var count: Int
        /// The plane of code 0; that of "at or above threshold k" becomes the one k + 1 behind it.
        var firstPlane: Int
        var low: Scalar
        var scale: Scalar
        /// The number of the last bucket, and where the buckets begin in `starts`: for each, how many thresholds are in buckets before it.
        var lastBucket: Scalar
        var buckets: Int
        /// The first step of the search, a power of two; what is left of a bucket's thresholds is less than twice as much.
        var stride: Int
    }

    /// The plane of "the category is in the set".
    struct Membership {
        var feature: UInt32
        var rule: TreeColumn.Rule
        var set: Int
        var plane: Int
    }

    /// `result = condition ? second : first`, for each row. Numbers of planes.
    struct Selection {
        var condition: UInt16
        var second: UInt16
        var first: UInt16
        var result: UInt16
    }

    struct Program {
        var selections: ArrayPart
        /// The planes of the bits of the leaf's number, the lowest first.
        var bits: ArrayPart
        /// Where the values of its leaves begin.
        var values: Int
        var output: Int
    }

    /// Trees whose comparisons fit the processor's second cache together.
    struct Chunk {
        var codes: ArrayPart
        var memberships: ArrayPart
        var programs: ArrayPart
        var planeCount: Int
    }

    /// A plane of zeros and one of ones.
    static var zeros: UInt16 { 0 }
    static var ones: UInt16 { 1 }
    static var bitsMax: Int { 8 }
    /// Of the comparisons of a chunk.
    static var comparisonsMax: Int { 8192 }

    let rowsMax = 64 * Plane.scalarCount
    /// For fewer rows walking is faster.
    let rowsMin: Int
    private let codes: FixedArray<Codes>
    private let memberships: FixedArray<Membership>
    private let thresholds: FixedArray<Scalar>
    private let starts: FixedArray<UInt16>
    private let sets: FixedArray<UInt32>
    private let selections: FixedArray<Selection>
    private let bits: FixedArray<UInt16>
    private let leafValues: FixedArray<Scalar>
    private let programs: FixedArray<Program>
    private let chunks: FixedArray<Chunk>
    private let planesMax: Int
    private let read: InputReading<Scalar>
    private let spread = BitSpread()

    /// nil when walking is faster for any number of rows, or a tree has more than 256 leaves or leaves that are more than a value.
    init?(_ forest: Forest<Scalar>) {
        guard let parts = BlockPlanBuilder<Scalar>.parts(of: forest) else { return nil }
        rowsMin = parts.rowsMin
        codes = FixedArray(parts.codes)
        memberships = FixedArray(parts.memberships)
        thresholds = FixedArray(parts.thresholds)
        starts = FixedArray(parts.starts)
        sets = FixedArray(forest.sets)
        selections = FixedArray(parts.selections)
        bits = FixedArray(parts.bits)
        leafValues = FixedArray(parts.leafValues)
        programs = FixedArray(parts.programs)
        chunks = FixedArray(parts.chunks)
        planesMax = parts.chunks.map(\.planeCount).max() ?? 0
        read = InputReading(forest)
    }

    /// Room for the planes of a chunk.
    func withScratch(_ body: (UnsafeMutablePointer<Plane>) -> Void) {
        withUnsafeTemporaryAllocation(of: Plane.self, capacity: planesMax) { buffer in
            guard let planes = buffer.baseAddress else { return }
            body(planes)
        }
    }

    /// Adds the leaves of all trees to the margins of a block of at most `rowsMax` rows: row r's of output g is number `g * count + r`.
    @inline(__always)
    func addLeaves<Value: TreeScalar>(
        _ rows: UnsafePointer<Value>, rows count: Int, featureCount: Int, to margins: UnsafeMutablePointer<Scalar>,
        _ planes: UnsafeMutablePointer<Plane>
    ) {
        for chunk in chunks.buffer {
            planes.initialize(repeating: Plane(repeating: 0), count: chunk.planeCount)
            planes[Int(BlockPlan.ones)] = Plane(repeating: .max)
            for codes in codes[chunk.codes] {
                makePlanes(codes, rows + Int(codes.feature), count, stride: featureCount, planes + codes.firstPlane)
            }
            for membership in memberships[chunk.memberships] {
                makePlane(membership, rows + Int(membership.feature), count, stride: featureCount, planes + membership.plane)
            }
            run(programs[chunk.programs], planes, count, to: margins)
        }
    }

    // MARK: - comparisons

    @inline(__always)
    private func makePlanes<Value: TreeScalar>(
        _ codes: Codes, _ values: UnsafePointer<Value>, _ count: Int, stride: Int, _ planes: UnsafeMutablePointer<Plane>
    ) {
        switch codes.rule {
        case .missingLeft: setBits(codes, .missingLeft, values, count, stride, planes)
        case .missingRight: setBits(codes, .missingRight, values, count, stride, planes)
        case .missingIsZero: setBits(codes, .missingIsZero, values, count, stride, planes)
        case let rule: setBits(codes, rule, values, count, stride, planes)
        }
        var passed = planes[codes.count]
        for k in Swift.stride(from: codes.count - 1, to: 0, by: -1) {
            passed |= planes[k]
            planes[k] = passed
        }
    }

    @inline(__always)
    private func setBits<Value: TreeScalar>(
        _ codes: Codes, _ rule: TreeColumn.Rule, _ values: UnsafePointer<Value>, _ count: Int, _ stride: Int,
        _ planes: UnsafeMutablePointer<Plane>
    ) {
        let words = UnsafeMutableRawPointer(planes).assumingMemoryBound(to: UInt64.self)
        let thresholds = thresholds.base + codes.thresholds
        let starts = starts.base + codes.buckets
        let read = read
        for r in 0..<count {
            let value = rule.prepared(read(values[r &* stride]))
            var code = Int(starts[codes.bucket(of: value)])
            var step = codes.stride
            while step > 0 {
                code &+= value >= thresholds[code &+ step &- 1] ? step : 0
                step >>= 1
            }
            words[code &* Plane.scalarCount &+ r >> 6] |= 1 << UInt64(truncatingIfNeeded: r & 63)
        }
    }

    private func makePlane<Value: TreeScalar>(
        _ membership: Membership, _ values: UnsafePointer<Value>, _ count: Int, stride: Int, _ plane: UnsafeMutablePointer<Plane>
    ) {
        let words = UnsafeMutableRawPointer(plane).assumingMemoryBound(to: UInt64.self)
        for r in 0..<count {
            let category = membership.rule.prepared(read(values[r * stride]))
            let isInside = CategorySets.contains(sets.base, at: membership.set, category)
            words[r >> 6] |= (isInside ? 1 : 0) << UInt64(r & 63)
        }
    }

    // MARK: - trees

    private func run(
        _ programs: UnsafeBufferPointer<Program>, _ planes: UnsafeMutablePointer<Plane>, _ count: Int,
        to margins: UnsafeMutablePointer<Scalar>
    ) {
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: rowsMax / 8) { leaves in
            guard let leaves = leaves.baseAddress else { return }
            for program in programs {
                for selection in selections[program.selections] {
                    let first = planes[Int(selection.first)]
                    let second = planes[Int(selection.second)]
                    planes[Int(selection.result)] = first ^ (planes[Int(selection.condition)] & (first ^ second))
                }
                spread.leaves(bits[program.bits], planes, count, into: leaves)
                let numbers = UnsafeRawPointer(leaves).assumingMemoryBound(to: UInt8.self)
                let values = leafValues.base + program.values
                let margins = margins + program.output * count
                for r in 0..<count { margins[r] += values[Int(numbers[r])] }
            }
        }
    }
}

extension BlockPlan.Codes {
    /// The bucket of the grid that a value falls in: never a lower one for a higher value. NaN falls in the first.
    @inline(__always)
    func bucket(of value: Scalar) -> Int {
        let position = (value - low) * scale
        let above = position > 0 ? position : 0
        let inside = above < lastBucket ? above : lastBucket
        // Its lowest bits are the nearest whole number, without a conversion that traps.
        return Int((inside + Scalar.roundingShift).lowBits)
    }
}
