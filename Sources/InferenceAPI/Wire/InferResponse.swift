import Contracts

/// A response of the Open Inference Protocol v2: the outputs, the release that gave them and the prediction ids.
public struct InferResponse: Sendable {
    public let model: String
    public let version: String
    public let id: String?
    public let release: Int
    public let ids: [String]
    /// One tensor a column; its first dimension is that of the rows.
    public let outputs: Table

    public init(model: String, version: String, id: String?, release: Int, ids: [String], outputs: Table) {
        self.model = model
        self.version = version
        self.id = id
        self.release = release
        self.ids = ids
        self.outputs = outputs
    }

    /// The answer to a request: JSON, and behind it the outputs that it asked for as binary data.
    /// - Returns: the bytes, and the length of the JSON when binary data follow it.
    /// - Throws: `invalidArgument` for an output that the model does not have.
    package func encoded(for request: InferRequest) throws(KeelError) -> (bytes: [UInt8], headerBytes: Int?) {
        var chosen: [(column: Int, isBinary: Bool, classes: Int?)] = []
        if let wanted = request.wanted {
            for (i, output) in wanted.enumerated() {
                guard let column = outputs.index(of: output.name) else {
                    throw .invalid(
                        "there is no output '\(output.name.prefix(60))'", hint: "the outputs: \(outputs.names.joined(separator: ", "))",
                        path: "outputs[\(i)].name")
                }
                chosen.append((column, output.isBinary ?? request.isBinaryOutput, output.classes))
            }
        } else {
            chosen = outputs.names.indices.map { ($0, request.isBinaryOutput, nil) }
        }
        var out: [UInt8] = []
        out.reserveCapacity(256 + outputs.rowCount * 56 * max(1, chosen.count))
        var binary: [UInt8] = []
        writeHead(to: &out)
        for (i, (column, isBinary, classes)) in chosen.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            do throws(KeelError) {
                let values = try classes.map { (count) throws(KeelError) in try Classification.top(count, of: outputs.columns[column]) }
                try write(outputs.names[column], OutputTensor(values ?? outputs.columns[column]), isBinary, to: &out, binary: &binary)
            } catch { throw error.at("outputs[\(i)]") }
        }
        raw("]}", to: &out)
        guard chosen.contains(where: \.isBinary) else { return (out, nil) }
        let headerBytes = out.count
        out += binary
        return (out, headerBytes)
    }

    private func write(
        _ name: String, _ tensor: OutputTensor, _ isBinary: Bool, to out: inout [UInt8], binary: inout [UInt8]
    ) throws(KeelError) {
        raw("{\"name\":", to: &out)
        JSON.write(string: name, to: &out)
        raw(",\"shape\":[", to: &out)
        for (i, size) in tensor.shape.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            out.append(contentsOf: String(size).utf8)
        }
        raw("],\"datatype\":\"", to: &out)
        out.append(contentsOf: tensor.datatype.rawValue.utf8)
        if isBinary {
            let start = binary.count
            tensor.writeBinary(to: &binary)
            raw("\",\"parameters\":{\"binary_data_size\":", to: &out)
            out.append(contentsOf: String(binary.count - start).utf8)
            raw("}}", to: &out)
        } else {
            raw("\",\"data\":[", to: &out)
            try tensor.writeJSON(to: &out)
            raw("]}", to: &out)
        }
    }

    /// Everything before the first output.
    private func writeHead(to out: inout [UInt8]) {
        raw("{\"model_name\":", to: &out)
        JSON.write(string: model, to: &out)
        raw(",\"model_version\":", to: &out)
        JSON.write(string: version, to: &out)
        if let id {
            raw(",\"id\":", to: &out)
            JSON.write(string: id, to: &out)
        }
        raw(",\"parameters\":{\"release\":", to: &out)
        out.append(contentsOf: String(release).utf8)
        raw(",\"ids\":[", to: &out)
        for (i, id) in ids.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            JSON.write(string: id, to: &out)
        }
        raw("]},\"outputs\":[", to: &out)
    }

    private func raw(_ text: StaticString, to out: inout [UInt8]) {
        out.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// The protocol's error body: `error` is a text.
    public static func failure(_ error: KeelError) -> [UInt8] {
        var body: JSON = ["error": .string(error.description), "code": .string(error.code.rawValue)]
        if let path = error.path { body["path"] = .string(path) }
        return body.bytes
    }
}
