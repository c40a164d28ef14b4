import Contracts
import Governance
import Testing

private func dataset(_ name: String, rows: Int64 = 1) -> Resource { Resource(kind: "Dataset", name: name, spec: ["rows": .int(rows)]) }

@Suite("Resources: delete")
struct ResourceDeleteTests {
    @Test("what is deleted is gone and in the ledger; its revisions stay, are continued, and can be restored")
    func deletes() async throws {
        let home = try await Home()
        let service = ResourceService(database: home.database)
        let write = try grant(.resourcesApply)
        _ = try await service.apply([dataset("a"), dataset("b")], by: write) { _ in }
        _ = try await service.apply([dataset("a", rows: 2)], by: write) { _ in }
        let result = try await service.delete([dataset("a", rows: 2)], by: write) { remaining in
            #expect(remaining.map(\.name) == ["b"])
        }
        #expect(result.revision == 3)
        #expect(try await service.all(by: write).map(\.resource.name) == ["b"])
        let events = try await home.events("resources.deleted")
        #expect(events.map(\.seq) == [result.ledgerSeq])
        #expect(events[0].data["deleted"]?[0]?["id"]?.string == "Dataset/a")
        #expect(try await service.revisions("Dataset", "a", by: write).map(\.revision) == [2, 1])

        let plan = try await service.plan([dataset("a", rows: 3)], by: write)
        #expect(plan.map(\.kind) == [.new] && plan.map(\.revision) == [3])
        #expect(try await service.apply([dataset("a", rows: 3)], by: write) { _ in }.changes.map(\.revision) == [3])
        _ = try await service.delete([dataset("a", rows: 3)], by: write) { _ in }
        let restored = try await service.restore(kind: "Dataset", name: "a", revision: 1, by: write) { _ in }
        #expect(restored.changes.map(\.revision) == [4])
        #expect(try await service.get("Dataset", "a", by: write).resource == dataset("a"))
        #expect(try await service.revisions("Dataset", "a", by: write).map(\.revision) == [4, 3, 2, 1])
    }

    @Test("nothing is deleted when what remains is not valid, when one is not there, or without permission")
    func refuses() async throws {
        let home = try await Home()
        let service = ResourceService(database: home.database)
        let write = try grant(.resourcesApply)
        _ = try await service.apply([dataset("a"), dataset("b")], by: write) { _ in }
        await #expect(throws: KeelError.self) {
            _ = try await service.delete([dataset("a")], by: write) { _ in throw KeelError.invalid("b needs a") }
        }
        let missing = await #expect(throws: KeelError.self) {
            _ = try await service.delete([dataset("b"), dataset("c")], by: write) { _ in }
        }
        #expect(missing?.code == .notFound)
        await #expect(throws: KeelError.self) { _ = try await service.delete([dataset("a")], by: grant(.resourcesRead)) { _ in } }
        #expect(try await service.all(by: write).count == 2)
        #expect(try await home.events("resources.deleted").isEmpty)
    }
}
