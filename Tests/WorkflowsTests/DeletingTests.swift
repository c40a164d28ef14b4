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

    @Test("an endpoint that is declared again serves nothing until something is released to it, and what was released to it is there")
    func declaredAgain() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        try await shop.release(input: "spent", service: "buying")
        try await shop.delete("Endpoint", "clicking", cascade: true)
        let again = try await Workshop(at: shop.folder)
        try await again.apply(Shop.all)
        let reading = try Workshop.may(.releasesRead)
        #expect(try await again.modules.deployments.state(endpoint: Shop.clicking, reading).stable == nil)
        #expect(again.modules.runtime.whyNotServing(Shop.clicking).message.contains("has no release yet"))
        let back = await #expect(throws: KeelError.self) {
            try await again.modules.deployments.rollback(endpoint: Shop.clicking, to: 1, reason: "to see", Workshop.may(.releasesDeploy))
        }
        #expect(back?.message == "no release serves 'clicking' that could be rolled back")
        try await again.release(input: "spent", service: "buying")
        #expect(try await again.modules.deployments.state(endpoint: Shop.clicking, reading).stable == 1)
    }

    @Test("an endpoint whose declaration cannot be read keeps what serves it")
    func unreadable() async throws {
        let shop = try await Workshop()
        try await shop.apply([Shop.dataset, Shop.entity, Shop.spent, Shop.service, Shop.endpoint()])
        try await shop.release(input: "spent", service: "buying")
        try await shop.modules.database.write { tx in
            try tx.execute("UPDATE resources SET body = '{}' WHERE kind = 'Endpoint'", [])
            try tx.execute("UPDATE resource_revisions SET body = '{}' WHERE kind = 'Endpoint'", [])
        }
        let broken = try await Workshop(at: shop.folder)
        try await broken.apply([Shop.pipeline("program")])
        try await broken.apply([Shop.endpoint()])
        let state = try await broken.modules.deployments.state(endpoint: Shop.clicking, Workshop.may(.releasesRead))
        #expect(state.stable == 1)
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
