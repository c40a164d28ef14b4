import Contracts

/// Heads of POSIX tar archives (ustar): regular files, with a path and a size.
package enum Tar {
    package static let block = 512
    /// What follows the last file.
    static let end = [UInt8](repeating: 0, count: 2 * block)

    package struct Entry: Hashable {
        package let path: String
        package let bytes: Int64
        /// Zeros between the content and the next head.
        var padding: Int { Int((Int64(block) - bytes % Int64(block)) % Int64(block)) }
    }

    package static func head(_ entry: Entry) throws(KeelError) -> [UInt8] {
        var head = [UInt8](repeating: 0, count: block)
        func put(_ bytes: some Collection<UInt8>, at offset: Int) { head.replaceSubrange(offset..<(offset + bytes.count), with: bytes) }
        let (prefix, name) = try split(entry.path)
        put(name.utf8, at: 0)
        put(octal(0o600, digits: 7).utf8, at: 100)
        put(octal(0, digits: 7).utf8, at: 108)
        put(octal(0, digits: 7).utf8, at: 116)
        if entry.bytes < 1 << 33 {
            put(octal(entry.bytes, digits: 11).utf8, at: 124)
        } else {
            // Sizes beyond eleven octal digits are binary, marked by the first bit.
            put([0x80, 0, 0, 0] + withUnsafeBytes(of: entry.bytes.bigEndian) { Array($0) }, at: 124)
        }
        put(octal(0, digits: 11).utf8, at: 136)
        put("0".utf8, at: 156)
        put("ustar\u{0}00".utf8, at: 257)
        put(prefix.utf8, at: 345)
        put((octal(Int64(sum(head)), digits: 6) + "\u{0} ").utf8, at: 148)
        return head
    }

    /// Nil at the end of the archive.
    package static func entry(_ head: [UInt8]) throws(KeelError) -> Entry? {
        if head.allSatisfy({ $0 == 0 }) { return nil }
        guard let told = number(head[148..<156]), told == Int64(sum(head)), let size = number(head[124..<136]), size >= 0,
            head[156] == UInt8(ascii: "0")
        else { throw KeelError(.corrupted, "the archive is damaged", hint: "use another copy of the backup") }
        let prefix = text(head[345..<500])
        let name = text(head[0..<100])
        return Entry(path: prefix.isEmpty ? name : "\(prefix)/\(name)", bytes: size)
    }

    /// The path in the two fields that hold at most 155 and 100 bytes.
    private static func split(_ path: String) throws(KeelError) -> (prefix: Substring, name: Substring) {
        if path.utf8.count <= 100 { return ("", path[...]) }
        for slash in path.indices where path[slash] == "/" {
            let name = path[path.index(after: slash)...]
            if name.utf8.count <= 100, !name.isEmpty, path[..<slash].utf8.count <= 155 { return (path[..<slash], name) }
        }
        throw KeelError(.internal, "the name of the file '\(path)' is too long for an archive")
    }

    private static func octal(_ value: Int64, digits: Int) -> String {
        let text = String(value, radix: 8)
        return String(repeating: "0", count: digits - text.count) + text
    }

    private static func number(_ field: ArraySlice<UInt8>) -> Int64? {
        guard let first = field.first else { return nil }
        if first == 0x80 { return field.dropFirst(field.count - 8).reduce(0) { $0 << 8 | Int64($1) } }
        return Int64(text(field).trimmingCharacters(in: " "), radix: 8)
    }

    private static func text(_ field: ArraySlice<UInt8>) -> String { String(decoding: field.prefix { $0 != 0 }, as: UTF8.self) }

    /// The checksum, for which its own field counts as spaces.
    private static func sum(_ head: [UInt8]) -> Int {
        head.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 32 : Int($1.element)) }
    }
}

extension String {
    fileprivate func trimmingCharacters(in character: Character) -> String {
        String(drop { $0 == character }.reversed().drop { $0 == character }.reversed())
    }
}
