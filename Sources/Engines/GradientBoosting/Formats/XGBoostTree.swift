import Contracts

/// One tree of an XGBoost model as it is saved: an entry for each node in every list.
struct XGBoostTree: SourceTree {
    private var left: [Int32] = []
    private var right: [Int32] = []
    private var features: [Int32] = []
    /// The threshold of a split, the value of a leaf.
    private var conditions: [Float] = []
    private var defaultLeft: [Int32] = []
    private var splitTypes: [Int32] = []
    /// Categories of node `categoryNodes[i]`: `categoryCounts[i]` of them, from `categoryStarts[i]` in `categories`.
    private var categories: [Int32] = []
    private var categoryNodes: [Int32] = []
    private var categoryStarts: [Int32] = []
    private var categoryCounts: [Int32] = []
    /// Values of vector leaves: of leaf number i in models since version 3.2 (where `right` holds that number), before of node number i.
    private var vectors: [Float] = []
    private var vectorsAreByLeaf = false
    private var places: [Int32: Int] = [:]
    private(set) var leafWidth = 1
    /// DART's weight.
    var weight: Float = 1

    var nodeCount: Int { left.count }

    init(_ reader: inout some ModelReader) throws(KeelError) {
        var baseWeights: [Float] = []
        var leafWeights: [Float]?
        try reader.object { reader, key throws(KeelError) in
            switch key {
            case "left_children": left = try reader.integers()
            case "right_children": right = try reader.integers()
            case "split_indices": features = try reader.integers()
            case "split_conditions": conditions = try reader.floats()
            case "default_left": defaultLeft = try reader.integers()
            case "split_type": splitTypes = try reader.integers()
            case "categories": categories = try reader.integers()
            case "categories_nodes": categoryNodes = try reader.integers()
            case "categories_segments": categoryStarts = try reader.integers()
            case "categories_sizes": categoryCounts = try reader.integers()
            case "base_weights": baseWeights = try reader.floats()
            case "leaf_weights": leafWeights = try reader.floats()
            case "tree_param":
                try reader.object { reader, key throws(KeelError) in
                    if key == "size_leaf_vector" { leafWidth = max(1, try reader.count()) } else { try reader.skip() }
                }
            default: try reader.skip()
            }
        }
        if leafWidth > 1 {
            vectors = leafWeights ?? baseWeights
            vectorsAreByLeaf = leafWeights != nil
        }
        let count = left.count
        guard count > 0, right.count == count, features.count == count, conditions.count == count, defaultLeft.count == count,
            splitTypes.isEmpty || splitTypes.count == count
        else { throw reader.failure("its lists differ in length") }
        guard categoryNodes.count == categoryStarts.count, categoryNodes.count == categoryCounts.count else {
            throw reader.failure("its lists of categories differ in length")
        }
        // Lists that overlap, or vectors that many leaves share, would make much of a small file.
        guard categoryCounts.reduce(0, { $0 + max(0, Int($1)) }) <= categories.count else { throw reader.failure("its categories overlap") }
        let (size, overflow) = count.multipliedReportingOverflow(by: leafWidth)
        guard leafWidth == 1 || (!overflow && size / 3 <= vectors.count) else {
            throw reader.failure("it has too few values for its leaves")
        }
        for (i, node) in categoryNodes.enumerated() { places[node] = i }
    }

    func node(_ index: Int) throws(KeelError) -> SourceNode<Float> {
        if left[index] == -1 { return .leaf(try leaf(index)) }
        guard features[index] >= 0 else { throw ModelDamage.error("node \(index) uses feature \(features[index])") }
        guard defaultLeft[index] == 0 || defaultLeft[index] == 1 else { throw ModelDamage.error("node \(index) has no valid default") }
        let feature = UInt32(features[index])
        let missingLeft = defaultLeft[index] == 1
        let first = Int(left[index])
        let second = Int(right[index])
        switch splitTypes.isEmpty ? 0 : splitTypes[index] {
        case 0:
            return .threshold(
                TreeColumn(feature: feature, rule: missingLeft ? .missingLeft : .missingRight), conditions[index], first: first,
                second: second)
        case 1:
            return .categories(
                TreeColumn(feature: feature, rule: missingLeft ? .category : .categoryMissingRight), try categorySet(index), first: first,
                second: second)
        case let type: throw ModelDamage.error("node \(index) has split type \(type)")
        }
    }

    private func leaf(_ index: Int) throws(KeelError) -> SourceLeaf<Float> {
        guard leafWidth > 1 else { return .value(conditions[index] * weight) }
        guard weight == 1 else { throw ModelDamage.unsupported("vector leaves with weights (multi_output_tree in booster dart)") }
        let start = (vectorsAreByLeaf ? Int(right[index]) : index) * leafWidth
        guard start >= 0, start + leafWidth <= vectors.count else { throw ModelDamage.error("leaf \(index) has no values") }
        return .vector(vectors[start..<start + leafWidth])
    }

    /// The categories that go right.
    private func categorySet(_ node: Int) throws(KeelError) -> [UInt32] {
        guard let place = places[Int32(node)] else { throw ModelDamage.error("node \(node) has no categories") }
        let start = Int(categoryStarts[place])
        let count = Int(categoryCounts[place])
        guard start >= 0, count >= 0, start + count <= categories.count else {
            throw ModelDamage.error("the categories of node \(node) are not there")
        }
        let members = categories[start..<start + count]
        guard let last = members.max() else { return [] }
        guard members.allSatisfy({ $0 >= 0 }), last < XGBoostTree.categoriesMax else {
            throw ModelDamage.unsupported("categories beyond \(XGBoostTree.categoriesMax)", hint: "number the categories from 0")
        }
        var words = [UInt32](repeating: 0, count: Int(last) / 32 + 1)
        for member in members { words[Int(member) / 32] |= 1 << UInt32(member % 32) }
        return words
    }

    /// A file of few bytes can name a category of a high number, whose set then takes memory: 128 kB at most.
    private static let categoriesMax: Int32 = 1 << 20
}
