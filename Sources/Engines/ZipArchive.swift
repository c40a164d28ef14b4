import CZlib
import Contracts
import Glibc

/// Reads the members of a zip archive (stored or deflated, zip64 too). Encrypted members are refused.
public struct ZipArchive: Sendable {
    public struct Member: Sendable, Hashable {
        public let name: String
        public let size: Int
        let compressedSize: Int
        let method: UInt16
        let checksum: UInt32
        let headerOffset: Int
    }

    private let path: String
    /// What errors call it.
    public let name: String
    /// The files in it, without folders.
    public let members: [Member]
    private static let directoryBytesMax = 4 << 20

    /// Reads the central directory.
    /// - Throws: `corrupted` when it is not whole; `notFound` when there is no such file.
    public init(path: String, name: String) throws(KeelError) {
        self.path = path
        self.name = name
        let file = try InputFile(path: path, name: name)
        members = try ZipArchive.directory(of: file, name)
    }

    /// A stream of the member's bytes: fills the buffer, returns how many, 0 at the end. Size and checksum are verified at the end.
    public func open(
        _ member: Member, limits: Inflate.Limits = Inflate.Limits()
    ) throws(KeelError) -> (UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int {
        let file = try InputFile(path: path, name: name)
        let header = try file.bytes(at: member.headerOffset, count: 30)
        guard header.u32(0) == 0x0403_4b50 else { throw ZipArchive.damaged(name) }
        var position = member.headerOffset + 30 + Int(header.u16(26)) + Int(header.u16(28))
        let end = position + member.compressedSize
        guard end <= file.size else { throw ZipArchive.damaged(name) }
        let name = "'\(member.name)' in \(name)"
        let raw = { (buffer: UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int in
            let count = try file.read(into: buffer, at: position, max: end - position)
            position += count
            return count
        }
        let source: (UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int
        switch member.method {
        case 0: source = raw
        case 8:
            let inflate = try Inflate(.raw, name: name, limits: limits, refill: raw)
            source = { (buffer) throws(KeelError) in try inflate.read(into: buffer) }
        default: throw .invalid("\(name) is packed with method \(member.method)", hint: "pack it again with ordinary deflate")
        }
        var sum = crc32(0, nil, 0)
        var total = 0
        return { (buffer) throws(KeelError) in
            let count = try source(buffer)
            sum = crc32(sum, buffer.baseAddress, UInt32(count))
            total += count
            guard total <= member.size, count > 0 || (total == member.size && UInt32(truncatingIfNeeded: sum) == member.checksum) else {
                throw KeelError(
                    .corrupted, "\(name) is damaged: its size or checksum is not what the archive says",
                    hint: "copy or download the file again")
            }
            return count
        }
    }

    private static func damaged(_ path: String) -> KeelError {
        KeelError(.corrupted, "\(path) is not a whole zip archive", hint: "it may be truncated: copy or download the file again")
    }

    private static func directory(of file: InputFile, _ path: String) throws(KeelError) -> [Member] {
        // The end record stands within the last 64 KiB + 22 bytes.
        let tailStart = max(0, file.size - 65_557)
        let tail = try file.bytes(at: tailStart, count: file.size - tailStart)
        guard let end = stride(from: tail.count - 22, through: 0, by: -1).first(where: { tail.u32($0) == 0x0605_4b50 }) else {
            throw damaged(path)
        }
        var (count, size, offset) = (Int(tail.u16(end + 10)), Int(tail.u32(end + 12)), Int(tail.u32(end + 16)))
        if end >= 20, tail.u32(end - 20) == 0x0706_4b50 {
            let record = try file.bytes(at: try checked(tail.u64(end - 12), path), count: 56)
            guard record.u32(0) == 0x0606_4b50 else { throw damaged(path) }
            (count, size, offset) = (
                try checked(record.u64(32), path), try checked(record.u64(40), path), try checked(record.u64(48), path)
            )
        }
        guard size <= directoryBytesMax, offset <= file.size, size <= file.size - offset else { throw damaged(path) }
        let directory = try file.bytes(at: offset, count: size)
        var members: [Member] = []
        var at = 0
        for _ in 0..<count {
            guard at + 46 <= directory.count, directory.u32(at) == 0x0201_4b50 else { throw damaged(path) }
            let (nameLength, extraLength, commentLength) = (
                Int(directory.u16(at + 28)), Int(directory.u16(at + 30)), Int(directory.u16(at + 32))
            )
            let next = at + 46 + nameLength + extraLength + commentLength
            guard next <= directory.count else { throw damaged(path) }
            let name = String(decoding: directory[(at + 46)..<(at + 46 + nameLength)], as: UTF8.self)
            guard directory.u16(at + 8) & 1 == 0 else { throw .invalid("'\(name)' in \(path) is encrypted", hint: "unpack it first") }
            var wide = [directory.u32(at + 24), directory.u32(at + 20), directory.u32(at + 42)].map { UInt64($0) }
            try readZip64(directory, at + 46 + nameLength, extraLength, &wide, path)
            let member = Member(
                name: name, size: try checked(wide[0], path), compressedSize: try checked(wide[1], path), method: directory.u16(at + 10),
                checksum: directory.u32(at + 16), headerOffset: try checked(wide[2], path))
            guard member.headerOffset <= file.size, member.compressedSize <= file.size else { throw damaged(path) }
            if !name.hasSuffix("/") { members.append(member) }
            at = next
        }
        return members
    }

    /// Sizes and the offset that do not fit in 32 bits stand in an extra field, in this order, only those that do not fit.
    private static func readZip64(_ bytes: [UInt8], _ start: Int, _ length: Int, _ values: inout [UInt64], _ path: String) throws(KeelError)
    {
        var at = start
        while at + 4 <= start + length {
            let size = Int(bytes.u16(at + 2))
            guard at + 4 + size <= start + length else { throw damaged(path) }
            if bytes.u16(at) == 1 {
                var field = at + 4
                for i in values.indices where values[i] == 0xffff_ffff {
                    guard field + 8 <= at + 4 + size else { throw damaged(path) }
                    values[i] = bytes.u64(field)
                    field += 8
                }
            }
            at += 4 + size
        }
    }

    private static func checked(_ value: UInt64, _ path: String) throws(KeelError) -> Int {
        guard value < 1 << 50 else { throw damaged(path) }
        return Int(value)
    }
}

/// A file read at positions; closed with its last reference.
public final class InputFile {
    private let name: String
    public let size: Int
    private let descriptor: Int32

    /// - Parameter name: what errors call it.
    public init(path: String, name: String) throws(KeelError) {
        descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        self.name = name
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            if descriptor >= 0 { close(descriptor) }
            throw .notFound("there is no readable file '\(name)'")
        }
        size = Int(status.st_size)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Fills `buffer` with at most `max` bytes from `position`; returns how many, 0 at the end.
    public func read(into buffer: UnsafeMutableBufferPointer<UInt8>, at position: Int, max: Int = .max) throws(KeelError) -> Int {
        while true {
            let count = pread(descriptor, buffer.baseAddress, min(buffer.count, max), off_t(position))
            if count >= 0 { return count }
            guard errno == EINTR else { throw KeelError(.internal, "could not read '\(name)': \(String(cString: strerror(errno)))") }
        }
    }

    func bytes(at position: Int, count: Int) throws(KeelError) -> [UInt8] {
        guard position >= 0, count >= 0, position <= size, count <= size - position else {
            throw KeelError(.corrupted, "\(name) is truncated", hint: "copy or download the file again")
        }
        var out = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let result: Result<Int, KeelError> = out.withUnsafeMutableBufferPointer { buffer in
                do throws(KeelError) {
                    return .success(try read(into: UnsafeMutableBufferPointer(rebasing: buffer[filled...]), at: position + filled))
                } catch { return .failure(error) }
            }
            let got = try result.get()
            guard got > 0 else { throw KeelError(.corrupted, "\(name) is truncated") }
            filled += got
        }
        return out
    }

    /// The first bytes, at most `count`.
    public func beginning(_ count: Int) throws(KeelError) -> [UInt8] { try bytes(at: 0, count: min(count, size)) }

    /// The digest of the whole content.
    public func digest() throws(KeelError) -> Digest {
        var hasher = Digest.Hasher()
        var position = 0
        let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 1 << 20)
        defer { buffer.deallocate() }
        while true {
            let count = try read(into: buffer, at: position)
            guard count > 0 else { return hasher.finish() }
            hasher.update(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]))
            position += count
        }
    }
}

extension [UInt8] {
    fileprivate func u16(_ i: Int) -> UInt16 { UInt16(self[i]) | UInt16(self[i + 1]) << 8 }
    fileprivate func u32(_ i: Int) -> UInt32 { UInt32(u16(i)) | UInt32(u16(i + 2)) << 16 }
    fileprivate func u64(_ i: Int) -> UInt64 { UInt64(u32(i)) | UInt64(u32(i + 4)) << 32 }
}
