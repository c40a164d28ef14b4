import Crypto
import Foundation

/// Keeps secrets that must be used again (and so cannot be hashed): AES-GCM with a key that lies outside what it protects.
public struct SecretBox: Sendable {
    private let key: SymmetricKey
    private let canSeal: Bool

    /// - Parameters:
    ///   - key: 32 bytes.
    ///   - canSeal: false for a key that will be another at the next start: what it sealed could never be opened again.
    public init(key: [UInt8], canSeal: Bool = true) throws(KeelError) {
        self.canSeal = canSeal
        guard key.count == 32 else { throw KeelError(.corrupted, "the key of secrets has \(key.count) bytes, not 32") }
        self.key = SymmetricKey(data: key)
    }

    /// 32 random bytes.
    public static func newKey() -> [UInt8] { SymmetricKey(size: .bits256).withUnsafeBytes { Array($0) } }

    /// - Parameter context: what the secret belongs to; it opens only for the same.
    public func seal(_ secret: String, for context: String) throws(KeelError) -> String {
        guard canSeal else {
            throw KeelError(
                .unavailable, "no secret can be stored: the file of the key that seals them cannot be read",
                hint: "make secrets.key readable for the server's user, then start the server again")
        }
        do {
            let box = try AES.GCM.seal(Data(secret.utf8), using: key, authenticating: Data(context.utf8))
            guard let combined = box.combined else { throw KeelError(.internal, "a secret could not be sealed") }
            return combined.base64EncodedString()
        } catch { throw KeelError(.internal, "a secret could not be sealed") }
    }

    /// - Throws: `corrupted` when it was sealed with another key, for something else, or altered.
    public func open(_ sealed: String, for context: String) throws(KeelError) -> String {
        do {
            let box = try AES.GCM.SealedBox(combined: Data(base64Encoded: sealed) ?? Data())
            return String(decoding: try AES.GCM.open(box, using: key, authenticating: Data(context.utf8)), as: UTF8.self)
        } catch {
            throw KeelError(
                .corrupted, "a secret of \(context) cannot be opened",
                hint: "was secrets.key in the home folder replaced? Set the secret again")
        }
    }
}

/// HMAC-SHA256 of a text, in base64.
public func messageSignature(of text: String, secret: String) -> String {
    Data(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: SymmetricKey(data: Data(secret.utf8)))).base64EncodedString()
}
