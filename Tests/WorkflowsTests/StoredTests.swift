import Contracts
import Foundation
import Storage
import Testing
import Tracking
import Workflows

@Suite("What is stored: verified, collected, backed up")
struct StoredTests {
    /// A shop with a snapshot and a release.
    private func stocked() async throws -> Workshop {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        try await shop.release(input: "spent", service: "buying")
        try await shop.push("clicks", [["id": "1", "at": "2024-01-01T00:00:00Z", "user": "ann", "price": 1]])
        _ = try await shop.modules.data.seal(dataset: "clicks", grant: Workshop.may(.datasetsIngest))
        return shop
    }

    @Test("a file or an object that was changed is named; what is as it was is not")
    func verify() async throws {
        let shop = try await stocked()
        let verifying = try await shop.verifying()
        let grant = try Workshop.may(.serverRead)
        let intact = try await verifying.stored(grant) { _, _ in }
        #expect(intact["damaged"]?.array?.isEmpty == true)
        // The model and its bundle, and the snapshot's rows.
        #expect(intact["objects"]?.integer == 2 && intact["files"]?.integer == 1)

        let digest = try #require(try await shop.objects.digests().first)
        let path = "\(shop.folder)/objects/content/\(digest.hex.prefix(2))/\(digest.hex)"
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        try Data("something else".utf8).write(to: URL(fileURLWithPath: path))
        let damaged = try await verifying.stored(grant) { _, _ in }
        #expect(damaged["damaged"]?.array?.map { $0["subject"]?.string } == ["Storage/objects"])
        await #expect(throws: KeelError.self) { try await verifying.stored(Workshop.may(.resourcesRead)) { _, _ in } }
    }

    @Test("the ledger of a server that did its work holds")
    func ledger() async throws {
        let shop = try await stocked()
        let found = try await shop.verifying().ledger(Workshop.may(.ledgerRead))
        #expect(found["problem"] == nil && (found["events"]?.integer ?? 0) > 3)
        #expect(found["refused_tokens"]?.array?.isEmpty == true)
    }

    @Test("a collection removes what nothing refers to, keeps a release's bundle and its model, and says so in the ledger")
    func collect() async throws {
        let shop = try await stocked()
        let needed = try await Set(shop.objects.digests())
        let stray = try await shop.objects.put(Array("nobody's".utf8))
        let grant = try Workshop.may(.storageCollect)
        // What was put a moment ago may be about to be referred to: it is held until the server restarts.
        let again = try await Workshop(at: shop.folder)
        let rehearsal = try await again.collecting.collect(PurgeRequest(), dryRun: true, grant)
        #expect(rehearsal.content.objects == 1)
        #expect(try await again.objects.digests().contains(stray))
        #expect(try await again.events("storage.collected").isEmpty)
        let done = try await again.collecting.collect(PurgeRequest(), dryRun: false, grant)
        #expect(done.content.objects == 1)
        #expect(try await Set(again.objects.digests()) == needed)
        #expect(try await again.events("storage.collected").count == 1)
    }

    @Test("nothing is collected when the database does not know what was stored before it was made")
    func newDatabase() async throws {
        let shop = try await stocked()
        shop.damage.report(Collecting.databaseSubject, KeelError(.corrupted, "keel.sqlite was missing"))
        let error = await #expect(throws: KeelError.self) {
            try await shop.collecting.collect(PurgeRequest(), dryRun: false, Workshop.may(.storageCollect))
        }
        #expect(error?.code == .failedPrecondition)
    }

    @Test("a backup holds every file that the database refers to")
    func backup() async throws {
        let shop = try await stocked()
        let references = try await BackingUp.storedReferences(shop.modules.database, home: shop.folder)
        let objects = try await shop.objects.digests().map { "objects/content/\($0.hex.prefix(2))/\($0.hex)" }
        #expect(references.files.isSuperset(of: objects))
        #expect(references.files.count { $0.hasPrefix("lake/datasets/clicks/") } == 1)
    }
}
