import Contracts
import Datasets
import Engines
import Foundation
import Serving
import Storage
import Workers

extension FuzzTarget {
    /// What Keel writes in binary and reads back: rows and batches of the prediction log, tables of a stream, heads of a backup's archive.
    static let records = FuzzTarget(name: "records", inputs: 187_500) { bytes in
        var words: [String] = []
        var refusal: (any Error)?
        for (name, check) in [("row", checkRow), ("batch", checkBatch), ("table", checkTable), ("tar", checkTar)] {
            do {
                try check(bytes)
                words.append(name)
            } catch let fault as FuzzFault { throw fault } catch { refusal = error }
        }
        if words.isEmpty, let refusal { throw refusal }
        return words.joined(separator: " ")
    }

    private static func checkRow(_ bytes: [UInt8]) throws {
        // NaN is packed as null, so the second time nothing changes any more.
        let packed = PackedRow(try PackedRow(bytes: bytes).values())
        try require(PackedRow(try packed.values()) == packed, "a packed row is another one when it is read and packed again")
    }

    private static func checkBatch(_ bytes: [UInt8]) throws {
        let record = try withRaw(bytes) { try LoggedBatch(journalRecord: $0) }.journalRecord
        let again = try withRaw(record) { try LoggedBatch(journalRecord: $0) }.journalRecord
        // A name that says its environment twice, as none does, gets shorter.
        try require(again == record || again.count < record.count, "a batch is another one when it is read and written again")
    }

    private static func checkTable(_ bytes: [UInt8]) throws {
        let table = try withRaw(bytes) { try TableCodec.decode($0) }
        try require(table.columns.allSatisfy { $0.count == table.rowCount }, "its columns differ in length")
        for i in 0..<min(table.rowCount, 20) { _ = table.row(i) }
        let encoded = try TableCodec.encode(table)
        try require(
            try TableCodec.encode(try withRaw(encoded) { try TableCodec.decode($0) }) == encoded,
            "a table is another one when it is written again")
    }

    private static func checkTar(_ bytes: [UInt8]) throws {
        guard bytes.count >= Tar.block, let entry = try Tar.entry(Array(bytes.prefix(Tar.block))) else { throw FuzzRefusal() }
        try require(entry.bytes >= 0, "a file has \(entry.bytes) bytes")
        guard let head = try? Tar.head(entry) else { return }
        let again = try Tar.entry(head)
        try require(again == entry, "a head is another one when it is written again: \(entry) became \(String(describing: again))")
    }

    /// Segments of the logs on disk: every byte is a record or reported as lost, and offsets never fall.
    static let segments = FuzzTarget(
        name: "segments", inputs: 400_000, words: ["KLK2"],
        repair: { bytes in
            // Heads with the checksums of what they say now.
            var out: [UInt8] = []
            var at = 0
            while at < bytes.count {
                guard bytes[at...].starts(with: Array("KLK2".utf8)), bytes.count - at >= 24 else {
                    out.append(bytes[at])
                    at += 1
                    continue
                }
                let length = min(Int(bytes[at + 4]) | Int(bytes[at + 5]) << 8, bytes.count - at - 24)
                let offset = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[at + 8 + $1]) << UInt64(8 * $1) }
                LogSegment.append(Array(bytes[(at + 24)..<(at + 24 + length)]), at: offset, to: &out)
                at += 24 + length
            }
            return out
        }
    ) { bytes in
        var word = ""
        for start in [UInt64(0), 1 << 40] {
            try withRaw(bytes) { raw in
                var offset = start
                var count = 0
                let end = try LogSegment.scan(raw, start: start, from: 0) { finding in
                    switch finding {
                    case .record(let body, let at, let next):
                        try require(
                            at >= offset && next > at && body.count <= bytes.count, "a record at \(at) follows the offset \(offset)")
                        offset = next
                        count += 1
                    case .lost(let bytes, let offsets):
                        try require(
                            bytes.upperBound <= raw.count && offsets.lowerBound >= offset && !(bytes.isEmpty && offsets.isEmpty),
                            "what is lost overlaps: \(offsets)")
                        offset = offsets.upperBound
                    }
                }
                try require(end.offset >= offset && end.valid <= bytes.count, "it ends at \(end.offset), before \(offset)")
                word += "\(min(count, 5)) \(end.isTorn) \(end.isDamaged) "
            }
        }
        return word
    }

    /// What a worker sends: frames on a socket, and tables in them.
    static let frames = FuzzTarget(
        name: "frames", inputs: 225_000,
        words: [
            "KLW1", "\"rows\":", "\"columns\":[", "\"name\":\"a\"", "\"type\":\"float64\"", "\"list<string>\"", "\"tensor<float32, 2x-1>\"",
            "\"buffers\":[0,8]", "\"bool\"", "\"timestamp\"",
        ]
    ) { bytes in
        let (near, far) = try Descriptor.socketPair()
        let descriptor = try far.number()
        let sent = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, min($0.count, 64 << 10), Int32(MSG_DONTWAIT | MSG_NOSIGNAL)) }
        far.close()
        let channel = try FrameChannel(near)
        let message: FrameChannel.Message
        do throws(FrameChannel.Fault) {
            message = try channel.receive(bodyBytesMax: 1 << 20, until: .now.advanced(by: .seconds(5)))
        } catch {
            try require(error != .late, "the end of the socket was not seen after \(sent) bytes")
            throw error
        }
        let table = try TableFrame.decode(message.header, message.body)
        // A worker may send what is infinite; whole it must be.
        for i in 0..<min(table.rowCount, 20) { _ = table.row(i) }
        var body: [UInt8] = []
        let layout = TableFrame.encode(table, to: &body)
        let again = try TableFrame.decode(layout, body)
        try Tables.requireSame(table, again, "as a frame")
        return table.columns.prefix(3).map { "\($0.type)" }.joined(separator: " ")
    }

    /// Zip archives, and what gzip and zlib have packed.
    static let archives = FuzzTarget(
        name: "archives", inputs: 15_000, words: ["PK\u{1}\u{2}", "PK\u{3}\u{4}", "PK\u{5}\u{6}", "PK\u{6}\u{6}", "PK\u{6}\u{7}"]
    ) { bytes in
        let bytesMax = 64 << 10
        var word = ""
        for format in [Inflate.Format.gzip, .zlib] {
            guard let out = try? withRaw(bytes, { try HTTPCompression.inflate($0, format, upTo: bytesMax) { _ in } }) else { continue }
            try require(out.count <= bytesMax, "\(out.count) bytes came out")
            let packed = try HTTPCompression.gzip(out)
            try require(
                try withRaw(packed) { try HTTPCompression.inflate($0, .gzip, upTo: bytesMax) { _ in } } == out,
                "what was packed again is something else")
            word += "\(format) "
        }
        return try withFile(bytes) { path in
            let archive: ZipArchive
            do { archive = try ZipArchive(path: path, name: "the archive") } catch { if word.isEmpty { throw error } else { return word } }
            let limits = Inflate.Limits(outputBytesMax: bytesMax)
            let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 4096)
            defer { buffer.deallocate() }
            for member in archive.members.prefix(20) {
                do throws(KeelError) {
                    let read = try archive.open(member, limits: limits)
                    var total = 0
                    while true {
                        let count = try read(buffer)
                        total += count
                        if count == 0 || total > bytesMax { break }
                    }
                    word += total == member.size ? "read " : "long "
                } catch { word += error.message.hasSuffix("'") ? "" : "\(error.code) " }
            }
            return word + "\(min(archive.members.count, 4))"
        }
    }

    /// Parquet's footers.
    static let parquetFooter = FuzzTarget(
        name: "parquet-footer", inputs: 7_500,
        repair: { bytes in
            // A footer is what the file's last eight bytes say; the file begins with the same four.
            let footer = bytes.dropFirst(min(4, bytes.count)).dropLast(min(8, max(0, bytes.count - 4)))
            return Array("PAR1".utf8) + footer + withUnsafeBytes(of: UInt32(footer.count).littleEndian) { Array($0) } + Array("PAR1".utf8)
        }
    ) { bytes in
        try withFile(bytes) { try ParquetFooter.check(path: $0, name: "the file") }
        return "whole"
    }

    private static func withFile<T>(_ bytes: [UInt8], _ body: (String) throws -> T) throws -> T {
        let path = NSTemporaryDirectory() + "keel-fuzz-input-\(getpid())"
        let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FuzzFault("cannot write \(path)") }
        defer { close(descriptor) }
        _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        return try body(path)
    }
}

/// What a target itself passes over.
struct FuzzRefusal: Error {}
