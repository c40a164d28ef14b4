import Contracts

/// A model as XGBoost saves it in JSON, read but not yet checked: only what prediction needs.
struct XGBoostDocument {
    struct Tree {
        var left: [Int] = []
        var right: [Int] = []
        var parents: [Int] = []
        var features: [Int] = []
        /// The threshold of a split, the value of a leaf.
        var conditions: [Float] = []
        var defaultLeft: [Int] = []
        var splitTypes: [Int] = []
        var leafVectorSize = 1
    }

    var featureNames: [String] = []
    var booster = ""
    var objective = ""
    var trees: [Tree] = []
    /// Which output each tree adds to.
    var treeGroups: [Int] = []
    var baseScores: [Float] = []
    var classCount = 0
    var featureCount = 0
    var targetCount = 1

    /// - Throws: `corrupted` for bytes that are not a whole JSON document of this form.
    init(_ bytes: [UInt8]) throws(KeelError) {
        let read: Result<XGBoostDocument, KeelError> = bytes.withUnsafeBufferPointer { buffer in
            var document = XGBoostDocument()
            do throws(KeelError) {
                var scanner = JSONScanner(buffer)
                try document.readModel(&scanner)
                try scanner.expectEnd()
                return .success(document)
            } catch {
                return .failure(KeelError(.corrupted, "the model is not a whole XGBoost model in JSON: \(error.message)"))
            }
        }
        self = try read.get()
    }

    private init() {}

    private mutating func readModel(_ scanner: inout JSONScanner) throws(KeelError) {
        var document = self
        try scanner.object { scanner, key throws(KeelError) in
            if key == "learner" { try document.readLearner(&scanner) } else { try scanner.skip() }
        }
        self = document
    }

    private mutating func readLearner(_ scanner: inout JSONScanner) throws(KeelError) {
        var document = self
        try scanner.object { scanner, key throws(KeelError) in
            if key == "feature_names" {
                try scanner.array { item throws(KeelError) in document.featureNames.append(try item.string()) }
            } else if key == "gradient_booster" {
                try document.readBooster(&scanner)
            } else if key == "learner_model_param" {
                try document.readParameters(&scanner)
            } else if key == "objective" {
                try scanner.object { scanner, key throws(KeelError) in
                    if key == "name" { document.objective = try scanner.string() } else { try scanner.skip() }
                }
            } else {
                try scanner.skip()
            }
        }
        self = document
    }

    private mutating func readBooster(_ scanner: inout JSONScanner) throws(KeelError) {
        var document = self
        try scanner.object { scanner, key throws(KeelError) in
            if key == "name" {
                document.booster = try scanner.string()
            } else if key == "model" {
                try scanner.object { scanner, key throws(KeelError) in
                    if key == "trees" {
                        try scanner.array { item throws(KeelError) in document.trees.append(try XGBoostDocument.tree(&item)) }
                    } else if key == "tree_info" {
                        document.treeGroups = try XGBoostDocument.integers(&scanner)
                    } else {
                        try scanner.skip()
                    }
                }
            } else {
                try scanner.skip()
            }
        }
        self = document
    }

    private mutating func readParameters(_ scanner: inout JSONScanner) throws(KeelError) {
        var document = self
        try scanner.object { scanner, key throws(KeelError) in
            if key == "base_score" {
                // "5E-1", and "[5E-1,2E-1]" since version 3.1: one for each output.
                for part in try scanner.string().split(whereSeparator: { "[], ".contains($0) }) {
                    guard let value = Float(part) else { throw .invalid("base_score is '\(part)'") }
                    document.baseScores.append(value)
                }
            } else if key == "num_class" {
                document.classCount = try XGBoostDocument.count(&scanner)
            } else if key == "num_feature" {
                document.featureCount = try XGBoostDocument.count(&scanner)
            } else if key == "num_target" {
                document.targetCount = try XGBoostDocument.count(&scanner)
            } else {
                try scanner.skip()
            }
        }
        self = document
    }

    private static func tree(_ scanner: inout JSONScanner) throws(KeelError) -> Tree {
        var tree = Tree()
        try scanner.object { scanner, key throws(KeelError) in
            if key == "left_children" {
                tree.left = try integers(&scanner)
            } else if key == "right_children" {
                tree.right = try integers(&scanner)
            } else if key == "parents" {
                tree.parents = try integers(&scanner)
            } else if key == "split_indices" {
                tree.features = try integers(&scanner)
            } else if key == "split_conditions" {
                try scanner.array { item throws(KeelError) in tree.conditions.append(Float(try item.number())) }
            } else if key == "default_left" {
                tree.defaultLeft = try integers(&scanner)
            } else if key == "split_type" {
                tree.splitTypes = try integers(&scanner)
            } else if key == "tree_param" {
                try scanner.object { scanner, key throws(KeelError) in
                    if key == "size_leaf_vector" { tree.leafVectorSize = try count(&scanner) } else { try scanner.skip() }
                }
            } else {
                try scanner.skip()
            }
        }
        return tree
    }

    private static func integers(_ scanner: inout JSONScanner) throws(KeelError) -> [Int] {
        var out: [Int] = []
        try scanner.array { item throws(KeelError) in
            guard let value = try item.numberOrInteger().1 else { throw item.failure("expected a whole number") }
            out.append(Int(value))
        }
        return out
    }

    /// XGBoost writes its parameters as texts.
    private static func count(_ scanner: inout JSONScanner) throws(KeelError) -> Int {
        let text = try scanner.string()
        guard let value = Int(text), value >= 0, value <= 1 << 30 else { throw scanner.failure("'\(text.prefix(30))' is not a count") }
        return value
    }
}
