import Contracts

/// The shape of a JSON value, for the API's documentation.
public indirect enum Shape: Sendable, ExpressibleByDictionaryLiteral {
    case any, text, flag, integer, number
    /// No JSON: the bytes of a file.
    case bytes
    /// An instant in UTC, ISO 8601.
    case instant
    /// One of these words.
    case word([String])
    case nullable(Shape)
    case list(Shape)
    /// An object with free keys.
    case map(Shape)
    /// An object with these fields; a name that ends in `?` may be missing.
    case object([(String, Shape)])
    /// A shape of the document's own list.
    case named(String)

    public init(dictionaryLiteral elements: (String, Shape)...) { self = .object(elements) }

    /// As JSON Schema 2020-12.
    var schema: JSON {
        switch self {
        case .any, .bytes: [:]
        case .text: ["type": "string"]
        case .flag: ["type": "boolean"]
        case .integer: ["type": "integer", "format": "int64"]
        case .number: ["type": "number"]
        case .instant: ["type": "string", "format": "date-time"]
        case .word(let words): ["type": "string", "enum": .array(words.map(JSON.string))]
        case .nullable(let shape): ["anyOf": [shape.schema, ["type": "null"]]]
        case .list(let shape): ["type": "array", "items": shape.schema]
        case .map(let shape): ["type": "object", "additionalProperties": shape.schema]
        case .named(let name): ["$ref": .string("#/components/schemas/\(name)")]
        case .object(let fields): Shape.object(fields)
        }
    }

    private static func object(_ fields: [(String, Shape)]) -> JSON {
        var json: JSON = [
            "type": "object",
            "properties": .object(
                fields.map { name, shape in JSON.Member(name.hasSuffix("?") ? String(name.dropLast()) : name, shape.schema) }),
        ]
        let required = fields.map(\.0).filter { !$0.hasSuffix("?") }
        if !required.isEmpty { json["required"] = .array(required.map(JSON.string)) }
        return json
    }
}
