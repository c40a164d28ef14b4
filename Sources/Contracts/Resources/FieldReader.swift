/// Reads a declarative object strictly: each field is asked for by name, and `finish()` refuses those nobody asked for,
/// naming the field and the nearest known one. No setting is ever silently ignored.
public final class FieldReader {
    public let path: String
    private let members: [JSON.Member]
    private var asked: Set<String> = []

    /// - Parameter path: where this object stands, such as `spec.features[2]`; errors carry it.
    public init(_ json: JSON, path: String) throws(KeelError) {
        guard let members = json.members else { throw .invalid("must be an object, not \(json.kind)", path: path) }
        self.members = members
        self.path = path
    }

    public var keys: [String] { members.map(\.key) }

    func place(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

    /// The field as it is, or nil when absent or null.
    public func optional(_ name: String) -> JSON? {
        asked.insert(name)
        guard let value = members.first(where: { $0.key == name })?.value, !value.isNull else { return nil }
        return value
    }

    public func required(_ name: String) throws(KeelError) -> JSON {
        if let value = optional(name) { return value }
        let unknown = members.map(\.key).filter { !asked.contains($0) }
        throw .invalid(
            "'\(name)' is missing", hint: nearest(name, in: unknown).map { "is '\($0)' meant to be '\(name)'?" }, path: place(name))
    }

    public func string(_ name: String) throws(KeelError) -> String {
        try expect(try required(name), name, "a text", FieldReader.asText)
    }
    public func optionalString(_ name: String) throws(KeelError) -> String? {
        guard let value = optional(name) else { return nil }
        return try expect(value, name, "a text", FieldReader.asText)
    }
    public func int(_ name: String) throws(KeelError) -> Int {
        try expect(try required(name), name, "a whole number") { $0.integer.map(Int.init) }
    }
    public func optionalInt(_ name: String) throws(KeelError) -> Int? {
        guard let value = optional(name) else { return nil }
        return try expect(value, name, "a whole number") { $0.integer.map(Int.init) }
    }
    public func optionalDouble(_ name: String) throws(KeelError) -> Double? {
        guard let value = optional(name) else { return nil }
        return try expect(value, name, "a number") { $0.number }
    }
    public func optionalBool(_ name: String) throws(KeelError) -> Bool? {
        guard let value = optional(name) else { return nil }
        return try expect(value, name, "true or false") { $0.bool }
    }
    public func optionalSpan(_ name: String) throws(KeelError) -> TimeSpan? {
        guard let value = optional(name) else { return nil }
        let span = try expect(value, name, "a length of time such as 90s, 15m, 24h or 30d") { $0.string.flatMap { TimeSpan($0) } }
        guard span <= .declaredMax else { throw failure(name, "\(span) is too long", hint: "the longest is \(TimeSpan.declaredMax)") }
        return span
    }
    public func span(_ name: String) throws(KeelError) -> TimeSpan {
        _ = try required(name)
        guard let span = try optionalSpan(name) else { throw .invalid("'\(name)' is missing", path: place(name)) }
        return span
    }
    public func optionalInstant(_ name: String) throws(KeelError) -> Timestamp? {
        guard let text = try optionalString(name) else { return nil }
        guard let time = Timestamp(text) else {
            throw failure(name, "'\(text.prefix(60))' is not an instant", hint: "2013-04-01 or 2013-04-01T10:00:00Z, in UTC")
        }
        return time
    }
    /// One text, or a list of texts.
    public func strings(_ name: String) throws(KeelError) -> [String]? {
        guard let value = optional(name) else { return nil }
        if case .string(let one) = value { return [one] }
        guard let items = value.array else { throw .invalid("must be a list of texts, not \(value.kind)", path: place(name)) }
        var out: [String] = []
        for (i, item) in items.enumerated() {
            guard let text = FieldReader.asText(item) else {
                throw .invalid("must be a text, not \(item.kind)", path: "\(place(name))[\(i)]")
            }
            out.append(text)
        }
        return out
    }
    public func object(_ name: String) throws(KeelError) -> FieldReader { try FieldReader(try required(name), path: place(name)) }
    public func optionalObject(_ name: String) throws(KeelError) -> FieldReader? {
        guard let value = optional(name) else { return nil }
        return try FieldReader(value, path: place(name))
    }
    /// A list of objects, each with its own reader; call `finish()` on each.
    public func objects(_ name: String) throws(KeelError) -> [FieldReader] {
        guard let value = optional(name) else { return [] }
        guard let items = value.array else { throw .invalid("must be a list, not \(value.kind)", path: place(name)) }
        var out: [FieldReader] = []
        for (i, item) in items.enumerated() { out.append(try FieldReader(item, path: "\(place(name))[\(i)]")) }
        return out
    }
    /// One of the words of an enumeration.
    public func word<T: RawRepresentable & CaseIterable>(
        _ name: String, default fallback: T? = nil, among cases: [T] = Array(T.allCases)
    ) throws(KeelError) -> T where T.RawValue == String {
        guard let value = optional(name) else {
            if let fallback { return fallback }
            _ = try required(name)
            throw .invalid("'\(name)' is missing", path: place(name))
        }
        guard let text = value.string, let found = cases.first(where: { $0.rawValue == text }) else {
            let given = value.string ?? value.text
            let words = cases.map(\.rawValue)
            throw .invalid(
                "'\(given.prefix(60))' is not known here",
                hint: nearest(given, in: words).map { "did you mean '\($0)'?" } ?? "one of: \(words.joined(separator: ", "))",
                path: place(name))
        }
        return found
    }

    /// A complaint about one field.
    public func failure(_ name: String, _ message: String, hint: String? = nil) -> KeelError {
        .invalid(message, hint: hint, path: place(name))
    }

    /// Refuses every field that was not asked for.
    public func finish() throws(KeelError) {
        guard let stranger = members.first(where: { !asked.contains($0.key) }) else { return }
        let known = asked.sorted()
        throw .invalid(
            "unknown field '\(stranger.key)'",
            hint: nearest(stranger.key, in: known).map { "did you mean '\($0)'?" } ?? "known fields: \(known.joined(separator: ", "))",
            path: place(stranger.key))
    }

    private func expect<T>(_ value: JSON, _ name: String, _ what: String, _ read: (JSON) -> T?) throws(KeelError) -> T {
        guard let result = read(value) else { throw .invalid("must be \(what), not \(value.kind)", path: place(name)) }
        return result
    }

    /// YAML reads `1h` as text but `5` as a number; where a text is wanted, a plain scalar is one.
    private static func asText(_ json: JSON) -> String? {
        switch json {
        case .string(let v): v
        case .int(let v): String(v)
        case .double(let v): "\(v)"
        case .bool(let v): v ? "true" : "false"
        default: nil
        }
    }
}
