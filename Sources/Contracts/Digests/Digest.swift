import Crypto

/// A SHA-256 digest: the name of content.
public struct Digest: Sendable, Hashable, Codable, CustomStringConvertible {
    /// 64 lower-case hexadecimal characters.
    public let hex: String

    /// Nil unless `hex` is 64 lower-case hexadecimal characters.
    public init?(hex: String) {
        guard hex.utf8.count == 64, hex.utf8.allSatisfy({ ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }) else { return nil }
        self.hex = hex
    }

    public init(of bytes: some Sequence<UInt8>) {
        var hasher = Hasher()
        hasher.update(Array(bytes))
        self = hasher.finish()
    }

    public init(of text: String) { self.init(of: Array(text.utf8)) }

    fileprivate init(unchecked hex: String) { self.hex = hex }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let value = Digest(hex: text) else { throw KeelError(.corrupted, "'\(text.prefix(80))' is not a SHA-256 digest") }
        self = value
    }
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(hex)
    }

    public var description: String { "sha256:" + hex }
    /// The first 12 characters, for people.
    public var short: String { String(hex.prefix(12)) }

    /// Digests content that arrives in parts.
    public struct Hasher {
        private var sha = SHA256()
        public init() {}
        public mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { sha.update(bufferPointer: $0) } }
        public mutating func update(_ bytes: UnsafeRawBufferPointer) { sha.update(bufferPointer: bytes) }
        public mutating func update(_ text: String) { update(Array(text.utf8)) }
        public func finish() -> Digest { Digest(unchecked: hexText(sha.finalize())) }
    }
}

/// Lower-case hexadecimal text of bytes.
public func hexText(_ bytes: some Sequence<UInt8>) -> String {
    func digit(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 48 + nibble : 87 + nibble }
    var out: [UInt8] = []
    out.reserveCapacity(2 * bytes.underestimatedCount)
    for byte in bytes {
        out.append(digit(byte >> 4))
        out.append(digit(byte & 15))
    }
    return String(decoding: out, as: UTF8.self)
}
