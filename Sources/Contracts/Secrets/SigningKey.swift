import Crypto
import Foundation

/// An Ed25519 key (RFC 8032) that signs texts; whoever has the public key can check them without Keel.
public struct SigningKey: Sendable {
    private let key: Curve25519.Signing.PrivateKey

    /// - Parameter seed: 32 bytes.
    public init(seed: [UInt8]) throws(KeelError) {
        do { key = try Curve25519.Signing.PrivateKey(rawRepresentation: seed) } catch {
            throw KeelError(.corrupted, "the signing key has \(seed.count) bytes, not 32")
        }
    }

    /// 32 random bytes.
    public static func newSeed() -> [UInt8] { Array(Curve25519.Signing.PrivateKey().rawRepresentation) }

    /// In base64.
    public var publicKey: String { key.publicKey.rawRepresentation.base64EncodedString() }

    /// The signature of the UTF-8 bytes of a text, in base64.
    public func sign(_ text: String) throws(KeelError) -> String {
        do { return try key.signature(for: Data(text.utf8)).base64EncodedString() } catch {
            throw KeelError(.internal, "a text could not be signed")
        }
    }

    /// Whether the holder of the private key signed exactly this text.
    public static func isValid(_ signature: String, of text: String, publicKey: String) -> Bool {
        guard let bytes = Data(base64Encoded: publicKey), let signed = Data(base64Encoded: signature),
            let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes)
        else { return false }
        return key.isValidSignature(signed, for: Data(text.utf8))
    }
}
