import Contracts

extension DataType {
    private static let ofMLflow: [String: DataType] = [
        "boolean": .bool, "integer": .int32, "long": .int64, "float": .float32, "double": .float64, "string": .string, "binary": .bytes,
        "datetime": .timestamp, "bool": .bool, "int8": .int32, "int16": .int32, "uint8": .int32, "uint16": .int32, "int32": .int32, "uint32": .int64,
        "int64": .int64, "float16": .float32, "float32": .float32, "float64": .float64, "str": .string, "bytes": .bytes,
    ]

    /// Keel's word for a scalar type of MLflow's schema or of numpy; nil when there is none.
    public init?(mlflow word: String) {
        guard let type = DataType.ofMLflow[word] else { return nil }
        self = type
    }
}
