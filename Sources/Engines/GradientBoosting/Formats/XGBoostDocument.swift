import Contracts

/// A model as XGBoost saves it, in JSON or UBJ: only what prediction needs, read but not yet checked.
struct XGBoostDocument {
    var featureNames: [String] = []
    var attributes: [String: String] = [:]
    var booster = ""
    var objective = ""
    var trees: [XGBoostTree] = []
    /// Which output each tree adds to.
    var treeGroups: [Int32] = []
    /// Where the trees of each iteration begin, and the end; empty in models of XGBoost before 2.0.
    var iterationStarts: [Int32] = []
    var parallelTreeCount = 1
    /// DART's weight of each tree.
    var treeWeights: [Float]?
    /// gblinear's: for each feature the weights of all outputs, then the biases.
    var linearWeights: [Float] = []
    var baseScores: [Float] = []
    var classCount = 0
    var featureCount = 0
    var targetCount = 1

    /// Tells the two formats apart by their second byte.
    ///
    /// - Throws: `corrupted` for bytes that are not a whole document of this form; `invalidArgument` for XGBoost's old binary format.
    init(_ bytes: [UInt8]) throws(KeelError) {
        guard bytes.first == UInt8(ascii: "{"), bytes.count > 1 else {
            if bytes.isEmpty { throw KeelError(.corrupted, "the model is empty") }
            throw .invalid(
                "the model is not in XGBoost's JSON or UBJ format",
                hint:
                    "if it is in the old binary format, load it with an XGBoost before 3.1 and save it again: booster.save_model('model.ubj')"
            )
        }
        let isJSON = [UInt8(ascii: "\""), UInt8(ascii: "}"), 32, 9, 10, 13].contains(bytes[1])
        let read: Result<XGBoostDocument, KeelError> = bytes.withUnsafeBufferPointer { buffer in
            do throws(KeelError) {
                if isJSON { return .success(try XGBoostDocument(reading: JSONModelReader(buffer))) }
                return .success(try XGBoostDocument(reading: UBJModelReader(buffer)))
            } catch {
                return .failure(
                    KeelError(.corrupted, "the model is not a whole XGBoost model in \(isJSON ? "JSON" : "UBJ"): \(error.message)"))
            }
        }
        self = try read.get()
    }

    private init(reading document: some ModelReader) throws(KeelError) {
        var reader = document
        var hasLearner = false
        try reader.object { reader, key throws(KeelError) in
            guard key == "learner" else { return try reader.skip() }
            hasLearner = true
            try readLearner(&reader)
        }
        try reader.expectEnd()
        guard hasLearner else { throw reader.failure("there is no 'learner'") }
    }

    private mutating func readLearner(_ reader: inout some ModelReader) throws(KeelError) {
        try reader.object { reader, key throws(KeelError) in
            switch key {
            case "attributes": try readAttributes(&reader)
            case "feature_names":
                featureNames = []
                try reader.array { reader throws(KeelError) in featureNames.append(try reader.string()) }
            case "gradient_booster": try readBooster(&reader)
            case "learner_model_param": try readParameters(&reader)
            case "objective":
                try reader.object { reader, key throws(KeelError) in
                    if key == "name" { objective = try reader.string() } else { try reader.skip() }
                }
            default: try reader.skip()
            }
        }
    }

    /// Only the place of the best iteration: others may hold anything.
    private mutating func readAttributes(_ reader: inout some ModelReader) throws(KeelError) {
        try reader.object { reader, key throws(KeelError) in
            if key == "best_iteration" { attributes[key] = try reader.string() } else { try reader.skip() }
        }
    }

    /// DART has the trees one level deeper.
    private mutating func readBooster(_ reader: inout some ModelReader, isInner: Bool = false) throws(KeelError) {
        try reader.object { reader, key throws(KeelError) in
            switch key {
            case "name":
                let name = try reader.string()
                if !isInner { booster = name }
            case "model": try readTrees(&reader)
            case "gbtree":
                guard !isInner else { throw reader.failure("a booster inside a booster inside a booster") }
                try readBooster(&reader, isInner: true)
            case "weight_drop": treeWeights = try reader.floats()
            default: try reader.skip()
            }
        }
    }

    private mutating func readTrees(_ reader: inout some ModelReader) throws(KeelError) {
        try reader.object { reader, key throws(KeelError) in
            switch key {
            case "trees":
                trees = []
                try reader.array { reader throws(KeelError) in
                    do throws(KeelError) {
                        trees.append(try XGBoostTree(&reader))
                    } catch {
                        throw KeelError(error.code, "tree \(trees.count): \(error.message)", hint: error.hint)
                    }
                }
            case "tree_info": treeGroups = try reader.integers()
            case "iteration_indptr": iterationStarts = try reader.integers()
            case "weights": linearWeights = try reader.floats()
            case "gbtree_model_param":
                try reader.object { reader, key throws(KeelError) in
                    if key == "num_parallel_tree" { parallelTreeCount = try reader.count() } else { try reader.skip() }
                }
            default: try reader.skip()
            }
        }
    }

    private mutating func readParameters(_ reader: inout some ModelReader) throws(KeelError) {
        try reader.object { reader, key throws(KeelError) in
            switch key {
            case "base_score":
                // "5E-1", and "[5E-1,2E-1]" since version 3.1: one for each output.
                baseScores = []
                for part in try reader.string().split(whereSeparator: { "[], ".contains($0) }) {
                    guard let value = Float(part) else { throw reader.failure("base_score is '\(part.prefix(40))'") }
                    baseScores.append(value)
                }
            case "num_class": classCount = try reader.count()
            case "num_feature": featureCount = try reader.count()
            case "num_target": targetCount = try reader.count()
            default: try reader.skip()
            }
        }
    }
}

extension ModelReader {
    /// A count; XGBoost writes its parameters as texts.
    mutating func count() throws(KeelError) -> Int {
        let text = try string()
        guard let value = Int(text), value >= 0, value <= 1 << 30 else { throw failure("'\(text.prefix(30))' is not a count") }
        return value
    }
}
