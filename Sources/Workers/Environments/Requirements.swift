import Contracts

/// The packages that a model needs, as pip's requirements: names with extras, versions, markers and hashes, and nothing that would make a tool read a
/// file, call an address or run a program.
public struct Requirements: Sendable, Hashable {
    /// One requirement each, sorted, without comments.
    public let lines: [String]

    static let linesMax = 2000
    static let textBytesMax = 1 << 20

    /// Reads a file of requirements (pip's "Requirements File Format", PEP 508).
    /// - Throws: `invalidArgument` with the number of the line as path.
    public init(parsing text: String, name: String = "requirements.txt") throws(KeelError) {
        guard text.utf8.count <= Requirements.textBytesMax else {
            throw .invalid("it is larger than \(Requirements.textBytesMax) bytes", path: name)
        }
        var out: Set<String> = []
        for (number, line) in Requirements.joined(text) {
            do throws(KeelError) { if let line = try Requirements.requirement(line) { out.insert(line) } } catch {
                throw error.at("\(name):\(number)")
            }
        }
        guard out.count <= Requirements.linesMax else {
            throw .invalid("\(out.count) requirements are more than \(Requirements.linesMax)", path: name)
        }
        lines = out.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
    }

    /// The names of the packages, as PyPI compares them: lower case, with `-` for `_` and `.`.
    public var names: Set<String> {
        Set(lines.map { Requirements.normalised(String($0.prefix { Requirements.isNameByte($0.asciiValue ?? 0) })) })
    }

    static func normalised(_ name: String) -> String { String(name.lowercased().map { $0 == "_" || $0 == "." ? "-" : $0 }) }

    /// Lines with the number they begin at; a backslash at the end joins one with the next.
    private static func joined(_ text: String) -> [(number: Int, line: String)] {
        var out: [(number: Int, line: String)] = []
        var rest: (number: Int, line: String)?
        let lines = text.replacing("\r\n", with: "\n").split(separator: "\n", omittingEmptySubsequences: false)
        for (i, line) in lines.enumerated() {
            var whole = rest ?? (i + 1, "")
            rest = nil
            if line.hasSuffix("\\") {
                whole.line += line.dropLast()
                rest = whole
            } else {
                whole.line += line
                out.append(whole)
            }
        }
        return out + (rest.map { [$0] } ?? [])
    }

    /// - Returns: nil for a line that holds none.
    private static func requirement(_ line: String) throws(KeelError) -> String? {
        var scanner = Scanner(bytes: Array(withoutComment(line).utf8))
        scanner.skipSpaces()
        if scanner.isAtEnd { return nil }
        if scanner.peek == UInt8(ascii: "-") {
            throw .invalid("options such as '\(line.prefix(40).visible())' are not taken", hint: "list packages alone")
        }
        var out = try scanner.name("name of a package")
        scanner.skipSpaces()
        if scanner.take("[") {
            out += "[" + (try scanner.extras()) + "]"
            scanner.skipSpaces()
        }
        if scanner.peek == UInt8(ascii: "@") || scanner.peek == UInt8(ascii: ":") || scanner.peek == UInt8(ascii: "/") {
            throw .invalid("'\(line.prefix(80).visible())' is an address or a path, not the name of a package")
        }
        out += try scanner.versions()
        if scanner.take(";") { out += "; " + (try scanner.marker()) }
        while scanner.take("--hash=") { out += " --hash=" + (try scanner.hash()) }
        guard scanner.isAtEnd else {
            throw .invalid(
                "'\(line.prefix(80).visible())' is no requirement from '\(scanner.rest.prefix(20).visible())' on",
                hint: "as in numpy==2.4.6")
        }
        return out
    }

    private static func withoutComment(_ line: String) -> Substring {
        var isAfterSpace = true
        for i in line.indices {
            if line[i] == "#", isAfterSpace { return line[..<i] }
            isAfterSpace = line[i] == " " || line[i] == "\t"
        }
        return line[...]
    }

    fileprivate static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: false
        }
    }

    private struct Scanner {
        let bytes: [UInt8]
        var at = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        var isAtEnd: Bool { at == bytes.count }
        var peek: UInt8? { at < bytes.count ? bytes[at] : nil }
        var rest: String { String(decoding: bytes[at...], as: UTF8.self) }

        mutating func skipSpaces() { while let byte = peek, byte == 32 || byte == 9 { at += 1 } }

        mutating func take(_ text: String) -> Bool {
            guard bytes[at...].starts(with: text.utf8) else { return false }
            at += text.utf8.count
            return true
        }

        private mutating func run(_ isPart: (UInt8) -> Bool) -> String {
            let start = at
            while let byte = peek, isPart(byte) { at += 1 }
            return String(decoding: bytes[start..<at], as: UTF8.self)
        }

        mutating func name(_ what: String) throws(KeelError) -> String {
            let name = run(Requirements.isNameByte)
            func isEnd(_ character: Character?) -> Bool { character.map { $0.isLetter || $0.isNumber } ?? false }
            guard isEnd(name.first), isEnd(name.last), name.utf8.count <= 200 else {
                throw .invalid("'\((name.isEmpty ? rest : name).prefix(40).visible())' is no \(what)")
            }
            return name
        }

        mutating func extras() throws(KeelError) -> String {
            var names: [String] = []
            repeat {
                skipSpaces()
                names.append(try name("extra of a package"))
                skipSpaces()
            } while take(",")
            guard take("]") else { throw .invalid("the extras of a package end with ']'") }
            return names.joined(separator: ",")
        }

        /// `>=1.0, <2` in or without parentheses, sorted as they come.
        mutating func versions() throws(KeelError) -> String {
            let hasParenthesis = take("(")
            var out: [String] = []
            repeat {
                skipSpaces()
                guard let sign = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"].first(where: { take($0) }) else { break }
                skipSpaces()
                let version = run {
                    Requirements.isNameByte($0) || $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "!")
                }
                guard !version.isEmpty else { throw .invalid("a version is missing after '\(sign)'") }
                out.append(sign + version)
                skipSpaces()
            } while take(",")
            if hasParenthesis, !take(")") { throw .invalid("a parenthesis is not closed") }
            skipSpaces()
            return out.joined(separator: ",")
        }

        /// A marker of PEP 508 has names, quoted texts, comparisons and parentheses; none of them can name a file or an address.
        mutating func marker() throws(KeelError) -> String {
            let allowed = Set(" \t'\"<>=!~().,_-+*".utf8)
            let text = run { Requirements.isNameByte($0) || allowed.contains($0) }
            // Hashes follow a marker; options begin with the same two characters.
            guard let hashes = text.range(of: "--") else { return trimmed(text) }
            at -= text[hashes.lowerBound...].utf8.count
            return trimmed(String(text[..<hashes.lowerBound]))
        }

        private func trimmed(_ text: String) -> String {
            let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
            return String(String(text.drop(while: isSpace).reversed()).drop(while: isSpace).reversed())
        }

        mutating func hash() throws(KeelError) -> String {
            let algorithm = run { $0 != UInt8(ascii: ":") && Requirements.isNameByte($0) }
            let lengths = ["sha256": 64, "sha384": 96, "sha512": 128]
            guard take(":"), let length = lengths[algorithm] else { throw .invalid("'\(algorithm.prefix(40))' is no hash that pip takes") }
            let digits = run { ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }
            guard digits.utf8.count == length else { throw .invalid("a hash of \(algorithm) has \(length) hexadecimal digits") }
            skipSpaces()
            return "\(algorithm):\(digits)"
        }
    }
}
