/// One named, typed, constrained column of a contract.
public struct Field: Sendable, Hashable {
    public var name: String
    public var type: DataType
    public var nullable: Bool
    /// Inclusive bounds of a numeric column; nil is open.
    public var minimum: Double?
    public var maximum: Double?
    /// The only values allowed (as text).
    public var oneOf: [String]?
    /// A regular expression that the whole text must match.
    public var pattern: String?
    /// The unit of measure, for people: `mile`, `minute`.
    public var unit: String?
    /// Personal data: masked for personas that may not read it.
    public var personal: Bool

    public init(
        _ name: String, _ type: DataType, nullable: Bool = false, minimum: Double? = nil, maximum: Double? = nil,
        oneOf: [String]? = nil, pattern: String? = nil, unit: String? = nil, personal: Bool = false
    ) {
        self.name = name
        self.type = type
        self.nullable = nullable
        self.minimum = minimum
        self.maximum = maximum
        self.oneOf = oneOf
        self.pattern = pattern
        self.unit = unit
        self.personal = personal
    }
}

extension String {
    /// Whether two names are one to engines that do not tell case apart.
    public func isEqualIgnoringCase(_ other: String) -> Bool { self == other || lowercased() == other.lowercased() }
}

/// The contract of a table: its columns and the roles some of them play. Declared once; it travels with the data.
public struct Schema: Sendable, Hashable {
    public var fields: [Field]
    /// Columns that together are unique, in order; empty when there is no key.
    public var key: [String]
    /// The column that says when a row happened.
    public var eventTime: String?
    /// The column that holds the truth to predict.
    public var label: String?

    public init(_ fields: [Field], key: [String] = [], eventTime: String? = nil, label: String? = nil) {
        self.fields = fields
        self.key = key
        self.eventTime = eventTime
        self.label = label
    }

    public subscript(name: String) -> Field? { fields.first { $0.name == name } }
    public var names: [String] { fields.map(\.name) }
    public func index(of name: String) -> Int? { fields.firstIndex { $0.name == name } }

    /// Checks the contract itself: unique names, roles that name columns of a fitting type.
    public func validate() throws(KeelError) {
        var seen: Set<String> = []
        for (i, field) in fields.enumerated() where !seen.insert(field.name).inserted {
            throw .invalid("column '\(field.name)' is declared twice", path: "columns[\(i)].name")
        }
        for name in key {
            guard let field = self[name] else { throw unknown(name, "key") }
            if field.nullable { throw .invalid("key column '\(name)' must not be nullable", path: "key") }
        }
        if let eventTime {
            guard let field = self[eventTime] else { throw unknown(eventTime, "eventTime") }
            guard field.type == .timestamp || field.type == .date, !field.nullable else {
                throw .invalid("event time '\(eventTime)' must be a timestamp or date that is not nullable", path: "eventTime")
            }
        }
        if let label, self[label] == nil { throw unknown(label, "label") }
    }

    /// Longer names of columns are refused, in bytes of UTF-8.
    public static let nameBytesMax = 1000

    public static let columnsMax = 10_000

    /// Checks that every engine can hold columns of these names: not empty, not too long, no control characters, and different in more than case.
    public func checkNames() throws(KeelError) {
        guard fields.count <= Schema.columnsMax else {
            throw .invalid("\(fields.count) columns are more than \(Schema.columnsMax)", path: "columns")
        }
        var seen: [String: String] = [:]
        for (i, name) in names.enumerated() {
            let place = "columns[\(i)].name"
            guard (1...Schema.nameBytesMax).contains(name.utf8.count),
                !name.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 })
            else {
                throw .invalid(
                    "a column's name must be 1 to \(Schema.nameBytesMax) bytes without control characters", path: place)
            }
            if let other = seen.updateValue(name, forKey: name.lowercased()) {
                throw .invalid(
                    "columns '\(other)' and '\(name)' differ in nothing but case, which tables do not tell apart",
                    hint: "rename one of them; column: says what it is called in the file", path: place)
            }
        }
    }

    private func unknown(_ name: String, _ path: String) -> KeelError {
        .invalid(
            "'\(name)' is not a column", hint: nearest(name, in: names).map { "did you mean '\($0)'?" }, path: path)
    }
}
