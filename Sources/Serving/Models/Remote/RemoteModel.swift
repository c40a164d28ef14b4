import Contracts

/// A model, or an adapter of one, that another server runs: where it is, and what it is called there.
///
/// It is part of the bundle, so a release of another address, name or version is another release. The secret is named, never held.
public struct RemoteModel: Sendable, Hashable {
    public enum WireProtocol: String, Sendable, CaseIterable {
        /// The Open Inference Protocol over REST: Triton, KServe, MLServer, another Keel.
        case openInference = "open-inference"
        /// OpenAI's HTTP API: vLLM, llama.cpp, hosted models.
        case openAI = "openai"
    }

    /// What an OpenAI-compatible server is asked for.
    public enum Task: String, Sendable, CaseIterable { case chat, completion }

    /// What the one input of a language model holds.
    public enum Prompt: String, Sendable, CaseIterable {
        /// The text of the user.
        case prompt
        /// A list of messages in JSON, as the API takes them.
        case messages
    }

    /// Without a slash at the end: for the Open Inference Protocol what stands before `/v2`, for OpenAI's API what ends in `/v1`.
    public let url: String
    public let wire: WireProtocol
    /// Its name on that server.
    public let name: String
    /// Of the Open Inference Protocol; nil leaves the choice to the server.
    public let version: String?
    public let task: Task
    public let prompt: Prompt
    /// What is sent with every request unless the caller sets it, such as a temperature.
    public let parameters: [Signature.Parameter]
    /// The name of the secret that the server is shown; nil when it asks for none.
    public let secret: String?
    /// Requests that are under way at one time.
    public let concurrency: Int
    /// The inputs and outputs as they are declared; empty to take those that the server describes.
    public let inputs: [Signature.Input]
    public let outputs: [Signature.Output]
    /// Rows that it must answer before it serves: an object of values by name each.
    public let example: [JSON]

    private static let concurrencyMax = 256
    private static let exampleRowsMax = ModelExample.rowsMax

    /// - Throws: `invalidArgument` with the path of the field.
    init(_ reader: FieldReader) throws(KeelError) {
        var url = try reader.string("url")
        while url.hasSuffix("/") { url.removeLast() }
        guard !url.contains("?"), !url.contains("#") else {
            throw reader.failure("url", "must not have a query or a fragment", hint: "a key is a secret: name it in 'secret'")
        }
        self.url = url
        wire = try reader.word("protocol")
        name = try RemoteModel.name(reader, "model", try reader.string("model"))
        version = try reader.optionalString("version").map { (text) throws(KeelError) in try RemoteModel.name(reader, "version", text) }
        let task: Task? = try reader.optional("task") == nil ? nil : reader.word("task")
        let prompt: Prompt? = try reader.optional("input") == nil ? nil : reader.word("input")
        self.task = task ?? .chat
        self.prompt = prompt ?? .prompt
        parameters = try RemoteModel.parameters(reader, wire)
        secret = try reader.optionalString("secret").map { (text) throws(KeelError) in try RemoteModel.secretName(reader, text) }
        concurrency = try reader.positive("concurrency") ?? 8
        guard concurrency <= RemoteModel.concurrencyMax else { throw reader.failure("concurrency", "must be at most \(RemoteModel.concurrencyMax)") }
        var inputs: [Signature.Input] = []
        for field in try reader.objects("inputs") {
            let (name, type) = try RemoteModel.column(field)
            inputs.append(Signature.Input(name, type, nullable: RemoteModel.isFloat(type)))
        }
        var outputs: [Signature.Output] = []
        for field in try reader.objects("outputs") {
            let (name, type) = try RemoteModel.column(field)
            outputs.append(Signature.Output(name, type))
        }
        self.inputs = inputs
        self.outputs = outputs
        example = reader.optional("example")?.array ?? []
        try RemoteModel.check(example, reader)
        try reader.finish()
        if wire == .openAI {
            let given = [("version", version != nil), ("inputs", !inputs.isEmpty), ("outputs", !outputs.isEmpty)]
            if let field = given.first(where: \.1)?.0 { throw reader.failure(field, "is of the protocol open-inference alone") }
            guard task != .completion || prompt != .messages else {
                throw reader.failure("input", "a completion takes a prompt", hint: "task: chat takes messages")
            }
        } else {
            let given = [("task", task != nil), ("input", prompt != nil)]
            if let field = given.first(where: \.1)?.0 { throw reader.failure(field, "is of the protocol openai alone") }
        }
    }

    private static func check(_ example: [JSON], _ reader: FieldReader) throws(KeelError) {
        if let given = reader.optional("example"), given.array == nil { throw reader.failure("example", "must be a list of rows, not \(given.kind)") }
        guard example.count <= exampleRowsMax else { throw reader.failure("example", "has \(example.count) rows", hint: "at most \(exampleRowsMax)") }
        for (i, row) in example.enumerated() where row.members == nil {
            throw reader.failure("example[\(i)]", "must be an object of values by name, not \(row.kind)")
        }
    }

    /// Names become parts of addresses and of messages. Adapters are often named by a path.
    private static func name(_ reader: FieldReader, _ field: String, _ text: String) throws(KeelError) -> String {
        let isPlain = text.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") && $0 != UInt8(ascii: "\\") }
        let climbs = text.split(separator: "/", omittingEmptySubsequences: false).contains { $0 == ".." || $0 == "." }
        guard !text.isEmpty, text.utf8.count <= 256, isPlain, !climbs
        else { throw reader.failure(field, "'\(text.prefix(60))' is no name of a model: 1 to 256 visible characters of ASCII, without ? # \\ and spaces") }
        return text
    }

    private static func secretName(_ reader: FieldReader, _ text: String) throws(KeelError) -> String {
        func isPlain(_ c: UInt8) -> Bool { (c | 0x20) &- 97 < 26 || c &- 48 < 10 || c == UInt8(ascii: "_") || c == UInt8(ascii: "-") || c == UInt8(ascii: ".") }
        guard text.utf8.count <= 128, text.utf8.allSatisfy(isPlain), text.utf8.first.map({ $0 != UInt8(ascii: ".") }) == true else {
            throw reader.failure("secret", "is no name of a secret", hint: "letters, digits, '_', '-' and '.': the name of a file below serving.remote.secrets")
        }
        return text
    }

    private static func column(_ reader: FieldReader) throws(KeelError) -> (String, DataType) {
        let name = try reader.string("name")
        let type: DataType
        do throws(KeelError) { type = try DataType(parsing: try reader.string("type")) } catch { throw error.path == nil ? error.at("\(reader.path).type") : error }
        let element: DataType = if case .tensor(let element, _) = type { element } else { type }
        switch element {
        case .date, .timestamp, .list, .tensor:
            throw reader.failure("type", "\(type) cannot be sent as a tensor", hint: "bool, int32, int64, float32, float64, string, bytes, and tensors of these")
        default: break
        }
        try reader.finish()
        return (name, type)
    }

    static func isFloat(_ type: DataType) -> Bool { type == .float32 || type == .float64 }

    /// Fields of a request of OpenAI's API that say what is asked, and of whom.
    private static let own: Set<String> = ["model", "messages", "prompt", "stream", "stream_options", "n"]

    private static func parameters(_ reader: FieldReader, _ wire: WireProtocol) throws(KeelError) -> [Signature.Parameter] {
        guard let given = try reader.optionalObject("parameters") else { return [] }
        var out: [Signature.Parameter] = []
        for name in given.keys.sorted() {
            guard wire != .openAI || !own.contains(name) else { throw given.failure(name, "is set by Keel for each request") }
            let json = try given.required(name)
            let type: DataType
            switch json {
            case .bool: type = .bool
            case .int: type = .int64
            case .double: type = .float64
            case .string: type = .string
            default: throw given.failure(name, "must be a text, a number, true or false, not \(json.kind)")
            }
            out.append(Signature.Parameter(name, type, standard: json.value))
        }
        return out
    }

    public var json: JSON {
        var out: JSON = ["url": .string(url), "protocol": .string(wire.rawValue), "model": .string(name), "concurrency": .int(Int64(concurrency))]
        if let version { out["version"] = .string(version) }
        if wire == .openAI {
            out["task"] = .string(task.rawValue)
            out["input"] = .string(prompt.rawValue)
        }
        if !parameters.isEmpty { out["parameters"] = .object(parameters.map { JSON.Member($0.name, JSON($0.standard)) }) }
        if let secret { out["secret"] = .string(secret) }
        if !inputs.isEmpty { out["inputs"] = .array(inputs.map { ["name": .string($0.name), "type": .string($0.type.description)] }) }
        if !outputs.isEmpty { out["outputs"] = .array(outputs.map { ["name": .string($0.name), "type": .string($0.type.description)] }) }
        if !example.isEmpty { out["example"] = .array(example) }
        return out
    }

    public init(json: JSON, path: String = "remote") throws(KeelError) { try self.init(try FieldReader(json, path: path)) }

    /// Two declarations with the same digest are the same model.
    public var digest: Digest { Digest(of: json.canonical) }

    /// The address of the model on its server.
    public var source: String {
        switch wire {
        case .openInference: "\(url)/v2/models/\(name)" + (version.map { "/versions/\($0)" } ?? "")
        case .openAI: "\(url)/models/\(name)"
        }
    }
}
