import Contracts

/// A `$name` or `$name.field.field` in a text of `with`.
///
/// Names begin with a letter or `_`; `-` and `.` belong to them only between name characters, so `$from-$until` and `see $train.` read as
/// people mean them; `${name}` ends a name explicitly; `$$` is a plain `$`; a `$` before anything else is itself.
package struct Reference: Hashable, CustomStringConvertible {
    let root: String
    let fields: [String]

    package var description: String { "$" + ([root] + fields).joined(separator: ".") }

    package enum Piece: Hashable {
        case text(String)
        case reference(Reference)
    }

    package static func pieces(_ text: String) -> [Piece] {
        let bytes = Array(text.utf8)
        var (out, plain, i) = ([Piece](), [UInt8](), 0)
        while i < bytes.count {
            guard bytes[i] == UInt8(ascii: "$"), i + 1 < bytes.count else {
                plain.append(bytes[i])
                i += 1
                continue
            }
            if bytes[i + 1] == UInt8(ascii: "$") {
                plain.append(bytes[i])
                i += 2
                continue
            }
            let braced = bytes[i + 1] == UInt8(ascii: "{")
            let start = i + (braced ? 2 : 1)
            let end = nameEnd(bytes, from: start)
            guard end > start, !braced || (end < bytes.count && bytes[end] == UInt8(ascii: "}")) else {
                plain.append(bytes[i])
                i += 1
                continue
            }
            if !plain.isEmpty { out.append(.text(String(decoding: plain, as: UTF8.self))) }
            plain = []
            let parts = String(decoding: bytes[start..<end], as: UTF8.self).split(separator: ".").map(String.init)
            out.append(.reference(Reference(root: parts[0], fields: Array(parts.dropFirst()))))
            i = end + (braced ? 1 : 0)
        }
        if !plain.isEmpty { out.append(.text(String(decoding: plain, as: UTF8.self))) }
        return out
    }

    private static func nameEnd(_ bytes: [UInt8], from start: Int) -> Int {
        func letter(_ i: Int) -> Bool {
            i < bytes.count && ((bytes[i] | 32 >= 97 && bytes[i] | 32 <= 122) || bytes[i] == UInt8(ascii: "_"))
        }
        func inner(_ i: Int) -> Bool { letter(i) || (i < bytes.count && bytes[i] >= 48 && bytes[i] <= 57) }
        guard letter(start) else { return start }
        var i = start + 1
        while inner(i) || (i < bytes.count && (bytes[i] == UInt8(ascii: "-") || bytes[i] == UInt8(ascii: ".")) && inner(i + 1)) { i += 1 }
        return i
    }

    /// Calls `body` for every reference in a tree, with its place; `literal` are top-level fields to leave out.
    package static func visit(
        _ json: JSON, at path: String, skipping literal: Set<String> = [], _ body: (Reference, String) throws(KeelError) -> Void
    ) throws(KeelError) {
        switch json {
        case .string(let text):
            for case .reference(let reference) in pieces(text) { try body(reference, path) }
        case .array(let items):
            for (i, item) in items.enumerated() { try visit(item, at: "\(path)[\(i)]", body) }
        case .object(let members):
            for member in members where !literal.contains(member.key) { try visit(member.value, at: "\(path).\(member.key)", body) }
        default: break
        }
    }

    /// The tree with references replaced by what `value` gives; those it gives nil for stay as they are written.
    package static func resolve(_ json: JSON, skipping literal: Set<String> = [], _ value: (Reference) throws(KeelError) -> JSON?) throws(KeelError)
        -> JSON
    {
        switch json {
        case .string(let text):
            let pieces = pieces(text)
            if pieces.count == 1, case .reference(let reference) = pieces[0] { return try value(reference) ?? json }
            var (out, whole) = ("", true)
            for piece in pieces {
                switch piece {
                case .text(let text): out += text
                case .reference(let reference):
                    if let found = try value(reference) { out += found.string ?? found.text } else { whole = false }
                }
            }
            // A text that still waits for a step is kept as written: its `$$` must be read only once.
            return whole ? .string(out) : json
        case .array(let items):
            var out: [JSON] = []
            for item in items { out.append(try resolve(item, value)) }
            return .array(out)
        case .object(let members):
            var out: [JSON.Member] = []
            for member in members {
                out.append(JSON.Member(member.key, literal.contains(member.key) ? member.value : try resolve(member.value, value)))
            }
            return .object(out)
        default: return json
        }
    }

    /// - Parameter seen: the reference up to the field.
    static func unknown(_ field: String, of seen: String, known: [String]) -> KeelError {
        .invalid(
            "\(seen) has no output '\(field)'",
            hint: nearest(field, in: known).map { "did you mean '\($0)'?" } ?? "its outputs: \(known.joined(separator: ", "))")
    }

    /// What a reference's fields pick out of a value.
    func pick(from value: JSON) throws(KeelError) -> JSON {
        var (value, seen) = (value, "$" + root)
        for field in fields {
            if let next = Int(field).flatMap({ value[$0] }) ?? value[field] {
                value = next
            } else {
                let known = value.members?.map(\.key) ?? []
                throw known.isEmpty
                    ? .invalid("\(seen) has no output '\(field)'", hint: "\(seen) is \(value.kind)")
                    : Reference.unknown(field, of: seen, known: known)
            }
            seen += "." + field
        }
        return value
    }
}
