import Contracts
import Engines
import Platform
import Serving
import Workflows

extension FuzzTarget {
    private static let xgboostWords = [
        "learner", "gradient_booster", "model", "trees", "tree_param", "num_nodes", "num_feature", "num_class", "num_target", "base_score",
        "objective", "name", "gbtree",
        "gblinear", "dart", "weight_drop", "tree_info", "iteration_indptr", "split_indices", "split_conditions", "left_children",
        "right_children", "default_left", "split_type",
        "categories", "categories_nodes", "categories_segments", "categories_sizes", "leaf_weights", "base_weights", "size_leaf_vector",
        "feature_names", "attributes",
        "best_iteration", "binary:logistic", "multi:softprob", "reg:squarederror", "rank:ndcg", "count:poisson", "survival:aft",
        "reg:gamma", "weights", "boosted_rounds",
    ]

    /// XGBoost's models as JSON.
    static let xgboostJSON = FuzzTarget(
        name: "xgboost-json", inputs: 225_000,
        words: xgboostWords.map { "\"\($0)\":" } + ["NaN", "Infinity", "-Infinity", "[]", "\"[5E-1]\"", "2147483647", "-1"], bytesMax: 16384
    ) { bytes in
        try predict(try TreeEnsemble(xgboost: bytes), bytes)
    }

    /// XGBoost's models as Universal Binary JSON.
    static let xgboostUBJ = FuzzTarget(
        name: "xgboost-ubj", inputs: 237_500,
        words: xgboostWords + [
            "{L", "[$d#L", "[$l#i", "[$U#i", "[$C#i", "[#i", "{#i", "SL", "Si", "i", "l", "I", "d", "D", "T", "F", "Z", "N", "H", "}", "]",
        ], bytesMax: 16384
    ) { bytes in
        try predict(try TreeEnsemble(xgboost: bytes), bytes)
    }

    /// LightGBM's models as text.
    static let lightGBM = FuzzTarget(
        name: "lightgbm", inputs: 237_500,
        words: [
            "tree\n", "version=v4\n", "num_class=", "num_tree_per_iteration=", "max_feature_idx=", "objective=", "binary sigmoid:1",
            "multiclass num_class:3", "multiclassova",
            "lambdarank", "poisson", "regression sqrt", "cross_entropy_lambda", "average_output\n", "feature_names=", "tree_sizes=",
            "Tree=", "num_leaves=", "num_cat=",
            "split_feature=", "threshold=", "decision_type=", "left_child=", "right_child=", "leaf_value=", "cat_boundaries=",
            "cat_threshold=", "is_linear=", "leaf_const=",
            "num_features=", "leaf_features=", "leaf_coeff=", "end of trees\n", "inf", "-inf", "nan", "1e308",
        ], bytesMax: 16384
    ) { bytes in
        try predict(try TreeEnsemble(lightgbm: bytes), bytes)
    }

    /// What a model predicts is the same for a row alone and among others, and for the same row again.
    private static func predict(_ model: TreeEnsemble, _ bytes: [UInt8]) throws -> String {
        try require(model.featureCount > 0 && model.outputCount > 0, "\(model.featureCount) features, \(model.outputCount) outputs")
        let word =
            "\(model.objective.prefix(20)) \(model.output) \(model.outputCount > 1) \(model.treeCount > 0) \(model.bestIteration != nil)"
        // A damaged count of features is a legal model of a great many.
        guard model.featureCount <= 4096, model.outputCount <= 4096, model.stepsPerRow < 1 << 20 else { return word }
        let values: [Double] = [.nan, 0, 1, -1, .infinity, -.infinity, 1e300, 31, 1e9, -0.0, 0.5, 2, 3]
        let rowCount = 19
        let rows = (0..<rowCount * model.featureCount).map { values[($0 &* 7 &+ $0 / model.featureCount &* 3) % values.count] }
        let all = try predictions(model, rows)
        try require(all.count == rowCount * model.outputCount, "\(all.count) values for \(rowCount) rows")
        for i in [0, 7, rowCount - 1] {
            let one = try predictions(model, Array(rows[i * model.featureCount..<(i + 1) * model.featureCount]))
            let same = all[i * model.outputCount..<(i + 1) * model.outputCount]
            try require(
                zip(one, same).allSatisfy { $0.bitPattern == $1.bitPattern || ($0.isNaN && $1.isNaN) },
                "row \(i) alone gives \(one), among others \(Array(same))")
        }
        return word
    }

    private static func predictions(_ model: TreeEnsemble, _ rows: [Double]) throws -> [Double] {
        var out = [Double](repeating: .nan, count: rows.count / model.featureCount * model.outputCount)
        try rows.withUnsafeBufferPointer { rows in try out.withUnsafeMutableBufferPointer { out in try model.predict(rows, into: out) } }
        return out
    }

    /// ONNX models as protobuf: what is looked for in them before ONNX Runtime reads them.
    static let onnx = FuzzTarget(
        name: "onnx", inputs: 150_000,
        words: [
            "location", "offset", "length", "weights.bin", "../x", "ZipMap", "ai.onnx.ml", "classlabels_int64s", "classlabels_strings",
            "EPContext",
        ],
        structure: .protobuf
    ) { bytes in
        let labels = try ONNXClassLabels.byOutput(of: bytes)
        let locations = try ONNXExternalData.locations(of: bytes)
        let files = ["weights.bin": [UInt8](repeating: 7, count: 64)]
        let whole = try ONNXExternalData.inlined(bytes, files: files)
        let needed = try ONNXExternalData.locations(of: whole)
        try require(needed.isEmpty, "a model that was made whole needs \(needed)")
        try require(try ONNXExternalData.inlined(whole, files: [:]) == whole, "a whole model is changed")
        try ONNXModelCheck.requireSelfContained(whole)
        return "\(labels.count) \(locations.count)"
    }

    /// What MLflow writes beside a model: `MLmodel` in YAML with a signature in JSON, and the example of an input.
    static let models = FuzzTarget(
        name: "mlmodel", inputs: 60_000,
        words: [
            "flavors:\n", "signature:\n", "  inputs: '", "  outputs: '", "  params: '", "python_function:\n", "\"type\":\"tensor\"",
            "\"tensor-spec\":", "\"dtype\":\"float32\"", "\"shape\":[-1,2]",
            "\"name\":\"x\"", "\"type\":\"long\"", "\"type\":\"array\",\"items\":", "\"required\":false", "&a", "*a", "!!binary", "|\n",
            ">-\n", "---\n", "? ", "\"dataframe_split\":",
            "\"columns\":", "\"data\":", "NaN", "[[[",
        ]
    ) { bytes in
        // The two files are one input: what stands before an empty line is the first.
        let blank = bytes.indices.dropLast().first { bytes[$0] == 10 && bytes[$0 + 1] == 10 } ?? bytes.count
        let facts = ModelFile.parse(Array(bytes[..<blank]))
        var fields = [Field("x", .float64), Field("t", .tensor(.float32, shape: [-1, 2]))]
        if facts.problem == nil, !facts.inputs.isEmpty {
            let inputs = facts.inputs.enumerated().compactMap { i, input in
                input.type.map { Signature.Input(input.name ?? "x\(i)", $0, nullable: true) }
            }
            let signature = Signature(inputs: inputs, outputs: [])
            try require(try Signature(json: signature.json) == signature, "its signature is another one when it is stored")
            if let table = ModelExample.made(for: signature) { _ = try Tables.check(table) }
            fields = inputs.map { Field($0.name, $0.type) }
        }
        var word = facts.problem == nil ? "\(facts.inputs.count)" : "problem"
        if blank + 2 < bytes.count, let json = ExampleFile.json(Array(bytes[(blank + 2)...])), let table = ExampleFile.table(json, fields) {
            word += try Tables.check(table, isFinite: false)
        }
        return word
    }
}
