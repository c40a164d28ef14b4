import Contracts
import TestSupport
import Testing

@Suite("Resources and their fields")
struct ResourceTests {
    @Test("a misspelt field is named with the nearest known one")
    func unknownField() throws {
        let reader = try FieldReader(["windwo": "1h", "name": "x"], path: "spec.features[2]")
        _ = try reader.string("name")
        _ = try reader.optionalSpan("window")
        let error = #expect(throws: KeelError.self) { try reader.finish() }
        #expect(error?.path == "spec.features[2].windwo")
        #expect(error?.hint == "did you mean 'window'?")
    }

    @Test(
        "names that could leave a folder are refused",
        arguments: ["", "../x", "a/b", "-a", "a b", "é", ".hidden", String(repeating: "a", count: 129)])
    func names(name: String) {
        #expect(throws: KeelError.self) { try Identifier.check(name: name) }
    }

    @Test("lengths of time", arguments: [("1h", 3_600_000_000), ("30d", 2_592_000_000_000), ("500ms", 500_000)] as [(String, Int64)])
    func spans(text: String, microseconds: Int64) throws {
        let span = try #require(TimeSpan(text))
        #expect(span.microseconds == microseconds)
        #expect(TimeSpan(span.description) == span)
    }

    @Test("instants are read and written in UTC")
    func instants() throws {
        #expect(Timestamp("2013-04-01T10:15:00+02:00")?.description == "2013-04-01T08:15:00Z")
        #expect(Timestamp("1969-12-31 23:59:59.5")?.microseconds == -500_000)
        for bad in ["2013-02-29", "2013-4-1", "2013-04-01T25:00:00Z", "2013-04-01T10:15:00.Z", "x"] { #expect(Timestamp(bad) == nil) }
        var random = Seeded(2000)
        for _ in 0..<2000 {
            let time = Timestamp(microseconds: .random(in: -60_000_000_000_000_000...200_000_000_000_000_000, using: &random))
            #expect(Timestamp(time.description) == time)
        }
    }

    @Test("no persona but the owner may do everything, and a grant cannot be had without the permission")
    func grants() throws {
        let scientist = Caller(name: "dana", persona: .dataScientist)
        #expect(throws: KeelError.self) { try Grant.check(scientist, may: .releasesDeploy) }
        let grant = try Grant.check(scientist, may: .trackingWrite, on: "Experiment/1")
        #expect(throws: KeelError.self) { try grant.require(.registryWrite) }
        for persona in Persona.allCases where persona != .owner { #expect(Permissions.actions(of: persona).count < Action.allCases.count) }
    }
}
