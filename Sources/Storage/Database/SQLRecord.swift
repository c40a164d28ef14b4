import Contracts
import Foundation
import Synchronization

/// Notes the SQL texts that run, for the test that holds them against PostgreSQL (docs/decisions/0028-sql-on-two-databases.md).
///
/// Off unless the variable `KEEL_SQL_RECORD` names a file. Each text is noted once for each list of the kinds of its values; the values themselves are
/// not. Several processes may write to one file.
package final class SQLRecord: Sendable {
    /// A text that ran, with a letter for each of its values: `i` whole number, `d` floating point, `s` text, `b` bytes, `n` null.
    package struct Entry: Hashable, Sendable {
        package let sql: String
        package let kinds: String
    }

    static let shared = ProcessInfo.processInfo.environment["KEEL_SQL_RECORD"].flatMap { SQLRecord(path: $0) }

    private let file: Int32
    private let known = Mutex<Set<Entry>>([])

    private init?(path: String) {
        file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { return nil }
    }

    func add(_ sql: String, _ values: [Value]) {
        let entry = Entry(sql: sql, kinds: String(values.map(SQLRecord.kind)))
        guard known.withLock({ $0.insert(entry).inserted }) else { return }
        let line = Array((JSON.array([.string(entry.sql), .string(entry.kinds)]).text + "\n").utf8)
        // One call for a line, so that lines of several processes do not mix. A line that is cut off fails the test that reads it.
        _ = line.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    }

    private static func kind(_ value: Value) -> Character {
        switch value {
        case .null: "n"
        case .bool, .int, .date, .timestamp: "i"
        case .double: "d"
        case .string, .list: "s"
        case .bytes: "b"
        }
    }

    /// What was noted in a file.
    package static func entries(path: String) throws -> Set<Entry> {
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        return Set(
            try lines.map { line in
                guard let items = try JSON.parse(String(line)).array, items.count == 2, let sql = items[0].string,
                    let kinds = items[1].string
                else { throw KeelError(.corrupted, "a line of \(path) is no SQL text with its values") }
                return Entry(sql: sql, kinds: kinds)
            })
    }
}
