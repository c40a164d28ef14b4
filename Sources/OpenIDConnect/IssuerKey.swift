import Contracts
import Crypto
import CryptoExtras
import Foundation

/// A public key of an issuer, from its JSON Web Key (RFC 7517).
package struct IssuerKey: Sendable {
    private enum Material: Sendable {
        case rsa(_RSA.Signing.PublicKey)
        case p256(P256.Signing.PublicKey)
        case p384(P384.Signing.PublicKey)
        case p521(P521.Signing.PublicKey)
        case ed25519(Curve25519.Signing.PublicKey)
    }
    package let id: String?
    private let material: Material
    /// The one algorithm that it is for, where it says so.
    private let only: SignatureAlgorithm?
    private let source: JSON

    /// A larger modulus takes longer to check a signature with than a request should wait.
    private static let modulusBytesMax = 1024

    /// Nil for a key that cannot check signatures of tokens: a symmetric or unknown one, one for encryption, one that is malformed or too weak.
    package init?(_ json: JSON) {
        if let use = json["use"], use.string != "sig" { return nil }
        if let operations = json["key_ops"], operations.array?.contains("verify") != true { return nil }
        var only: SignatureAlgorithm?
        if let algorithm = json["alg"] {
            guard let known = algorithm.string.flatMap(SignatureAlgorithm.init) else { return nil }
            only = known
        }
        guard let material = IssuerKey.material(json) else { return nil }
        self.id = json["kid"]?.string
        self.material = material
        self.only = only
        self.source = json
    }

    private static func material(_ json: JSON) -> Material? {
        func bytes(_ member: String) -> [UInt8]? { json[member]?.string.flatMap { Base64URL.decode($0) } }
        switch json["kty"]?.string {
        case "RSA":
            guard let modulus = bytes("n"), let exponent = bytes("e"), modulus.count <= modulusBytesMax, exponent.count <= 4 else {
                return nil
            }
            return (try? _RSA.Signing.PublicKey(n: modulus, e: exponent)).map(Material.rsa)
        case "EC":
            guard let x = bytes("x"), let y = bytes("y") else { return nil }
            let point = [4] + x + y
            switch (json["crv"]?.string, x.count, y.count) {
            case ("P-256", 32, 32): return (try? P256.Signing.PublicKey(x963Representation: point)).map(Material.p256)
            case ("P-384", 48, 48): return (try? P384.Signing.PublicKey(x963Representation: point)).map(Material.p384)
            case ("P-521", 66, 66): return (try? P521.Signing.PublicKey(x963Representation: point)).map(Material.p521)
            default: return nil
            }
        case "OKP":
            guard json["crv"]?.string == "Ed25519", let x = bytes("x") else { return nil }
            return (try? Curve25519.Signing.PublicKey(rawRepresentation: x)).map(Material.ed25519)
        default: return nil
        }
    }

    /// Whether signatures of this algorithm may be of this key: the key decides, not the token.
    package func fits(_ algorithm: SignatureAlgorithm) -> Bool {
        if let only, only != algorithm { return false }
        switch (material, algorithm) {
        case (.rsa, .rs256), (.rsa, .rs384), (.rsa, .rs512), (.rsa, .ps256), (.rsa, .ps384), (.rsa, .ps512): return true
        case (.p256, .es256), (.p384, .es384), (.p521, .es512), (.ed25519, .edDSA): return true
        default: return false
        }
    }

    /// Whether the holder of the private key signed exactly these bytes.
    package func isValid(_ signature: [UInt8], of signed: [UInt8], by algorithm: SignatureAlgorithm) -> Bool {
        guard fits(algorithm) else { return false }
        switch material {
        case .rsa(let key): return IssuerKey.isValid(signature, of: signed, algorithm, key)
        case .p256(let key):
            guard let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
            return key.isValidSignature(signature, for: signed)
        case .p384(let key):
            guard let signature = try? P384.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
            return key.isValidSignature(signature, for: signed)
        case .p521(let key):
            guard let signature = try? P521.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
            return key.isValidSignature(signature, for: signed)
        case .ed25519(let key): return key.isValidSignature(signature, for: signed)
        }
    }

    private static func isValid(
        _ signature: [UInt8], of signed: [UInt8], _ algorithm: SignatureAlgorithm, _ key: _RSA.Signing.PublicKey
    ) -> Bool {
        let signature = _RSA.Signing.RSASignature(rawRepresentation: signature)
        switch algorithm {
        case .rs256: return key.isValidSignature(signature, for: SHA256.hash(data: signed), padding: .insecurePKCS1v1_5)
        case .rs384: return key.isValidSignature(signature, for: SHA384.hash(data: signed), padding: .insecurePKCS1v1_5)
        case .rs512: return key.isValidSignature(signature, for: SHA512.hash(data: signed), padding: .insecurePKCS1v1_5)
        case .ps256: return key.isValidSignature(signature, for: SHA256.hash(data: signed), padding: .PSS)
        case .ps384: return key.isValidSignature(signature, for: SHA384.hash(data: signed), padding: .PSS)
        case .ps512: return key.isValidSignature(signature, for: SHA512.hash(data: signed), padding: .PSS)
        case .es256, .es384, .es512, .edDSA: return false
        }
    }

    /// The keys of a JSON Web Key Set that can check signatures.
    /// - Throws: `unavailable` when it is no such set, or holds no such key.
    package static func all(in document: JSON) throws(KeelError) -> [IssuerKey] {
        guard let listed = document["keys"]?.array, listed.count <= keysMax else {
            throw KeelError(.unavailable, "its key set is no list of up to \(keysMax) keys")
        }
        let keys = listed.compactMap { IssuerKey($0) }
        guard !keys.isEmpty else { throw KeelError(.unavailable, "its key set holds no key that can check signatures") }
        return keys
    }

    private static let keysMax = 100
}

extension IssuerKey: Equatable {
    package static func == (a: IssuerKey, b: IssuerKey) -> Bool { a.source == b.source }
}
