import Contracts

/// Reads an ONNX model far enough to know that it is whole in itself: ONNX Runtime would otherwise read other files of the machine for it.
///
/// A model may keep its tensors in files beside it (`external_data`, of initializers and of attributes, in subgraphs and functions too), name the
/// context file of an execution provider (`EPContext`), or bring a configuration of the runtime (`ort_config`). All three are refused. The reader
/// follows protobuf's wire format; what it does not understand it refuses, so that it never skips what ONNX Runtime would read.
package struct ONNXModelCheck {
    private let bytes: UnsafeRawBufferPointer

    /// - Throws: `corrupted` for bytes that are no protobuf message, `invalidArgument` for a model that refers to something outside itself.
    package static func requireSelfContained(_ model: [UInt8]) throws(KeelError) {
        try model.withBytes { bytes throws(KeelError) in
            // ONNX Runtime's own file format, a FlatBuffer, is known by these four bytes.
            if bytes.count >= 8, bytes[4..<8].elementsEqual("ORTM".utf8) {
                throw .invalid("the model is in ONNX Runtime's format (.ort)", hint: "export it as ONNX (.onnx)")
            }
            try ONNXModelCheck(bytes: bytes).walk(.model, 0..<bytes.count, depth: 0)
        }
    }

    private func walk(_ message: ONNXMessage, _ range: Range<Int>, depth: Int) throws(KeelError) {
        try ONNXMessage.check(depth: depth)
        var reader = ProtobufReader(bytes, range)
        while let field = try reader.next() {
            switch field.value {
            case .varint(let value):
                if message == .tensor, field.number == 14, value != 0 { throw ONNXModelCheck.external }
            case .fixed: break
            case .bytes(let content):
                try check(message, field.number, content)
                if let inner = message.inner(field.number) { try walk(inner, content, depth: depth + 1) }
            }
        }
    }

    private func check(_ message: ONNXMessage, _ field: UInt64, _ content: Range<Int>) throws(KeelError) {
        switch (message, field) {
        case (.tensor, 13): throw ONNXModelCheck.external
        case (.node, 4) where bytes[content].elementsEqual("EPContext".utf8):
            throw .invalid("the model needs the context of an execution provider (EPContext)", hint: "export it without")
        case (.property, 1) where bytes[content].elementsEqual("ort_config".utf8):
            throw .invalid("the model's metadata configures ONNX Runtime (ort_config)", hint: "export it without")
        default: return
        }
    }

    private static let external = KeelError.invalid(
        "the model keeps tensors in other files (external_data)",
        hint: "save it in one file: onnx.save_model(model, path, save_as_external_data=False)")
}
