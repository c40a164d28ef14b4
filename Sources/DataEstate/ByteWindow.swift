import Contracts
import Engines

/// A moving view of a stream of bytes: what is not yet consumed lies together in memory, and more is read on demand.
final class ByteWindow {
    private let refill: (UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int
    private var buffer: UnsafeMutableBufferPointer<UInt8>
    private(set) var start = 0
    private(set) var end = 0
    private(set) var atEnd = false
    /// How many bytes were consumed.
    private(set) var consumed = 0

    init(capacity: Int = 1 << 20, _ refill: @escaping (UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int) {
        self.refill = refill
        buffer = .allocate(capacity: capacity)
    }

    deinit { buffer.deallocate() }

    /// The bytes that are there; valid until the next `more` or `consume`.
    var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(rebasing: buffer[start..<end]) }

    func consume(_ count: Int) {
        start += count
        consumed += count
    }

    /// Reads more behind what is there; false at the end of the stream.
    func more() throws(KeelError) -> Bool {
        guard !atEnd else { return false }
        if start > 0 {
            if end > start, let base = buffer.baseAddress { base.update(from: base + start, count: end - start) }
            (start, end) = (0, end - start)
        }
        if end == buffer.count {
            let wider = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: buffer.count * 2)
            _ = wider.update(fromContentsOf: buffer)
            buffer.deallocate()
            buffer = wider
        }
        let count = try refill(UnsafeMutableBufferPointer(rebasing: buffer[end...]))
        guard count > 0 else {
            atEnd = true
            return false
        }
        end += count
        return true
    }

    /// Skips a byte order mark.
    func skipMark() throws(KeelError) {
        while end - start < 3, try more() {}
        if end - start >= 3, buffer[start] == 0xef, buffer[start + 1] == 0xbb, buffer[start + 2] == 0xbf { consume(3) }
    }
}

/// A data file, unpacked when it is gzip or zip (told by its first bytes, not its name).
struct DataFile {
    /// What it holds, by the name without `.gz` and `.zip`; nil when the name does not say.
    let format: DatasetSpec.Format?
    let window: ByteWindow
    let packed: Bool
    /// Bytes on disk, for progress.
    let size: Int

    /// - Parameter path: a file, or `archive.zip#member`.
    init(path: String, limits: Inflate.Limits = Inflate.Limits()) throws(KeelError) {
        var (file, member) = (path, String?.none)
        if let mark = path.lastIndex(of: "#"), path[..<mark].hasSuffix(".zip") {
            (file, member) = (String(path[..<mark]), String(path[path.index(after: mark)...]))
        }
        let input = try InputFile(path: file)
        size = input.size
        let head: [UInt8] = try DataFile.head(input)
        var position = 0
        let plain = { (buffer: UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int in
            let count = try input.read(into: buffer, at: position)
            position += count
            return count
        }
        if head.starts(with: [0x50, 0x4b, 0x03, 0x04]) || head.starts(with: [0x50, 0x4b, 0x05, 0x06]) || member != nil {
            let archive = try ZipArchive(path: file)
            let chosen = try DataFile.choose(archive, member)
            format = DataFile.format(named: chosen.name)
            window = ByteWindow(try archive.open(chosen, limits: limits))
            packed = true
        } else if head.starts(with: [0x1f, 0x8b]) {
            let inflate = try Inflate(.gzip, name: file, limits: limits, refill: plain)
            format = DataFile.format(named: file.hasSuffix(".gz") ? String(file.dropLast(3)) : file)
            window = ByteWindow { (buffer) throws(KeelError) in try inflate.read(into: buffer) }
            packed = true
        } else {
            format = head.starts(with: Array("PAR1".utf8)) ? .parquet : DataFile.format(named: file)
            window = ByteWindow(plain)
            packed = false
        }
    }

    private static func head(_ input: InputFile) throws(KeelError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 4)
        let result: Result<Int, KeelError> = bytes.withUnsafeMutableBufferPointer { buffer in
            do throws(KeelError) { return .success(try input.read(into: buffer, at: 0)) } catch { return .failure(error) }
        }
        return Array(bytes.prefix(try result.get()))
    }

    private static func choose(_ archive: ZipArchive, _ name: String?) throws(KeelError) -> ZipArchive.Member {
        let names = archive.members.map(\.name)
        if let name {
            if let member = archive.members.first(where: { $0.name == name }) { return member }
            throw .notFound(
                "\(archive.path) holds no '\(name)'",
                hint: nearest(name, in: names).map { "did you mean '\($0)'?" } ?? "it holds \(names.prefix(10).joined(separator: ", "))")
        }
        if archive.members.count == 1 { return archive.members[0] }
        guard !names.isEmpty else { throw .invalid("\(archive.path) is empty") }
        throw .invalid(
            "\(archive.path) holds \(names.count) files: \(names.prefix(10).joined(separator: ", "))",
            hint: "name one, as in '\(archive.path)#\(names[0])'")
    }

    private static func format(named name: String) -> DatasetSpec.Format? {
        let lower = name.lowercased()
        if lower.hasSuffix(".csv") || lower.hasSuffix(".tsv") || lower.hasSuffix(".txt") { return .csv }
        if lower.hasSuffix(".jsonl") || lower.hasSuffix(".ndjson") || lower.hasSuffix(".json") { return .jsonl }
        return lower.hasSuffix(".parquet") ? .parquet : nil
    }
}
