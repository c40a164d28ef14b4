import Contracts

/// What a `ModelCard` declares: what only people can say of a model (Mitchell et al., 2019). It holds for every version of the model.
public struct ModelCardSpec: Sendable, Hashable {
    /// A section that is a text, which may be Markdown.
    public enum Statement: String, Sendable, CaseIterable {
        case intendedUse, outOfScopeUse, limitations, ethicalConsiderations

        var heading: String {
            switch self {
            case .intendedUse: "Intended use"
            case .outOfScopeUse: "Out-of-scope use"
            case .limitations: "Limitations"
            case .ethicalConsiderations: "Ethical considerations"
            }
        }
    }

    public static let kind = "ModelCard"

    public let name: String
    public let owner: String?
    /// The registered model; the card's own name unless that is not the model's.
    public let model: String
    /// As Hugging Face writes it: `apache-2.0`.
    public let license: String?
    /// As Hugging Face writes it: `tabular-classification`.
    public let task: String?
    public let languages: [String]
    public let contacts: [String]
    public let statements: [Statement: String]
    /// Columns by which the model should be measured; the card says which of them it was not measured by.
    public let slices: [String]

    public static let textBytesMax = 20_000
    public static let itemsMax = 100

    /// Decodes the spec strictly.
    public init(resource: Resource) throws(KeelError) {
        (name, owner) = (resource.name, resource.owner)
        let reader = try FieldReader(resource.spec, path: "spec")
        model = try reader.optionalString("model") ?? resource.name
        do { try RegistryRules.check(modelName: model) } catch { throw reader.failure("model", error.message) }
        license = try ModelCardSpec.word(reader, "license", example: "apache-2.0")
        task = try ModelCardSpec.word(reader, "task", example: "tabular-classification")
        languages = try ModelCardSpec.list(reader, "languages")
        contacts = try ModelCardSpec.list(reader, "contacts")
        slices = try ModelCardSpec.list(reader, "slices")
        var said: [Statement: String] = [:]
        for statement in Statement.allCases {
            guard let text = try reader.optionalString(statement.rawValue) else { continue }
            guard text.utf8.count <= ModelCardSpec.textBytesMax else {
                throw reader.failure(statement.rawValue, "is longer than \(ModelCardSpec.textBytesMax) bytes", hint: "refer to a document")
            }
            guard !text.allSatisfy(\.isWhitespace) else {
                throw reader.failure(statement.rawValue, "is empty", hint: "leave it out: the card shows the gap")
            }
            said[statement] = text
        }
        statements = said
        try reader.finish()
    }

    private static func word(_ reader: FieldReader, _ field: String, example: String) throws(KeelError) -> String? {
        guard let word = try reader.optionalString(field) else { return nil }
        let fits = word.utf8.allSatisfy { ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 45 || $0 == 46 || $0 == 43 }
        guard fits, (1...100).contains(word.utf8.count) else {
            throw reader.failure(
                field, "'\(word.prefix(100))' is not as Hugging Face writes it", hint: "a word in lower case such as \(example)")
        }
        return word
    }

    private static func list(_ reader: FieldReader, _ field: String) throws(KeelError) -> [String] {
        let items = try reader.strings(field) ?? []
        guard items.count <= itemsMax, items.allSatisfy({ (1...500).contains($0.utf8.count) }) else {
            throw reader.failure(field, "must be at most \(itemsMax) texts of 1 to 500 bytes")
        }
        return items
    }
}
