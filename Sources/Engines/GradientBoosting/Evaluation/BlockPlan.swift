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
        /// The first step of the search is 2 to this power; a bucket has fewer than twice as many thresholds.
        var stepBits: Int
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

    /// Room for the work on a block.
    struct Scratch {
        /// Of one chunk.
        let planes: UnsafeMutablePointer<Plane>
        /// Of one column and 64 rows: the values that are compared, and the buckets they fall in.
        let values: UnsafeMutablePointer<Scalar>
        let buckets: UnsafeMutablePointer<UInt16>
        /// Of one tree: the number of the leaf that each row reaches, a byte each.
        let leaves: UnsafeMutablePointer<UInt64>
    }

    func withScratch(_ body: (Scratch) -> Void) {
        withUnsafeTemporaryAllocation(of: Plane.self, capacity: planesMax) { planes in
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: 64) { values in
                withUnsafeTemporaryAllocation(of: UInt16.self, capacity: 64) { buckets in
                    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: rowsMax / 8) { leaves in
                        guard let planes = planes.baseAddress, let values = values.baseAddress, let buckets = buckets.baseAddress,
                            let leaves = leaves.baseAddress
                        else { return }
                        body(Scratch(planes: planes, values: values, buckets: buckets, leaves: leaves))
                    }
                }
            }
        }
    }

    /// Adds the leaves of all trees to the margins of a block of at most `rowsMax` rows: row r's of output g is number `g * count + r`.
    @inline(__always)
    func addLeaves<Value: TreeScalar>(
        _ rows: UnsafePointer<Value>, rows count: Int, featureCount: Int, to margins: UnsafeMutablePointer<Scalar>, _ scratch: Scratch
    ) {
        for chunk in chunks.buffer {
            let planes = scratch.planes
            planes.initialize(repeating: Plane(repeating: 0), count: chunk.planeCount)
            planes[Int(BlockPlan.ones)] = Plane(repeating: .max)
            // 64 rows at a time, whose input stays in the first cache.
            for word in 0..<(count &+ 63) >> 6 {
                let start = rows + word &* 64 &* featureCount
                let part = min(64, count &- word &* 64)
                for codes in codes[chunk.codes] {
                    prepare(codes, start + Int(codes.feature), part, stride: featureCount, scratch.values)
                    setBits(codes, part, scratch, word)
                }
                for membership in memberships[chunk.memberships] {
                    setBits(membership, start + Int(membership.feature), part, stride: featureCount, planes, word)
                }
            }
            for codes in codes[chunk.codes] { fillPlanes(planes + codes.firstPlane, codes.count) }
            run(programs[chunk.programs], scratch, count, to: margins)
        }
    }

    // MARK: - comparisons

    /// A column's values, one after another.
    @inline(__always)
    private func prepare<Value: TreeScalar>(
        _ codes: Codes, _ source: UnsafePointer<Value>, _ count: Int, stride: Int, _ values: UnsafeMutablePointer<Scalar>
    ) {
        let read = read
        @inline(__always) func fill(_ rule: TreeColumn.Rule) {
            for r in 0..<count { values[r] = rule.prepared(read(source[r &* stride])) }
        }
        // A loop for each rule, so that none asks for it at every row.
        switch codes.rule {
        case .missingLeft: fill(.missingLeft)
        case .missingRight: fill(.missingRight)
        case .missingIsZero: fill(.missingIsZero)
        case .zeroLeft: fill(.zeroLeft)
        case let rule: fill(rule)
        }
    }

    /// Sets each row's bit in the plane of its code.
    private func setBits(_ codes: Codes, _ count: Int, _ scratch: Scratch, _ word: Int) {
        let values = scratch.values
        let buckets = scratch.buckets
        for r in 0..<count { buckets[r] = codes.bucket(of: values[r]) }
        let thresholds = thresholds.base + codes.thresholds
        let starts = starts.base + codes.buckets
        let words = UnsafeMutableRawPointer(scratch.planes + codes.firstPlane).assumingMemoryBound(to: UInt64.self) + word
        @inline(__always) func set(_ search: (_ value: Scalar, _ start: Int) -> Int) {
            for r in 0..<count {
                let code = search(values[r], Int(starts[Int(buckets[r])]))
                words[code &* Plane.scalarCount] |= 1 << UInt64(truncatingIfNeeded: r)
            }
        }
        @inline(__always) func passes(_ value: Scalar, _ threshold: Int) -> Int { Int(value.passes(thresholds[threshold])) }
        switch codes.stepBits {
        case 0: set { value, start in start &+ passes(value, start) }
        case 1:
            set { value, start in
                start &+ passes(value, start) &+ passes(value, start &+ 1) &+ passes(value, start &+ 2)
            }
        case let stepBits:
            set { value, start in
                var code = start
                for bit in Swift.stride(from: stepBits, through: 0, by: -1) {
                    code &+= passes(value, code &+ 1 << bit &- 1) << bit
                }
                return code
            }
        }
    }

    /// A row that is in the plane of a code passes that code's threshold and all before it.
    private func fillPlanes(_ planes: UnsafeMutablePointer<Plane>, _ count: Int) {
        var passed = planes[count]
        for k in Swift.stride(from: count - 1, to: 0, by: -1) {
            passed |= planes[k]
            planes[k] = passed
        }
    }

    private func setBits<Value: TreeScalar>(
        _ membership: Membership, _ values: UnsafePointer<Value>, _ count: Int, stride: Int, _ planes: UnsafeMutablePointer<Plane>,
        _ word: Int
    ) {
        var bits: UInt64 = 0
        for r in 0..<count {
            let category = membership.rule.prepared(read(values[r * stride]))
            let isInside = CategorySets.contains(sets.base, at: membership.set, category)
            bits |= (isInside ? 1 : 0) << UInt64(r)
        }
        UnsafeMutableRawPointer(planes + membership.plane).assumingMemoryBound(to: UInt64.self)[word] = bits
    }

    // MARK: - trees

    private func run(
        _ programs: UnsafeBufferPointer<Program>, _ scratch: Scratch, _ count: Int, to margins: UnsafeMutablePointer<Scalar>
    ) {
        let planes = scratch.planes
        for program in programs {
            for selection in selections[program.selections] {
                let first = planes[Int(selection.first)]
                let second = planes[Int(selection.second)]
                planes[Int(selection.result)] = first ^ (planes[Int(selection.condition)] & (first ^ second))
            }
            spread.leaves(bits[program.bits], planes, count, into: scratch.leaves)
            let numbers = UnsafeRawPointer(scratch.leaves).assumingMemoryBound(to: UInt8.self)
            let values = leafValues.base + program.values
            let margins = margins + program.output &* count
            for r in 0..<count { margins[r] += values[Int(numbers[r])] }
        }
    }
}

extension BlockPlan.Codes {
    /// The bucket of the grid that a value falls in: never a lower one for a higher value. NaN falls in the first.
    @inline(__always)
    func bucket(of value: Scalar) -> UInt16 {
        let position = (value - low) * scale
        let above = position > 0 ? position : 0
        let inside = above < lastBucket ? above : lastBucket
        // Its lowest bits are the nearest whole number, without a conversion that traps.
        return (inside + Scalar.roundingShift).lowBits
    }
}
