extension StringProtocol {
    /// The same text with every character that a terminal or a reader would not see as itself written as an escape: `\u{1b}`.
    ///
    /// These are control characters (C0, DEL, C1), line and paragraph separators, and format characters: bidirectional overrides, zero-width
    /// characters, tags. So a text written by somebody else can neither move the cursor nor hide a part of itself.
    /// - Parameter keepingLines: whether line feeds and tabs stay as they are; otherwise the result is one line.
    public func visible(keepingLines: Bool = false) -> String {
        func isHidden(_ scalar: Unicode.Scalar) -> Bool { scalar.isHidden && !(keepingLines && (scalar == "\n" || scalar == "\t")) }
        guard unicodeScalars.contains(where: isHidden) else { return String(self) }
        var out = ""
        for scalar in unicodeScalars {
            switch scalar {
            case _ where !isHidden(scalar): out.unicodeScalars.append(scalar)
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case "\r": out += "\\r"
            default: out += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return out
    }

    /// The text of a JSON document with the same characters as JSON's own escapes: another text of the same document.
    public var visibleJSON: String {
        // Control characters stand inside strings only, where a line feed is an escape already.
        guard unicodeScalars.contains(where: { $0.isHidden && $0 != "\n" }) else { return String(self) }
        var out = ""
        for scalar in unicodeScalars {
            guard scalar.isHidden, scalar != "\n" else {
                out.unicodeScalars.append(scalar)
                continue
            }
            for unit in UTF16.encode(scalar) ?? .init() {
                let digits = String(unit, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
        return out
    }
}

extension Unicode.Scalar {
    fileprivate var isHidden: Bool {
        if (0x20..<0x7f).contains(value) { return false }
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: return true
        default: return false
        }
    }
}
