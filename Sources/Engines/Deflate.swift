import CZlib
import Contracts

/// zlib's compression of whole buffers, and its checksum: what PNG files are made of.
public enum Deflate {
    /// `bytes` as a zlib stream (RFC 1950).
    public static func zlib(_ bytes: [UInt8]) throws(KeelError) -> [UInt8] {
        var size = compressBound(UInt(bytes.count))
        var out = [UInt8](repeating: 0, count: Int(size))
        let status = compress2(&out, &size, bytes, UInt(bytes.count), 6)
        guard status == Z_OK else { throw KeelError(.internal, "zlib could not compress \(bytes.count) bytes (\(status))") }
        out.removeLast(out.count - Int(size))
        return out
    }

    /// The CRC-32 of `bytes`.
    public static func crc32(_ bytes: [UInt8]) -> UInt32 { UInt32(truncatingIfNeeded: CZlib.crc32(0, bytes, UInt32(bytes.count))) }
}
