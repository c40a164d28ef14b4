extension FuzzTarget {
    /// Every parser of bytes that come from outside, or from files that something else may have written.
    static let all: [FuzzTarget] = [
        .json, .tensors, .lightGBM, .rpc, .scoring, .xgboostJSON, .xgboostUBJ, .resources, .texts, .models, .archives, .expressions, .searches,
        .datasetCSV, .datasetJSON, .csv, .records, .segments, .frames, .onnx, .tokens, .requirements, .parquetFooter,
    ]
}
