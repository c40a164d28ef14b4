import Contracts
import Registry
import Storage
import Testing

@Suite("Signatures of versions")
struct SignatureTests {
    private let key: SigningKey
    private let manifest = "the files"

    init() throws { key = try SigningKey(seed: Array(repeating: 3, count: 32)) }

    private func fixture() async throws -> Fixture {
        let f = try await Fixture()
        _ = try await f.registry.createVersion(
            model: "churn", source: "s3://bucket/model", runID: nil, tags: [], description: "", runLink: nil, modelID: nil, creatingModel: true, f.write)
        return f
    }

    private func sign(_ f: Fixture, version: Int = 1, _ text: String, by signing: SigningKey, as key: SigningKey) async throws -> Evidence {
        try await f.registry.sign(
            model: "churn", version: version, manifest: manifest, key: key.publicKey, signature: try signing.sign(text), f.write)
    }

    @Test("a signature is kept once, with its event, and found by what was signed")
    func kept() async throws {
        let f = try await fixture()
        let first = try await sign(f, manifest, by: key, as: key)
        let second = try await sign(f, manifest, by: key, as: key)
        #expect(first == second && first.kind == .signature && first.by == "ada")
        #expect(try await f.registry.signatures(of: Digest(of: manifest), f.read) == [first])
        #expect(try await f.registry.signatures(of: Digest(of: "other files"), f.read).isEmpty)
        let events = try await f.database.read { try $0.ledgerEvents(kind: "model.version.signature") }
        #expect(events.count == 1 && events.first?.data["evidence"]?.string == first.id)
        let other = try SigningKey(seed: Array(repeating: 4, count: 32))
        #expect(try await sign(f, manifest, by: other, as: other) != first)
        #expect(try await f.registry.signatures(of: Digest(of: manifest), f.read).count == 2)
    }

    @Test("what is no signature of the files by that key, or of no version, is refused and leaves nothing")
    func refused() async throws {
        let f = try await fixture()
        let other = try SigningKey(seed: Array(repeating: 4, count: 32))
        for (text, signing) in [("other files", key), (manifest, other)] {
            let error = await #expect(throws: KeelError.self) { _ = try await sign(f, text, by: signing, as: key) }
            #expect(error?.code == .invalidArgument && error?.path == "signature")
        }
        let none = await #expect(throws: KeelError.self) { _ = try await sign(f, version: 2, manifest, by: key, as: key) }
        #expect(none?.code == .notFound)
        #expect(try await f.registry.signatures(of: Digest(of: manifest), f.read).isEmpty)
    }

    @Test("a signature that somebody wrote into the database is found out")
    func altered() async throws {
        let f = try await fixture()
        _ = try await sign(f, manifest, by: key, as: key)
        _ = try await f.database.write { try $0.execute("UPDATE registry_evidence SET subject = ? WHERE kind = 'signature'", [.string(Digest(of: "theirs").hex)]) }
        let error = await #expect(throws: KeelError.self) { _ = try await f.registry.signatures(of: Digest(of: "theirs"), f.read) }
        #expect(error?.code == .corrupted)
    }
}
