import Contracts
import Foundation
import Registry
import SearchLanguage
import Storage
import TestSupport
import Testing

/// Every version of these models is named by a release.
private struct Released: VersionUsage {
    let models: Set<String>
    func uses(_ db: any Querying, ofModel name: String, version: Int?) throws -> [String] {
        models.contains(name) ? ["release delay/7"] : []
    }
}

private let refit = Digest(of: "refit on all rows")
private let candidate = Digest(of: "trained on the first rows")
private let served = Digest(of: "the refit with its metrics")

extension Fixture {
    fileprivate var runner: Grant { get throws { try Grant.check(Caller(name: "ada", persona: .owner), may: .pipelinesRun) } }

    /// A pipeline run: what was trained, and the verdict on its candidate.
    fileprivate func judged(_ failures: [String] = [], run: String = "run-1", on subject: Digest = candidate) async throws -> Evidence {
        _ = try await registry.recordTraining(
            of: refit, candidate: candidate, until: Timestamp("2013-03-01"), data: ["rows": 10], by: StepOrigin(run: run, step: "train"),
            runner)
        return try await registry.recordVerdict(
            on: subject, failures: failures, ["checks": []], by: StepOrigin(run: run, step: "gate"), runner)
    }

    fileprivate func register(_ model: String = "delay", gate: String?, run: String = "run-1", alias: String? = nil) async throws
        -> ModelVersion
    {
        try await registry.register(
            BundleRegistration(
                model: model, source: "mlflow-artifacts:/1/\(run)/artifacts/model", runID: run, bundle: served, trained: refit, gate: gate,
                alias: alias, origin: StepOrigin(run: run, step: "register")), write)
    }

    fileprivate func refused(_ code: KeelError.Code, _ body: () async throws -> Void) async {
        do {
            try await body()
            Issue.record("it was not refused")
        } catch { #expect(KeelError.wrapping(error).code == code, "\(error)") }
    }
}

@Suite("Evidence of models")
struct EvidenceTests {
    @Test("A3: a version is bound to its bundle with the verdict on it, on the candidate that it is the refit of, and the ledger tells it")
    func bound() async throws {
        let f = try await Fixture()
        let version = try await f.register(gate: try await f.judged().id, alias: "challenger")
        let bundle = try #require(try await f.registry.bundle(of: version, f.read))
        #expect(bundle.subject == served && bundle.hasPassed && bundle.version == VersionKey("delay", 1))
        #expect(bundle.data["until"]?.string == Timestamp("2013-03-01")?.description)
        #expect(try await f.registry.resolve("models:/delay@challenger", f.read)?.version == 1)
        let all = try #require(try await f.registry.evidence(of: version, f.read))
        #expect(all.gate?.subject == candidate && all.training?.subject == refit && all.approvals.isEmpty)
        let event = try #require(try await f.database.read { try $0.ledgerEvents(kind: "model.version.bundle") }.first)
        #expect(event.data["verdict"] == "passed" && event.data["subject"]?.string == served.hex && event.subject == "Model/delay")
    }

    @Test("A3: a version without a gate, and one whose gate failed, carry that verdict")
    func verdicts() async throws {
        let f = try await Fixture()
        let ungated = try await f.register(gate: nil)
        #expect(try await f.registry.bundle(of: ungated, f.read)?.verdict == Evidence.ungated)
        let failed = try await f.register(gate: try await f.judged(["auc >= 0.7 (auc = 0.5)"], run: "run-2").id, run: "run-2")
        #expect(try await f.registry.bundle(of: failed, f.read)?.verdict == "failed: auc >= 0.7 (auc = 0.5)")
        #expect(try await f.registry.bundle(of: failed, f.read)?.hasPassed == false)
    }

    @Test("A3: no other verdict can be passed off: of another bundle, of another run, of no gate at all")
    func forged() async throws {
        let f = try await Fixture()
        let other = try await f.judged(on: Digest(of: "a good model"))
        await f.refused(.invalidArgument) { _ = try await f.register(gate: other.id) }
        let earlier = try await f.judged(run: "run-0")
        await f.refused(.invalidArgument) { _ = try await f.register(gate: earlier.id) }
        let evaluation = try await f.registry.recordEvaluation(
            of: candidate, ["metrics": ["auc": 0.99]], by: StepOrigin(run: "run-1", step: "evaluate"), f.runner)
        for id in [evaluation.id, "nothing", ""] { await f.refused(.invalidArgument) { _ = try await f.register(gate: id) } }
        #expect(try await f.database.read { try $0.row("SELECT count(*) AS n FROM registry_versions")?.int("n") } == 0)
    }

    @Test("A3: tags that begin with keel. are refused on models and versions, whatever the way")
    func tags() async throws {
        let f = try await Fixture()
        let version = try await f.register(gate: nil)
        let tag = ModelTag("keel.gate", "passed")
        await f.refused(.invalidArgument) { try await f.registry.setTag(model: "delay", version: 1, tag, f.write) }
        await f.refused(.invalidArgument) { try await f.registry.deleteTag(model: "delay", version: 1, key: "keel.gate", f.write) }
        await f.refused(.invalidArgument) { try await f.registry.setTag(model: "delay", tag, f.write) }
        await f.refused(.invalidArgument) { _ = try await f.registry.createModel(name: "other", tags: [tag], f.write) }
        await f.refused(.invalidArgument) {
            _ = try await f.registry.createVersion(model: "delay", source: "s3://b/x", tags: [tag], f.write)
        }
        var record = version.record
        record["tags"] = [["keel.gate", "passed"]]
        #expect(throws: KeelError.self) { try ModelVersion(record: record) }
        #expect(try await f.registry.bundle(of: version, f.read)?.hasPassed == false)
    }

    @Test("A3: a row that was changed in the database is not what the ledger says, and is not believed")
    func altered() async throws {
        let f = try await Fixture()
        let version = try await f.register(gate: nil)
        for change in ["verdict = 'passed'", "subject = '\(Digest(of: "other").hex)'", "data = '{}'", "version = 2"] {
            let rows = try await f.database.read { try $0.rows("SELECT * FROM registry_evidence") }
            _ = try await f.database.write { try $0.execute("UPDATE registry_evidence SET \(change) WHERE kind = 'bundle'") }
            let number = change == "version = 2" ? 2 : 1
            _ = try await f.database.write { try $0.execute("UPDATE registry_versions SET version = ?", [.int(Int64(number))]) }
            let asked = try await f.registry.version(model: "delay", version: number, f.read)
            await f.refused(.corrupted) { _ = try await f.registry.bundle(of: asked, f.read) }
            try await f.database.write { tx in
                try tx.execute("UPDATE registry_versions SET version = 1")
                for row in rows {
                    try tx.execute(
                        "UPDATE registry_evidence SET verdict = ?, subject = ?, data = ?, version = ? WHERE id = ?",
                        [
                            row.optionalText("verdict").map(Value.string) ?? .null, .string(row.text("subject")), .string(row.text("data")),
                            row.optionalInt("version").map(Value.int) ?? .null, .string(row.text("id")),
                        ])
                }
            }
        }
        #expect(try await f.registry.bundle(of: version, f.read)?.verdict == Evidence.ungated)
    }

    @Test("A3: a copy of a version is bound to the same bundle, and a new name keeps bundle and approvals")
    func carried() async throws {
        let f = try await Fixture()
        _ = try await f.register(gate: try await f.judged().id)
        let officer = try Grant.check(Caller(name: "rosa", persona: .riskOfficer), may: .modelsApprove)
        _ = try await f.registry.approve(model: "delay", version: 1, reason: "reviewed", officer)
        let copy = try await f.registry.createVersion(model: "copies", source: "models:/delay/1", creatingModel: true, f.write)
        let copied = try #require(try await f.registry.evidence(of: copy, f.read))
        #expect(copied.bundle.subject == served && copied.bundle.hasPassed && copied.approvals.isEmpty)
        _ = try await f.registry.renameModel(name: "delay", to: "late", f.write)
        let renamed = try await f.registry.evidence(of: try await f.registry.version(model: "late", version: 1, f.read), f.read)
        #expect(renamed?.bundle.subject == served && renamed?.approvals.map { $0.data["reason"] } == ["reviewed"])
    }

    @Test("A3: an approval is of somebody who may and did not register the version")
    func approvals() async throws {
        let f = try await Fixture()
        let version = try await f.register(gate: nil)
        let ada = try Grant.check(Caller(name: "ada", persona: .owner), may: .modelsApprove)
        await f.refused(.permissionDenied) { _ = try await f.registry.approve(model: "delay", version: 1, reason: "mine", ada) }
        for persona in [Persona.dataScientist, .mlEngineer, .platformEngineer, .service] {
            #expect(throws: KeelError.self) { try Grant.check(Caller(name: "x", persona: persona), may: .modelsApprove) }
        }
        let rosa = try Grant.check(Caller(name: "rosa", persona: .riskOfficer), may: .modelsApprove)
        for reason in ["", " \n"] {
            await f.refused(.invalidArgument) { _ = try await f.registry.approve(model: "delay", version: 1, reason: reason, rosa) }
        }
        let approval = try await f.registry.approve(model: "delay", version: 1, reason: "reviewed", rosa)
        #expect(approval.subject == served && approval.by == "rosa")
        #expect(try await f.registry.evidence(of: version, f.read)?.approvals == [approval])
        _ = try await f.registry.createVersion(model: "delay", source: "s3://b/x", f.write)
        await f.refused(.failedPrecondition) { _ = try await f.registry.approve(model: "delay", version: 2, reason: "why", rosa) }
    }

    @Test("A3: what stood at an alias is known after it is gone, what never stood is not")
    func stood() async throws {
        let f = try await Fixture()
        _ = try await f.register(gate: nil)
        #expect(try await f.registry.hasStood("models:/delay@champion", f.read) == false)
        try await f.registry.setAlias(model: "delay", alias: "champion", version: 1, f.write)
        try await f.registry.deleteAlias(model: "delay", alias: "champion", f.write)
        #expect(try await f.registry.hasStood("models:/delay@champion", f.read))
        #expect(try await f.registry.hasStood("models:/delay@other", f.read) == false)
        #expect(try await f.registry.hasStood("models:/delay/2", f.read) == false)
        try await f.registry.deleteModel(name: "delay", f.write)
        #expect(try await f.registry.hasStood("models:/delay/1", f.read))
    }

    @Test("A3: tags of an older home become evidence, once; one that was edited is no verdict")
    func takenOver() async throws {
        let f = try await Fixture()
        for _ in 1...3 { _ = try await f.registry.createVersion(model: "delay", source: "s3://b/x", creatingModel: true, f.write) }
        try await f.registry.deleteVersion(model: "delay", version: 3, f.write)
        // What the step of that time wrote, and what somebody wrote over it.
        try await f.database.write { tx in
            for version in 1...2 {
                for (key, value) in [("keel.bundle", served.hex), ("keel.gate", "passed"), ("keel.trained_until", "2013-03-01T00:00:00Z")] {
                    try tx.execute(
                        "INSERT INTO registry_version_tags (workspace, name, version, key, value) VALUES ('default', 'delay', ?, ?, ?)",
                        [.int(Int64(version)), .string(key), .string(value)])
                }
            }
            try tx.record(
                "model.version.tagged", on: "Model/delay", ["version": 2, "key": "keel.gate", "after": "passed"],
                by: Caller(name: "mallory", persona: .dataScientist))
            try tx.execute("DELETE FROM registry_retired_versions")
        }
        #expect(try await f.registry.takeOver(f.write) == 2)
        #expect(try await f.registry.takeOver(f.write) == 0)
        let versions = try await [1, 2].asyncMap { try await f.registry.version(model: "delay", version: $0, f.read) }
        #expect(versions.allSatisfy { $0.tags.isEmpty })
        let bundles = try await versions.asyncMap { try await f.registry.bundle(of: $0, f.read) }
        #expect(bundles[0]?.subject == served && bundles[0]?.hasPassed == true && bundles[0]?.data["carried_from"] == "tags")
        #expect(bundles[1]?.verdict == "failed: its tags were edited by mallory")
        try await f.registry.deleteModel(name: "delay", f.write)
        #expect(try await f.registry.createVersion(model: "delay", source: "s3://b/x", creatingModel: true, f.write).version == 4)
    }

    @Test("A6: what a release names cannot be deleted or renamed")
    func released() async throws {
        let f = try await Fixture { RegistryService(database: $0, usage: Released(models: ["delay"])) }
        _ = try await f.register(gate: nil)
        await f.refused(.failedPrecondition) { try await f.registry.deleteVersion(model: "delay", version: 1, f.write) }
        await f.refused(.failedPrecondition) { try await f.registry.deleteModel(name: "delay", f.write) }
        await f.refused(.failedPrecondition) { _ = try await f.registry.renameModel(name: "delay", to: "x", f.write) }
        #expect(try await f.registry.version(model: "delay", version: 1, f.read).version == 1)
    }

    @Test(
        "A6: a protected alias is moved, removed, deleted with its version or renamed away by who may release, and nobody else; denials are told"
    )
    func protected() async throws {
        let denials = Denials()
        let f = try await Fixture {
            RegistryService(
                database: $0, protectedAliases: ["champion"],
                denied: { caller, _, subject in await denials.add("\(caller.name) \(subject)") })
        }
        for _ in 1...2 { _ = try await f.registry.createVersion(model: "delay", source: "s3://b/x", creatingModel: true, f.write) }
        try await f.registry.setAlias(model: "delay", alias: "champion", version: 1, f.write)
        let mallory = try Grant.check(Caller(name: "mallory", persona: .dataScientist), may: .registryWrite)
        await f.refused(.permissionDenied) { try await f.registry.setAlias(model: "delay", alias: "champion", version: 2, mallory) }
        await f.refused(.permissionDenied) { try await f.registry.deleteAlias(model: "delay", alias: "champion", mallory) }
        await f.refused(.permissionDenied) { try await f.registry.deleteVersion(model: "delay", version: 1, mallory) }
        await f.refused(.permissionDenied) { try await f.registry.deleteModel(name: "delay", mallory) }
        await f.refused(.permissionDenied) { _ = try await f.registry.renameModel(name: "delay", to: "x", mallory) }
        await f.refused(.permissionDenied) {
            try await f.registry.importAliases([ForeignAliases(model: "delay", aliases: [("champion", 2)])], from: "elsewhere", mallory)
        }
        #expect(await denials.all == Array(repeating: "mallory Model/delay", count: 6))
        try await f.registry.setAlias(model: "delay", alias: "challenger", version: 2, mallory)
        let engineer = try Grant.check(Caller(name: "eve", persona: .mlEngineer), may: .registryWrite)
        try await f.registry.setAlias(model: "delay", alias: "champion", version: 2, engineer)
        #expect(try await f.registry.resolve("models:/delay@champion", f.read)?.version == 2)
    }

    @Test("D12: a step that is repeated gets the version that it made; another run makes its own")
    func repeated() async throws {
        let f = try await Fixture()
        let gate = try await f.judged().id
        let made = try await f.register(gate: gate, alias: "challenger")
        try await f.registry.setAlias(
            model: "delay", alias: "challenger", version: try await f.register(gate: nil, run: "run-2").version, f.write)
        #expect(try await f.register(gate: gate, alias: "challenger").version == made.version)
        #expect(try await f.registry.resolve("models:/delay@challenger", f.read)?.version == 2)
        #expect(try await f.database.read { try $0.ledgerEvents(kind: "model.version.created") }.count == 2)
        #expect(try await f.database.read { try $0.ledgerEvents(kind: "model.version.bundle") }.count == 2)
    }
}

private actor Denials {
    var all: [String] = []
    func add(_ text: String) { all.append(text) }
}

@Suite("Numbers of versions")
struct NumberTests {
    /// A name and number, and the source that they meant when they were made.
    @Test(
        "A6: whatever is made, deleted, renamed and imported, a name with a number means one version for ever",
        arguments: 1...20 as ClosedRange<UInt64>)
    func neverTwice(seed: UInt64) async throws {
        var random = Seeded(seed)
        let f = try await Fixture()
        let names = ["a", "b", "c"]
        var meant: [VersionKey: String] = [:]
        for step in 0..<80 {
            let name = names.randomElement(using: &random) ?? "a"
            let other = names.randomElement(using: &random) ?? "b"
            // Refusals are right answers: only what is there afterwards counts.
            switch Int.random(in: 0..<6, using: &random) {
            case 0...1: _ = try? await f.registry.createVersion(model: name, source: "s3://b/\(step)", creatingModel: true, f.write)
            case 2: try? await f.registry.deleteVersion(model: name, version: Int.random(in: 1...4, using: &random), f.write)
            case 3: try? await f.registry.deleteModel(name: name, f.write)
            case 4: _ = try? await f.registry.renameModel(name: name, to: other, f.write)
            default:
                let number = Int.random(in: 1...6, using: &random)
                let foreign = ModelVersion(
                    name: name, version: number, source: "s3://foreign/\(step)", storageLocation: "s3://foreign/\(step)", runID: nil,
                    runLink: nil, modelID: nil, userID: "x", stage: .none, description: "", createdAt: Timestamp(milliseconds: 1),
                    updatedAt: Timestamp(milliseconds: 1), foreignTags: [])
                try? await f.registry.importVersions([foreign], from: "elsewhere \(step)", f.write)
            }
            for name in names {
                let found = try await f.registry.searchVersions(RegistrySearch(.versions, filter: "name = '\(name)'"), f.read).items
                for version in found {
                    let key = VersionKey(name, version.version)
                    #expect(meant[key] == nil || meant[key] == version.source, "step \(step): \(key.uri)")
                    meant[key] = version.source
                }
            }
        }
        #expect(meant.count > 5)
    }

    @Test("A6: an import brings back the version that it brought, and no other one under its number")
    func imported() async throws {
        let f = try await Fixture()
        func foreign(_ source: String) -> ModelVersion {
            ModelVersion(
                name: "delay", version: 2, source: source, storageLocation: source, runID: nil, runLink: nil, modelID: nil, userID: "x",
                stage: .none, description: "", createdAt: Timestamp(milliseconds: 1), updatedAt: Timestamp(milliseconds: 1), foreignTags: []
            )
        }
        for _ in 1...2 { _ = try await f.registry.createVersion(model: "delay", source: "s3://b/own", creatingModel: true, f.write) }
        await #expect(throws: KeelError.self) { try await f.registry.importVersions([foreign("s3://b/x")], from: "there", f.write) }
        try await f.registry.deleteVersion(model: "delay", version: 2, f.write)
        await #expect(throws: KeelError.self) { try await f.registry.importVersions([foreign("s3://b/x")], from: "there", f.write) }
        var three = foreign("s3://b/3").record
        three["version"] = 3
        let version = try ModelVersion(record: three)
        try await f.registry.importVersions([version], from: "there", f.write)
        try await f.registry.deleteVersion(model: "delay", version: 3, f.write)
        try await f.registry.importVersions([version], from: "there", f.write)
        #expect(try await f.registry.version(model: "delay", version: 3, f.read).source == "s3://b/3")
        #expect(try await f.registry.createVersion(model: "delay", source: "s3://b/own", f.write).version == 4)
    }
}
