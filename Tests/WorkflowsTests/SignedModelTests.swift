import Contracts
import Foundation
import Serving
import Storage
import Synchronization
import Testing
import Workflows

/// Signatures by the digest of what was signed.
private final class Signatures: ModelSignatures {
    private let known = Mutex<[Digest: [ModelSignature]]>([:])

    func signatures(of manifest: Digest, in workspace: WorkspaceID) async throws -> [ModelSignature] { known.withLock { $0[manifest] ?? [] } }

    func add(_ signature: ModelSignature, of manifest: ModelManifest) { known.withLock { $0[manifest.digest, default: []].append(signature) } }

    func sign(_ bundle: ModelBundle, with key: SigningKey) throws {
        let manifest = ModelManifest(bundle.files)
        add(ModelSignature(key: try #require(SignerKey(key.publicKey)), signature: try key.sign(manifest.text)), of: manifest)
    }
}

@Suite("A workspace that takes signed Python models only", .timeLimit(.minutes(10)))
struct SignedModelTests {
    private let signatures = Signatures()
    private let ci: SigningKey
    private let other: SigningKey

    init() throws {
        ci = try SigningKey(seed: Array(repeating: 1, count: 32))
        other = try SigningKey(seed: Array(repeating: 2, count: 32))
    }

    private func policy(_ signers: [(name: String, key: SigningKey)]) -> Resource {
        let list = signers.map { ["name": .string($0.name), "key": .string($0.key.publicKey)] as JSON }
        return Resource(kind: "ModelPolicy", name: "models", spec: ["pythonModels": "signed", "signers": .array(list)])
    }

    private func shop(at folder: String? = nil) async throws -> Workshop { try await Workshop(at: folder, code: CodeInTest(), signatures: signatures) }

    private func deploy(_ digest: Digest, _ version: String, on shop: Workshop) async throws {
        let release = try await shop.modules.deployments.createRelease(
            endpoint: Shop.clicking, model: "clicks", version: version, bundle: digest, gate: .passed, Workshop.may(.releasesDeploy))
        try await shop.modules.deployments.deploy(endpoint: Shop.clicking, release: release.number, Workshop.may(.releasesDeploy))
    }

    private func serving(_ shop: Workshop) -> Int? { shop.modules.runtime.serving(Shop.clicking).first?.release.number }

    @Test("one that is signed by a trusted key serves; one that is not, is signed by another key, or has other bytes, does not")
    func onlySigned() async throws {
        let shop = try await shop()
        try await shop.apply([Shop.endpoint([:]), policy([("ci", ci)])])
        let (bundle, digest) = try await CodeInTest.bundle("first", in: shop.objects)
        func refusal(_ digest: Digest) async throws -> String {
            let error = await #expect(throws: KeelError.self) { try await deploy(digest, "1", on: shop) }
            #expect(error?.code == .permissionDenied)
            return error?.message ?? ""
        }
        let rule = "the workspace 'default' takes Python models that ci signed, and "
        #expect(try await refusal(digest) == rule + "nobody signed the files of this one (ModelPolicy/models: pythonModels)")
        try signatures.sign(bundle, with: other)
        #expect(try await refusal(digest) == rule + "this one is signed with a key that is none of theirs: \(other.publicKey) (ModelPolicy/models: pythonModels)")
        // What somebody wrote into the database is no signature.
        let manifest = ModelManifest(bundle.files)
        signatures.add(ModelSignature(key: try #require(SignerKey(ci.publicKey)), signature: try other.sign(manifest.text)), of: manifest)
        _ = try await refusal(digest)
        try signatures.sign(bundle, with: ci)
        try await deploy(digest, "1", on: shop)
        #expect(serving(shop) == 1)
        #expect(try await shop.modules.deployments.signers(of: digest, in: .default) == ["ci"])
        #expect(try await refusal(try await CodeInTest.bundle("first!", in: shop.objects).digest) == rule + "nobody signed the files of this one (ModelPolicy/models: pythonModels)")
        #expect(serving(shop) == 1)
    }

    @Test("a key that is taken out of the policy ends no release, is named, and lets nothing serve that it signed, also after a restart")
    func aKeyThatIsTakenOut() async throws {
        let shop = try await shop()
        try await shop.apply([Shop.endpoint([:]), policy([("ci", ci)])])
        let (first, digest) = try await CodeInTest.bundle("first", in: shop.objects)
        try signatures.sign(first, with: ci)
        try await deploy(digest, "1", on: shop)
        let without = policy([("release", other)])
        let named = "release clicking/1 serves, and none of the signers of ModelPolicy/models signed it: it serves until it is loaded again"
        #expect(try await shop.plan([without]).first?.effects == [named])
        try await shop.apply([without])
        #expect(serving(shop) == 1)
        let (second, next) = try await CodeInTest.bundle("second", in: shop.objects)
        try signatures.sign(second, with: ci)
        let error = await #expect(throws: KeelError.self) { try await deploy(next, "2", on: shop) }
        #expect(error?.message.contains("takes Python models that release signed, and this one is signed with a key that is none of theirs: \(ci.publicKey)") == true)
        let again = try await self.shop(at: shop.folder)
        while again.modules.runtime.whyNotServing(Shop.clicking).message.contains("is starting") { try await Task.sleep(for: .milliseconds(2)) }
        #expect(serving(again) == nil)
        #expect(again.modules.runtime.whyNotServing(Shop.clicking).message.contains("takes Python models that release signed"))
    }

    @Test("a policy that asks for signatures is refused while code serves that nobody signed, and names it")
    func whatServesMustBeSigned() async throws {
        let shop = try await shop()
        try await shop.apply([Shop.endpoint([:])])
        let (bundle, digest) = try await CodeInTest.bundle("first", in: shop.objects)
        try await deploy(digest, "1", on: shop)
        let error = await #expect(throws: KeelError.self) { try await shop.apply([policy([("ci", ci)])]) }
        #expect(error?.message == "what serves runs code that none of the signers signed: clicking/1")
        try signatures.sign(bundle, with: ci)
        try await shop.apply([policy([("ci", ci)])])
        #expect(serving(shop) == 1)
    }

    @Test("public keys are read as OpenSSL writes them, and nothing else is taken for one")
    func keys() throws {
        let base64 = ci.publicKey
        let der = Data([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]) + (Data(base64Encoded: base64) ?? Data())
        let pem = "-----BEGIN PUBLIC KEY-----\n\(der.base64EncodedString())\n-----END PUBLIC KEY-----\n"
        for text in [base64, der.base64EncodedString(), pem] { #expect(SignerKey(text)?.base64 == base64) }
        for text in ["", "abc", String(base64.dropLast(4)), der.dropLast().base64EncodedString()] { #expect(SignerKey(text) == nil) }
        for spec: JSON in [
            ["pythonModels": "signed"], ["pythonModels": "signed", "signers": []], ["pythonModels": "signed", "signers": [["name": "ci", "key": "abc"]]],
            ["pythonModels": "allowed", "signers": [["name": "ci", "key": .string(base64)]]],
        ] {
            #expect(throws: KeelError.self) { try ModelPolicySpec(resource: Resource(kind: "ModelPolicy", name: "models", spec: spec)) }
        }
    }
}
