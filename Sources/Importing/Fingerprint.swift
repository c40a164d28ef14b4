import Contracts
import Crypto

/// A digest of a collection of rows that does not depend on their order: how many, and the sum modulo 2^128 of the first 128 bits of each
/// row's SHA-256. Two stores that hold the same rows in different orders have the same fingerprint, and parts of a collection can be added.
public struct Fingerprint: Sendable, Hashable {
    public private(set) var count: Int64 = 0
    private var high: UInt64 = 0
    private var low: UInt64 = 0

    public init() {}

    /// Adds one row, given as bytes that no other row has.
    public mutating func add(_ row: [UInt8]) {
        count += 1
        let (a, b) = SHA256.hash(data: row).withUnsafeBytes { bytes in
            (
                bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self).bigEndian,
                bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
            )
        }
        let (sum, overflow) = low.addingReportingOverflow(b)
        low = sum
        high = high &+ a &+ (overflow ? 1 : 0)
    }

    /// `COUNT:HEX`, as it travels.
    public var text: String {
        "\(count):" + hexText(withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { Array($0) })
    }

    public init?(_ text: String) {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let count = Int64(parts[0]), parts[1].utf8.count == 32, let high = UInt64(parts[1].prefix(16), radix: 16),
            let low = UInt64(parts[1].suffix(16), radix: 16)
        else { return nil }
        (self.count, self.high, self.low) = (count, high, low)
    }
}
