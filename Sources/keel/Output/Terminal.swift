import Contracts
import Foundation
import Synchronization

/// What people see: plain tables and a progress line, both plain text when the output is not a terminal.
///
/// All output of the command goes through here. Texts that were written by others (names, descriptions, errors, lines of a step's log) are shown
/// with their control characters as escapes, so that none of them reaches the terminal.
package enum Terminal {
    /// One line of text from elsewhere, its control characters and line feeds written as escapes.
    package static func safe(_ text: some StringProtocol) -> String { text.visible() }

    /// Prints one line, whatever the texts in it hold.
    package static func print(_ line: String) { Swift.print(safe(line)) }

    /// Prints a document that has lines of its own, such as a model card.
    /// Sends what was printed on its way, for readers of a pipe that follow it.
    package static func flush() { fflush(nil) }

    package static func print(lines: String) { Swift.print(lines.visible(keepingLines: true)) }

    package static func print(json: JSON) { Swift.print(json.pretty.visibleJSON) }

    package static func complain(_ error: KeelError) {
        // A line that an error's text begins by itself is indented: it cannot pass for one of the command's own.
        func indented(_ text: String) -> String { text.split(separator: "\n").joined(separator: "\n    ") }
        for error in error.all {
            printError(lines: "error: " + (error.path.map { "\(safe($0)): " } ?? "") + indented(error.message))
            if let hint = error.hint { printError(lines: "  hint: " + indented(hint)) }
        }
    }

    /// A remark beside the answer.
    package static func note(_ text: String) { printError(lines: "note: \(safe(text))") }

    package static func printError(lines: String) { writeError(lines.visible(keepingLines: true) + "\n") }

    /// The only writer to standard error; what is passed may hold the sequences that redraw a line.
    fileprivate static func writeError(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }

    /// Whether a person can be asked.
    package static let isInteractive = isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1

    package static func confirm(_ question: String) -> Bool {
        writeError(safe(question) + " [y/N] ")
        return ["y", "yes"].contains((readLine() ?? "").lowercased())
    }

    /// How many columns fit on a line; nil when the output is not a terminal, or has no end.
    package static let width: Int? = {
        if let columns = ProcessInfo.processInfo.environment["COLUMNS"].flatMap({ Int($0) }), columns > 0 { return columns }
        var size = winsize()
        guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }()

    /// Columns under upper-case headings; numbers are aligned to the right. On a terminal that is too narrow, words lose their middle, then the
    /// last columns are left out, and a line says which.
    /// - Parameter keys: headings after those that people wrote themselves, and that stay as they are.
    /// - Parameter wrapsLast: the last column, on a terminal, goes on in further lines instead of losing its middle.
    package static func table(_ headings: [String], keys: [String] = [], _ rows: [[String]], wrapsLast: Bool = false) {
        let headings = headings.map { $0.uppercased() } + keys.map { safe($0) }
        var rows = rows.map { $0.map { safe($0) } }
        if wrapsLast, let width { rows = wrapped(headings, rows, width) }
        var widths = headings.indices.map { i in max(cells(headings[i]), rows.map { cells($0[i]) }.max() ?? 0) }
        let numeric = headings.indices.map { i in !rows.isEmpty && rows.allSatisfy { isNumber($0[i]) } }
        let shown = fit(&widths, headings.indices.filter { i in !numeric[i] && rows.contains { $0[i].contains(where: \.isLetter) } })
        func line(_ texts: [String]) -> String {
            (0..<shown).map { i in
                let text = cut(texts[i], to: widths[i])
                let pad = String(repeating: " ", count: max(0, widths[i] - cells(text)))
                return numeric[i] ? pad + text : text + pad
            }.joined(separator: "  ").trimmingTrailingSpaces()
        }
        print(line(headings))
        for row in rows { print(line(row)) }
        if rows.isEmpty { print("(none)") }
        if shown < headings.count {
            print(cut("(no room for \(headings[shown...].joined(separator: ", ")); --json has all)", to: width ?? .max))
        }
    }

    /// The rows, a last cell that is too wide for what the others leave over put into further rows.
    private static func wrapped(_ headings: [String], _ rows: [[String]], _ width: Int) -> [[String]] {
        let last = headings.count - 1
        let others = (0..<last).map { i in max(cells(headings[i]), rows.map { cells($0[i]) }.max() ?? 0) + 2 }.reduce(0, +)
        let room = max(24, width - others)
        return rows.flatMap { row in
            lines(row[last], room).enumerated().map { i, line in
                (i == 0 ? Array(row[..<last]) : [String](repeating: "", count: last)) + [line]
            }
        }
    }

    /// A text in lines of at most `room` columns, broken at spaces where it has them.
    package static func lines(_ text: String, _ room: Int) -> [String] {
        var out: [String] = []
        var rest = Substring(text)
        while cells(String(rest)) > room {
            var end = rest.startIndex
            var used = 0
            while used + cells(String(rest[end])) <= room {
                used += cells(String(rest[end]))
                end = rest.index(after: end)
            }
            let space = rest[..<end].lastIndex(of: " ").flatMap { $0 > rest.startIndex ? $0 : nil }
            out.append(String(rest[..<(space ?? end)]))
            rest = rest[(space ?? end)...].drop { $0 == " " }
        }
        return out + (rest.isEmpty && !out.isEmpty ? [] : [String(rest)])
    }

    /// Whether a cell is a number, perhaps with a unit; so is one that holds nothing.
    private static func isNumber(_ cell: String) -> Bool {
        ["", "-", "NaN", "inf", "-inf"].contains(cell)
            || cell.first.map { $0.isNumber || "-.".contains($0) } == true
                && cell.prefix { $0 != " " }.allSatisfy { $0.isNumber || "-+.,:%e".contains($0) }
    }

    /// Makes the widest columns of words narrower until all fit.
    /// - Returns: how many columns have room.
    private static func fit(_ widths: inout [Int], _ words: [Int]) -> Int {
        guard let width else { return widths.count }
        func total(_ count: Int) -> Int { widths[..<count].reduce(0, +) + 2 * (count - 1) }
        while total(widths.count) > width, let widest = words.filter({ widths[$0] > 18 }).max(by: { widths[$0] < widths[$1] }) {
            widths[widest] -= 1
        }
        var count = widths.count
        while count > 1, total(count) > width { count -= 1 }
        return count
    }

    /// How many columns of a terminal a text takes: letters of East Asia and emoji take two.
    package static func cells(_ text: String) -> Int {
        text.utf8.allSatisfy { $0 < 128 } ? text.utf8.count : text.reduce(0) { $0 + cells($1) }
    }

    private static func cells(_ character: Character) -> Int {
        guard let code = character.unicodeScalars.first?.value else { return 0 }
        let isWide =
            (0x1100...0x115F).contains(code) || (0x2E80...0xA4CF).contains(code) || (0xAC00...0xD7A3).contains(code)
            || (0xF900...0xFAFF).contains(code)
            || (0xFE30...0xFE6F).contains(code) || (0xFF00...0xFF60).contains(code) || (0x1F300...0x1FAFF).contains(code)
            || (0x20000...0x3FFFD).contains(code)
        return isWide ? 2 : 1
    }

    /// At most `limit` columns: without the middle, since names of one family differ at their ends.
    package static func cut(_ text: String, to limit: Int) -> String {
        guard cells(text) > limit else { return text }
        var (head, tail, room) = ("", "", limit - 1)
        var rest = Substring(text)
        while room > 0 {
            let isHead = cells(head) <= cells(tail)
            guard let next = isHead ? rest.popFirst() : rest.popLast(), cells(next) <= room else { break }
            if isHead { head.append(next) } else { tail.insert(next, at: tail.startIndex) }
            room -= cells(next)
        }
        return head + "…" + tail
    }

    /// `-` for what is not there.
    package static func decimals(_ value: Double?, _ digits: Int) -> String { value?.decimals(digits) ?? "-" }

    package static func duration(microseconds: Double?) -> String {
        guard let value = microseconds else { return "-" }
        if value < 1000 { return decimals(value, 0) + " µs" }
        if value < 1_000_000 { return decimals(value / 1000, 1) + " ms" }
        return decimals(value / 1_000_000, 1) + " s"
    }

    package static func count(_ value: Int64) -> String {
        var digits = Array(String(value.magnitude))
        var out = ""
        while digits.count > 3 {
            out = "," + String(digits.suffix(3)) + out
            digits.removeLast(3)
        }
        return (value < 0 ? "-" : "") + String(digits) + out
    }
}

/// One line that redraws itself while work goes on; silent when the output is not a terminal, but for the last state.
package final class ProgressLine: Sendable {
    private let title: String
    package let isTerminal = isatty(STDERR_FILENO) == 1
    private let last = Mutex(Timestamp.distantPast)

    package init(_ title: String) { self.title = title }

    /// - Parameter share: how much is done; nil when nobody knows, which shows that it goes on.
    package func update(_ share: Double?, _ text: String) {
        let now = Timestamp.systemNow()
        let due = last.withLock { last in
            guard now.microseconds - max(last.microseconds, 0) > 100_000 else { return false }
            last = now
            return true
        }
        guard isTerminal, due else { return }
        guard let share else {
            let turns = Array("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
            let turn = turns[Int(now.microseconds / 100_000 % Int64(turns.count))]
            // What is wider than the terminal would not be redrawn but repeated.
            let room = max(20, (Terminal.width ?? 80) - Terminal.cells(title) - 4)
            return Terminal.writeError("\r\u{1b}[2K\(Terminal.safe(title)) \(turn) \(Terminal.cut(Terminal.safe(text), to: room))")
        }
        draw(share, text)
    }

    /// Takes the line away, so that something else can be printed.
    package func clear() { if isTerminal { Terminal.writeError("\r\u{1b}[2K") } }

    package func finish(_ text: String) {
        if isTerminal { draw(1, text) }
        Terminal.writeError(isTerminal ? "\n" : Terminal.safe("\(title): \(text)") + "\n")
    }

    private func draw(_ share: Double, _ text: String) {
        let share = min(max(share, 0), 1)
        let filled = Int(saturating: (share * 24).rounded())
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        Terminal.writeError("\r\u{1b}[2K\(Terminal.safe(title)) \(bar) \((share * 100).decimals(0)) % \(Terminal.safe(text))")
    }
}

extension String {
    fileprivate func trimmingTrailingSpaces() -> String {
        var text = self
        while text.last == " " { text.removeLast() }
        return text
    }
}
