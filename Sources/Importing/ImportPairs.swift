import Contracts

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
