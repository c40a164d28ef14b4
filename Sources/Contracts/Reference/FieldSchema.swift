/// What one field of a declaration may hold.
public indirect enum ValueSchema: Sendable, Hashable {
    case text, flag, integer, number
    /// A length of time: `90s`, `15m`, `24h`, `30d`.
    case span
    /// `5%`, or a number from 0 to 1.
    case share
    /// A text in the language of expressions.
    case expression
    case word([String])
    /// One text, or a list of texts.
    case texts
    case list(ValueSchema)
    case object([FieldSchema])
    /// An object whose keys are names that the author chooses.
    case map(ValueSchema)
    case any
}

/// One field of a declaration, described once: the reference and `keel schema` are made from it, and a test holds it against what the decoder asks
/// for, both ways.
public struct FieldSchema: Sendable, Hashable {
    public let name: String
    public let value: ValueSchema
    public let isRequired: Bool
    /// What holds when the field is left out, as it would be written, or in words.
    public let standard: String?
    /// Sentences of the reference, with the unit.
    public let about: String

    public init(_ name: String, _ value: ValueSchema, required: Bool = false, default standard: String? = nil, _ about: String) {
        self.name = name
        self.value = value
        isRequired = required
        self.standard = standard
        self.about = about
    }
}

/// A kind of resource, or of step.
public struct KindSchema: Sendable, Hashable {
    public let name: String
    public let about: String
    public let fields: [FieldSchema]
    /// Whether it may live in an environment of its own.
    public let hasEnvironment: Bool

    public init(_ name: String, _ about: String, hasEnvironment: Bool = false, _ fields: [FieldSchema]) {
        self.name = name
        self.about = about.split(separator: "\n").joined(separator: " ")
        self.hasEnvironment = hasEnvironment
        self.fields = fields
    }
}

// MARK: Checking

extension KindSchema {
    /// Everything that is wrong with the shape of a spec: unknown fields, missing ones, values of another type. The decoder stops at the first
    /// mistake; this names the others beside it.
    public func mistakes(in spec: JSON, path: String = "spec") -> [KeelError] { ValueSchema.object(fields).mistakes(in: spec, path) }
}

extension ValueSchema {
    fileprivate func mistakes(in json: JSON, _ path: String) -> [KeelError] {
        func wrong(_ what: String) -> [KeelError] { [.invalid("must be \(what), not \(json.kind)", path: path)] }
        switch self {
        case .any: return []
        case .text, .expression: return json.array == nil && json.members == nil ? [] : wrong("a text")
        case .flag: return json.bool == nil ? wrong("true or false") : []
        case .integer: return json.integer == nil ? wrong("a whole number") : []
        case .number: return json.number == nil ? wrong("a number") : []
        case .span: return json.string.flatMap { TimeSpan($0) } == nil ? wrong("a length of time such as 90s, 15m, 24h or 30d") : []
        case .share: return json.number == nil && json.string == nil ? wrong("a share such as 5%") : []
        case .word(let words):
            guard let text = json.string else { return wrong("one of \(words.joined(separator: ", "))") }
            return words.contains(text)
                ? []
                : [
                    .invalid(
                        "'\(text.prefix(60))' is not known here",
                        hint: nearest(text, in: words).map { "did you mean '\($0)'?" } ?? "one of: \(words.joined(separator: ", "))",
                        path: path)
                ]
        case .texts: return json.members == nil ? [] : wrong("a list of texts")
        case .list(let item):
            guard let items = json.array else { return wrong("a list") }
            return items.enumerated().flatMap { i, each in item.mistakes(in: each, "\(path)[\(i)]") }
        case .map(let value):
            guard let members = json.members else { return wrong("an object") }
            return members.flatMap { value.mistakes(in: $0.value, "\(path).\($0.key)") }
        case .object(let fields):
            guard let members = json.members else { return wrong("an object") }
            return ValueSchema.mistakes(in: members, of: fields, path)
        }
    }

    private static func mistakes(in members: [JSON.Member], of fields: [FieldSchema], _ path: String) -> [KeelError] {
        var out: [KeelError] = []
        let unknown = members.map(\.key).filter { key in !fields.contains { $0.name == key } }
        for field in fields {
            let value = members.first { $0.key == field.name }?.value ?? .null
            if !value.isNull {
                out += field.value.mistakes(in: value, "\(path).\(field.name)")
            } else if field.isRequired {
                let misspelt = nearest(field.name, in: unknown)
                out.append(
                    .invalid(
                        "'\(field.name)' is missing", hint: misspelt.map { "is '\($0)' meant to be '\(field.name)'?" },
                        path: "\(path).\(field.name)"))
            }
        }
        for key in unknown {
            let hint = nearest(key, in: fields.map(\.name)).map { "did you mean '\($0)'?" }
            out.append(
                .invalid(
                    "unknown field '\(key)'", hint: hint ?? "known fields: \(fields.map(\.name).sorted().joined(separator: ", "))",
                    path: "\(path).\(key)"))
        }
        return out
    }
}

// MARK: JSON Schema

extension KindSchema {
    /// The whole resource as JSON Schema, draft 2020-12.
    public var jsonSchema: JSON {
        var metadata: [FieldSchema] = [
            FieldSchema(
                "name", .text, required: true, "Its name: 1 to 128 letters, digits, '_', '-' or '.', beginning with a letter or digit."),
            FieldSchema("workspace", .text, "The workspace in which it is meant to be applied; in another one it is refused."),
            FieldSchema("owner", .text, "Who answers for it."), FieldSchema("labels", .map(.text), "Texts for people and tools."),
        ]
        if hasEnvironment {
            metadata.append(FieldSchema("environment", .word(["development", "staging", "production"]), "Where it lives."))
        }
        return [
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": .string(name), "description": .string(about),
            "type": "object",
            "properties": [
                "apiVersion": ["const": .string(Resource.apiVersion)], "kind": ["const": .string(name)],
                "metadata": ValueSchema.object(metadata).jsonSchema, "spec": ValueSchema.object(fields).jsonSchema,
            ],
            "required": ["apiVersion", "kind", "metadata", "spec"], "additionalProperties": false,
        ]
    }
}

extension ValueSchema {
    var jsonSchema: JSON {
        // Where a text is wanted, a plain scalar of YAML is one.
        let scalar: JSON = ["type": ["string", "number", "boolean"]]
        switch self {
        case .any: return [:]
        case .text, .expression: return scalar
        case .flag: return ["type": "boolean"]
        case .integer: return ["type": "integer"]
        case .number: return ["type": "number"]
        case .span: return ["type": "string", "pattern": "^[0-9]+(us|ms|s|m|h|d)$"]
        case .share:
            return ["anyOf": [["type": "string", "pattern": "^[0-9.]+%$"], ["type": "number", "minimum": 0, "maximum": 1]]]
        case .word(let words): return ["enum": .array(words.map(JSON.string))]
        case .texts: return ["anyOf": [scalar, ["type": "array", "items": scalar]]]
        case .list(let item): return ["type": "array", "items": item.jsonSchema]
        case .map(let value): return ["type": "object", "additionalProperties": value.jsonSchema]
        case .object(let fields):
            let properties = fields.map { field -> JSON.Member in
                var json = field.value.jsonSchema
                json["description"] = .string(field.about)
                if let standard = field.standard { json["default"] = (try? JSON.parse(standard)) ?? .string(standard) }
                return JSON.Member(field.name, json)
            }
            var json: JSON = ["type": "object", "properties": .object(properties), "additionalProperties": false]
            let required = fields.filter(\.isRequired).map { JSON.string($0.name) }
            if !required.isEmpty { json["required"] = .array(required) }
            return json
        }
    }
}
