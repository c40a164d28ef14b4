import Contracts

/// What is signed of a model: the paths of its files with the digests of their bytes. Every load compares the bytes with these digests.
public struct ModelManifest: Sendable, Hashable {
    /// JSON with its members in order: equal files have equal texts.
    public let text: String

    public init(_ files: [ModelBundle.File]) {
        let list = files.sorted { byteOrder($0.path, $1.path) < 0 }.map { file -> JSON in
            ["path": .string(file.path), "sha256": .string(file.digest.hex), "bytes": .int(Int64(file.bytes))]
        }
        let json: JSON = ["format": "keel/model-files/v1", "files": .array(list)]
        text = String(decoding: json.canonical, as: UTF8.self)
    }

    /// By it signatures are found.
    public var digest: Digest { Digest(of: text) }
}

/// A signature of a manifest's text.
public struct ModelSignature: Sendable, Hashable {
    public let key: SignerKey
    /// In base64.
    public let signature: String

    public init(key: SignerKey, signature: String) {
        self.key = key
        self.signature = signature
    }

    /// Whether the holder of the private key signed this manifest.
    public func isValid(of manifest: ModelManifest) -> Bool {
        SigningKey.isValid(signature, of: manifest.text, publicKey: key.base64)
    }
}
