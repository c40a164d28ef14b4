import Contracts
import Foundation
import Registry
import SearchLanguage
import Storage
import TestSupport
import Testing

extension Fixture {
    /// The instant of the newest event.
    func instant() async throws -> Timestamp {
        let head = try await database.read { db in try db.ledgerEvents(after: db.ledgerHead() - 1) }
        return try #require(head.first?.at)
    }

    /// What there is now, as the past would tell it.
    func present() async throws -> [PastModel] {
        let models = try await registry.searchModels(RegistrySearch(), read).items
        return try await models.asyncMap { model in
            let versions = try await registry.searchVersions(RegistrySearch(.versions, filter: "name = '\(model.name)'"), read).items
            return PastModel(
                name: model.name, description: model.description,
                tags: Dictionary(uniqueKeysWithValues: model.tags.map { ($0.key, $0.value) }),
                versions: Dictionary(uniqueKeysWithValues: versions.map { ($0.version, $0.stage.rawValue) }),
                aliases: Dictionary(uniqueKeysWithValues: model.aliases.map { ($0.alias, $0.version) }), createdAt: .distantPast,
                updatedAt: .distantPast)
        }
    }

    /// What there was then, by pages.
    func past(at time: Timestamp, limit: Int = 100) async throws -> [PastModel] {
        var (out, after): ([PastModel], String?) = ([], "")
        while let name = after {
            let page = try await registry.models(at: time, after: name, limit: limit, read)
            #expect(page.models.count <= limit && (page.next == nil || page.next! > name))
            out += page.models
            after = page.next
        }
        return out
    }
}

extension PastModel {
    /// Without its instants.
    fileprivate var content: PastModel {
        PastModel(
            name: name, description: description, tags: tags, versions: versions, aliases: aliases, createdAt: .distantPast,
            updatedAt: .distantPast)
    }
}

@Suite("What models there were at an instant")
struct HistoryTests {
    @Test("after each of many random changes the past says what the present said", arguments: [UInt64(1), 2, 3])
    func model(seed: UInt64) async throws {
        let f = try await Fixture()
        var random = Seeded(seed)
        let names = ["a", "b", "c", "d é"]
        var moments: [(Timestamp, [PastModel])] = []
        for step in 0..<120 {
            let (name, other) = (names.randomElement(using: &random)!, names.randomElement(using: &random)!)
            let number = Int.random(in: 1...3, using: &random)
            let head = try await f.database.read { try $0.ledgerHead() }
            do {
                switch Int.random(in: 0..<12, using: &random) {
                case 0, 1:
                    _ = try await f.registry.createModel(name: name, description: "d\(step)", tags: [ModelTag("k", "v\(step)")], f.write)
                case 2, 3: _ = try await f.registry.createVersion(model: name, source: "s3://b/\(step)", f.write)
                case 4: _ = try await f.registry.setStage(model: name, version: number, .staging, archivingOthers: true, f.write)
                case 5: try await f.registry.setAlias(model: name, alias: ["x", "y"][number % 2], version: number, f.write)
                case 6: try await f.registry.deleteAlias(model: name, alias: "x", f.write)
                case 7: try await f.registry.deleteVersion(model: name, version: number, f.write)
                case 8: _ = try await f.registry.renameModel(name: name, to: other, f.write)
                case 9: try await f.registry.deleteModel(name: name, f.write)
                case 10: try await f.registry.setTag(model: name, ModelTag("t\(number)", "\(step)"), f.write)
                default:
                    _ = try await f.registry.updateModel(name: name, description: "u\(step)", f.write)
                    try await f.registry.deleteTag(model: name, key: "k", f.write)
                }
            } catch is KeelError {}
            guard try await f.database.read({ try $0.ledgerHead() }) > head else { continue }
            moments.append((try await f.instant(), try await f.present()))
        }
        #expect(moments.count > 40)
        for (time, present) in moments {
            #expect(try await f.past(at: time).map(\.content) == present)
            #expect(try await f.past(at: time, limit: 1).map(\.content) == present)
        }
        #expect(try await f.past(at: .distantPast).isEmpty)
    }

    @Test("what an import brought is in the past too")
    func imported() async throws {
        let f = try await Fixture()
        let old = Timestamp(milliseconds: 1000)
        func version(_ number: Int, _ stage: ModelStage) -> ModelVersion {
            ModelVersion(
                name: "m", version: number, source: "s3://b/m", storageLocation: "s3://b/m", runID: nil, runLink: nil, modelID: nil,
                userID: "eve",
                stage: stage, description: "", createdAt: old, updatedAt: old, foreignTags: [])
        }
        func model(_ tags: [ModelTag]) -> ForeignRegisteredModel {
            ForeignRegisteredModel(name: "m", description: "imported", lastVersion: 2, createdAt: old, updatedAt: old, tags: tags)
        }
        try await f.registry.importModels([model([ModelTag("a", "1"), ModelTag("b", "2")])], from: "old", f.write)
        try await f.registry.importVersions([version(1, .archived), version(2, .production)], from: "old", f.write)
        try await f.registry.importAliases([ForeignAliases(model: "m", aliases: [("x", 1), ("y", 2)])], from: "old", f.write)
        let first = (try await f.instant(), try await f.present())
        try await f.registry.importModels([model([ModelTag("a", "3")])], from: "old", f.write)
        try await f.registry.importAliases([ForeignAliases(model: "m", aliases: [("y", 1)])], from: "old", f.write)
        let second = (try await f.instant(), try await f.present())
        #expect(first.1[0].aliases == ["x": 1, "y": 2] && second.1[0].aliases == ["y": 1] && second.1[0].tags == ["a": "3"])
        for (time, present) in [first, second] { #expect(try await f.past(at: time).map(\.content) == present) }
    }

    @Test("a change of one kind is found however many others came after it, also under an older name")
    func kinds() async throws {
        let f = try await Fixture()
        _ = try await f.registry.createModel(name: "m", f.write)
        _ = try await f.registry.createVersion(model: "m", source: "s3://b/m", f.write)
        for i in 0..<1200 { try await f.registry.setTag(model: "m", version: 1, ModelTag("checked", "\(i)"), f.write) }
        _ = try await f.registry.renameModel(name: "m", to: "n", f.write)
        let found = try await f.registry.history(model: "n", version: 1, kinds: ["model.version.created"], limit: 200, f.read)
        #expect(found.events.map(\.kind) == ["model.version.created"] && found.next == nil)
    }

    @Test("the last page says that it is the last, and a page of names that are no more ends")
    func pages() async throws {
        let f = try await Fixture()
        for i in 0..<6 { _ = try await f.registry.createModel(name: "m\(i)", f.write) }
        let then = try await f.instant()
        for i in 0..<3 { try await f.registry.deleteModel(name: "m\(i)", f.write) }
        let now = try await f.instant()
        let page = try await f.registry.models(at: now, limit: 3, f.read)
        #expect(page.models.map(\.name) == ["m3", "m4", "m5"] && page.next == nil)
        let half = try await f.registry.models(at: then, limit: 3, f.read)
        #expect(half.models.map(\.name) == ["m0", "m1", "m2"] && half.next == "m2")
        #expect(try await f.past(at: then, limit: 3).count == 6)
    }
}
