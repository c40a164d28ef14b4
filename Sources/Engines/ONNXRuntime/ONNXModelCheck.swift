import Contracts

/// Reads an ONNX model far enough to know that it is whole in itself: ONNX Runtime would otherwise read other files of the machine for it.
///
/// A model may keep its tensors in files beside it (`external_data`, of initializers and of attributes, in subgraphs and functions too), name the
/// context file of an execution provider (`EPContext`), or bring a configuration of the runtime (`ort_config`). All three are refused. The reader
/// follows protobuf's wire format; what it does not understand it refuses, so that it never skips what ONNX Runtime would read.
struct ONNXModelCheck {
    /// The messages of onnx.proto that can hold a tensor, directly or further down.
    private enum Message { case model, training, graph, node, attribute, tensor, sparseTensor, function, property }

    private let bytes: UnsafeRawBufferPointer
    /// As deep as protobuf's own reader goes.
    private static let depthMax = 100

    /// - Throws: `corrupted` for bytes that are no protobuf message, `invalidArgument` for a model that refers to something outside itself.
    static func requireSelfContained(_ model: [UInt8]) throws(KeelError) {
        let result: Result<Void, KeelError> = model.withUnsafeBytes { bytes in
            // ONNX Runtime's own file format, a FlatBuffer, is known by these four bytes.
            if bytes.count >= 8, bytes[4..<8].elementsEqual("ORTM".utf8) {
                return .failure(.invalid("the model is in ONNX Runtime's format (.ort)", hint: "export it as ONNX (.onnx)"))
            }
            do throws(KeelError) {
                return .success(try ONNXModelCheck(bytes: bytes).walk(.model, 0..<bytes.count, depth: 0))
            } catch { return .failure(error) }
        }
        try result.get()
    }

    private func walk(_ message: Message, _ range: Range<Int>, depth: Int) throws(KeelError) {
        guard depth < ONNXModelCheck.depthMax else { throw damaged("it is nested more than \(ONNXModelCheck.depthMax) levels") }
        var at = range.lowerBound
        while at < range.upperBound {
            let tag = try varint(&at, range.upperBound, bytesMax: 5)
            let field = tag >> 3
            guard tag <= UInt32.max, field > 0 else { throw damaged("a field has no number") }
            switch tag & 7 {
            case 0:
                let value = try varint(&at, range.upperBound, bytesMax: 10)
                if message == .tensor, field == 14, value != 0 { throw ONNXModelCheck.external }
            case 1: try skip(8, &at, range.upperBound)
            case 5: try skip(4, &at, range.upperBound)
            case 2:
                let length = try varint(&at, range.upperBound, bytesMax: 5)
                guard length <= UInt64(range.upperBound - at) else { throw damaged("a field is cut off") }
                let content = at..<at + Int(length)
                try check(message, field, content)
                if let inner = ONNXModelCheck.inner(message, field) { try walk(inner, content, depth: depth + 1) }
                at = content.upperBound
            default: throw damaged("a field has an unknown wire type")
            }
        }
    }

    private func check(_ message: Message, _ field: UInt64, _ content: Range<Int>) throws(KeelError) {
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

    /// The message in a field; nil for what holds no tensor.
    private static func inner(_ message: Message, _ field: UInt64) -> Message? {
        switch (message, field) {
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

    private func varint(_ at: inout Int, _ end: Int, bytesMax: Int) throws(KeelError) -> UInt64 {
        var value: UInt64 = 0
        for i in 0..<bytesMax {
            guard at < end else { throw damaged("it ends too early") }
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7f) << UInt64(7 * i)
            if byte < 0x80 { return value }
        }
        throw damaged("a number is too long")
    }

    private func skip(_ count: Int, _ at: inout Int, _ end: Int) throws(KeelError) {
        guard end - at >= count else { throw damaged("it ends too early") }
        at += count
    }

    private func damaged(_ what: String) -> KeelError { KeelError(.corrupted, "the file is not a whole ONNX model: \(what)") }
}
