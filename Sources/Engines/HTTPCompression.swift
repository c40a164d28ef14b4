import CZlib
import Contracts

/// The compression of HTTP bodies that are in memory as a whole (RFC 9110, 8.4.1).
public enum HTTPCompression {
    /// What comes out between two looks at how much it is.
    private static let pieceBytes = 64 << 10

    /// `bytes` in gzip's format. Level 1: a client that waits for an answer would rather have it soon than small.
    public static func gzip(_ bytes: [UInt8]) throws(KeelError) -> [UInt8] {
        var stream = z_stream()
        guard keel_deflate_init(&stream, 1, 31) == Z_OK else { throw KeelError(.internal, "zlib could not start") }
        defer { deflateEnd(&stream) }
        let outMax = Int(deflateBound(&stream, UInt(bytes.count)))
        guard outMax < Int(UInt32.max) else { throw KeelError(.payloadTooLarge, "\(bytes.count) bytes are too many to be compressed at once") }
        // Deflate only reads what `next_in` points to.
        var input = bytes
        let out = input.withUnsafeMutableBufferPointer { input in
            [UInt8](unsafeUninitializedCapacity: outMax) { out, count in
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = out.baseAddress
                stream.avail_out = UInt32(outMax)
                count = deflate(&stream, Z_FINISH) == Z_STREAM_END ? outMax - Int(stream.avail_out) : 0
            }
        }
        guard !out.isEmpty else { throw KeelError(.internal, "zlib could not compress \(bytes.count) bytes") }
        return out
    }

    /// What a compressed body holds.
    ///
    /// - Parameters:
    ///   - format: `gzip`, or `zlib` for what HTTP calls deflate.
    ///   - bytesMax: of what may come out.
    ///   - take: called before each piece is kept, with the number of its bytes: it takes the memory for them, or throws.
    /// - Throws: `payloadTooLarge` beyond `bytesMax`, `invalidArgument` for what is not whole or not compressed, and what `take` throws.
    public static func inflate(
        _ bytes: UnsafeRawBufferPointer, _ format: Inflate.Format, upTo bytesMax: Int, take: (Int) throws(KeelError) -> Void
    ) throws(KeelError) -> [UInt8] {
        var rest = bytes
        let stream = try Inflate(format, name: "the body", limits: Inflate.Limits(outputBytesMax: .max, ratioMax: .max)) { target throws(KeelError) in
            let count = min(target.count, rest.count)
            UnsafeMutableRawBufferPointer(target).copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            return count
        }
        var out: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: pieceBytes)
        while true {
            let count = try read(stream, into: &piece)
            guard count > 0 else { return out }
            guard out.count + count <= bytesMax else {
                throw KeelError(.payloadTooLarge, "the body inflates to more than \(bytesMax) bytes", hint: "send less at once")
            }
            try take(count)
            out.append(contentsOf: piece[..<count])
        }
    }

    private static func read(_ stream: Inflate, into piece: inout [UInt8]) throws(KeelError) -> Int {
        let read: Result<Int, KeelError> = piece.withUnsafeMutableBufferPointer { target in
            do throws(KeelError) { return .success(try stream.read(into: target)) } catch { return .failure(error) }
        }
        do throws(KeelError) { return try read.get() } catch {
            guard error.code == .corrupted else { throw error }
            throw .invalid(error.message, hint: "it is not what its Content-Encoding says")
        }
    }
}
