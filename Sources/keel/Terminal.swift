import Contracts
import Foundation
import Synchronization

/// What people see: plain tables and a progress line, both plain text when the output is not a terminal.
enum Terminal {
    static func print(_ text: String) { Swift.print(text) }

    static func complain(_ error: KeelError) {
        var text = "error: " + (error.path.map { "\($0): " } ?? "") + error.message
        if let hint = error.hint { text += "\n  hint: \(hint)" }
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }

    /// Columns under upper-case headings; numbers are aligned to the right.
    /// - Parameter keys: headings after those that people wrote themselves, and that stay as they are.
    static func table(_ headings: [String], keys: [String] = [], _ rows: [[String]]) {
        let headings = headings.map { $0.uppercased() } + keys
        let widths = headings.indices.map { i in max(headings[i].count, rows.map { $0[i].count }.max() ?? 0) }
        let numeric = headings.indices.map { i in
            !rows.isEmpty && rows.allSatisfy { row in row[i].isEmpty || row[i] == "-" || (row[i].first.map { $0.isNumber || $0 == "-" || $0 == "." } ?? true) }
        }
        func line(_ cells: [String]) -> String {
            cells.indices.map { i in
                let pad = String(repeating: " ", count: widths[i] - cells[i].count)
                return numeric[i] ? pad + cells[i] : cells[i] + pad
            }.joined(separator: "  ").trimmingTrailingSpaces()
        }
        print(line(headings))
        for row in rows { print(line(row)) }
        if rows.isEmpty { print("(none)") }
    }

    static func decimals(_ value: Double?, _ digits: Int) -> String {
        guard let value, value.isFinite else { return "-" }
        let scale = pow(10, Double(digits))
        let scaled = (abs(value) * scale).rounded()
        let (whole, part) = (Int64(scaled / scale), Int64(scaled) % Int64(scale))
        let text = digits == 0 ? "\(whole)" : "\(whole)." + String(repeating: "0", count: digits - String(part).count) + "\(part)"
        return value < 0 && scaled != 0 ? "-" + text : text
    }

    static func duration(microseconds: Double?) -> String {
        guard let value = microseconds, value.isFinite else { return "-" }
        if value < 1000 { return decimals(value, 0) + " µs" }
        if value < 1_000_000 { return decimals(value / 1000, 1) + " ms" }
        return decimals(value / 1_000_000, 1) + " s"
    }

    static func count(_ value: Int64) -> String {
        var (digits, out) = (Array(String(value)), "")
        while digits.count > 3 {
            out = "," + String(digits.suffix(3)) + out
            digits.removeLast(3)
        }
        return String(digits) + out
    }
}

/// One line that redraws itself while work goes on; silent when the output is not a terminal, but for the last state.
final class ProgressLine: Sendable {
    private let title: String
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let last = Mutex(Timestamp.distantPast)

    init(_ title: String) { self.title = title }

    func update(_ share: Double, _ text: String) {
        let now = Timestamp.systemNow()
        let due = last.withLock { last in
            guard now.microseconds - max(last.microseconds, 0) > 100_000 else { return false }
            last = now
            return true
        }
        guard isTerminal, due else { return }
        draw(share, text)
    }

    func finish(_ text: String) {
        if isTerminal { draw(1, text) }
        FileHandle.standardError.write(Data((isTerminal ? "\n" : "\(title): \(text)\n").utf8))
    }

    private func draw(_ share: Double, _ text: String) {
        let filled = Int((min(max(share, 0), 1) * 24).rounded())
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        FileHandle.standardError.write(Data("\r\u{1b}[2K\(title) \(bar) \(Int(min(max(share, 0), 1) * 100)) % \(text)".utf8))
    }
}

extension String {
    fileprivate func trimmingTrailingSpaces() -> String {
        var text = self
        while text.last == " " { text.removeLast() }
        return text
    }
}
