import Contracts
import Registry
import Yams

/// Reads an `MLmodel` file: YAML, with the signature's columns as JSON texts in it.
package enum ModelFile {
    /// Flavours, signature and the rest are some kilobytes; wide signatures some hundred.
    static let bytesMax = 2 << 20
    /// More `*` than an honest file has: each alias may stand for others, which may stand for others.
    private static let aliasesMax = 16
    /// The parser goes as deep as the text does, up to 1000 levels, which not every thread's stack holds.
    private static let levelsMax = 300

    /// - Returns: what could be understood; `problem` says what could not.
    package static func parse(_ bytes: [UInt8]) -> ModelFacts {
        var facts = ModelFacts()
        do {
            guard bytes.count <= bytesMax else { throw KeelError.invalid("it is larger than \(bytesMax) bytes") }
            guard let text = String(validating: bytes, as: UTF8.self) else { throw KeelError.invalid("it is not UTF-8") }
            let aliases = zip(bytes, bytes.dropFirst()).reduce(0) { $0 + ($1.0 == UInt8(ascii: "*") && $1.1 > 32 ? 1 : 0) }
            guard aliases <= aliasesMax else { throw KeelError.invalid("it has \(aliases) YAML aliases, at most \(aliasesMax) are read") }
            guard levels(of: bytes) <= levelsMax else { throw KeelError.invalid("it may have more than \(levelsMax) levels") }
            guard let root = try Yams.compose(yaml: text)?.mapping else { throw KeelError.invalid("it is not a YAML mapping") }
            try read(root, into: &facts)
        } catch { facts.problem = "MLmodel cannot be read: \((error as? KeelError)?.message ?? "\(error)".prefix(300).description)" }
        return facts
    }

    /// At least how deep the parts of a text lie in each other: what may begin blocks at the front of a line, and brackets that are open.
    private static func levels(of bytes: [UInt8]) -> Int {
        var deepest = 0
        var front = 0
        var open = 0
        var isFront = true
        for byte in bytes {
            switch byte {
            // YAML takes some characters beyond ASCII for the end of a line.
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"), 0x80...:
                front = 0
                isFront = true
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "-"), UInt8(ascii: "?"), UInt8(ascii: ":"): if isFront { front += 1 }
            default: isFront = false
            }
            if byte == UInt8(ascii: "[") || byte == UInt8(ascii: "{") { open += 1 }
            if byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}") { open = max(0, open - 1) }
            deepest = max(deepest, front + open)
        }
        return deepest
    }

    private static func read(_ root: Node.Mapping, into facts: inout ModelFacts) throws(KeelError) {
        func text(_ key: String) -> String? {
            root[Node(key)]?.scalar.flatMap { $0.string == "null" ? nil : String($0.string.prefix(1000)) }
        }
        facts.flavors = (root["flavors"]?.mapping?.keys.compactMap { $0.scalar?.string } ?? []).prefix(100).sorted()
        for flavor in facts.flavors {
            let known = ["data", "model_class", "model_format", "loader_module", "predict_fn", "python_version"]
            let texts = known.compactMap { key in root["flavors"]?[flavor]?[key]?.scalar.map { (key, String($0.string.prefix(500))) } }
            facts.settings[flavor] = Dictionary(texts) { first, _ in first }
        }
        (facts.uuid, facts.runID, facts.modelID) = (text("model_uuid"), text("run_id"), text("model_id"))
        (facts.mlflowVersion, facts.createdAt) = (text("mlflow_version"), text("utc_time_created"))
        facts.bytes = text("model_size_bytes").flatMap { Int64($0) }
        if let example = root["saved_input_example_info"]?.mapping {
            facts.inputExample = example["artifact_path"]?.scalar?.string
            facts.inputExampleType = example["type"]?.scalar?.string
        }
        guard let signature = root["signature"]?.mapping else { return }
        facts.inputs = try columns(signature["inputs"], "inputs")
        facts.outputs = try columns(signature["outputs"], "outputs")
        facts.params = try list(signature["params"], "params").map { item in
            ModelFacts.Parameter(
                name: item["name"]?.string ?? "", type: item["dtype"]?.string ?? item["type"]?.string ?? "",
                standard: (item["default"] ?? .null).text)
        }
    }

    private static func list(_ node: Node?, _ path: String) throws(KeelError) -> [JSON] {
        guard let text = node?.scalar?.string, text != "null", !text.isEmpty, text != "~" else { return [] }
        do { return try JSON.parse(text).array ?? [] } catch { throw .invalid("signature.\(path) is not JSON: \(error.message)") }
    }

    private static func columns(_ node: Node?, _ path: String) throws(KeelError) -> [ModelFacts.Column] {
        try list(node, path).map { item in
            let isRequired = item["required"] != .bool(false) && item["optional"] != .bool(true)
            let (type, written) = type(of: item)
            return ModelFacts.Column(name: item["name"]?.string, type: type, written: written, isRequired: isRequired)
        }
    }

    /// Keel's word for a column's type, and how it was written.
    private static func type(of item: JSON) -> (DataType?, String) {
        if let tensor = item["tensor-spec"] {
            let shape = (tensor["shape"]?.array ?? []).compactMap { $0.integer.map(Int.init) }
            let written = "tensor(\(tensor["dtype"]?.string ?? "?"), \(shape.map(String.init).joined(separator: "x")))"
            guard let element = tensor["dtype"]?.string.flatMap({ $0 == "object" ? .string : DataType(mlflow: $0) }), !shape.isEmpty, shape.allSatisfy({ $0 > 0 || $0 == -1 })
            else {
                return (nil, written)
            }
            return (.tensor(element, shape: shape), written)
        }
        guard let word = item["type"]?.string else { return (nil, item.text) }
        if word == "array", let inner = item["items"] {
            let (element, written) = type(of: inner)
            return (element.map { .list($0) }, "array(\(written))")
        }
        if let scalar = DataType(mlflow: word) { return (scalar, word) }
        return (nil, item.text)
    }
}
