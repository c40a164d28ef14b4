/// A thing as imports carry it: JSON that holds all of it, in one form, so that the same thing has the same digest wherever it is read.
public protocol ImportRecord: Sendable {
    /// What the foreign store calls it.
    var importID: String { get }
    var record: JSON { get }
    /// - Throws: `invalidArgument` naming the field that is wrong.
    init(record: JSON) throws(KeelError)
}

extension ImportRecord {
    /// The name of its whole content.
    public var digest: Digest { Digest(of: record.canonical) }
}

/// Pairs of texts in a record: `[["key", "value"], …]`, in the order of the keys' bytes.
public enum ImportPairs {
    public static func json(_ pairs: [(String, String)]) -> JSON {
        .array(
            pairs.sorted { Array($0.0.utf8).lexicographicallyPrecedes(Array($1.0.utf8)) }.map { .array([.string($0.0), .string($0.1)]) })
    }

    public static func read(_ reader: FieldReader, _ name: String) throws(KeelError) -> [(String, String)] {
        guard let items = try reader.required(name).array else { throw reader.failure(name, "must be a list of pairs") }
        var out: [(String, String)] = []
        for item in items {
            guard let key = item[0]?.string, let value = item[1]?.string else {
                throw reader.failure(name, "must be a list of pairs of texts")
            }
            out.append((key, value))
        }
        return out
    }

    /// The tags of a record.
    /// - Throws: for tags that would pass for Keel's own; whoever reads a foreign store gives them another name first.
    public static func tags(_ reader: FieldReader) throws(KeelError) -> [(String, String)] {
        let tags = try read(reader, "tags")
        for tag in tags { try ReservedTags.check(tag.0) }
        return tags
    }
}

extension FieldReader {
    /// Milliseconds since 1970 as an instant; nil when absent or null.
    public func optionalMilliseconds(_ name: String) throws(KeelError) -> Timestamp? {
        guard let value = try optionalInt(name) else { return nil }
        guard let time = Timestamp(given: Int64(value)) else { throw failure(name, "is no instant: milliseconds since 1970 are expected") }
        return time
    }
    public func milliseconds(_ name: String) throws(KeelError) -> Timestamp {
        guard let time = try optionalMilliseconds(name) else { throw failure(name, "'\(name)' is missing") }
        return time
    }
    /// A text that names a thing of a foreign store and becomes part of paths: 1–64 letters, digits, `-` and `_`.
    public func identifier(_ name: String) throws(KeelError) -> String {
        let text = try string(name)
        func allowed(_ b: UInt8) -> Bool { (b >= 48 && b <= 57) || (b >= 65 && b <= 90) || (b >= 97 && b <= 122) || b == 45 || b == 95 }
        guard (1...64).contains(text.utf8.count), text.utf8.allSatisfy(allowed) else {
            throw failure(name, "'\(text.prefix(80))' is no id: 1 to 64 letters, digits, '-' and '_' are expected")
        }
        return text
    }
}
