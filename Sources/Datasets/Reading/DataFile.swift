import Contracts
import Engines

/// A data file, unpacked when it is gzip or zip and turned into UTF-8 when it is UTF-16 (told by its first bytes, not its name).
struct DataFile {
    /// What it holds, by the name without `.gz` and `.zip`; nil when the name does not say.
    let format: DatasetSpec.Format?
    let window: ByteWindow
    let packed: Bool
    /// Bytes on disk, for progress.
    let size: Int

    /// How other packed files begin, and what unpacks them.
    private static let foreign: [(name: String, head: [UInt8], command: String)] = [
        ("zstd", [0x28, 0xb5, 0x2f, 0xfd], "zstd -d"), ("xz", [0xfd, 0x37, 0x7a, 0x58], "xz -d"), ("bzip2", Array("BZh".utf8), "bzip2 -d"),
        ("7-Zip", [0x37, 0x7a, 0xbc, 0xaf], "7z x"),
    ]

    /// - Parameters:
    ///   - path: where the file lies.
    ///   - member: which file of a zip archive, when it holds several.
    ///   - name: what its sender calls it: its ending tells the format, and errors call it so.
    init(path: String, member: String?, name: String, limits: Inflate.Limits = Inflate.Limits()) throws(KeelError) {
        let input = try InputFile(path: path, name: name)
        size = input.size
        let head = try input.beginning(4)
        var position = 0
        let plain = { (buffer: UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int in
            let count = try input.read(into: buffer, at: position)
            position += count
            return count
        }
        if let foreign = DataFile.foreign.first(where: { head.starts(with: $0.head) }) {
            throw .invalid(
                "'\(name)' is packed with \(foreign.name), which is not read",
                hint: "unpack it first (\(foreign.command) \(name)), or pack it with gzip")
        }
        if head.starts(with: [0x50, 0x4b, 0x03, 0x04]) || head.starts(with: [0x50, 0x4b, 0x05, 0x06]) {
            let archive = try ZipArchive(path: path, name: name)
            let chosen = try DataFile.choose(archive, member, name)
            format = DataFile.format(named: chosen.name)
            window = try DataFile.text(try archive.open(chosen, limits: limits), chosen.name)
            packed = true
            return
        }
        guard member == nil else { throw .invalid("'\(name)' is not a zip archive", hint: "give its name without '#'") }
        if head.starts(with: [0x1f, 0x8b]) {
            let inflate = try Inflate(.gzip, name: name, limits: limits, refill: plain)
            format = DataFile.format(named: name.hasSuffix(".gz") ? String(name.dropLast(3)) : name)
            window = try DataFile.text({ (buffer) throws(KeelError) in try inflate.read(into: buffer) }, name)
            packed = true
        } else if head == Array("PAR1".utf8) {
            format = .parquet
            window = ByteWindow(plain)
            packed = false
        } else {
            format = DataFile.format(named: name)
            window = try DataFile.text(plain, name)
            packed = false
        }
    }

    /// A window on text, as UTF-8.
    private static func text(_ source: @escaping ByteWindow.Refill, _ name: String) throws(KeelError) -> ByteWindow {
        let window = ByteWindow(source)
        while window.bytes.count < 4, try window.more() {}
        let head = Array(window.bytes.prefix(4))
        guard head.count >= 2 else { return window }
        let mark = [head[0], head[1]]
        if mark == [0xff, 0xfe] || mark == [0xfe, 0xff], head.count < 4 || [head[2], head[3]] != [0, 0] {
            window.consume(2)
            return ByteWindow(UTF16Source(window, littleEndian: mark == [0xff, 0xfe], name: name).read)
        }
        guard !head.contains(0) else {
            throw .invalid("'\(name)' is not UTF-8: it may be UTF-16 without a byte order mark, or no text", hint: "save it as UTF-8")
        }
        return window
    }

    /// The member of this name, or the only file. What macOS adds and hidden files do not count.
    private static func choose(_ archive: ZipArchive, _ wanted: String?, _ name: String) throws(KeelError) -> ZipArchive.Member {
        let members = archive.members.filter { member in
            let parts = member.name.split(separator: "/")
            return parts.first != "__MACOSX" && parts.allSatisfy { !$0.hasPrefix(".") }
        }
        let names = members.map(\.name)
        let list = names.prefix(10).joined(separator: ", ") + (names.count > 10 ? ", …" : "")
        if let wanted {
            if let member = archive.members.first(where: { $0.name == wanted }) { return member }
            throw .notFound(
                "'\(name)' holds no '\(wanted)'", hint: nearest(wanted, in: names).map { "did you mean '\($0)'?" } ?? "it holds \(list)")
        }
        if members.count == 1 { return members[0] }
        guard !names.isEmpty else { throw .invalid("'\(name)' holds no file") }
        throw .invalid("'\(name)' holds \(names.count) files: \(list)", hint: "name one, as in '\(name)#\(names[0])'")
    }

    private static func format(named name: String) -> DatasetSpec.Format? {
        let lower = name.lowercased()
        if lower.hasSuffix(".csv") || lower.hasSuffix(".tsv") || lower.hasSuffix(".txt") { return .csv }
        if lower.hasSuffix(".jsonl") || lower.hasSuffix(".ndjson") || lower.hasSuffix(".json") { return .jsonl }
        return lower.hasSuffix(".parquet") ? .parquet : nil
    }
}

/// Turns a stream of UTF-16 into UTF-8.
private final class UTF16Source {
    private let window: ByteWindow
    private let littleEndian: Bool
    private let name: String
    private var ready: [UInt8] = []
    private var taken = 0

    init(_ window: ByteWindow, littleEndian: Bool, name: String) {
        self.window = window
        self.littleEndian = littleEndian
        self.name = name
    }

    /// Fills the buffer; returns how many bytes, 0 at the end.
    func read(_ buffer: UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int {
        if taken == ready.count { try decode() }
        let count = min(buffer.count, ready.count - taken)
        _ = buffer.update(fromContentsOf: ready[taken..<taken + count])
        taken += count
        return count
    }

    private func decode() throws(KeelError) {
        ready.removeAll(keepingCapacity: true)
        taken = 0
        while ready.isEmpty {
            // A pair of surrogates is four bytes.
            while window.bytes.count < 4, try window.more() {}
            let bytes = window.bytes.prefix(1 << 16)
            var i = 0
            while i + 1 < bytes.count {
                let unit = unit(bytes, i)
                var scalar = Unicode.Scalar(UInt32(unit))
                var length = 2
                if scalar == nil {
                    guard i + 3 < bytes.count else { break }
                    let low = self.unit(bytes, i + 2)
                    guard UTF16.isLeadSurrogate(unit), UTF16.isTrailSurrogate(low) else { throw damaged() }
                    scalar = Unicode.Scalar(0x10000 + (UInt32(unit) - 0xd800) << 10 + (UInt32(low) - 0xdc00))
                    length = 4
                }
                if let scalar { ready.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter) }
                i += length
            }
            window.consume(i)
            if ready.isEmpty, window.atEnd {
                guard window.bytes.isEmpty else { throw damaged() }
                return
            }
        }
    }

    private func unit(_ bytes: Slice<UnsafeBufferPointer<UInt8>>, _ i: Int) -> UInt16 {
        littleEndian ? UInt16(bytes[i]) | UInt16(bytes[i + 1]) << 8 : UInt16(bytes[i]) << 8 | UInt16(bytes[i + 1])
    }

    private func damaged() -> KeelError { .invalid("'\(name)' is not valid UTF-16", hint: "save it as UTF-8") }
}
