import CZlib
import Contracts

/// Undoes deflate as a stream, with limits on what may come out of it: a few kilobytes of hostile input must not become terabytes.
///
/// Use it from one thread at a time.
public final class Inflate {
    public enum Format: Sendable {
        /// RFC 1952, members one after another.
        case gzip
        /// RFC 1950, which HTTP calls deflate.
        case zlib
        /// RFC 1951 without header, as inside a zip archive.
        case raw
    }

    /// What may come out at most.
    public struct Limits: Sendable {
        public var outputBytesMax: Int
        /// Output over input; looked at only after the first 16 MiB of output, as small files of zeros are harmless.
        public var ratioMax: Int
        public init(outputBytesMax: Int = 64 << 30, ratioMax: Int = 1000) {
            (self.outputBytesMax, self.ratioMax) = (outputBytesMax, ratioMax)
        }
    }

    private let stream: UnsafeMutablePointer<z_stream>
    private let format: Format
    private let limits: Limits
    private let name: String
    private let input: UnsafeMutableBufferPointer<UInt8>
    private let refill: (UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int
    private var (inputBytes, outputBytes) = (0, 0)
    private var finished = false
    private var started = false

    /// - Parameters:
    ///   - name: what the stream is called in errors.
    ///   - refill: fills the buffer with more input and returns how many bytes; 0 at the end.
    public init(
        _ format: Format, name: String, limits: Limits = Limits(),
        refill: @escaping (UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int
    ) throws(KeelError) {
        (self.format, self.name, self.limits, self.refill) = (format, name, limits, refill)
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        input = .allocate(capacity: 1 << 16)
        let windowBits: Int32 =
            switch format {
            case .gzip: 31
            case .zlib: 15
            case .raw: -15
            }
        guard keel_inflate_init(stream, windowBits) == Z_OK else { throw KeelError(.internal, "zlib could not start") }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
        input.deallocate()
    }

    /// Fills `output` with inflated bytes and returns how many; 0 at the end.
    ///
    /// - Throws: `corrupted` when the stream is damaged or ends too early; `invalidArgument` when it inflates beyond the limits.
    public func read(into output: UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int {
        guard !finished, let target = output.baseAddress, !output.isEmpty else { return 0 }
        stream.pointee.next_out = target
        stream.pointee.avail_out = UInt32(min(output.count, 1 << 30))
        let wanted = Int(stream.pointee.avail_out)
        while stream.pointee.avail_out > 0 {
            if stream.pointee.avail_in == 0 {
                let count = try refill(input)
                guard count > 0 else {
                    if finished || (format == .gzip && !started && outputBytes > 0) { break }
                    throw KeelError(
                        .corrupted, "\(name) is truncated: the compressed data ends too early", hint: "copy or download the file again")
                }
                inputBytes += count
                stream.pointee.next_in = input.baseAddress
                stream.pointee.avail_in = UInt32(count)
            }
            started = true
            let status = inflate(stream, Z_NO_FLUSH)
            if status == Z_STREAM_END {
                guard format == .gzip, try moreMembers() else {
                    finished = true
                    break
                }
                inflateReset(stream)
            } else if status != Z_OK, status != Z_BUF_ERROR {
                let reason = stream.pointee.msg.map { String(cString: $0) } ?? "error \(status)"
                throw KeelError(.corrupted, "\(name) is damaged: \(reason)", hint: "copy or download the file again")
            }
        }
        let produced = wanted - Int(stream.pointee.avail_out)
        outputBytes += produced
        guard outputBytes <= limits.outputBytesMax, outputBytes < 16 << 20 || outputBytes / limits.ratioMax <= inputBytes else {
            throw .invalid(
                "\(name) inflates to more than is allowed (\(outputBytes) bytes from \(inputBytes))",
                hint: "is it a decompression bomb? otherwise unpack it first")
        }
        return produced
    }

    /// Whether another gzip member follows; zeros after the last one are padding.
    private func moreMembers() throws(KeelError) -> Bool {
        while true {
            if stream.pointee.avail_in == 0 {
                let count = try refill(input)
                guard count > 0 else { return false }
                inputBytes += count
                stream.pointee.next_in = input.baseAddress
                stream.pointee.avail_in = UInt32(count)
            }
            guard let next = stream.pointee.next_in, next.pointee == 0 else { return true }
            stream.pointee.next_in = next + 1
            stream.pointee.avail_in -= 1
        }
    }
}
