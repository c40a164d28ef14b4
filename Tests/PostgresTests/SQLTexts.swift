import Foundation
import Storage
import Testing

/// The SQL texts that the tests ran on SQLite.
struct SQLTexts {
    let entries: [SQLRecord.Entry]
    /// As C has texts: a search through all files for each of some thousand texts is fast there.
    private let tests: [CChar]
    private let sources: [CChar]

    init(record: String) throws {
        entries = try SQLRecord.entries(path: record).sorted { ($0.sql, $0.kinds) < ($1.sql, $1.kinds) }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        tests = try Self.text(below: root + "/Tests")
        sources = try Self.text(below: root + "/Sources")
    }

    /// All Swift files below a folder, in one line.
    private static func text(below folder: String) throws -> [CChar] {
        let names = try #require(FileManager.default.enumerator(atPath: folder)?.allObjects as? [String])
        let texts = try names.filter { $0.hasSuffix(".swift") }.map {
            oneLine(try String(contentsOfFile: folder + "/" + $0, encoding: .utf8))
        }
        return Array(texts.joined(separator: "\n").utf8CString)
    }

    static func oneLine(_ sql: String) -> String { sql.split(whereSeparator: \.isWhitespace).joined(separator: " ") }

    /// Whether a test wrote the text itself, to look or to break something. It runs on SQLite alone.
    func isOfTests(_ sql: String) -> Bool {
        let line = Self.oneLine(sql)
        return strstr(tests, line) != nil && strstr(sources, line) == nil
    }

    /// The text with lists of marks cut short, so that a hundred lengths of one list are one text.
    static func shape(_ sql: String) -> String {
        oneLine(sql).replacing(/\?(, \?)+/, with: "?, …").replacing(/(\(\?, …\)|\(\d+, \?\))(, (\(\?, …\)|\(\d+, \?\)))+/, with: "(…), …")
    }

    /// The tables that a text names.
    static func tables(in sql: String, of known: [String: String]) -> Set<String> {
        Set(sql.matches(of: /[a-z_]+/).map { String($0.output) }).intersection(known.keys)
    }
}
