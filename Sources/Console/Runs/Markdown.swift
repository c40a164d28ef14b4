import Contracts

/// A note in Markdown as blocks that a template shows: headings, paragraphs, lists, quotations and code, with emphasis, code and links inside.
///
/// No HTML is made here and none of the note's is kept: the template writes the tags and escapes every text. What is not understood stays as it is written.
enum Markdown {
    private static let charactersMax = 100_000

    static func blocks(_ note: String) -> [View] {
        var out: [View] = []
        var paragraph: [Substring] = []
        var items: [View] = []
        var isNumbered = false
        var code: [Substring]?
        func endParagraph() {
            if !paragraph.isEmpty { out.append(block("paragraph", spans(paragraph.joined(separator: " ")))) }
            paragraph = []
        }
        func endList() {
            if !items.isEmpty { out.append([isNumbered ? "numbered" : "bulleted": ["items": items] as View]) }
            items = []
        }
        // Forms send each end of a line as two characters, which Swift reads as one of its own.
        for line in note.prefix(charactersMax).split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            let text = line.trimmed
            if text.hasPrefix("```") {
                if let lines = code {
                    out.append(["code": lines.joined(separator: "\n").visible(keepingLines: true)])
                    code = nil
                } else {
                    endParagraph()
                    endList()
                    code = []
                }
            } else if code != nil {
                code?.append(line)
            } else if text.isEmpty {
                endParagraph()
                endList()
            } else if let heading = heading(text) {
                endParagraph()
                endList()
                out.append(block("heading", spans(heading)))
            } else if let item = item(text) {
                endParagraph()
                if item.isNumbered != isNumbered { endList() }
                isNumbered = item.isNumbered
                items.append(["spans": spans(item.text)])
            } else if text.hasPrefix("> ") {
                endParagraph()
                endList()
                out.append(block("quotation", spans(String(text.dropFirst(2)))))
            } else {
                endList()
                paragraph.append(text)
            }
        }
        if let lines = code { out.append(["code": lines.joined(separator: "\n").visible(keepingLines: true)]) }
        endParagraph()
        endList()
        return out
    }

    private static func block(_ kind: String, _ spans: [View]) -> View { [kind: ["spans": spans] as View] }

    private static func heading(_ text: Substring) -> String? {
        let marks = text.prefix { $0 == "#" }
        guard (1...6).contains(marks.count), text.dropFirst(marks.count).first == " " else { return nil }
        return String(text.dropFirst(marks.count + 1))
    }

    private static func item(_ text: Substring) -> (text: String, isNumbered: Bool)? {
        for mark in ["- ", "* ", "+ "] where text.hasPrefix(mark) { return (String(text.dropFirst(2)), false) }
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard !digits.isEmpty, digits.count < 10, text.dropFirst(digits.count).hasPrefix(". ") else { return nil }
        return (String(text.dropFirst(digits.count + 2)), true)
    }

    /// A line's parts: each has its text, and may be strong, code or a link.
    static func spans(_ text: String) -> [View] {
        var out: [View] = []
        var plain = ""
        func endPlain() {
            if !plain.isEmpty { out.append(span(plain)) }
            plain = ""
        }
        var rest = text[...]
        while let first = rest.first {
            if first == "`", let end = rest.dropFirst().firstIndex(of: "`") {
                endPlain()
                out.append(span(rest[rest.index(after: rest.startIndex)..<end], code: true))
                rest = rest[rest.index(after: end)...]
            } else if rest.hasPrefix("**"), let strong = enclosed(rest.dropFirst(2), by: "**") {
                endPlain()
                out.append(span(strong.text, strong: true))
                rest = strong.rest
            } else if first == "*", !rest.hasPrefix("**"), rest.dropFirst().first?.isWhitespace == false, let weak = enclosed(rest.dropFirst(), by: "*") {
                endPlain()
                out.append(span(weak.text, weak: true))
                rest = weak.rest
            } else if first == "[", let link = link(rest) {
                endPlain()
                out.append(span(link.text, href: link.address))
                rest = link.rest
            } else {
                plain.append(first)
                rest = rest.dropFirst()
            }
        }
        endPlain()
        return out
    }

    private static func span(_ text: some StringProtocol, code: Bool = false, strong: Bool = false, weak: Bool = false, href: String? = nil) -> View {
        ["text": text.visible(), "isCode": code, "isStrong": strong, "isWeak": weak, "href": href ?? false, "isPlain": !code && !strong && !weak && href == nil]
    }

    private static func enclosed(_ text: Substring, by mark: String) -> (text: Substring, rest: Substring)? {
        var end = text.startIndex
        while end < text.endIndex {
            if text[end...].hasPrefix(mark) { return end == text.startIndex ? nil : (text[..<end], text[end...].dropFirst(mark.count)) }
            end = text.index(after: end)
        }
        return nil
    }

    /// `[text](address)`; addresses that could run something are no links.
    private static func link(_ text: Substring) -> (text: Substring, address: String, rest: Substring)? {
        guard let close = text.firstIndex(of: "]"), text[text.index(after: close)...].hasPrefix("("), let end = text[close...].firstIndex(of: ")") else {
            return nil
        }
        let address = text[text.index(close, offsetBy: 2)..<end]
        let isSafe = ["https://", "http://", "mailto:", "/console"].contains { address.hasPrefix($0) }
        guard isSafe, !address.contains(where: \.isWhitespace), !address.hasPrefix("//") else { return nil }
        return (text[text.index(after: text.startIndex)..<close], String(address), text[text.index(after: end)...])
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first?.isWhitespace == true { text = text.dropFirst() }
        while text.last?.isWhitespace == true { text = text.dropLast() }
        return text
    }
}
