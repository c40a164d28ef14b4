import Contracts
import Engines
import TestSupport
import Testing

@Suite("Compression of HTTP bodies")
struct HTTPCompressionTests {
    private func inflate(_ bytes: [UInt8], _ format: Inflate.Format = .gzip, upTo bytesMax: Int = 1 << 20) throws -> [UInt8] {
        let result: Result<[UInt8], KeelError> = bytes.withUnsafeBytes { raw in
            do throws(KeelError) {
                return .success(try HTTPCompression.inflate(raw, format, upTo: bytesMax) { (_) throws(KeelError) in })
            } catch { return .failure(error) }
        }
        return try result.get()
    }

    @Test("what was compressed comes back, whatever it is and however long")
    func roundTrips() throws {
        var random = Seeded(5)
        for size in [0, 1, 2, 1000, 65_535, 65_536, 65_537, 300_000] {
            let noise = (0..<size).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            let text = (0..<size).map { UInt8(truncatingIfNeeded: $0 / 100) }
            #expect(try inflate(try HTTPCompression.gzip(noise)) == noise)
            #expect(try inflate(try HTTPCompression.gzip(text)) == text)
        }
        #expect(try inflate(try Deflate.zlib(Array("abc".utf8)), .zlib) == Array("abc".utf8))
    }

    @Test("a bomb ends at the limit: no more of it is kept")
    func bombs() throws {
        let bomb = try HTTPCompression.gzip([UInt8](repeating: 0, count: 50 << 20))
        var kept = 0
        let result: Result<[UInt8], KeelError> = bomb.withUnsafeBytes { raw in
            do throws(KeelError) {
                return .success(try HTTPCompression.inflate(raw, .gzip, upTo: 1 << 20) { (count) throws(KeelError) in kept += count })
            } catch { return .failure(error) }
        }
        #expect(throws: KeelError.self) { try result.get() }
        if case .failure(let error) = result { #expect(error.code == .payloadTooLarge) }
        #expect(kept <= 1 << 20)
        // Exactly as much as is allowed is.
        #expect(try inflate(try HTTPCompression.gzip([UInt8](repeating: 0, count: 1 << 20)), upTo: 1 << 20).count == 1 << 20)
    }

    @Test("what is cut off, damaged or no gzip is the sender's mistake")
    func damage() throws {
        let whole = try HTTPCompression.gzip(Array("the quick brown fox jumps over the lazy dog".utf8))
        var damaged = whole
        damaged[whole.count / 2] ^= 0x55
        for bytes in [[], Array("{}".utf8), Array(whole.dropLast(3)), damaged] {
            #expect(#expect(throws: KeelError.self) { try inflate(bytes) }?.code == .invalidArgument, "\(bytes.count) bytes")
        }
    }
}
