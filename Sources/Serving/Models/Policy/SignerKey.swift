import Contracts
import Foundation

/// A public key of Ed25519.
public struct SignerKey: Sendable, Hashable {
    /// The 32 bytes in base64.
    public let base64: String
    /// What stands before the 32 bytes in a SubjectPublicKeyInfo (RFC 8410).
    private static let prefix: [UInt8] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]

    /// - Parameter text: a PEM file's text, its base64 alone, or the 32 bytes in base64. Nil for anything else.
    public init?(_ text: String) {
        let lines = text.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("-----") }
        guard let data = Data(base64Encoded: lines.joined().filter { !$0.isWhitespace }) else { return nil }
        var bytes = Array(data)
        if bytes.starts(with: SignerKey.prefix) { bytes.removeFirst(SignerKey.prefix.count) }
        guard bytes.count == 32 else { return nil }
        base64 = Data(bytes).base64EncodedString()
    }
}
