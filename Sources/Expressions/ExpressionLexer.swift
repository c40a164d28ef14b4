import Contracts

struct ExpressionToken: Sendable, Equatable {
    enum Kind: Sendable, Equatable {
        /// A number or text.
        case literal(Value)
        /// A name with its dots; `bare` when no part was quoted, so that it may be a keyword or a function.
        case name(String, bare: Bool)
        case symbol(String)
        case end
    }
    let kind: Kind
    let position: Int

    /// The keyword in upper case, when it is one.
    var keyword: String? {
        guard case .name(let text, bare: true) = kind else { return nil }
        let upper = text.uppercased()
        return ExpressionLexer.keywords.contains(upper) ? upper : nil
    }
}

/// Splits the text into tokens over its UTF-8 bytes.
struct ExpressionLexer {
    static let keywords: Set<String> = [
        "AND", "OR", "NOT", "IS", "NULL", "TRUE", "FALSE", "BETWEEN", "IN", "CASE", "WHEN", "THEN", "ELSE", "END",
    ]
    /// Words that can follow a complete operand: after `1%` they show that the sign is per cent.
    private static let continuations: Set<String> = ["AND", "OR", "IS", "NOT", "BETWEEN", "IN", "WHEN", "THEN", "ELSE", "END"]
    /// Seconds of each duration unit, as a factor and a divisor so that `50ms` is the float64 nearest to 0.05.
    private static let units: [String: (times: Double, over: Double)] = [
        "us": (1, 1_000_000), "ms": (1, 1000), "s": (1, 1), "m": (60, 1), "h": (3600, 1), "d": (86_400, 1),
    ]
    private static let symbols = ["==", "!=", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","]

    private let text: String
    private let bytes: [UInt8]
    private var i = 0

    private init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    static func tokens(of text: String) throws(KeelError) -> [ExpressionToken] {
        var lexer = ExpressionLexer(text)
        var out: [ExpressionToken] = []
        repeat { out.append(try lexer.next()) } while out.last?.kind != .end
        return out
    }

    private func byte(_ at: Int) -> UInt8 { at < bytes.count ? bytes[at] : 0 }
    private static func isDigit(_ b: UInt8) -> Bool { b >= 48 && b <= 57 }
    /// Letters, `_` and every byte of a character beyond ASCII.
    private static func isLetter(_ b: UInt8) -> Bool { (b >= 65 && b <= 90) || (b >= 97 && b <= 122) || b == 95 || b >= 128 }
    private static func isSpace(_ b: UInt8) -> Bool { b == 32 || (b >= 9 && b <= 13) }
    private static func isQuote(_ b: UInt8) -> Bool { b == UInt8(ascii: "\"") || b == UInt8(ascii: "`") }

    private func failure(_ message: String, at position: Int, hint: String? = nil) -> KeelError {
        expressionError(message, at: position, of: text, hint: hint)
    }

    private mutating func next() throws(KeelError) -> ExpressionToken {
        while i < bytes.count, ExpressionLexer.isSpace(bytes[i]) { i += 1 }
        let start = i
        guard i < bytes.count else { return ExpressionToken(kind: .end, position: start) }
        let c = bytes[i]
        if ExpressionLexer.isDigit(c) || (c == UInt8(ascii: ".") && ExpressionLexer.isDigit(byte(i + 1))) {
            return ExpressionToken(kind: .literal(try number()), position: start)
        }
        if c == UInt8(ascii: "'") { return ExpressionToken(kind: .literal(.string(try quoted(c, "text"))), position: start) }
        if ExpressionLexer.isLetter(c) || ExpressionLexer.isQuote(c) { return try name() }
        for symbol in ExpressionLexer.symbols where bytes[i...].starts(with: symbol.utf8) {
            i += symbol.utf8.count
            return ExpressionToken(kind: .symbol(symbol), position: start)
        }
        let hints: [UInt8: String] = [
            UInt8(ascii: "&"): "write AND", UInt8(ascii: "|"): "write OR, and concat(a, b) for texts",
            UInt8(ascii: "!"): "write NOT, or <> for 'differs'",
        ]
        throw failure("'\(UnicodeScalar(c))' is not part of an expression", at: start, hint: hints[c])
    }

    private mutating func name() throws(KeelError) -> ExpressionToken {
        let start = i
        var (parts, bare) = ([String](), true)
        while true {
            if ExpressionLexer.isQuote(byte(i)) {
                parts.append(try quoted(bytes[i], "name"))
                bare = false
            } else {
                let from = i
                while i < bytes.count, ExpressionLexer.isLetter(bytes[i]) || ExpressionLexer.isDigit(bytes[i]) { i += 1 }
                guard i > from else { throw failure("a name must follow the dot", at: i) }
                parts.append(String(decoding: bytes[from..<i], as: UTF8.self))
            }
            guard byte(i) == UInt8(ascii: ".") else { break }
            i += 1
        }
        return ExpressionToken(kind: .name(parts.joined(separator: "."), bare: bare), position: start)
    }

    /// From one quote to the next; a doubled quote is one.
    private mutating func quoted(_ quote: UInt8, _ what: String) throws(KeelError) -> String {
        let start = i
        var out: [UInt8] = []
        i += 1
        while i < bytes.count {
            if bytes[i] == quote {
                guard byte(i + 1) == quote else {
                    i += 1
                    guard what == "text" || !out.isEmpty else { throw failure("an empty name", at: start) }
                    return String(decoding: out, as: UTF8.self)
                }
                i += 1
            }
            guard bytes[i] != 0 else { throw failure("a zero byte inside a \(what)", at: i) }
            out.append(bytes[i])
            i += 1
        }
        throw failure("the \(what) has no closing \(UnicodeScalar(quote))", at: start)
    }

    private mutating func number() throws(KeelError) -> Value {
        let start = i
        var integral = true
        func digits() { while i < bytes.count, ExpressionLexer.isDigit(bytes[i]) { i += 1 } }
        digits()
        if byte(i) == UInt8(ascii: ".") {
            integral = false
            i += 1
            digits()
        }
        let exponent = byte(i) == UInt8(ascii: "e") || byte(i) == UInt8(ascii: "E")
        let signed = byte(i + 1) == UInt8(ascii: "-") || byte(i + 1) == UInt8(ascii: "+")
        if exponent, ExpressionLexer.isDigit(byte(i + (signed ? 2 : 1))) {
            integral = false
            i += signed ? 2 : 1
            digits()
        }
        let written = String(decoding: bytes[start..<i], as: UTF8.self)
        guard let value = Double(written), value.isFinite else {
            throw failure("'\(written)' is not a number that float64 can hold", at: start)
        }
        let unitStart = i
        while i < bytes.count, ExpressionLexer.isLetter(bytes[i]) || ExpressionLexer.isDigit(bytes[i]) { i += 1 }
        if i > unitStart {
            let unit = String(decoding: bytes[unitStart..<i], as: UTF8.self)
            guard let scale = ExpressionLexer.units[unit] else {
                throw failure("'\(written)\(unit)' is not a number", at: start, hint: "units after digits are %, us, ms, s, m, h and d")
            }
            return .double(value * scale.times / scale.over)
        }
        if byte(i) == UInt8(ascii: "%"), !operandFollows(i + 1) {
            i += 1
            return .double(value / 100)
        }
        if integral, let whole = Int64(written) { return .int(whole) }
        return .double(value)
    }

    private func operandFollows(_ at: Int) -> Bool {
        var j = at
        while j < bytes.count, ExpressionLexer.isSpace(bytes[j]) { j += 1 }
        let c = byte(j)
        if ExpressionLexer.isLetter(c) {
            let word = bytes[j...].prefix { ExpressionLexer.isLetter($0) || ExpressionLexer.isDigit($0) }
            return !ExpressionLexer.continuations.contains(String(decoding: word, as: UTF8.self).uppercased())
        }
        return ExpressionLexer.isDigit(c) || ExpressionLexer.isQuote(c) || c == UInt8(ascii: "(") || c == UInt8(ascii: ".")
            || c == UInt8(ascii: "'")
    }
}
