import Contracts
import Foundation

extension FuzzTarget {
    /// `JSONScanner` and `JSON`: what is accepted is JSON for Foundation too, with the same values, and comes back from each form in which it is written.
    static let json = FuzzTarget(
        name: "json", inputs: 750_000,
        words: [
            "null", "true", "false", "{}", "[]", "\"\"", "\"a\":", "\\u0041", "\\ud83d\\ude00", "\\ud800", "\\n", "\\\"", "\\\\", "\\/",
            "1e5", "-0.0", "1E-7", "NaN",
            "Infinity", "[[", "{\"a\":",
        ]
    ) { bytes in
        try checkNumbers(bytes)
        let tree = try JSON.parse(bytes)
        try require(try JSON.parse(tree.bytes) == tree, "its compact text is another document: \(tree.text)")
        try require(try JSON.parse(tree.pretty) == tree, "its indented text is another document")
        try require(try JSON.parse(tree.text.visibleJSON) == tree, "its visible text is another document")
        let canonical = tree.canonical
        try require(try JSON.parse(canonical).canonical == canonical, "its canonical text is another one the second time")
        var skipper = bytes
        skipper += [UInt8(ascii: " ")]
        try withBuffer(skipper) { buffer in
            var scanner = JSONScanner(buffer)
            try scanner.skip()
            try scanner.expectEnd()
        }
        let other: Any
        do { other = try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed) } catch {
            // It takes bytes of 0 among the first for UTF-16.
            throw FuzzFault("Foundation does not accept it: \(error)")
        }
        try require(isSame(tree, other), "Foundation reads \(other)")
        return tree.kind
    }

    /// Numbers anywhere in the input, against the C library.
    private static func checkNumbers(_ bytes: [UInt8]) throws {
        var places: [Int] = []
        for i in bytes.indices where bytes[i] == 45 || (48...57).contains(bytes[i]) {
            if i == 0 || !(bytes[i - 1] == 45 || bytes[i - 1] == 46 || (48...57).contains(bytes[i - 1])) { places.append(i) }
        }
        for place in places.prefix(8) {
            try withBuffer(Array(bytes[place...])) { buffer in
                var scanner = JSONScanner(buffer)
                guard let (value, integer) = try? scanner.numberOrInteger() else { return }
                let text = String(decoding: buffer[..<scanner.position], as: UTF8.self)
                let expected = strtod(text, nil)
                try require(value.bitPattern == expected.bitPattern, "\(text) is read as \(value), and is \(expected)")
                try require(value.isFinite, "\(text) is read as \(value)")
                let whole = Int64(text)
                try require(
                    integer == whole,
                    "\(text) is read as the whole number \(String(describing: integer)), and is \(String(describing: whole))")
            }
        }
    }

    private static func isSame(_ tree: JSON, _ other: Any) -> Bool {
        switch tree {
        case .null: return other is NSNull
        case .bool(let value): return (other as? Bool) == value
        case .int(let value): return (other as? NSNumber)?.int64Value == value
        case .double(let value):
            guard let number = (other as? NSNumber)?.doubleValue else { return false }
            // It computes some numbers from their digits, one rounding after another, and long ones as decimals: that it is this number and
            // no other is what is asked here. `checkNumbers` is exact.
            return number == value || abs(number - value) <= abs(value) * 1e-9 || abs(value) < 1e-30 || abs(value) > 1e30
        case .string(let value):
            // It leaves out byte order marks, behind an escape too.
            return (other as? String).map { $0.utf8.elementsEqual(value.utf8) || value.unicodeScalars.contains("\u{feff}") } ?? false
        case .array(let items):
            guard let others = other as? [Any], others.count == items.count else { return false }
            return zip(items, others).allSatisfy { isSame($0, $1) }
        case .object(let members):
            guard let others = other as? [String: Any] else { return false }
            // There too, and keys that are written differently and mean the same text are one key in Swift's dictionaries.
            guard members.allSatisfy({ $0.key.utf8.allSatisfy { $0 < 0x80 } }) else { return true }
            guard others.count == members.count else { return false }
            return members.allSatisfy { member in others[member.key].map { isSame(member.value, $0) } ?? false }
        }
    }
}
