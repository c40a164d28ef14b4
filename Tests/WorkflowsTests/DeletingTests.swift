import Contracts
import Foundation
import Testing
import Workflows

@Suite("Deleting")
struct DeletingTests {
    private func rows(_ count: Int) -> JSON {
        .array((0..<count).map { ["id": .string("\($0)"), "at": "2024-01-01T00:00:00Z", "user": "ann", "price": 1] })
    }

    @Test("what is named does not go by itself; a rehearsal lists what would go with it, and changes nothing")
    func refused() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        try await shop.push("clicks", rows(3))
        let error = await #expect(throws: KeelError.self) { try await shop.delete("Dataset", "clicks") }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message.hasPrefix("Dataset/clicks is in use: these need it: FeatureView/habits") == true, "\(error?.message ?? "")")
        let rehearsal = try await shop.delete("Dataset", "clicks", cascade: true, isRehearsal: true)
        #expect(
            rehearsal.items.map(\.resource.resource.id) == [
                "Dataset/clicks", "FeatureView/habits", "FeatureService/buying", "Endpoint/clicking", "Monitor/drift", "Trigger/retrain",
            ])
        #expect(rehearsal.items[0].holds.count == 1 && rehearsal.result == nil)
        #expect(rehearsal.stays.contains("rows of datasets (--data removes them)"))
        #expect(try await shop.stored().count == Shop.all.count)
    }

    @Test("an endpoint that serves goes only with what is in use, and answers no more")
    func serving() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        try await shop.release(input: "spent", service: "buying")
        let error = await #expect(throws: KeelError.self) { try await shop.delete("Endpoint", "clicking") }
        #expect(error?.message.contains("it serves release 1") == true)
        try await shop.delete("Endpoint", "clicking", cascade: true)
        #expect(shop.modules.runtime.status().isEmpty)
        #expect(
            try await shop.stored().keys.sorted() == [
                "Dataset/clicks", "Entity/user", "FeatureService/buying", "FeatureView/habits", "Pipeline/train",
            ])
    }

    @Test("rows stay, and come back with the declaration; with their data, nothing does")
    func data() async throws {
        let shop = try await Workshop()
        try await shop.apply([Shop.dataset])
        try await shop.push("clicks", rows(3))
        try await shop.delete("Dataset", "clicks")
        await #expect(throws: KeelError.self) { try await shop.push("clicks", rows(1)) }
        try await shop.apply([Shop.dataset])
        let kept = try await shop.modules.data.seal(dataset: "clicks", grant: Workshop.may(.datasetsIngest))
        #expect(kept?.rowCount == 3)
        let deletion = try await shop.delete("Dataset", "clicks", data: true)
        #expect(deletion.result != nil && deletion.stays.count == 1)
        #expect(try await shop.modules.data.holding(ResourceRef("Dataset", "clicks")).snapshots == 0)
        try await shop.apply([Shop.dataset])
        try await shop.push("clicks", rows(3))
        #expect(try await shop.modules.data.seal(dataset: "clicks", grant: Workshop.may(.datasetsIngest))?.rowCount == 3)
    }

    @Test("only what has data of its own can lose it")
    func noData() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        let error = await #expect(throws: KeelError.self) { try await shop.delete("Trigger", "retrain", data: true) }
        #expect(error?.message == "only a Dataset has data of its own")
        try await shop.delete("Trigger", "retrain")
    }

    @Test("what is deleted in staging takes nothing away from production")
    func environments() async throws {
        let shop = try await Workshop()
        let staging = [
            Resource(kind: "Endpoint", name: "clicking", environment: "staging", spec: [:]),
            Resource(
                kind: "Monitor", name: "drift", environment: "staging",
                spec: ["endpoint": "clicking", "window": "1d", "drift": ["threshold": 0.2]]),
        ]
        try await shop.apply([Shop.endpoint([:]), Shop.monitor] + staging)
        let deletion = try await shop.applying.delete(
            "Endpoint", "clicking", environment: "staging", cascade: true, data: false, isRehearsal: false, by: Workshop.may(.resourcesApply))
        #expect(deletion.items.map(\.ref.subject) == ["Endpoint/clicking@staging", "Monitor/drift@staging"])
        #expect(shop.modules.runtime.status().map(\.ref) == [Shop.clicking])
        let error = await #expect(throws: KeelError.self) { try await shop.delete("Endpoint", "clicking") }
        #expect(error?.message == "Endpoint/clicking is in use: these need it: Monitor/drift")
    }
}
