import ArgumentParser
import Contracts
import Foundation
import KeelClient

struct ModelSign: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sign", abstract: "Sign the files of a version, for workspaces that take signed Python models only.",
        discussion: """
            The key does not leave this machine: it signs a list of the files with the digests of their bytes. With --folder the list must be that of the
            files that you have, so that nobody else's are signed.
            Keys are made by OpenSSL, and the policy names the public one:
              openssl genpkey -algorithm ed25519 -out key.pem
              openssl pkey -in key.pem -pubout
            Examples:
              keel models sign models:/churn/3 --key key.pem
              keel models sign models:/churn/3 --key key.pem --folder build/model
            """)
    @Argument(help: "The version, as models:/NAME/VERSION.") var model: String
    @Option(help: "The private key, Ed25519, as OpenSSL writes it (PEM).") var key: String
    @Option(help: "The folder with the model's files as you know them.") var folder: String?
    @OptionGroup var connection: Connection

    func run() async throws {
        let path = ModelPath(model)
        guard path.version != nil else {
            throw KeelError.invalid("'\(model)' names no version", hint: "keel models sign models:/churn/3 --key key.pem")
        }
        let signing = try ModelSign.signingKey(key)
        let manifest = try await connection.get("\(path.path(withVersion: true))/manifest").cell("manifest")
        if let folder { try ModelSign.compare(manifest, folder) }
        let answer = try await connection.post(
            "\(path.path(withVersion: true))/signatures",
            ["key": .string(signing.publicKey), "signature": .string(try signing.sign(manifest))])
        let count = try JSON.parse(manifest)["files"]?.items.count ?? 0
        connection.show(answer) {
            Terminal.print(
                "\(count == 1 ? "1 file" : "\(count) files") of models:/\($0.cell("model"))/\($0.cell("version")) signed with the key \(signing.publicKey)")
        }
    }

    /// What stands before the 32 bytes of a key in PKCS #8 (RFC 8410).
    private static let prefix: [UInt8] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20]

    private static func signingKey(_ file: String) throws -> SigningKey {
        guard let bytes = FileManager.default.contents(atPath: file) else { throw KeelError.notFound("there is no file '\(file)'") }
        let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("-----") }
        guard let der = Data(base64Encoded: lines.joined()), der.starts(with: prefix), der.count == prefix.count + 32 else {
            throw KeelError.invalid("'\(file)' is no private key of Ed25519", hint: "openssl genpkey -algorithm ed25519 -out key.pem")
        }
        return try SigningKey(seed: Array(der.suffix(32)))
    }

    /// - Throws: `failedPrecondition` that names the first file that is not the same.
    private static func compare(_ manifest: String, _ folder: String) throws {
        var listed: [String: String] = [:]
        for file in try JSON.parse(manifest)["files"]?.items ?? [] { listed[file.cell("path")] = file.cell("sha256") }
        var own: [String: String] = [:]
        for path in FileManager.default.enumerator(atPath: folder)?.compactMap({ $0 as? String }) ?? [] {
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: "\(folder)/\(path)", isDirectory: &isFolder), !isFolder.boolValue else { continue }
            guard let bytes = FileManager.default.contents(atPath: "\(folder)/\(path)") else { throw KeelError.notFound("'\(folder)/\(path)' cannot be read") }
            own[path] = Digest(of: bytes).hex
        }
        for path in Set(listed.keys).union(own.keys).sorted() where listed[path] != own[path] {
            let what = own[path] == nil ? "is not in \(folder)" : listed[path] == nil ? "is not among the version's files" : "has other bytes in \(folder)"
            throw KeelError(.failedPrecondition, "'\(path)' \(what): nothing was signed")
        }
    }
}
