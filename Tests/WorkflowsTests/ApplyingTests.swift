import Contracts
import Foundation
import Governance
import Storage
import Testing
import Workflows

@Suite("Applying: what is stored is in force")
struct ApplyingTests {
    private let noon = Timestamp(seconds: 1_700_000_000)

    private func click(_ id: String, _ price: Double) -> JSON {
        ["id": .string(id), "at": .string(noon.description), "user": "ann", "price": .double(price)]
    }

    @Test("a whole set is in force when apply returns, endpoints over features that came with them too")
    func everything() async throws {
        let shop = try await Workshop()
        let result = try await shop.apply(Shop.all)
        #expect(result.revision == 1 && result.changes.allSatisfy { $0.kind == .new })
        try await shop.push("clicks", [click("1", 5), click("2", 7)])
        #expect(try shop.feature("spent", of: "ann") == .double(12))
        try await shop.release(input: "spent", service: "buying")
        #expect(shop.modules.runtime.status().first?.stable?.release == 1)
        let triggers = try await shop.modules.triggers.list(grant: Workshop.may(.pipelinesRead))
        #expect(triggers.map(\.author) == ["ann"])
        #expect(shop.damage.all.isEmpty)
    }

    private struct Stopped: Contracts.Clock {
        let time: Timestamp
        func now() -> Timestamp { time }
    }

    @Test("reads say that they may have seen the newest row, also after a start at which the clock had been set back, and after an ingest")
    func clockSetBack() async throws {
        let ahead = Stopped(time: noon)
        let behind = Stopped(time: Timestamp(microseconds: noon.microseconds - 600_000_000))
        func until(_ shop: Workshop) throws -> Timestamp? {
            let request = try Table([(name: "user", column: try Column(.string, values: ["ann"]))])
            return try shop.modules.features[.default].plan(service: "buying", inputs: []).inputs(for: request).bounds?.until
        }
        func row(_ id: String, _ price: Double) -> JSON {
            ["id": .string(id), "at": "2023-11-01T00:00:00Z", "user": "ann", "price": .double(price)]
        }
        let first = try await Workshop(clock: ahead)
        try await first.apply(Shop.all)
        try await first.push("clicks", [row("1", 5), row("2", 7)])
        let again = try await Workshop(at: first.folder, clock: behind)
        #expect(try again.feature("spent", of: "ann") == .double(12))
        #expect(try until(again) == Timestamp(microseconds: noon.microseconds + 1))

        let later = try await Workshop(at: first.folder, clock: Stopped(time: Timestamp(microseconds: noon.microseconds + 1000)))
        let file = "\(first.folder)/more.csv"
        try Data("id,at,user,price\n9,2023-11-01T00:00:00Z,ann,9\n".utf8).write(to: URL(fileURLWithPath: file))
        let spooled = try await later.ingesting.spool(Parts(path: file), named: "more.csv", bytesMax: 1 << 20)
        _ = try await later.ingesting.ingest(
            "clicks", spooled: spooled, member: nil, from: nil, until: nil, overwrite: false, grant: Workshop.may(.datasetsIngest)
        ) { _, _ in }
        let last = try await Workshop(at: first.folder, clock: behind)
        #expect(try last.feature("spent", of: "ann") == .double(21))
        #expect(try until(last) == Timestamp(microseconds: noon.microseconds + 1000))
        // The folder goes with any of them.
        withExtendedLifetime([first, again, later, last]) {}
    }

    @Test("a plan says what a change does to data, and changes nothing")
    func plan() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        let changed = Shop.view([["name": "spent", "aggregate": "max", "of": "price", "window": "3650d"]])
        let plan = try await shop.plan([changed, Shop.monitor])
        #expect(plan.map(\.kind) == [.changed, .unchanged])
        #expect(plan[0].effects == ["the online features of view 'habits' are made anew; until then the old ones answer"])
        #expect(try await shop.stored()["FeatureView/habits"] == 1)
    }

    @Test("features that a serving release could not read any more: the set is valid, cannot be made ready, and nothing of it is stored")
    func brokenRelease() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        try await shop.release(input: "spent", service: "buying")
        try await shop.push("clicks", [click("1", 5)])
        let before = try await shop.stored()
        let renamed = Shop.view([["name": "paid", "aggregate": "sum", "of": "price", "window": "3650d"]])
        // Valid by itself and beside the others.
        _ = try await shop.plan([renamed])
        let error = await #expect(throws: KeelError.self) { try await shop.apply([renamed, Shop.pipeline("program")]) }
        #expect(error?.message.contains("release clicking/1 cannot read its features") == true, "\(error?.message ?? "")")
        #expect(try await shop.stored() == before)
        #expect(try await shop.events("resources.applied").count == 1)
        #expect(shop.damage.all.isEmpty)

        // The old features answer, rows reach them, and nothing that the attempt held is held any longer.
        try await shop.push("clicks", [click("2", 7)])
        #expect(try shop.feature("spent", of: "ann") == .double(12))
        try await shop.modules.deployments.rollback(endpoint: Shop.clicking, to: 1, reason: "to see", Workshop.may(.releasesDeploy))
        try await shop.apply([Shop.pipeline("program")])
        #expect(try await shop.stored()["Pipeline/train"] == 2)
    }

    @Test("a dataset whose stream cannot be opened is not stored, and can be applied once it can")
    func noStream() async throws {
        let shop = try await Workshop()
        try Data("in the way".utf8).write(to: URL(fileURLWithPath: shop.folder + "/streams/clicks"))
        await #expect(throws: KeelError.self) { try await shop.apply(Shop.all) }
        #expect(try await shop.stored().isEmpty)
        #expect(try await shop.events("resources.").isEmpty)
        #expect(shop.damage.all.isEmpty)
        try FileManager.default.removeItem(atPath: shop.folder + "/streams/clicks")
        try await shop.apply(Shop.all)
        try await shop.push("clicks", [click("1", 5)])
    }

    @Test("a set that fails when its stream is open already leaves no stream behind")
    func discardedStream() async throws {
        let shop = try await Workshop()
        let other = Resource(kind: "Dataset", name: "other", spec: ["columns": [["name": "x", "type": "int64"]]])
        try Data("in the way".utf8).write(to: URL(fileURLWithPath: shop.folder + "/streams/clicks"))
        await #expect(throws: KeelError.self) { try await shop.apply([other, Shop.dataset]) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: shop.folder + "/streams") == ["clicks"])
    }

    @Test("killed between the commit and the activation: the next start has it in force")
    func killed() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        try await shop.push("clicks", [click("1", 5), click("2", 7)])
        let grant = try Workshop.may(.resourcesApply)
        let prepare = shop.applying.preparation(grant)
        let changed = [
            Shop.view([["name": "dearest", "aggregate": "max", "of": "price", "window": "3650d"]]),
            Resource(kind: "Trigger", name: "again", spec: ["when": ["monitor/drift fires"], "run": "train"]),
        ]
        _ = try await shop.modules.resources.apply(changed, by: grant) { _ in
        } prepare: { candidate, changed in
            Killed(rest: try await prepare(candidate, changed))
        }
        #expect(try shop.feature("dearest", of: "ann") == nil)
        try await shop.modules.database.close()

        let again = try await Workshop(at: shop.folder)
        #expect(again.damage.all.isEmpty)
        #expect(try again.feature("dearest", of: "ann") == .double(7))
        let triggers = try await again.modules.triggers.list(grant: Workshop.may(.pipelinesRead))
        #expect(triggers.map(\.spec.name) == ["again", "retrain"] && triggers.allSatisfy { $0.author == "ann" })
    }

    @Test("who may not run code cannot declare what runs it, and the refusal is in the ledger")
    func permissions() async throws {
        let shop = try await Workshop()
        let pat = Caller(name: "pat", persona: .platformEngineer)
        let set = [Shop.dataset, Shop.entity, Shop.spent, Shop.service, Shop.endpoint(), Shop.monitor, Shop.pipeline()]
        try await shop.apply(set, by: pat)
        for resource in [Shop.trigger, Shop.pipeline("program")] {
            let error = await #expect(throws: KeelError.self) { try await shop.apply([resource], by: pat) }
            #expect(error?.code == .permissionDenied)
        }
        #expect(try await shop.stored().count == set.count)
        #expect(try await shop.events("access.denied").map(\.subject) == ["Trigger/retrain", "Pipeline/train"])
        // What is stored already and stays as it is asks nobody for it again.
        try await shop.apply([Shop.pipeline("program")])
        let same = try await shop.apply([Shop.pipeline("program"), Shop.endpoint()], by: pat)
        #expect(same.ledgerSeq == nil)
    }

    @Test("a stored resource that is not valid any more is left out at the start, alone, and does not stand in the way of what repairs it")
    func containment() async throws {
        let shop = try await Workshop()
        let bad = Resource(kind: "Pipeline", name: "old", spec: ["steps": [["name": "one", "uses": "gone"]]])
        let grant = try Workshop.may(.resourcesApply)
        _ = try await shop.modules.resources.apply(Shop.all + [bad], by: grant) { _ in }
        try await shop.modules.database.close()
        let again = try await Workshop(at: shop.folder)
        #expect(again.damage.all.map(\.subject) == ["Pipeline/old"])
        _ = try await again.modules.pipelines.start(
            pipeline: "train", parameters: .object([]), reason: "to see", now: noon, useCache: false, grant: Workshop.may(.pipelinesRun))
        try await again.apply([Resource(kind: "Pipeline", name: "old", spec: Shop.pipeline().spec)])
        #expect(again.damage.all.isEmpty)
    }

    @Test("an earlier revision that is restored is in force")
    func restore() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        try await shop.apply([Shop.view([["name": "paid", "aggregate": "sum", "of": "price", "window": "3650d"]])])
        let grant = try Workshop.may(.resourcesApply)
        let result = try await shop.applying.restore("FeatureView", "habits", revision: 1, by: grant)
        #expect(result.changes.map(\.revision) == [3])
        try await shop.push("clicks", [click("1", 5)])
        #expect(try shop.feature("spent", of: "ann") == .double(5))
    }

    @Test("a status says what the server knows, and only to those who may read it")
    func status() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        let grant = try Workshop.may(.resourcesRead)
        #expect(try await shop.applying.status(of: Shop.dataset, by: grant) == [ResourceStatus("status", "no snapshot yet")])
        #expect(try await shop.applying.status(of: Shop.pipeline(), by: grant) == [ResourceStatus("last run", "none")])
        #expect(try await shop.applying.status(of: Shop.entity, by: grant).isEmpty)
        try await shop.release(input: "spent", service: "buying")
        #expect(
            try await shop.applying.status(of: Shop.endpoint(), by: grant) == [
                ResourceStatus("status", "release 1 stable at 100%, 0 requests, - errors")
            ])
    }
}

/// A server that is killed once the transaction is committed.
private struct Killed: PreparedResources {
    let rest: any PreparedResources
    func store(_ tx: Transaction) throws { try rest.store(tx) }
    func activate() async {}
    func discard() async { await rest.discard() }
}
