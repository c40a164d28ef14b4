import Foundation
import Storage
import Testing

/// The SQL texts that the tests ran on SQLite.
struct SQLTexts {
    let entries: [SQLRecord.Entry]
    private let tests: [UInt8]
    private let sources: [UInt8]

    init(record: String) throws {
        entries = try SQLRecord.entries(path: record).sorted { ($0.sql, $0.kinds) < ($1.sql, $1.kinds) }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        tests = try Self.text(below: root + "/Tests")
        sources = try Self.text(below: root + "/Sources")
    }

    /// All Swift files below a folder, in one line.
    private static func text(below folder: String) throws -> [UInt8] {
        let names = try #require(FileManager.default.enumerator(atPath: folder)?.allObjects as? [String])
        return try names.filter { $0.hasSuffix(".swift") }.flatMap { name in
            Array(oneLine(try String(contentsOfFile: folder + "/" + name, encoding: .utf8)).utf8) + [10]
        }
    }

    static func oneLine(_ sql: String) -> String { sql.split(whereSeparator: \.isWhitespace).joined(separator: " ") }

    /// Whether a test wrote the text itself, to look or to break something. It runs on SQLite alone.
    func isOfTests(_ sql: String) -> Bool {
        let line = Array(Self.oneLine(sql).utf8)
        return Self.contains(tests, line) && !Self.contains(sources, line)
    }

    private static func contains(_ text: [UInt8], _ part: [UInt8]) -> Bool { memmem(text, text.count, part, part.count) != nil }

    /// The text with lists of marks cut short, so that a hundred lengths of one list are one text.
    static func shape(_ sql: String) -> String {
        oneLine(sql).replacing(/\?(, \?)+/, with: "?, …").replacing(/(\(\?, …\)|\(\d+, \?\))(, (\(\?, …\)|\(\d+, \?\)))+/, with: "(…), …")
    }

    /// The tables that a text names.
    static func tables(in sql: String, of known: [String: String]) -> Set<String> {
        Set(sql.matches(of: /[a-z_]+/).map { String($0.output) }).intersection(known.keys)
    }
}
