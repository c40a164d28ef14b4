import Contracts

/// The messages of onnx.proto that can hold a tensor, directly or further down.
enum ONNXMessage {
    case model, training, graph, node, attribute, tensor, sparseTensor, function, property

    /// As deep as protobuf's own reader goes.
    static let depthMax = 100

    /// The message in a field; nil for what holds no tensor.
    func inner(_ field: UInt64) -> ONNXMessage? {
        switch (self, field) {
        case (.model, 7), (.training, 1), (.training, 2), (.attribute, 6), (.attribute, 11): .graph
        case (.model, 14): .property
        case (.model, 20): .training
        case (.model, 25): .function
        case (.graph, 1), (.function, 7): .node
        case (.graph, 5), (.attribute, 5), (.attribute, 10), (.sparseTensor, 1), (.sparseTensor, 2): .tensor
        case (.graph, 15), (.attribute, 22), (.attribute, 23): .sparseTensor
        case (.node, 5), (.function, 11): .attribute
        default: nil
        }
    }

    /// - Throws: `corrupted` for a message that lies deeper than any reader goes.
    static func check(depth: Int) throws(KeelError) {
        guard depth < depthMax else { throw ProtobufReader.damaged("it is nested more than \(depthMax) levels") }
    }
}
