/// The rule of names that MLflow's clients know, in its words: public clients and tests match these texts.
public enum EntityName {
    /// Checks the name of a param, a metric or a tag: letters, numbers, `_-. :/`, and the same as a path as it is as a text.
    /// - Parameters:
    ///   - path: where the name stands in the request.
    ///   - thing: what a name that is too long is called; the path when nil.
    public static func check(_ name: String, path: String = "key", lengthOf thing: String? = nil, atMost limit: Int = 250) throws(KeelError)
    {
        guard !name.isEmpty else { throw .invalid("Missing value for required parameter '\(path)'.") }
        if isPlain(name), name.utf8.count <= limit { return }
        guard name.unicodeScalars.allSatisfy({ isAlphanumeric($0) || "_-. :/".unicodeScalars.contains($0) }) else {
            throw .invalid(
                "Invalid value \(quoted(name)) for parameter '\(path)' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
            )
        }
        try checkIsPath(name, path: path)
        try check(length: name, of: thing ?? path, atMost: limit)
    }

    /// Whether the name is what most names are: ASCII letters, digits, `_` and `-` only. Such a name keeps every rule but that of length.
    private static func isPlain(_ name: String) -> Bool {
        name.utf8.allSatisfy { c in (c | 0x20) &- 97 < 26 || c &- 48 < 10 || c == UInt8(ascii: "_") || c == UInt8(ascii: "-") }
    }

    /// Checks that a name does not become another one when it is read as a path.
    public static func checkIsPath(_ name: String, path: String) throws(KeelError) {
        let normal = normalPath(name)
        guard normal == name, normal != ".", !normal.hasPrefix(".."), !normal.hasPrefix("/") else {
            throw .invalid(
                "Invalid value \(quoted(name)) for parameter '\(path)' supplied: Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to '\(normal.prefix(300))'"
            )
        }
    }

    /// Checks the length of a text in characters, which are Unicode scalars here as in Python.
    public static func check(length text: String, of path: String, atMost limit: Int) throws(KeelError) {
        // Bytes are an upper bound of characters that costs nothing to know.
        guard text.utf8.count > limit, text.unicodeScalars.count > limit else { return }
        throw .invalid("'\(path)' exceeds the maximum length of \(limit) characters")
    }

    /// Letters and numbers as Python's `\w` has them: combining marks are neither.
    public static func isAlphanumeric(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: scalar.properties.numericType != nil
        }
    }

    private static func quoted(_ text: String) -> String {
        var out: [UInt8] = []
        JSON.write(string: String(text.prefix(300)), to: &out)
        return String(decoding: out, as: UTF8.self)
    }

    /// As POSIX normalises a relative or absolute path.
    private static func normalPath(_ path: String) -> String {
        var parts: [Substring] = []
        let absolute = path.hasPrefix("/")
        for part in path.split(separator: "/", omittingEmptySubsequences: true) where part != "." {
            if part == "..", let last = parts.last, last != ".." {
                parts.removeLast()
            } else if part != ".." || !absolute {
                parts.append(part)
            }
        }
        let joined = parts.joined(separator: "/")
        return absolute ? "/" + joined : (joined.isEmpty ? "." : joined)
    }
}
