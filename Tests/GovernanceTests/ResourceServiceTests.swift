import Contracts
import Foundation
import Governance
import Storage
import Synchronization
import TestSupport
import Testing

struct Home {
    let folder: String
    let database: Storage.Database

    init(clock: any Clock = SystemClock()) async throws {
        folder = NSTemporaryDirectory() + "keel-governance-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        database = try Storage.Database(path: folder + "/keel.sqlite", clock: clock)
        try await database.migrate(Ledger.migrations + GovernanceTables.migrations, backupFolder: folder + "/backups")
    }

    func events(_ kind: String) async throws -> [LedgerEvent] { try await database.read { try $0.ledgerEvents(kind: kind) } }
}

func grant(_ action: Action, _ persona: Persona = .owner, name: String = "ann") throws -> Grant {
    try Grant.check(Caller(name: name, persona: persona), may: action)
}

private func endpoint(_ shares: [JSON], name: String = "delay", environment: String? = "production") -> Resource {
    Resource(
        kind: "Endpoint", name: name, environment: environment,
        spec: ["features": "delay", "rollout": ["shadow": ["requests": 500], "canary": ["shares": .array(shares)]]])
}
private let accept: ResourceService.Validation = { _ in }

@Suite("Resources: plan, apply, restore")
struct ResourceServiceTests {
    @Test("a plan names the field that differs, an apply makes it so as the next revision, and a second apply of the same changes nothing")
    func planAndApply() async throws {
        let home = try await Home()
        let service = ResourceService(database: home.database)
        let write = try grant(.resourcesApply)
        let first = try await service.apply([endpoint(["10%", "100%"])], by: write, validate: accept)
        #expect(first.revision == 1 && first.changes.map(\.kind) == [.new])

        let next = endpoint(["5%", "25%", "100%"])
        let plan = try await service.plan([next], by: grant(.resourcesRead))
        #expect(plan.map(\.kind) == [.changed])
        #expect(plan[0].differences == [FieldDifference(path: "rollout.canary.shares", old: ["10%", "100%"], new: ["5%", "25%", "100%"])])
        #expect(try await service.get("Endpoint", "delay", by: write).revision == 1, "a plan changes nothing")

        let second = try await service.apply([next], by: write, validate: accept)
        #expect(second.revision == 2 && second.changes == plan)
        let same = try await service.apply([next], by: write, validate: accept)
        #expect(same.revision == 2 && same.ledgerSeq == nil && same.changes.map(\.kind) == [.unchanged])

        let events = try await home.events("resources.applied")
        #expect(events.map(\.seq) == [first.ledgerSeq, second.ledgerSeq].compactMap(\.self))
        #expect(events.last?.data["changes"]?[0]?["digest"]?.string == next.digest.hex)
        #expect(events.last?.data["revision"]?.integer == 2)

        let revisions = try await service.revisions("Endpoint", "delay", environment: "production", by: write)
        #expect(revisions.map(\.revision) == [2, 1] && revisions.map(\.apply) == [2, 1] && revisions.map(\.by) == ["ann", "ann"])
        let restored = try await service.restore(
            kind: "Endpoint", name: "delay", environment: "production", revision: 1, by: write, validate: accept)
        #expect(restored.revision == 3)
        let now = try await service.get("Endpoint", "delay", by: write)
        #expect(now.revision == 3 && now.digest == revisions[1].digest)
        await #expect(throws: KeelError.self) {
            try await service.restore(kind: "Endpoint", name: "delay", environment: "production", revision: 9, by: write, validate: accept)
        }
    }

    @Test("validation sees the whole set as it would be; when it refuses, nothing of the apply is kept")
    func validation() async throws {
        let home = try await Home()
        let service = ResourceService(database: home.database)
        let write = try grant(.resourcesApply)
        _ = try await service.apply([endpoint(["100%"], name: "a")], by: write, validate: accept)
        await #expect(throws: KeelError.invalid("no")) {
            try await service.apply([endpoint(["50%"], name: "a"), endpoint(["100%"], name: "b")], by: write) { all in
                #expect(all.map(\.name) == ["a", "b"])
                throw KeelError.invalid("no")
            }
        }
        #expect(try await service.all(by: write).map(\.revision) == [1])
        #expect(try await home.events("resources.").count == 1)
        #expect(try await service.lastRevision(by: write) == 1)
    }

    @Test("a resource given twice is an error, the same name in two environments is not")
    func duplicates() async throws {
        let service = ResourceService(database: try await Home().database)
        let write = try grant(.resourcesApply)
        let error = await #expect(throws: KeelError.self) {
            try await service.apply([endpoint([]), endpoint([])], by: write, validate: accept)
        }
        #expect(error?.message == "Endpoint/delay is declared twice")
        _ = try await service.apply([endpoint([]), endpoint([], environment: "staging")], by: write, validate: accept)
        #expect(try await service.get("Endpoint", "delay", by: write).resource.environment == "production")
        _ = try await service.apply(
            [endpoint([], name: "tried", environment: "staging"), endpoint([], name: "tried", environment: "development")], by: write, validate: accept)
        await #expect(throws: KeelError.self) { try await service.get("Endpoint", "tried", by: write) }
        #expect(try await service.get("Endpoint", "delay", environment: "staging", by: write).revision == 1)
        let missing = await #expect(throws: KeelError.self) { try await service.get("Endpoint", "dealy", by: write) }
        #expect(missing?.code == .notFound && missing?.hint == "did you mean 'delay'?")
    }

    @Test("a grant for something else is refused")
    func grants() async throws {
        let service = ResourceService(database: try await Home().database)
        await #expect(throws: KeelError.self) { try await service.apply([endpoint([])], by: grant(.resourcesRead), validate: accept) }
        #expect(throws: KeelError.self) { try grant(.resourcesApply, .dataScientist) }
    }

    @Test("applies at the same time are all kept, each validated against what it was committed on")
    func concurrency() async throws {
        let home = try await Home()
        let service = ResourceService(database: home.database)
        let write = try grant(.resourcesApply)
        // Every resource states how many there are once it is applied: only a validation against the final state can hold.
        let results = try await withThrowingTaskGroup(of: ApplyResult.self) { group in
            for i in 0..<24 {
                group.addTask {
                    try await service.apply([endpoint(["100%"], name: "e\(i)"), endpoint([.int(Int64(i))], name: "shared")], by: write) {
                        all in
                        await Task.yield()
                        #expect(all.contains { $0.name == "shared" && $0.spec["rollout"]?["canary"]?["shares"]?[0] == .int(Int64(i)) })
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results.map(\.revision).sorted() == Array(1...24))
        #expect(try await service.all(by: write).count == 25)
        #expect(
            try await service.revisions("Endpoint", "shared", environment: "production", by: write).map(\.revision) == (1...24).reversed())
        let check = try await home.database.read { try $0.verifyLedger() }
        #expect(check.events == 24 && check.broken == nil)
    }

    @Test("what is prepared is stored with the set and then in force; what is prepared in vain is given up")
    func prepared() async throws {
        let home = try await Home()
        let service = ResourceService(database: home.database)
        let write = try grant(.resourcesApply)
        let log = PreparationLog()
        let isFirst = Mutex(true)
        let result = try await service.apply([endpoint(["50%"], name: "a")], by: write, validate: accept) { candidate, changed in
            #expect(changed.map(\.name) == ["a"])
            // Another apply comes in between: what was prepared for the set without it is of no use.
            let isOvertaken = isFirst.withLock { first in
                defer { first = false }
                return first
            }
            if isOvertaken { _ = try await service.apply([endpoint([], name: "b")], by: write, validate: accept) }
            return log.preparation(of: candidate.map(\.name).joined())
        }
        #expect(result.revision == 2)
        #expect(log.lines == ["prepare a", "discard a", "prepare ab", "store ab", "activate ab"])
        // Nothing changes, so nothing is prepared.
        _ = try await service.apply([endpoint(["50%"], name: "a")], by: write, validate: accept) { _, _ in log.preparation(of: "none") }
        _ = try await service.delete([endpoint([], name: "b")], by: write, validate: accept) { remaining, _ in
            log.preparation(of: remaining.map(\.name).joined())
        }
        #expect(log.lines.suffix(4) == ["activate ab", "prepare a", "store a", "activate a"])
    }

    @Test("what cannot be prepared, or fails in the transaction, is not stored")
    func unprepared() async throws {
        let home = try await Home()
        let service = ResourceService(database: home.database)
        let write = try grant(.resourcesApply)
        let log = PreparationLog()
        await #expect(throws: KeelError.invalid("no model")) {
            try await service.apply([endpoint([])], by: write, validate: accept) { _, _ in throw KeelError.invalid("no model") }
        }
        await #expect(throws: KeelError.self) {
            try await service.apply([endpoint([])], by: write, validate: accept) { _, _ in log.preparation(of: "a", failsToStore: true) }
        }
        #expect(log.lines == ["prepare a", "store a", "discard a"])
        #expect(try await service.all(by: write).isEmpty)
        #expect(try await home.events("resources.").isEmpty)
        #expect(try await service.lastRevision(by: write) == 0)
    }

    @Test("what was applied is there after the database is opened again")
    func reopen() async throws {
        let home = try await Home()
        let write = try grant(.resourcesApply)
        var resource = endpoint(["100%"])
        (resource.owner, resource.labels) = ("ops", ["team": "air"])
        _ = try await ResourceService(database: home.database).apply([resource], by: write, validate: accept)
        try await home.database.close()
        let again = try Storage.Database(path: home.folder + "/keel.sqlite")
        #expect(try await ResourceService(database: again).get("Endpoint", "delay", by: write).resource == resource)
    }
}

/// Notes what is done with what was prepared.
private final class PreparationLog: Sendable {
    private let noted = Mutex<[String]>([])
    var lines: [String] { noted.withLock { $0 } }
    func note(_ line: String) { noted.withLock { $0.append(line) } }

    func preparation(of name: String, failsToStore: Bool = false) -> any PreparedResources {
        note("prepare \(name)")
        return Noted(name: name, failsToStore: failsToStore, log: self)
    }

    private struct Noted: PreparedResources {
        let name: String
        let failsToStore: Bool
        let log: PreparationLog

        func store(_ tx: Transaction) throws {
            log.note("store \(name)")
            if failsToStore { throw KeelError.invalid("cannot be stored") }
        }
        func activate() { log.note("activate \(name)") }
        func discard() { log.note("discard \(name)") }
    }
}

@Suite("Differences of declarations")
struct ResourceDifferenceTests {
    private func paths(_ old: JSON, _ new: JSON) -> [String] {
        ResourceDifference.between(Resource(kind: "K", name: "n", spec: old), Resource(kind: "K", name: "n", spec: new)).map(\.path)
    }

    @Test("things in lists are compared by their name; an insertion is one difference")
    func lists() {
        let old: JSON = ["columns": [["name": "a", "type": "int64"], ["name": "b", "range": [1, 2]]]]
        let new: JSON = ["columns": [["name": "z"], ["name": "a", "type": "int64"], ["name": "b", "range": [1, 3], "unit": "mile"]]]
        #expect(paths(old, new) == ["columns[b].range", "columns[b].unit", "columns[z]"])
        #expect(paths(["s": [["name": "a"], ["name": "b"]]], ["s": [["name": "b"], ["name": "a"]]]) == ["s (order)"])
        #expect(paths(["a": 1], ["a": 1, "b": nil]) == ["b"])
    }

    @Test("metadata is compared too, and the order of fields is not")
    func metadata() {
        var (a, b) = (Resource(kind: "K", name: "n", spec: ["x": 1, "y": 2]), Resource(kind: "K", name: "n", spec: ["y": 2, "x": 1]))
        #expect(ResourceDifference.between(a, b).isEmpty)
        (a.labels, b.labels, b.owner) = (["team": "air", "tier": "1"], ["team": "sea", "tier": "1"], "ops")
        #expect(ResourceDifference.between(a, b).map(\.path).sorted() == ["metadata.labels.team", "metadata.owner"])
    }

    @Test("for random declarations: no differences exactly when equal, and the other way round is the mirror image", arguments: 0..<20)
    func property(seed: Int) {
        var random = Seeded(UInt64(seed))
        for _ in 0..<100 {
            let (a, b) = (tree(&random, 3), random.next() % 4 == 0 ? tree(&random, 3) : mutate(tree(&random, 0), &random))
            let base = mutate(a, &random)
            for (x, y) in [(a, b), (a, base), (a, a)] {
                let (old, new) = (Resource(kind: "K", name: "n", spec: x), Resource(kind: "K", name: "n", spec: y))
                let (there, back) = (ResourceDifference.between(old, new), ResourceDifference.between(new, old))
                #expect(there.isEmpty == (old.digest == new.digest))
                #expect(Set(there.map { FieldDifference(path: $0.path, old: $0.new, new: $0.old) }) == Set(back))
                #expect(there.allSatisfy { $0.old?.canonical != $0.new?.canonical })
                #expect(Set(there.map(\.path)).count == there.count)
            }
        }
    }

    private func tree(_ random: inout Seeded, _ depth: Int) -> JSON {
        switch random.next() % (depth > 0 ? 7 : 4) {
        case 0: return .int(Int64(random.next() % 3))
        case 1: return .string(["a", "b", "5%"][Int(random.next() % 3)])
        case 2: return .bool(random.next() % 2 == 0)
        case 3: return random.next() % 2 == 0 ? .null : .object([])
        case 4: return .array((0..<random.next() % 3).map { _ in tree(&random, depth - 1) })
        case 5:
            let names = ["p", "q", "r", "s"].filter { _ in random.next() % 2 == 0 }
            return .array(names.map { ["name": .string($0), "value": tree(&random, depth - 1)] })
        default:
            let keys = ["x", "y", "z"].filter { _ in random.next() % 3 != 0 }
            return .object(keys.map { JSON.Member($0, tree(&random, depth - 1)) })
        }
    }

    private func mutate(_ json: JSON, _ random: inout Seeded) -> JSON {
        switch json {
        case .object(let members):
            return .object(
                members.filter { _ in random.next() % 8 != 0 }.map {
                    JSON.Member($0.key, random.next() % 2 == 0 ? $0.value : mutate($0.value, &random))
                })
        case .array(let items): return .array(random.next() % 4 == 0 ? items.reversed() : items.map { mutate($0, &random) })
        default: return random.next() % 3 == 0 ? tree(&random, 1) : json
        }
    }
}
