/// A JSON document as a tree: resource specs, ledger payloads, control-plane bodies. Hot paths use `JSONScanner`.
///
/// Objects keep the order of their members, so that output is stable and diffs are small.
public enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case array([JSON])
    case object([Member])

    public struct Member: Sendable, Hashable {
        public let key: String
        public var value: JSON
        public init(_ key: String, _ value: JSON) { (self.key, self.value) = (key, value) }
    }

    /// Builds an object in the order written.
    public static func of(_ pairs: KeyValuePairs<String, JSON>) -> JSON { .object(pairs.map { Member($0.key, $0.value) }) }

    public subscript(key: String) -> JSON? {
        get {
            guard case .object(let members) = self else { return nil }
            return members.first { $0.key == key }?.value
        }
        set {
            guard case .object(var members) = self else { return }
            members.removeAll { $0.key == key && newValue == nil }
            if let newValue {
                if let i = members.firstIndex(where: { $0.key == key }) {
                    members[i].value = newValue
                } else {
                    members.append(Member(key, newValue))
                }
            }
            self = .object(members)
        }
    }

    public subscript(i: Int) -> JSON? {
        guard case .array(let items) = self, items.indices.contains(i) else { return nil }
        return items[i]
    }

    public var string: String? { if case .string(let v) = self { v } else { nil } }
    public var bool: Bool? { if case .bool(let v) = self { v } else { nil } }
    public var array: [JSON]? { if case .array(let v) = self { v } else { nil } }
    public var members: [Member]? { if case .object(let v) = self { v } else { nil } }
    public var isNull: Bool { self == .null }
    public var integer: Int64? {
        switch self {
        case .int(let v): v
        case .double(let v): Int64(exactly: v)
        default: nil
        }
    }
    public var number: Double? {
        switch self {
        case .int(let v): Double(v)
        case .double(let v): v
        default: nil
        }
    }

    /// What this is, for messages: "a number", "a list".
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "true or false"
        case .int, .double: "a number"
        case .string: "a text"
        case .array: "a list"
        case .object: "an object"
        }
    }

    /// A scalar or list as a column value; objects become their JSON text. (`Value` alone may mean that of the dictionary literal.)
    public var value: Contracts.Value {
        switch self {
        case .null: .null
        case .bool(let v): .bool(v)
        case .int(let v): .int(v)
        case .double(let v): .double(v)
        case .string(let v): .string(v)
        case .array(let v): .list(v.map(\.value))
        case .object: .string(text)
        }
    }

    /// A column value as JSON: instants in ISO 8601, bytes in hexadecimal, NaN and infinities as null.
    public init(_ value: Contracts.Value) {
        switch value {
        case .null: self = .null
        case .bool(let v): self = .bool(v)
        case .int(let v): self = .int(v)
        case .double(let v): self = v.isFinite ? .double(v) : .null
        case .string(let v): self = .string(v)
        case .bytes, .date, .timestamp: self = .string(value.description)
        case .list(let v): self = .array(v.map(JSON.init))
        }
    }

    // MARK: Text

    /// Parses one document. Errors name the byte position. Depth is limited to 128.
    public static func parse(_ bytes: [UInt8]) throws(KeelError) -> JSON {
        let parsed: Result<JSON, KeelError> = bytes.withUnsafeBufferPointer { buffer in
            var scanner = JSONScanner(buffer)
            do throws(KeelError) {
                let tree = try scanner.tree()
                try scanner.expectEnd()
                return .success(tree)
            } catch { return .failure(error) }
        }
        return try parsed.get()
    }

    public static func parse(_ text: String) throws(KeelError) -> JSON { try parse(Array(text.utf8)) }

    /// Compact text; members in their order.
    public var text: String { String(decoding: bytes, as: UTF8.self) }
    public var bytes: [UInt8] {
        var out: [UInt8] = []
        write(to: &out)
        return out
    }

    /// Compact text with members sorted by key at every level: equal documents have equal bytes, so it can be hashed.
    public var canonical: [UInt8] { sorted.bytes }

    private var sorted: JSON {
        switch self {
        case .array(let v): .array(v.map(\.sorted))
        case .object(let v):
            .object(v.map { Member($0.key, $0.value.sorted) }.sorted { Array($0.key.utf8).lexicographicallyPrecedes(Array($1.key.utf8)) })
        default: self
        }
    }

    /// Indented text for people.
    public var pretty: String {
        var out: [UInt8] = []
        write(to: &out, indent: 0)
        return String(decoding: out, as: UTF8.self)
    }

    public func write(to out: inout [UInt8], indent: Int? = nil) {
        func line(_ depth: Int) {
            out.append(10)
            out.append(contentsOf: repeatElement(32, count: depth * 2))
        }
        switch self {
        case .null: out.append(contentsOf: "null".utf8)
        case .bool(let v): out.append(contentsOf: (v ? "true" : "false").utf8)
        case .int(let v): out.append(contentsOf: String(v).utf8)
        case .double(let v):
            var text = v.isFinite ? v.description : "null"
            text.withUTF8 { out.append(contentsOf: $0) }
        case .string(let v): JSON.write(string: v, to: &out)
        case .array(let items):
            out.append(UInt8(ascii: "["))
            for (i, item) in items.enumerated() {
                if i > 0 { out.append(UInt8(ascii: ",")) }
                if let indent { line(indent + 1) }
                item.write(to: &out, indent: indent.map { $0 + 1 })
            }
            if let indent, !items.isEmpty { line(indent) }
            out.append(UInt8(ascii: "]"))
        case .object(let members):
            out.append(UInt8(ascii: "{"))
            for (i, member) in members.enumerated() {
                if i > 0 { out.append(UInt8(ascii: ",")) }
                if let indent { line(indent + 1) }
                JSON.write(string: member.key, to: &out)
                out.append(UInt8(ascii: ":"))
                if indent != nil { out.append(32) }
                member.value.write(to: &out, indent: indent.map { $0 + 1 })
            }
            if let indent, !members.isEmpty { line(indent) }
            out.append(UInt8(ascii: "}"))
        }
    }

    /// Writes a quoted, escaped string.
    public static func write(string: String, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        var string = string
        string.withUTF8 { bytes in
            var start = 0
            while let i = firstEscaped(in: bytes, from: start) {
                out.append(contentsOf: UnsafeBufferPointer(rebasing: bytes[start..<i]))
                start = i + 1
                switch bytes[i] {
                case 10: out.append(contentsOf: "\\n".utf8)
                case 13: out.append(contentsOf: "\\r".utf8)
                case 9: out.append(contentsOf: "\\t".utf8)
                case 0..<32: out.append(contentsOf: ("\\u00" + hexText([bytes[i]])).utf8)
                default: out.append(contentsOf: [UInt8(ascii: "\\"), bytes[i]])
                }
            }
            out.append(contentsOf: UnsafeBufferPointer(rebasing: bytes[start...]))
        }
        out.append(UInt8(ascii: "\""))
    }

    /// The place of the first byte that a string cannot hold as it is: eight at a time, most strings have none.
    private static func firstEscaped(in bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int? {
        let (ones, high): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        var i = start
        while i + 8 <= bytes.count {
            let part = UnsafeRawPointer(bytes.baseAddress! + i).loadUnaligned(as: UInt64.self)
            // A byte's high bit is set when it borrowed: when it was below what is taken from it.
            let (quote, backslash) = (part ^ (ones &* 0x22), part ^ (ones &* 0x5c))
            let found = ((part &- ones &* 32) & ~part) | ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash)
            guard found & high == 0 else { break }
            i += 8
        }
        while i < bytes.count {
            if bytes[i] < 32 || bytes[i] == 0x22 || bytes[i] == 0x5c { return i }
            i += 1
        }
        return nil
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .int(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements.map { Member($0.0, $0.1) }) }
    public init(nilLiteral: ()) { self = .null }
}
