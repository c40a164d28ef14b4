import Contracts
import Foundation
import Registry
import SearchLanguage
import Storage
import Testing

private struct Logged: LoggedModelLookup {
    func loggedModel(_ id: String, in workspace: WorkspaceID) async throws -> (artifactURI: String, runID: String?)? {
        id == "m-1" ? ("mlflow-artifacts:/1/models/m-1/artifacts", "run1") : nil
    }
    func registered(_ id: String, as version: ModelVersion, in workspace: WorkspaceID) async throws {}
}

private struct Used: VersionUsage {
    func uses(_ db: any Querying, ofModel name: String, version: Int?) throws -> [String] {
        version ?? 1 == 1 ? ["release delay/7"] : []
    }
}

extension Fixture {
    /// One logged model can be found, and version 1 of every model is in use.
    fileprivate static func used() async throws -> Fixture {
        try await Fixture { RegistryService(database: $0, loggedModels: Logged(), usage: Used()) }
    }
}

@Suite("Models, versions and aliases")
struct RegistryTests {
    @Test("versions count up from 1, are found by number, alias and latest, and a deleted number is not given again")
    func versions() async throws {
        let f = try await Fixture.used()
        for i in 1...3 {
            let version = try await f.registry.createVersion(
                model: "delay", source: "sha256:\(i)", runID: "run\(i)", tags: [ModelTag("auc", "0.8\(i)")], creatingModel: true, f.write)
            #expect(version.version == i && version.uri == "models:/delay/\(i)")
        }
        try await f.registry.setAlias(model: "delay", alias: "champion", version: 2, f.write)
        #expect(try await f.registry.resolve("models:/delay@champion", f.read)?.version == 2)
        #expect(try await f.registry.resolve("models:/delay/3", f.read)?.source == "sha256:3")
        #expect(try await f.registry.resolve("models:/delay/latest", f.read)?.version == 3)
        #expect(try await f.registry.resolve("models:/delay@nobody", f.read) == nil)
        await #expect(throws: KeelError.self) { _ = try await f.registry.resolve("runs:/x", f.read) }
        try await f.registry.deleteVersion(model: "delay", version: 3, f.write)
        #expect(try await f.registry.createVersion(model: "delay", source: "s3://b/s", f.write).version == 4)
        let model = try await f.registry.model(name: "delay", f.read)
        #expect(model.aliases.map(\.alias) == ["champion"] && model.latest.map(\.version) == [4])
    }

    @Test("what is not there is answered with what is: the model, its newest version, its aliases")
    func notFound() async throws {
        let f = try await Fixture.used()
        for i in 1...2 { _ = try await f.registry.createVersion(model: "delay", source: "sha256:\(i)", creatingModel: true, f.write) }
        func words(_ uri: String) async throws -> String {
            do {
                return try await f.registry.found(uri, f.read).uri
            } catch let error as KeelError {
                #expect(error.code == .notFound)
                return "\(error.message); \(error.hint ?? "")"
            }
        }
        #expect(try await words("models:/delay/latest") == "models:/delay/2")
        #expect(try await words("models:/delay/9") == "there is no 'models:/delay/9'; its newest version is models:/delay/2")
        #expect(try await words("models:/delay@best").hasSuffix("has no alias 'best'; it has none; its newest version is models:/delay/2"))
        try await f.registry.setAlias(model: "delay", alias: "champion", version: 1, f.write)
        #expect(try await words("models:/delay@best").hasSuffix("it has champion; its newest version is models:/delay/2"))
        #expect(try await words("models:/dely/1").hasPrefix("there is no model 'dely'"))
        _ = try await f.registry.createModel(name: "empty", f.write)
        #expect(try await words("models:/empty/latest").hasPrefix("the model 'empty' has no version"))
    }

    @Test("a copy takes the right to read what is copied: whoever may write some models copies no others")
    func copies() async throws {
        let f = try await Fixture()
        _ = try await f.registry.createVersion(model: "secret", source: "s3://b/s", creatingModel: true, f.write)
        _ = try await f.registry.createVersion(model: "open", source: "s3://b/o", creatingModel: true, f.write)
        let scope = PermissionScope(names: [try NamePattern("o*", path: "")])
        let caller = Caller(
            name: "fred", persona: .member, permissions: [Permission([.registryRead, .registryWrite], in: scope, from: "RoleBinding/o")])
        let write = try Grant.check(caller, may: .registryWrite, on: "Model/own")
        for source in ["models:/secret/1", "models:/secret/latest", "models:/absent/1"] {
            let error = await #expect(throws: KeelError.self) {
                _ = try await f.registry.createVersion(model: "own", source: source, creatingModel: true, write)
            }
            #expect(error?.code == .permissionDenied, "\(source)")
        }
        #expect(try await f.registry.createVersion(model: "own", source: "models:/open/1", creatingModel: true, write).version == 1)
    }

    @Test("an alias moves only from where the caller saw it; the ledger tells every move")
    func aliases() async throws {
        let f = try await Fixture.used()
        for _ in 1...3 { _ = try await f.registry.createVersion(model: "delay", source: "s3://b/s", creatingModel: true, f.write) }
        #expect(try await f.registry.setAlias(model: "delay", alias: "champion", version: 1, expecting: .unset, f.write) == nil)
        await #expect(throws: KeelError.self) {
            try await f.registry.setAlias(model: "delay", alias: "champion", version: 2, expecting: .unset, f.write)
        }
        let winners = await withTaskGroup(of: Bool.self) { group in
            for version in [2, 3] {
                group.addTask {
                    (try? await f.registry.setAlias(model: "delay", alias: "champion", version: version, expecting: .version(1), f.write))
                        != nil
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(winners == 1)
        let moves = try await f.database.read { try $0.ledgerEvents(kind: "model.alias.set", subject: "Model/delay") }
        #expect(moves.map { $0.data["before"]?.integer } == [nil, 1])
        for bad in ["", "latest", "v3", "a/b", "a b"] {
            await #expect(throws: KeelError.self) { try await f.registry.setAlias(model: "delay", alias: bad, version: 1, f.write) }
        }
    }

    @Test("a version in use cannot be deleted, nor its model")
    func guards() async throws {
        let f = try await Fixture.used()
        for _ in 1...2 { _ = try await f.registry.createVersion(model: "delay", source: "s3://b/s", creatingModel: true, f.write) }
        for attempt in [
            { try await f.registry.deleteVersion(model: "delay", version: 1, f.write) },
            { try await f.registry.deleteModel(name: "delay", f.write) },
        ] {
            do {
                try await attempt()
                Issue.record("deleted")
            } catch let error as KeelError { #expect(error.code == .failedPrecondition && error.message.contains("release delay/7")) }
        }
        try await f.registry.setAlias(model: "delay", alias: "old", version: 2, f.write)
        try await f.registry.deleteVersion(model: "delay", version: 2, f.write)
        #expect(try await f.registry.resolve("models:/delay@old", f.read) == nil)
    }

    @Test("a source that names a logged model or a version is resolved to where its files are")
    func sources() async throws {
        let f = try await Fixture.used()
        let first = try await f.registry.createVersion(model: "delay", source: "models:/m-1", modelID: "m-1", creatingModel: true, f.write)
        #expect(first.storageLocation == "mlflow-artifacts:/1/models/m-1/artifacts" && first.runID == "run1" && first.modelID == "m-1")
        let second = try await f.registry.createVersion(model: "copy", source: "models:/delay/1", creatingModel: true, f.write)
        #expect(second.storageLocation == first.storageLocation && second.source == "models:/delay/1")
        await #expect(throws: KeelError.self) {
            _ = try await f.registry.createVersion(model: "delay", source: "models:/m-2", modelID: "m-2", f.write)
        }
        await #expect(throws: KeelError.self) { _ = try await f.registry.createVersion(model: "nobody", source: "s3://b/s", f.write) }
        for hostile in [
            "s3://b/../../x", "s3://b/%2e%2e/x", "mlflow-artifacts:/0/%252e%252e/x", "file:///a%00b",
            "s3://b/%" + String(repeating: "25", count: 50_000) + "2e/x",
        ] {
            await #expect(throws: KeelError.self) { _ = try await f.registry.createVersion(model: "delay", source: hostile, f.write) }
        }
    }

    @Test("renaming keeps versions, tags and aliases; names are checked")
    func rename() async throws {
        let f = try await Fixture()
        _ = try await f.registry.createVersion(model: "delay", source: "s3://b/s", tags: [ModelTag("a", "1")], creatingModel: true, f.write)
        try await f.registry.setAlias(model: "delay", alias: "champion", version: 1, f.write)
        _ = try await f.registry.renameModel(name: "delay", to: "late", f.write)
        let version = try #require(try await f.registry.resolve("models:/late@champion", f.read))
        #expect(version.tags == [ModelTag("a", "1")])
        for bad in ["", " ", "a/b", "a:b", "..", String(repeating: "x", count: 257)] {
            await #expect(throws: KeelError.self) { _ = try await f.registry.createModel(name: bad, f.write) }
        }
        do { _ = try await f.registry.createModel(name: "late", f.write) } catch let error as KeelError {
            #expect(error.code == .alreadyExists && error.message == "Registered Model (name=late) already exists.")
        }
    }

    @Test("searching: filters, prompts apart, order and pages")
    func search() async throws {
        let f = try await Fixture.used()
        for name in ["a", "b", "c"] {
            for i in 1...3 {
                _ = try await f.registry.createVersion(model: name, source: "s3://b/s\(i)", runID: "r\(i)", creatingModel: true, f.write)
            }
        }
        _ = try await f.registry.createModel(name: "p", tags: [ModelTag("mlflow.prompt.is_prompt", "true")], f.write)
        let models = try await f.registry.searchModels(RegistrySearch(.models, filter: "tags.`mlflow.prompt.is_prompt` != 'true'"), f.read)
        #expect(models.items.map(\.name) == ["a", "b", "c"])
        // Prompts are found only by who asks for them, as in MLflow.
        let named = try await f.registry.searchModels(
            RegistrySearch(.models, filter: "name IN ('a', 'b', 'p')", orderBy: ["name DESC"]), f.read)
        #expect(named.items.map(\.name) == ["b", "a"])
        let prompts = try await f.registry.searchModels(RegistrySearch(.models, filter: "tags.`mlflow.prompt.is_prompt` = 'true'"), f.read)
        #expect(prompts.items.map(\.name) == ["p"])
        var search = try RegistrySearch(
            .versions, filter: "version_number >= 2 AND name != 'b'", orderBy: ["version_number DESC", "name"], pageSize: 3)
        let first = try await f.registry.searchVersions(search, f.read)
        search.pageToken = first.nextToken
        let second = try await f.registry.searchVersions(search, f.read)
        #expect((first.items + second.items).map { "\($0.name)\($0.version)" } == ["a3", "c3", "a2", "c2"])
        #expect(second.nextToken == nil)
        #expect(try await f.registry.searchVersions(RegistrySearch(.versions, filter: "run_id IN ('r1')"), f.read).items.count == 3)
    }
}
