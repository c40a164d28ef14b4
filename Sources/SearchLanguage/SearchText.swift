import Contracts

/// The text of a filter or an order, split as SQL is: words, texts, numbers and signs, with what belongs together grouped.
///
/// The rules of what is one name and what is a comparison are those that MLflow's users know from its server, so that a filter which
/// works there works here, and one that does not names the same parts.
struct SearchText {
    enum Kind: Sendable {
        case space, comment, keyword, direction, comparator, integer, float, text, name, sign, operation, other
        case period, comma, open, close, semicolon
        case identifier, list, parenthesis, function, expression, comparison
    }

    struct Part: Sendable {
        var kind: Kind
        var text: String
        /// The sides of a comparison and its comparator.
        var parts: [Part] = []

        func isWord(_ word: String) -> Bool { kind == .keyword && text.uppercased() == word }
    }

    /// The statements of the text (those between semicolons); none when there is nothing but space.
    static func statements(of text: String) -> [[Part]] {
        var scanner = SearchScanner(text)
        var statements: [[Part]] = []
        var (current, depth, ended): ([Part], Int, Bool) = ([], 0, false)
        while let part = scanner.next() {
            if ended, part.kind != .space {
                statements.append(current)
                (current, depth, ended) = ([], 0, false)
            }
            if part.kind == .open { depth += 1 }
            if part.kind == .close { depth -= 1 }
            current.append(part)
            if part.kind == .semicolon, depth <= 0 { ended = true }
        }
        if current.contains(where: { $0.kind != .space }) { statements.append(current) }
        return statements.map(grouped)
    }

    // MARK: Grouping

    private static func grouped(_ parts: [Part]) -> [Part] {
        var out = parenthesized(parts)
        out = followed(out, .function, { $0.kind == .name }, { $0.kind == .parenthesis })
        out = periods(out)
        for i in out.indices where out[i].kind == .name { out[i].kind = .identifier }
        out = directed(out)
        out = infix(out, .expression, { $0.kind == .operation || $0.text == "*" }, isValue)
        out = infix(out, .comparison, { $0.kind == .comparator }) { isValue($0) || $0.isWord("NULL") }
        out = followed(out, .identifier, { isNameable($0.kind) }, { $0.kind == .identifier })
        return infix(out, .list, { $0.kind == .comma }) { isValue($0) || [.comparison, .list, .keyword].contains($0.kind) }
    }

    private static func isValue(_ part: Part) -> Bool {
        [.integer, .float, .text, .identifier, .parenthesis, .function, .expression].contains(part.kind)
    }

    private static func isNameable(_ kind: Kind) -> Bool {
        [.integer, .float, .identifier, .parenthesis, .function, .expression, .comparison].contains(kind)
    }

    private static func parenthesized(_ parts: [Part]) -> [Part] {
        var (out, opened): ([Part], [Int]) = ([], [])
        for part in parts {
            out.append(part)
            if part.kind == .open { opened.append(out.count - 1) }
            guard part.kind == .close, let start = opened.popLast() else { continue }
            merge(&out, start, out.count - 1, .parenthesis)
        }
        return out
    }

    private static func merge(_ parts: inout [Part], _ start: Int, _ end: Int, _ kind: Kind) {
        let inner = Array(parts[start...end])
        let keepsParts = kind == .comparison ? inner.filter { $0.kind != .space } : []
        parts.replaceSubrange(start...end, with: [Part(kind: kind, text: inner.map(\.text).joined(), parts: keepsParts)])
    }

    private static func following(_ parts: [Part], _ i: Int) -> Int? { parts[(i + 1)...].firstIndex { $0.kind != .space } }

    /// Joins a part with the one after it.
    private static func followed(_ parts: [Part], _ kind: Kind, _ isFirst: (Part) -> Bool, _ isSecond: (Part) -> Bool) -> [Part] {
        var (out, i) = (parts, 0)
        while i < out.count {
            if isFirst(out[i]), let next = following(out, i), isSecond(out[next]) { merge(&out, i, next, kind) }
            i += 1
        }
        return out
    }

    /// `tags.team`: names around a period, whatever follows it.
    private static func periods(_ parts: [Part]) -> [Part] {
        var (out, i, before): ([Part], Int, Int?) = (parts, 0, nil)
        while i < out.count {
            if out[i].kind == .space {
                i += 1
                continue
            }
            if out[i].kind == .period, let start = before, out[start].kind == .name || out[start].kind == .identifier {
                let next = following(out, i)
                let takes = next.map { [.name, .text, .function].contains(out[$0].kind) || out[$0].text == "*" } ?? false
                merge(&out, start, takes ? next ?? i : i, .identifier)
                i = start
            }
            before = i
            i += 1
        }
        return out
    }

    /// `metrics.auc DESC`
    private static func directed(_ parts: [Part]) -> [Part] {
        var (out, i, before): ([Part], Int, Int?) = (parts, 0, nil)
        while i < out.count {
            if out[i].kind != .space {
                if out[i].kind == .direction, let start = before, [.identifier, .integer, .float].contains(out[start].kind) {
                    merge(&out, start, i, .identifier)
                    i = start
                }
                before = i
            }
            i += 1
        }
        return out
    }

    private static func infix(_ parts: [Part], _ kind: Kind, _ isSign: (Part) -> Bool, _ isSide: (Part) -> Bool) -> [Part] {
        var (out, i, before): ([Part], Int, Int?) = (parts, 0, nil)
        while i < out.count {
            if out[i].kind != .space {
                if isSign(out[i]), let start = before, isSide(out[start]), let end = following(out, i), isSide(out[end]) {
                    merge(&out, start, end, kind)
                    i = start
                }
                before = i
            }
            i += 1
        }
        return out
    }

    // MARK: Comparisons of words

    /// The statement without its spaces, with `IN`, `NOT IN` and the tests for null joined to comparisons.
    static func comparisons(in statement: [Part]) -> [Part] {
        var rest = statement.filter { $0.kind != .space }[...]
        var out: [Part] = []
        while let first = rest.first {
            guard rest.count >= 3 else { return out + rest }
            guard first.kind == .identifier else {
                out.append(rest.removeFirst())
                continue
            }
            let (second, third) = (rest[rest.startIndex + 1], rest[rest.startIndex + 2])
            let fourth = rest.count > 3 ? rest[rest.startIndex + 3] : nil
            if second.isWord("IN"), third.kind == .parenthesis {
                out.append(comparison(rest.prefix(3)))
                rest.removeFirst(3)
            } else if second.isWord("IS"), third.isWord("NULL") || third.isWord("NOT NULL") {
                let test = Part(kind: .comparator, text: third.isWord("NULL") ? "IS NULL" : "IS NOT NULL")
                out.append(comparison([first, test]))
                rest.removeFirst(3)
            } else if let fourth, second.isWord("NOT"), third.isWord("IN"), fourth.kind == .parenthesis {
                out.append(comparison([first, Part(kind: .comparator, text: "NOT IN"), fourth]))
                rest.removeFirst(4)
            } else {
                out += rest.prefix(4)
                rest = rest.dropFirst(4)
            }
        }
        return out
    }

    private static func comparison(_ parts: some Sequence<Part>) -> Part {
        Part(kind: .comparison, text: parts.map(\.text).joined(), parts: Array(parts))
    }
}
