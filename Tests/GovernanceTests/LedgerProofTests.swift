import Contracts
import Foundation
import Governance
import Storage
import Testing

/// Writes to the database past Keel, as someone could who has the file.
private func forge(_ home: Home, _ statements: [String]) async throws {
    try await home.database.write { tx in for sql in statements { try tx.execute(sql) } }
}

@Suite("Tokens and the ledger")
struct TokenRecordTests {
    @Test(
        "A5: a row that was written or changed past Keel lets nobody in, and is named",
        arguments: [
            "UPDATE tokens SET persona = 'owner' WHERE name = 'dana'",
            "UPDATE tokens SET digest = '\(Digest(of: forgedSecret).hex)' WHERE name = 'dana'",
            "UPDATE tokens SET workspace = 'other' WHERE name = 'dana'",
            "UPDATE tokens SET expires_at = NULL WHERE name = 'dana'",
            "UPDATE tokens SET persona = 'king' WHERE name = 'dana'",
            "UPDATE tokens SET name = 'dan' WHERE name = 'dana'",
            "INSERT INTO tokens (name, digest, persona, workspace, created_at, created_by) VALUES ('evil', '\(Digest(of: forgedSecret).hex)', 'owner', 'default', 1, 'x')",
            "UPDATE tokens SET revoked_at = NULL WHERE name = 'gone'",
            "UPDATE ledger SET data = replace(data, 'data-scientist', 'owner'); UPDATE tokens SET persona = 'owner' WHERE name = 'dana'",
        ])
    func forged(sql: String) async throws {
        let home = try await Home()
        let manage = try grant(.tokensManage)
        let service = try await TokenService.open(database: home.database)
        let end = Timestamp.systemNow() + .days(1)
        let dana = try await service.create(name: "dana", persona: .dataScientist, expires: end, by: manage)
        let good = try await service.create(name: "good", persona: .service, by: manage)
        let gone = try await service.create(name: "gone", persona: .service, by: manage)
        try await service.revoke("gone", by: manage)
        try await forge(home, sql.split(separator: ";").map(String.init))

        var reported: [String] = []
        let again = try await TokenService.open(database: home.database, report: { subject, _ in reported.append(subject) })
        #expect(reported.count == 1)
        #expect(try await again.refused(by: manage).map { "Token/\($0.name)" } == reported)
        #expect(again.authenticate(forgedSecret) == nil)
        #expect(again.authenticate(gone.secret) == nil)
        if sql.contains("'dana'") { #expect(again.authenticate(dana.secret) == nil) }
        #expect(again.authenticate(good.secret)?.persona == .service)
    }

    @Test("A5: tokens of Keel 0.1.0, whose events hold no digest, go on, and are covered from then on")
    func adopted() async throws {
        let home = try await Home()
        let manage = try grant(.tokensManage)
        // As 0.1.0 wrote them.
        let secret = "keel_" + String(repeating: "a", count: 43)
        try await home.database.write { tx in
            try tx.execute(
                "INSERT INTO tokens (name, digest, persona, workspace, created_at, created_by) VALUES ('old', ?, 'service', 'default', 1, 'ann')",
                [.string(Digest(of: secret).hex)])
            try tx.record("token.created", on: "Token/old", ["persona": "service", "expires": .null], by: manage)
        }
        #expect(try await TokenService.open(database: home.database).authenticate(secret)?.name == "old")
        #expect(try await TokenService.open(database: home.database).authenticate(secret)?.name == "old")
        #expect(try await home.events("token.covered").count == 1)
        try await forge(home, ["UPDATE tokens SET digest = '\(Digest(of: forgedSecret).hex)'"])
        let again = try await TokenService.open(database: home.database)
        #expect(again.authenticate(forgedSecret) == nil)
        #expect(try await again.refused(by: manage).map(\.name) == ["old"])
    }
}

private let forgedSecret = "keel_" + String(repeating: "x", count: 43)

@Suite("Ledger checkpoints")
struct CheckpointTests {
    private func record(_ count: Int, _ home: Home) async throws {
        try await home.database.write { tx in
            for i in 0..<count { try tx.record("thing.made", on: "Thing/\(i)", ["n": .int(Int64(i))], by: grant(.ledgerRead)) }
        }
    }

    private func service(_ home: Home, _ seed: [UInt8]) throws -> CheckpointService {
        try CheckpointService(
            database: home.database, key: SigningKey(seed: seed), folder: home.folder + "/checkpoints", report: { Issue.record("\($0)") })
    }

    /// Computes every hash anew, so that the chain is whole again.
    private func recompute(_ home: Home) async throws {
        try await home.database.write { tx in
            var chain = ""
            for event in try tx.ledgerEvents(limit: .max) {
                let fields = [event.caller, event.persona, event.workspace, event.requestID, event.kind, event.subject, event.dataText]
                var hasher = Digest.Hasher()
                hasher.update("\(chain)\n\(event.seq)\n\(event.at.microseconds)\n")
                for field in fields { hasher.update("\(field.utf8.count):\(field)\n") }
                chain = hasher.finish().hex
                try tx.execute("UPDATE ledger SET hash = ? WHERE seq = ?", [.string(chain), .int(event.seq)])
            }
            try tx.execute("UPDATE ledger_head SET seq = (SELECT max(seq) FROM ledger), hash = ?", [.string(chain)])
        }
    }

    @Test("A10: a chain that was altered and computed anew is found by a checkpoint made before, and by its exported copy")
    func recomputed() async throws {
        let home = try await Home()
        let seed = SigningKey.newSeed()
        try await record(10, home)
        let checkpoint = try await service(home, seed).checkpoint(grant(.ledgerRead))
        try await record(5, home)
        #expect(try await service(home, seed).problem() == nil)

        try await forge(home, ["UPDATE ledger SET data = '{\"n\":99}' WHERE seq = 4"])
        #expect(try await home.database.read { try $0.verifyLedger() }.broken?.seq == 4)
        try await recompute(home)
        #expect(try await home.database.read { try $0.verifyLedger() }.broken == nil, "the chain alone does not tell")
        #expect(try await service(home, seed).problem()?.seq == 10)
        #expect(try await service(home, seed).problem(lastOnly: true)?.seq == 10)

        // Away from the server: the exported text, and the events as the API gives them.
        let exported = try LedgerCheckpoint(json: try JSON.parse(checkpoint.json.text))
        var chain = LedgerChain()
        for event in try await home.database.read({ try $0.ledgerEvents(limit: .max) }) where event.seq <= exported.seq {
            chain.add(try LedgerEvent(json: try JSON.parse(event.rawJSON.text)))
        }
        #expect(chain.broken == nil && chain.count == 10)
        #expect(exported.problem(withHash: chain.head) != nil)
    }

    @Test("A10: a ledger that lost its end is found, and a checkpoint that somebody altered or signed with a key of their own is refused")
    func forgedCheckpoints() async throws {
        let home = try await Home()
        let seed = SigningKey.newSeed()
        try await record(10, home)
        let checkpoint = try await service(home, seed).checkpoint(grant(.ledgerRead))
        try await forge(home, ["DELETE FROM ledger WHERE seq > 7"])
        try await recompute(home)
        #expect(try await service(home, seed).problem()?.problem.contains("ends before event 10") == true)
        for (field, value) in [("seq", JSON.int(9)), ("hash", .string(Digest(of: "x").hex)), ("at", "2020-01-01T00:00:00Z")] {
            var altered = checkpoint.json
            altered[field] = value
            #expect(throws: KeelError.self) { try LedgerCheckpoint(json: altered) }
        }
        // The log of checkpoints can be written by whoever can write the home: another key in it is no proof.
        #expect(try await service(home, SigningKey.newSeed()).problem()?.problem.contains("another key") == true)
    }

    @Test("A10: an end is signed once, and values of every kind keep their hash on the way through JSON")
    func values() async throws {
        let home = try await Home()
        let seed = SigningKey.newSeed()
        let data: JSON = [
            "text": "żółć \u{1F98A} \" \\ \n \u{1}", "int": .int(.min), "double": .double(0.1), "large": .double(1e300),
            "whole": .double(3),
            "list": .array([.null, .bool(true)]), "empty": .object([]),
        ]
        _ = try await home.database.write { try $0.record("thing.made", on: "Thing/ż", data, by: grant(.ledgerRead)) }
        let service = try service(home, seed)
        let first = try await service.checkpoint(grant(.ledgerRead))
        let second = try await service.checkpoint(grant(.ledgerRead))
        #expect(first.hash == second.hash && first.seq == 1)
        var chain = LedgerChain()
        for event in try await home.events("thing.made") { chain.add(try LedgerEvent(json: try JSON.parse(event.rawJSON.text))) }
        #expect(chain.broken == nil && chain.head == first.hash)
        var records = 0
        try DurableLog(folder: home.folder + "/checkpoints").replay { _, _ in records += 1 }
        #expect(records == 1)
    }
}

@Suite("Stored declarations")
struct DamagedResourceTests {
    @Test("D13: a declaration whose row is damaged is read from the history; when that is damaged too, only it is left out")
    func damaged() async throws {
        let home = try await Home()
        let service = ResourceService(database: home.database)
        let names = ["a", "b", "c"]
        let resources = names.map { Resource(kind: "Endpoint", name: $0, environment: "production", spec: ["x": 1]) }
        _ = try await service.apply(resources, by: grant(.resourcesApply)) { _ in }
        try await forge(
            home,
            [
                "UPDATE resources SET body = replace(body, '1', '2') WHERE name = 'a'", "UPDATE resources SET body = 'x' WHERE name = 'b'",
                "UPDATE resource_revisions SET body = '{}' WHERE name = 'b'",
            ])
        let read = try grant(.resourcesRead)
        #expect(try await service.all(by: read).map(\.resource) == [resources[0], resources[2]])
        let damaged = try await service.damaged(by: read)
        #expect(damaged.map(\.subject) == ["Endpoint/b"])
        #expect(damaged.first?.error.code == .corrupted)
    }
}
