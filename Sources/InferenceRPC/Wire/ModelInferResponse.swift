import Contracts
import InferenceAPI
import Serving

/// `ModelInferResponse`: the outputs, the release that gave them and the prediction ids.
struct ModelInferResponse {
    /// The endpoint as it was asked for.
    let model: String
    let result: InferenceResult
    let request: ModelInferRequest

    /// - Parameter parameters: further ones, which are true.
    /// - Throws: `invalidArgument` for an output that the model does not have.
    func write(to message: inout ProtobufWriter, flags: [String] = []) throws(KeelError) {
        let columns = try columns()
        message.text(1, model)
        message.text(2, result.modelVersion)
        message.text(3, request.id ?? "")
        message.message(4) { entry in
            entry.text(1, "release")
            entry.message(2) { $0.integer(2, result.release) }
        }
        message.message(4) { entry in
            entry.text(1, "ids")
            entry.message(2) { $0.text(3, String(decoding: JSON.array(result.ids.map(JSON.string)).bytes, as: UTF8.self)) }
        }
        for flag in flags {
            message.message(4) { entry in
                entry.text(1, flag)
                entry.message(2) { $0.bool(1, true) }
            }
        }
        var raw: [[UInt8]] = []
        for column in columns {
            let tensor = OutputTensor(result.outputs.columns[column])
            var binary: [UInt8] = []
            tensor.writeBinary(to: &binary)
            message.message(5) { output in
                output.text(1, result.outputs.names[column])
                output.text(2, tensor.datatype.rawValue)
                output.varints(3, tensor.shape.lazy.map { UInt64($0) })
                if !request.isRaw { output.message(5) { ModelInferResponse.write(tensor.datatype, binary, to: &$0) } }
            }
            raw.append(binary)
        }
        if request.isRaw { for binary in raw { message.data(6, binary) } }
    }

    private func columns() throws(KeelError) -> [Int] {
        guard let wanted = request.wanted else { return Array(result.outputs.names.indices) }
        var columns: [Int] = []
        for (i, name) in wanted.enumerated() {
            guard let column = result.outputs.index(of: name) else {
                throw .invalid(
                    "there is no output '\(name.prefix(60))'", hint: "the outputs: \(result.outputs.names.joined(separator: ", "))",
                    path: "outputs[\(i)].name")
            }
            columns.append(column)
        }
        return columns
    }

    /// `InferTensorContents` of a tensor in binary form.
    private static func write(_ type: Datatype, _ binary: [UInt8], to contents: inout ProtobufWriter) {
        guard let list = TensorContents.list(of: type)?.number else { return }
        func values<Integer: FixedWidthInteger & SignedInteger>(_: Integer.Type) -> [UInt64] {
            let size = MemoryLayout<Integer>.size
            return binary.withUnsafeBytes { raw in
                (0..<raw.count / size).map {
                    UInt64(bitPattern: Int64(Integer(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * size, as: Integer.self))))
                }
            }
        }
        switch type {
        case .bytes:
            var at = 0
            while at + 4 <= binary.count {
                let length = binary[at..<at + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
                contents.data(list, binary[at + 4..<at + 4 + length])
                at += 4 + length
            }
        case .bool: contents.varints(list, binary.lazy.map { UInt64($0) })
        case .int32: contents.varints(list, values(Int32.self))
        case .int64: contents.varints(list, values(Int64.self))
        default: if !binary.isEmpty { contents.data(list, binary) }
        }
    }
}
