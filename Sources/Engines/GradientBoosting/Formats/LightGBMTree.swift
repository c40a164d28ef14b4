import Contracts

/// One tree of a LightGBM model as it is saved. Its inner nodes and its leaves are numbered apart; here leaves come after the inner nodes.
struct LightGBMTree: SourceTree {
    private var leafCount = 0
    private var features: [Int32] = []
    /// Of an inner node; the number of its set where it splits by category.
    private var thresholds: [Double] = []
    /// Bit 0: by category; bit 1: missing values go left; bits 2 and 3: the type of missing values (0 none, 1 zero, 2 NaN).
    private var decisions: [Int32] = []
    /// An inner node, or `-1 - leaf`.
    private var left: [Int32] = []
    private var right: [Int32] = []
    private var leafValues: [Double] = []
    /// Set i is the words from `setEnds[i]` to `setEnds[i + 1]`.
    private var setEnds: [Int32] = []
    private var setWords: [Int32] = []
    private var isLinear = false
    private var linearConstants: [Double] = []
    private var linearFeatures: [Int32] = []
    private var linearCoefficients: [Double] = []
    /// Where the features of each leaf begin, and the end.
    private var linearStarts: [Int] = []

    private var innerCount: Int { leafCount - 1 }
    var nodeCount: Int { innerCount + leafCount }

    /// Reads the lines of one tree.
    init(_ lines: inout LightGBMLines, number: Int) throws(KeelError) {
        var linearCounts: [Int32] = []
        while let line = lines.nextOfTree() {
            switch line.key {
            case "num_leaves": leafCount = try lines.count(line)
            case "split_feature": features = try lines.wholeNumbers(line)
            case "threshold": thresholds = try lines.numbers(line)
            case "decision_type": decisions = try lines.wholeNumbers(line)
            case "left_child": left = try lines.wholeNumbers(line)
            case "right_child": right = try lines.wholeNumbers(line)
            case "leaf_value": leafValues = try lines.numbers(line)
            case "cat_boundaries": setEnds = try lines.wholeNumbers(line)
            case "cat_threshold": setWords = try lines.wholeNumbers(line)
            case "is_linear": isLinear = try lines.count(line) != 0
            case "leaf_const": linearConstants = try lines.numbers(line)
            case "num_features": linearCounts = try lines.wholeNumbers(line)
            case "leaf_features": linearFeatures = try lines.wholeNumbers(line)
            case "leaf_coeff": linearCoefficients = try lines.numbers(line)
            default: break
            }
        }
        guard leafCount > 0, leafValues.count == leafCount else {
            throw lines.failure("tree \(number) has \(leafValues.count) leaf values for \(leafCount) leaves")
        }
        for (name, count) in [
            ("split_feature", features.count), ("threshold", thresholds.count), ("decision_type", decisions.count),
            ("left_child", left.count),
            ("right_child", right.count),
        ] {
            guard count == innerCount else { throw lines.failure("tree \(number): \(name) has \(count) entries for \(innerCount) splits") }
        }
        // Sets that overlap, or that many nodes share, would make much of a small file.
        let sets = (0..<innerCount).filter { decisions[$0] & 1 == 1 }.map { thresholds[$0] }
        guard Set(sets).count == sets.count, zip(setEnds, setEnds.dropFirst()).allSatisfy({ $0 <= $1 }) else {
            throw lines.failure("tree \(number): its sets of categories overlap")
        }
        if isLinear { try setLinearStarts(linearCounts, lines, number) }
    }

    private mutating func setLinearStarts(_ counts: [Int32], _ lines: LightGBMLines, _ number: Int) throws(KeelError) {
        linearStarts = [0]
        for count in counts {
            guard count >= 0 else { throw lines.failure("tree \(number): a linear leaf has \(count) features") }
            linearStarts.append(linearStarts[linearStarts.count - 1] + Int(count))
        }
        guard counts.count == leafCount, linearConstants.count == leafCount, linearFeatures.count == linearStarts[leafCount],
            linearCoefficients.count == linearStarts[leafCount]
        else { throw lines.failure("tree \(number): the lists of its linear leaves differ in length") }
    }

    func node(_ index: Int) throws(KeelError) -> SourceNode<Double> {
        guard index < innerCount else { return .leaf(leaf(index - innerCount)) }
        guard features[index] >= 0 else { throw ModelDamage.error("node \(index) uses feature \(features[index])") }
        let feature = UInt32(features[index])
        let decision = decisions[index]
        let left = place(self.left[index])
        let right = place(self.right[index])
        if decision & 1 == 1 {
            // Categories in the set go left, all others and missing values right.
            let words = try categorySet(thresholds[index], index)
            return .categories(TreeColumn(feature: feature, rule: .wideCategory), words, first: right, second: left)
        }
        let missingLeft = decision & 2 != 0
        let rule: TreeColumn.Rule
        switch decision >> 2 {
        case 0: rule = .missingIsZero
        case 1: rule = missingLeft ? .zeroLeft : .zeroRight
        case 2: rule = missingLeft ? .missingLeft : .missingRight
        default: throw ModelDamage.error("node \(index) has decision type \(decision)")
        }
        guard thresholds[index] != .greatestFiniteMagnitude else { throw ModelDamage.error("node \(index) has no possible threshold") }
        // LightGBM sends `value > threshold` right: the same as `value >=` the next number.
        return .threshold(TreeColumn(feature: feature, rule: rule), thresholds[index].nextUp, first: left, second: right)
    }

    private func place(_ child: Int32) -> Int { child >= 0 ? (Int(child) < innerCount ? Int(child) : -1) : innerCount + Int(-1 - child) }

    private func leaf(_ leaf: Int) -> SourceLeaf<Double> {
        guard isLinear else { return .value(leafValues[leaf]) }
        let terms = linearStarts[leaf]..<linearStarts[leaf + 1]
        return .linear(
            constant: linearConstants[leaf], features: linearFeatures[terms], coefficients: linearCoefficients[terms],
            otherwise: leafValues[leaf])
    }

    private func categorySet(_ threshold: Double, _ node: Int) throws(KeelError) -> [UInt32] {
        guard let set = Int(exactly: threshold), set >= 0, set + 1 < setEnds.count else {
            throw ModelDamage.error("node \(node) has category set \(threshold) of \(max(0, setEnds.count - 1))")
        }
        let start = Int(setEnds[set])
        let end = Int(setEnds[set + 1])
        guard start >= 0, start <= end, end <= setWords.count else {
            throw ModelDamage.error("the categories of node \(node) are not there")
        }
        return setWords[start..<end].map(UInt32.init(bitPattern:))
    }
}
