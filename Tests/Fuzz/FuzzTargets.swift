extension FuzzTarget {
    /// Every parser of bytes that come from outside, or from files that something else may have written.
    static let all: [FuzzTarget] = [
        .json, .tensors, .scoring, .csv, .xgboostJSON, .xgboostUBJ, .lightGBM, .rpc, .records, .segments, .frames, .archives, .onnx,
        .parquetFooter, .expressions,
        .searches, .texts, .tokens, .requirements, .datasetCSV, .datasetJSON, .models, .resources,
    ]
}
