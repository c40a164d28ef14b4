import Contracts

/// Quotes around keys and values.
enum Quotes {
    static func isQuoted(_ text: String, _ quote: Character) -> Bool { text.count >= 2 && text.first == quote && text.last == quote }

    static func trimmed(_ text: String, _ quote: Character) -> String {
        isQuoted(text, quote) ? String(text.dropFirst().dropLast()) : text
    }

    /// Without the single or double quotes around it.
    static func stripped(_ text: String) -> String {
        isQuoted(text, "'") || isQuoted(text, "\"") ? String(text.dropFirst().dropLast()) : text
    }

    static func required(_ text: String) throws(KeelError) -> String {
        guard isQuoted(text, "'") || isQuoted(text, "\"") else {
            throw .invalid(
                "Parameter value is either not quoted or unidentified quote types used for string value \(text). Use either single or double quotes."
            )
        }
        return stripped(text)
    }

    /// The words of a text; spaces inside quotes separate none, and the quotes go.
    static func words(_ text: String) -> [String] {
        var (words, current, quote): ([String], String?, Character?) = ([], nil, nil)
        for character in text {
            if character == quote {
                quote = nil
            } else if quote != nil {
                current = (current ?? "") + String(character)
            } else if character == "'" || character == "\"" {
                (quote, current) = (character, current ?? "")
            } else if character.isWhitespace {
                if let word = current { words.append(word) }
                current = nil
            } else {
                current = (current ?? "") + String(character)
            }
        }
        return words + [current].compactMap { $0 }
    }
}

/// Values as MLflow's messages print them, and its lists of texts.
enum Python {
    static func text(_ text: String) -> String {
        let quote = text.contains("'") && !text.contains("\"") ? "\"" : "'"
        let escaped = text.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
        return quote + (quote == "'" ? escaped.replacing("'", with: "\\'") : escaped) + quote
    }
    static func list(_ items: [String]) -> String { "[" + items.map(text).joined(separator: ", ") + "]" }
    static func set(_ items: Set<String>) -> String { "{" + items.sorted().map(text).joined(separator: ", ") + "}" }

    /// The texts of `('a', "b")`; texts side by side are one.
    static func tuple(_ source: String) throws(KeelError) -> [String] {
        let illFormed = KeelError.invalid(
            "While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list.")
        var scanner = SearchScanner(String(source.dropFirst().dropLast()))
        var (items, shown, hasComma, isOpen, allTexts): ([String], [String], Bool, Bool, Bool) = ([], [], false, true, true)
        while let part = scanner.next() {
            switch part.kind {
            case .space: continue
            case .comma:
                guard !isOpen else { throw illFormed }
                (isOpen, hasComma) = (true, true)
            case .text, .name:
                guard Quotes.stripped(part.text) != part.text || part.text == "''" || part.text == "\"\"" else { throw illFormed }
                let text = unescaped(Quotes.stripped(part.text))
                if isOpen { items.append(text) } else { items[items.count - 1] += text }
                if isOpen { shown.append(Python.text(text)) }
                isOpen = false
            case .integer, .float:
                guard isOpen else { throw illFormed }
                items.append(part.text)
                shown.append(part.text)
                (isOpen, allTexts) = (false, false)
            default: throw illFormed
            }
        }
        guard !items.isEmpty else {
            throw hasComma
                ? illFormed
                : .invalid("While parsing a list in the query, expected a non-empty list of string values, but got empty list")
        }
        guard allTexts else {
            let tuple = "(" + shown.joined(separator: ", ") + (shown.count == 1 ? ",)" : ")")
            throw .invalid(
                "While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: \(tuple)"
            )
        }
        return items
    }

    private static func unescaped(_ text: String) -> String {
        guard text.contains("\\") else { return text }
        var (out, escaping) = ("", false)
        for character in text {
            if escaping {
                switch character {
                case "\\", "'", "\"": out.append(character)
                case "n": out.append("\n")
                case "t": out.append("\t")
                default: out += "\\" + String(character)
                }
                escaping = false
            } else if character == "\\" {
                escaping = true
            } else {
                out.append(character)
            }
        }
        return out
    }
}
