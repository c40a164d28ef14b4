import Contracts
import Serving

/// The Open Inference Protocol as a client speaks it: what a model's metadata say.
package enum OpenInference {
    /// What is known of a model besides its signature.
    package struct Facts: Sendable, Hashable {
        let inputs: [OpenTensor]
        let outputs: [OpenTensor]
        /// Whether tensors may be sent and answered as binary data (Triton's extension).
        let isBinary: Bool
        /// Rows that the model takes at once; nil when it states no limit.
        let rowsMax: Int?

        var json: JSON {
            var out: JSON = ["inputs": .array(inputs.map(\.json)), "outputs": .array(outputs.map(\.json)), "binary": .bool(isBinary)]
            if let rowsMax { out["rows"] = .int(Int64(rowsMax)) }
            return out
        }

        package init(inputs: [OpenTensor], outputs: [OpenTensor], isBinary: Bool, rowsMax: Int?) {
            self.inputs = inputs
            self.outputs = outputs
            self.isBinary = isBinary
            self.rowsMax = rowsMax
        }

        init(json: JSON) throws(KeelError) {
            let reader = try FieldReader(json, path: "facts")
            var tensors: [[OpenTensor]] = [[], []]
            for (i, field) in ["inputs", "outputs"].enumerated() {
                for item in try reader.objects(field) { tensors[i].append(try OpenTensor(item)) }
            }
            inputs = tensors[0]
            outputs = tensors[1]
            isBinary = try reader.optionalBool("binary") ?? false
            rowsMax = try reader.optionalInt("rows")
            try reader.finish()
        }
    }

    /// The path of the model behind the server's address.
    static func path(_ model: RemoteModel) -> String {
        func part(_ text: String) -> String { percentEncoded(text) }
        return "/v2/models/\(part(model.name))" + (model.version.map { "/versions/\(part($0))" } ?? "")
    }

    private static func percentEncoded(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            let isPlain = (byte | 0x20) &- 97 < 26 || byte &- 48 < 10 || [45, 46, 95, 126].contains(byte)
            out += isPlain ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }
        return out
    }

    /// What a server says of an error.
    @Sendable static func words(_ json: JSON) -> String? { json["error"]?.string ?? json["detail"]?.string }

    /// Reads the metadata of the model and of its server, and compares them with what is declared. It blocks.
    static func describe(_ model: RemoteModel, _ server: RemoteServer, until deadline: ContinuousClock.Instant) throws(KeelError) -> RemoteDescription {
        let metadata = try document(path(model), server, until: deadline)
        guard let metadata else {
            throw KeelError.notFound(
                "there is no model \(server.name)\(model.version.map { " of version \($0)" } ?? "")", hint: "is spec.remote.model its name there?")
        }
        if let version = model.version, let versions = metadata["versions"]?.array?.compactMap({ $0.string ?? $0.integer.map(String.init) }), !versions.isEmpty,
            !versions.contains(version)
        {
            throw KeelError.notFound("\(server.name) has no version '\(version)'", hint: "it has \(versions.prefix(20).joined(separator: ", "))")
        }
        let own = try document("/v2", server, until: deadline)
        let isBinary = own?["extensions"]?.array?.contains { $0.string?.hasPrefix("binary_tensor_data") == true } ?? false
        // Servers without Triton's configurations answer it with one error or another.
        let configuration = try? document(path(model) + "/config", server, until: deadline)
        let batch = configuration?["max_batch_size"]?.integer.map { Int($0) }
        let inputs = try tensors(metadata, "inputs", model.inputs.map { ($0.name, $0.type) }, isSelection: false, server)
        let outputs = try tensors(metadata, "outputs", model.outputs.map { ($0.name, $0.type) }, isSelection: true, server)
        guard !inputs.isEmpty else {
            throw KeelError(.contractViolation, "\(server.name) does not say what it takes", hint: "declare spec.remote.inputs, and outputs")
        }
        guard !outputs.isEmpty else { throw KeelError(.contractViolation, "\(server.name) does not say what it gives", hint: "declare spec.remote.outputs") }
        let signature = Signature(
            // Binary data can say NaN; the protocol's JSON has no word for a missing value.
            inputs: inputs.map { Signature.Input($0.name, $0.type, nullable: isBinary && ($0.type == .float32 || $0.type == .float64)) },
            outputs: outputs.map { Signature.Output($0.name, $0.type) }, params: model.parameters)
        let facts = Facts(inputs: inputs, outputs: outputs, isBinary: isBinary, rowsMax: batch.flatMap { $0 > 0 ? $0 : nil })
        // What is generated as text may be another each time.
        let isRepeatable = outputs.allSatisfy { $0.datatype != .bytes }
        return RemoteDescription(model: model, signature: signature, facts: facts.json, isRepeatable: isRepeatable)
    }

    /// - Returns: nil when there is none.
    private static func document(_ path: String, _ server: RemoteServer, until deadline: ContinuousClock.Instant) throws(KeelError) -> JSON? {
        let answer = try server.answer("GET", path, headers: [("Accept", "application/json")], bytesMax: RemoteServer.metadataBytesMax, until: deadline)
        if answer.status == 404 { return nil }
        guard answer.status == 200 else {
            let failure = server.failure(answer, words)
            // Triton says so of a model that it does not have.
            return failure.code == .invalidArgument ? nil : try raise(failure)
        }
        guard let json = try? JSON.parse(answer.body), json.members != nil else { throw server.broken("describes itself with something that is no JSON object") }
        return json
    }

    private static func raise(_ error: KeelError) throws(KeelError) -> JSON? { throw error }

    /// - Parameter isSelection: whether some of the described tensors may be left out.
    private static func tensors(
        _ metadata: JSON, _ field: String, _ declared: [(name: String, type: DataType)], isSelection: Bool, _ server: RemoteServer
    ) throws(KeelError) -> [OpenTensor] {
        var described: [(name: String, datatype: Datatype, shape: [Int])] = []
        for item in metadata[field]?.array ?? [] {
            guard let name = item["name"]?.string, let word = item["datatype"]?.string,
                let shape = item["shape"]?.array?.map({ $0.integer.map { Int($0) } ?? 0 })
            else {
                throw server.broken("describes its \(field) in a form that is not the protocol's")
            }
            guard let datatype = Datatype(rawValue: word) else {
                throw KeelError(.contractViolation, "'\(name)' of \(server.name) is \(word.prefix(40)), which Keel has no type for")
            }
            described.append((name, datatype, shape))
        }
        guard !described.isEmpty else {
            // Servers of Python models often describe nothing: then the declaration holds.
            return declared.map { OpenTensor($0.name, $0.type) }
        }
        var out: [OpenTensor] = []
        for tensor in described {
            let wanted = declared.first { $0.name == tensor.name }
            if !declared.isEmpty, wanted == nil {
                if isSelection { continue }
                throw mismatch(server, field, "'\(tensor.name)' is not declared, and \(server.name) takes it")
            }
            out.append(try OpenTensor(tensor.name, tensor.datatype, tensor.shape, as: wanted?.type, server, field))
        }
        let names = described.map(\.name)
        if let stranger = declared.first(where: { !names.contains($0.name) }) {
            throw mismatch(
                server, field, "\(server.name) has no '\(stranger.name)'",
                hint: nearest(stranger.name, in: names).map { "did you mean '\($0)'?" } ?? "its \(field): \(names.joined(separator: ", "))")
        }
        // In the order of the declaration.
        return declared.isEmpty ? out : declared.compactMap { wanted in out.first { $0.name == wanted.name } }
    }

    static func mismatch(_ server: RemoteServer, _ field: String, _ what: String, hint: String? = nil) -> KeelError {
        KeelError(.contractViolation, what, hint: hint, path: "spec.remote.\(field)")
    }
}
