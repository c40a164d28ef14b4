/// Splits the text of a filter into its smallest parts. Whatever the text, every scalar of it lands in exactly one part.
struct SearchScanner {
    private let text: [Unicode.Scalar]
    private var i = 0

    init(_ text: String) { self.text = Array(text.unicodeScalars) }

    /// Words that are no names when they stand alone.
    private static let keywords: Set<String> = [
        "ALL", "AND", "ANY", "BETWEEN", "BY", "CREATE", "DATE", "DELETE", "DISTINCT", "DROP", "ELSE", "EXISTS", "FALSE", "FULL", "GROUP",
        "HAVING", "INNER",
        "INSERT", "INTO", "IS", "JOIN", "KEY", "LEFT", "LIMIT", "NOT", "NULL", "NULLS", "OFFSET", "ON", "OR", "ORDER", "OUTER", "RIGHT",
        "SELECT", "SET",
        "TABLE", "THEN", "TRUE", "TYPE", "UNION", "UPDATE", "USER", "VERSION", "WHEN", "WHERE", "WITH",
    ]
    /// Words that are no names even after a period.
    private static let reserved: Set<String> = ["CASE", "IN", "VALUES", "USING", "FROM", "AS"]
    private static let comparators: Set<String> = ["LIKE", "ILIKE", "RLIKE", "REGEXP"]

    mutating func next() -> SearchText.Part? {
        guard i < text.count else { return nil }
        let start = i
        let kind = scan()
        return SearchText.Part(kind: kind, text: string(start, i))
    }

    private func string(_ start: Int, _ end: Int) -> String {
        var out = String.UnicodeScalarView()
        out.append(contentsOf: text[start..<end])
        return String(out)
    }

    private func at(_ place: Int) -> Unicode.Scalar? { place >= 0 && place < text.count ? text[place] : nil }

    private static func isWord(_ c: Unicode.Scalar) -> Bool {
        c == "_" || c.properties.isAlphabetic || c.properties.numericType != nil
    }
    private static func isLetter(_ c: Unicode.Scalar) -> Bool {
        c.properties.isAlphabetic && (c.isASCII || (0xC0...0xFF).contains(c.value))
    }
    private static func isSpace(_ c: Unicode.Scalar) -> Bool { c.properties.isWhitespace }
    private static func isDigit(_ c: Unicode.Scalar) -> Bool { ("0"..."9").contains(c) }

    private func end(of start: Int, while holds: (Unicode.Scalar) -> Bool) -> Int {
        var end = start
        while let c = at(end), holds(c) { end += 1 }
        return end
    }

    private mutating func take(_ end: Int, _ kind: SearchText.Kind) -> SearchText.Kind {
        i = end
        return kind
    }

    private mutating func scan() -> SearchText.Kind {
        let c = text[i]
        if SearchScanner.isSpace(c) { return take(i + 1, .space) }
        if (c == "-" && at(i + 1) == "-") || (c == "#" && at(i + 1) == " ") {
            let line = end(of: i) { $0 != "\n" && $0 != "\r" }
            return take(min(line + 1, text.count), .comment)
        }
        switch c {
        case "`":
            if let close = text[(i + 1)...].firstIndex(of: "`") { return take(close + 1, .name) }
        case "'":
            if let close = quoted() { return take(close, .text) }
        case "\"":
            if let close = quoted() { return take(close, .name) }
        case "(": return take(i + 1, .open)
        case ")": return take(i + 1, .close)
        case ",": return take(i + 1, .comma)
        case ";": return take(i + 1, .semicolon)
        case "*": return take(i + 1, .sign)
        default: break
        }
        if let kind = number() { return kind }
        if SearchScanner.isWord(c) { return word() }
        if c == "." { return take(i + 1, .period) }
        let comparing = end(of: i) { "<>=~!".unicodeScalars.contains($0) }
        if comparing > i { return take(comparing, .comparator) }
        if c == "-" { return take(i + 1, .operation) }
        let operating = end(of: i) { "+/@#%^&|-".unicodeScalars.contains($0) }
        return operating > i ? take(operating, .operation) : take(i + 1, .other)
    }

    /// The end of a quoted text: a doubled or escaped quote is part of it, unless no other quote would close it.
    private func quoted() -> Int? {
        let quote = text[i]
        var (place, fallback): (Int, Int?) = (i + 1, nil)
        while let c = at(place) {
            if c == quote {
                guard at(place + 1) == quote else { return place + 1 }
                fallback = place + 1
                place += 2
            } else if c == "\\", at(place + 1) == quote {
                fallback = place + 2
                place += 2
            } else {
                place += 1
            }
        }
        return fallback
    }

    private mutating func number() -> SearchText.Kind? {
        let first = at(i) == "-" ? i + 1 : i
        let digits = end(of: first, while: SearchScanner.isDigit)
        if digits == first + 1, at(first) == "0", at(digits) == "x" || at(digits) == "X" {
            let hex = end(of: digits + 1) { $0.properties.isASCIIHexDigit }
            if hex > digits + 1 { return take(hex, .other) }
        }
        if digits > first {
            let fraction = at(digits) == "." ? end(of: digits + 1, while: SearchScanner.isDigit) : digits
            let mantissa = fraction > digits + 1 ? fraction : digits
            if at(mantissa) == "e" || at(mantissa) == "E" {
                let sign = at(mantissa + 1) == "-" ? mantissa + 2 : mantissa + 1
                let exponent = end(of: sign, while: SearchScanner.isDigit)
                if exponent > sign { return take(exponent, .float) }
            }
        }
        let isLetter: (Unicode.Scalar?) -> Bool = { $0.map { $0 == "_" || SearchScanner.isLetter($0) } ?? false }
        if at(digits) == "." {
            let fraction = end(of: digits + 1, while: SearchScanner.isDigit)
            // A letter may not follow; the last digit can be left to it.
            let stop = isLetter(at(fraction)) ? fraction - 1 : fraction
            if stop > digits, digits > first || stop > digits + 1 { return take(stop, .float) }
        }
        guard digits > first else { return nil }
        let stop = isLetter(at(digits)) ? digits - 1 : digits
        return stop > first ? take(stop, .integer) : nil
    }

    private mutating func word() -> SearchText.Kind {
        let stop = end(of: i, while: SearchScanner.isWord)
        let upper = string(i, stop).uppercased()
        if SearchScanner.reserved.contains(upper) { return take(stop, .keyword) }
        let beyond = end(of: stop, while: SearchScanner.isSpace)
        let isNamed = at(beyond) == "." && !(at(beyond + 1).map(SearchScanner.isDigit) ?? false)
        if SearchScanner.isLetter(text[i]), isNamed || at(i - 1) == "." || at(stop) == "(" { return take(stop, .name) }
        if upper == "NOT", let second = word(at: beyond), beyond > stop {
            if second.upper == "NULL" { return take(second.end, .keyword) }
            if SearchScanner.comparators.contains(second.upper) { return take(second.end, .comparator) }
        }
        if SearchScanner.comparators.contains(upper) { return take(stop, .comparator) }
        if upper == "ASC" || upper == "DESC" { return take(nulls(after: stop) ?? stop, .direction) }
        if upper == "NULLS", let last = word(at: beyond), ["FIRST", "LAST"].contains(last.upper) { return take(last.end, .direction) }
        if upper == "GROUP" || upper == "ORDER", let by = word(at: beyond), by.upper == "BY" { return take(by.end, .keyword) }
        if SearchScanner.keywords.contains(upper) { return take(stop, .keyword) }
        return take(end(of: i) { SearchScanner.isWord($0) || $0 == "$" || $0 == "#" }, .name)
    }

    private func word(at start: Int) -> (upper: String, end: Int)? {
        let stop = end(of: start, while: SearchScanner.isWord)
        return stop > start ? (string(start, stop).uppercased(), stop) : nil
    }

    private func nulls(after stop: Int) -> Int? {
        guard let nulls = word(at: end(of: stop, while: SearchScanner.isSpace)), nulls.upper == "NULLS",
            let last = word(at: end(of: nulls.end, while: SearchScanner.isSpace)), ["FIRST", "LAST"].contains(last.upper)
        else { return nil }
        return last.end
    }
}
