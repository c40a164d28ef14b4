import Contracts

/// MLflow's limits and the rules of names, with its wording: public clients and tests match these texts.
enum TrackingLimits {
    static let metricsPerBatchMax = 1000
    static let paramsPerBatchMax = 100
    static let tagsPerBatchMax = 100
    static let itemsPerBatchMax = 1000
    static let datasetsPerBatchMax = 1000
    static let keyCharactersMax = 250
    static let paramCharactersMax = 6000
    static let tagCharactersMax = 8000
    static let experimentTagCharactersMax = 5000
    static let experimentNameCharactersMax = 500
    static let runsPerPageMax = 50_000
    static let historyPerPageMax = 25_000
    static let experimentsPerFilterMax = 10_000

    static func check(key: String, path: String = "key") throws(KeelError) {
        guard !key.isEmpty else { throw .invalid("Missing value for required parameter '\(path)'.") }
        if isPlain(key) { return }
        let allowed = key.unicodeScalars.allSatisfy {
            $0.properties.isAlphabetic || $0.properties.numericType != nil || "_-. :/".unicodeScalars.contains($0)
        }
        guard allowed else {
            throw .invalid(
                "Invalid value \(quote(key)) for parameter '\(path)' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
            )
        }
        let normal = normalPath(key)
        guard normal == key, normal != ".", !normal.hasPrefix(".."), !normal.hasPrefix("/") else {
            throw .invalid(
                "Invalid value \(quote(key)) for parameter '\(path)' supplied: Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to '\(normal)'"
            )
        }
        try check(length: key, of: path, atMost: keyCharactersMax)
    }

    /// Whether the key is what most keys are: short, and of ASCII letters, digits, `_` and `-` only. Such a key keeps every rule.
    private static func isPlain(_ key: String) -> Bool {
        key.utf8.count <= keyCharactersMax
            && key.utf8.allSatisfy { c in
                (c | 0x20) &- 97 < 26 || c &- 48 < 10 || c == UInt8(ascii: "_") || c == UInt8(ascii: "-")
            }
    }

    static func check(length text: String, of path: String, atMost limit: Int) throws(KeelError) {
        // Bytes are an upper bound of characters that costs nothing to know.
        guard text.utf8.count > limit, text.unicodeScalars.count > limit else { return }
        throw .invalid("'\(path)' exceeds the maximum length of \(limit) characters")
    }

    static func check(count: Int, of things: String, atMost limit: Int) throws(KeelError) {
        guard count > limit else { return }
        throw .invalid(
            "A batch logging request can contain at most \(limit) \(things). Got \(count) \(things). Please split up \(things) across multiple requests and try again."
        )
    }

    /// The size of a page.
    static func page(_ asked: Int?, default standard: Int, atMost limit: Int) throws(KeelError) -> Int {
        guard let asked else { return standard }
        guard asked >= 1 else {
            throw .invalid(
                "Invalid value \(asked) for parameter 'max_results' supplied: It must be a positive integer, but got value \(asked)")
        }
        guard asked <= limit else {
            throw .invalid(
                "Invalid value \(asked) for parameter 'max_results' supplied: It must be at most \(limit), but got value \(asked)")
        }
        return asked
    }

    private static func quote(_ text: String) -> String {
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
