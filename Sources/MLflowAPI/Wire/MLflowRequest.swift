import Contracts

/// The fields of one request, from its JSON body or its query: protobuf's JSON, so numbers may come as texts and unknown fields are passed over.
package struct MLflowRequest: Sendable {
    private(set) var fields: JSON
    /// How large the body was.
    var bodyBytes = 0
    /// Whether they come from a query, where a list of one looks like a text.
    private var isQuery = false
    /// Where these fields stand in the request, with a dot at its end: `metrics[0].`; empty at the top.
    var path = ""

    package init(body: [UInt8]) throws(KeelError) {
        bodyBytes = body.count
        guard !body.isEmpty else {
            fields = .object([])
            return
        }
        var json = try JSON.parse(body)
        // Old clients encode their JSON twice.
        if let inner = json.string { json = try JSON.parse(inner) }
        if json.isNull { json = .object([]) }
        guard json.members != nil else { throw .invalid("The request body must be a JSON object, not \(json.kind)") }
        fields = json
    }

    init(fields: JSON, bodyBytes: Int = 0, path: String = "") { (self.fields, self.bodyBytes, self.path) = (fields, bodyBytes, path) }

    /// A key that is repeated in a query is a list.
    init(query: some Sequence<(key: String, value: String)>) {
        isQuery = true
        var members: [JSON.Member] = []
        for (key, value) in query {
            if let i = members.firstIndex(where: { $0.key == key }) {
                let before = members[i].value.array ?? [members[i].value]
                members[i].value = .array(before + [.string(value)])
            } else {
                members.append(JSON.Member(key, .string(value)))
            }
        }
        fields = .object(members)
    }

    /// These fields with one more, from the path.
    mutating func add(_ name: String, _ text: String) { fields[name] = .string(text) }

    private func field(_ name: String) -> JSON? {
        guard let value = fields[name], !value.isNull else { return nil }
        return value
    }

    package func optionalText(_ name: String) throws(KeelError) -> String? {
        switch field(name) {
        case nil: return nil
        case .string(let text):
            // Not every database keeps texts with a NUL whole.
            guard !text.utf8.contains(0) else { throw wrong(name, .string(text)) }
            return text
        case let other?: throw wrong(name, other)
        }
    }

    func text(_ name: String) throws(KeelError) -> String {
        guard let text = try optionalText(name), !text.isEmpty else { throw missing(name) }
        return text
    }

    /// The run's id, under its new name or its old one.
    package func runID() throws(KeelError) -> String {
        if let id = try optionalText("run_id"), !id.isEmpty { return id }
        if let id = try optionalText("run_uuid"), !id.isEmpty { return id }
        throw missing("run_id")
    }

    package func optionalInt(_ name: String) throws(KeelError) -> Int64? {
        switch field(name) {
        case nil: return nil
        case .string(let text):
            guard let number = Int64(text) ?? MLflowRequest.decimal(text).flatMap({ Int64(exactly: $0) }) else {
                throw wrong(name, .string(text))
            }
            return number
        case let other?:
            guard let number = other.integer else { throw wrong(name, other) }
            return number
        }
    }

    func optionalCount(_ name: String, atMost limit: Int = .max) throws(KeelError) -> Int? {
        guard let count = try optionalInt(name).map({ Int($0) }) else { return nil }
        guard count <= limit else { throw wrong(name, field(name) ?? .int(Int64(count))) }
        return count
    }

    package func optionalTime(_ name: String) throws(KeelError) -> Timestamp? {
        guard let milliseconds = try optionalInt(name) else { return nil }
        guard let time = Timestamp(given: milliseconds) else { throw wrong(name, .int(milliseconds)) }
        return time
    }

    func time(_ name: String) throws(KeelError) -> Timestamp {
        guard field(name) != .string(""), let time = try optionalTime(name) else { throw missing(name) }
        return time
    }

    /// A number, also as a text, `true` and `false` as 1 and 0, and `"NaN"`, `"Infinity"`, `"-Infinity"` in most spellings. `"nan"` protobuf refuses.
    package func number(_ name: String) throws(KeelError) -> Double {
        switch field(name) {
        case nil, .string(""): throw missing(name)
        case .bool(let value): return value ? 1 : 0
        case .string(let text):
            guard text != "nan", let number = MLflowRequest.decimal(text) else { throw wrong(name, .string(text)) }
            return number
        case let other?:
            guard let number = other.number else { throw wrong(name, other) }
            return number
        }
    }

    /// Swift reads hexadecimal numbers too.
    private static func decimal(_ text: String) -> Double? {
        text.utf8.contains { $0 == UInt8(ascii: "x") || $0 == UInt8(ascii: "X") } ? nil : Double(text)
    }

    package func flag(_ name: String, default standard: Bool) throws(KeelError) -> Bool {
        switch field(name) {
        case nil: return standard
        case .bool(let value): return value
        case .string(let text) where text.lowercased() == "true": return true
        case .string(let text) where text.lowercased() == "false": return false
        case let other?: throw wrong(name, other)
        }
    }

    package func texts(_ name: String) throws(KeelError) -> [String] {
        guard let value = field(name) else { return [] }
        var out: [String] = []
        guard let items = value.array ?? (isQuery ? [value] : nil) else { throw wrong(name, value) }
        for item in items {
            guard let text = item.string else { throw wrong(name, value) }
            out.append(text)
        }
        return out
    }

    /// The texts of a list that must be there.
    func requiredTexts(_ name: String) throws(KeelError) -> [String] {
        guard field(name) != nil else { throw missing(name) }
        return try texts(name)
    }

    func requiredObjects(_ name: String) throws(KeelError) -> [MLflowRequest] {
        guard field(name) != nil else { throw missing(name) }
        return try objects(name)
    }

    package func objects(_ name: String) throws(KeelError) -> [MLflowRequest] {
        guard let value = field(name) else { return [] }
        guard let items = value.array else { throw wrong(name, value) }
        var out: [MLflowRequest] = []
        for (i, item) in items.enumerated() {
            guard item.members != nil else { throw wrong(name, value) }
            out.append(MLflowRequest(fields: item, path: "\(path)\(name)[\(i)]."))
        }
        return out
    }

    func object(_ name: String) throws(KeelError) -> MLflowRequest {
        guard let value = field(name) else { throw missing(name) }
        guard value.members != nil else { throw wrong(name, value) }
        return MLflowRequest(fields: value, path: "\(path)\(name).")
    }

    /// A word of an enumeration whose cases are in protobuf's order.
    func word<T: RawRepresentable & CaseIterable>(_ name: String, _ type: T.Type) throws(KeelError) -> T? where T.RawValue == String {
        try word(name, of: T.allCases.map(\.rawValue)).flatMap { T(rawValue: $0) }
    }

    /// One of the words of an enumeration in protobuf's order: protobuf's JSON may hold its number, from 1, in place of it.
    func word(_ name: String, of words: [String]) throws(KeelError) -> String? {
        let number: Int64?
        switch field(name) {
        case .int(let value): number = value
        default:
            guard let text = try optionalText(name) else { return nil }
            if words.contains(text) { return text }
            number = Int64(text)
        }
        if let number, (1...Int64(words.count)).contains(number) { return words[Int(number) - 1] }
        guard case .string(let text) = field(name) else { throw wrong(name, field(name) ?? .null) }
        throw .invalid("Invalid value \"\(text.prefix(100))\" for parameter '\(path)\(name)' supplied: one of \(words) is expected")
    }

    func requiredWord<T: RawRepresentable & CaseIterable>(_ name: String, _ type: T.Type) throws(KeelError) -> T
    where T.RawValue == String {
        guard let word = try word(name, type) else { throw missing(name) }
        return word
    }

    func requiredWord(_ name: String, of words: [String]) throws(KeelError) -> String {
        guard let word = try word(name, of: words) else { throw missing(name) }
        return word
    }

    private func missing(_ name: String) -> KeelError {
        .invalid("Missing value for required parameter '\(path)\(name)'. See the API docs for more information about request parameters.")
    }

    private func wrong(_ name: String, _ value: JSON) -> KeelError {
        let type =
            switch value {
            case .null: "NoneType"
            case .bool: "bool"
            case .int: "int"
            case .double: "float"
            case .string: "str"
            case .array: "list"
            case .object: "dict"
            }
        return .invalid(
            "Invalid value \(value.text.prefix(200)) for parameter '\(path)\(name)' supplied:  Hint: Value was of type '\(type)'. See the API docs for more information about request parameters."
        )
    }
}
