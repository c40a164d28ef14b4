import Contracts
import FeatureStore
import Testing

private let flights = Schema(
    [
        Field("origin", .string), Field("carrier", .string), Field("scheduled", .timestamp), Field("actual", .timestamp, nullable: true),
        Field("dep_delay", .float64, nullable: true), Field("distance", .float64),
    ], eventTime: "scheduled")

private func resource(_ kind: String, _ name: String, _ spec: JSON) -> Resource { Resource(kind: kind, name: name, spec: spec) }

private func view(_ features: [JSON], extra: [(String, JSON)] = []) throws(KeelError) -> FeatureViewSpec {
    var spec: JSON = ["entity": "origin", "source": "flights", "at": "actual", "features": .array(features)]
    for (key, value) in extra { spec[key] = value }
    return try FeatureViewSpec(resource: resource("FeatureView", "departures", spec))
}

private let origin = EntitySpec(name: "origin", keys: [Field("origin", .string)])
private let requestView = FeatureViewSpec(
    name: "request", source: .request,
    features: [
        FeatureSpec("rush", .request("departures_1h / nullif(departures_24h / 24, 0)")),
        FeatureSpec("hour_of_day", .request("hour(scheduled)")),
        FeatureSpec("far", .request("distance > 1000")),
    ])

private func catalog(_ views: [FeatureViewSpec], _ services: [FeatureServiceSpec] = []) throws(KeelError) -> FeatureCatalog {
    try FeatureCatalog(entities: [origin], views: views, services: services, datasets: ["flights": flights])
}

@Suite struct CatalogTests {
    @Test func aServiceSaysWhatARequestCarriesAndWhatAModelTakes() throws {
        let departures = try view([
            ["name": "departures_1h", "aggregate": "count", "window": "1h"],
            ["name": "departures_24h", "aggregate": "count", "window": "24h"],
            ["name": "late", "aggregate": "mean", "of": "dep_delay > 15", "window": "24h"], ["name": "last_delay", "of": "dep_delay"],
        ])
        let service = try FeatureServiceSpec(
            resource: resource(
                "FeatureService", "delay", ["features": ["departures.departures_1h", "departures.late", "request"], "at": "scheduled"]))
        #expect(throws: KeelError.self) { try catalog([departures, requestView], [service]).features("delay") }
        let whole = FeatureServiceSpec(name: "delay", features: ["departures", "request"], time: "scheduled")
        let found = try catalog([departures, requestView], [whole])
        #expect(try found.requestFields("delay").map(\.name) == ["origin", "scheduled", "distance"])
        #expect(try found.requestFields("delay").map(\.type) == [.string, .timestamp, .float64])
        #expect(
            try found.features("delay").map(\.name) == [
                "departures_1h", "departures_24h", "late", "last_delay", "rush", "hour_of_day", "far",
            ])
        #expect(try found.features("delay").map(\.type) == [.int64, .int64, .float64, .float64, .float64, .int64, .bool])
        #expect(try found.sources("delay") == ["flights"])
    }

    @Test(
        arguments: [
            (["name": "x", "aggregate": "mena", "of": "dep_delay", "window": "1h"], "spec.features[0].aggregate", "mean"),
            (["name": "x", "aggregate": "mean", "of": "dep_dela", "window": "1h"], "spec.features[0].of", "dep_delay"),
            (["name": "x", "aggregate": "mean", "of": "origin", "window": "1h"], "spec.features[0].of", nil),
            (["name": "x", "aggregate": "count", "window": "61s"], "spec.features[0].window", nil),
            (["name": "x", "aggregate": "count", "window": "1500ms"], "spec.features[0].window", nil),
            (["name": "x", "aggregate": "count", "windo": "1h"], "spec.features[0].window", "windo"),
            (["name": "x", "aggregate": "sum", "window": "1h"], "spec.features[0].of", nil),
            (["name": "x", "aggregate": "count", "window": "30d"], "spec.features[0].window", "ttl"),
            (["name": "x", "aggregate": "last", "of": "carrier", "window": "1h"], "spec.features[0].of", nil),
        ] as [(JSON, String, String?)])
    func aWrongFeatureIsNamedWithTheNearestKnown(feature: JSON, path: String, hint: String?) throws {
        let error = try #require(throws: KeelError.self) { _ = try catalog([try view([feature], extra: [("ttl", "2d")])]) }
        #expect(error.path?.hasSuffix(path) == true, "\(error)")
        if let hint { #expect(error.hint?.contains(hint) == true, "\(error)") }
    }

    @Test func unknownNamesAnywhereAreErrorsWithTheNearest() throws {
        let count: JSON = ["name": "n", "aggregate": "count", "window": "1h"]
        func failure(_ body: () throws -> Void) throws -> KeelError { try #require(throws: KeelError.self) { try body() } }
        var wrong = try view([count])
        wrong.source = .dataset("flight", entity: "origin")
        #expect(try failure { _ = try catalog([wrong]) }.hint == "did you mean 'flights'?")
        wrong.source = .dataset("flights", entity: "orign")
        #expect(try failure { _ = try catalog([wrong]) }.hint == "did you mean 'origin'?")
        #expect(try failure { _ = try view([count], extra: [("tttl", "1d")]) }.path == "spec.tttl")
        let bad = try failure { _ = try catalog([try view([count])], [FeatureServiceSpec(name: "s", features: ["departure"])]) }
        #expect(bad.path == "FeatureService/s.spec.features[0]" && bad.hint == "did you mean 'departures'?")
        let badFeature = try failure { _ = try catalog([try view([count])], [FeatureServiceSpec(name: "s", features: ["departures.m"])]) }
        #expect(badFeature.hint?.contains("departures.n") == true)
        let twice = try failure {
            _ = try catalog([try view([count])], [FeatureServiceSpec(name: "s", features: ["departures", "departures.n"])])
        }
        #expect(twice.message.contains("twice"))
        var cyclic = requestView
        cyclic.features = [FeatureSpec("a", .request("b + 1")), FeatureSpec("b", .request("a + 1"))]
        #expect(
            try failure { _ = try catalog([cyclic], [FeatureServiceSpec(name: "s", features: ["request"])]) }.message.contains(
                "refers to itself"))
        cyclic.features = [FeatureSpec("a", .request("distnce * 2"))]
        #expect(
            try failure { _ = try catalog([cyclic], [FeatureServiceSpec(name: "s", features: ["request"])]) }.hint
                == "did you mean 'distance'?")
    }

    @Test func requestsAreCheckedColumnByColumn() throws {
        let store = FeatureStore()
        let departures = try view([
            ["name": "departures_1h", "aggregate": "count", "window": "1h"],
            ["name": "departures_24h", "aggregate": "count", "window": "24h"],
        ])
        _ = store.configure(
            try catalog(
                [departures, requestView], [FeatureServiceSpec(name: "delay", features: ["departures", "request"], time: "scheduled")]))
        let inputs =
            ["departures_1h", "far", "hour_of_day"].map { Signature.Input($0, .float64) } + [
                Signature.Input("origin", .string, categories: ["JFK", "LGA"])
            ]
        let plan = try store.plan(service: "delay", inputs: inputs)
        func table(_ pairs: [(String, DataType, Value)]) throws -> Table {
            var columns: [(name: String, column: Column)] = []
            for (name, type, value) in pairs { columns.append((name, try Column(type, values: [value]))) }
            return try Table(columns)
        }
        func fill(_ request: Table) throws -> [Float] { try OnlinePlan.matrix(try plan.inputs(for: request).table, inputs: inputs) }
        // As an API parses them: instants as text, whole numbers for floats.
        let good = try table([("origin", .string, "LGA"), ("scheduled", .string, "2013-04-01T10:15:00Z"), ("distance", .int64, 1200)])
        #expect(try fill(good) == [0, 1, 10, 1])
        let read = try plan.inputs(for: good)
        #expect(read.times == [Timestamp("2013-04-01T10:15:00Z")!])
        // The values have their types: a text stays one, the feature of whole numbers is the float that the model takes.
        #expect(read.table.row(0) == [0.0, 1.0, 10.0, "LGA"])
        let unknown = try fill(try table([("origin", .string, "XXX"), ("scheduled", .int64, 0), ("distance", .float64, nil)]))
        #expect(unknown[0] == 0 && unknown[1].isNaN && unknown[2] == 0 && unknown[3].isNaN)

        func failure(_ request: Table) throws -> KeelError { try #require(throws: KeelError.self) { _ = try fill(request) } }
        let missing = try failure(try table([("origin", .string, "LGA"), ("schedule", .string, "2013-04-01"), ("distance", .int64, 1)]))
        #expect(missing.code == .contractViolation && missing.path == "scheduled" && missing.hint?.contains("'schedule'") == true)
        let extra = try failure(
            try table([
                ("origin", .string, "LGA"), ("scheduled", .string, "2013-04-01"), ("distance", .int64, 1), ("carier", .string, "AA"),
            ]))
        #expect(extra.code == .contractViolation && extra.path == "carier")
        let wrong = try failure(try table([("origin", .string, "LGA"), ("scheduled", .string, "yesterday"), ("distance", .int64, 1)]))
        #expect(wrong.path == "scheduled" && wrong.message.contains("yesterday"))
        let text = try failure(try table([("origin", .string, "LGA"), ("scheduled", .string, "2013-04-01"), ("distance", .string, "far")]))
        #expect(text.path == "distance")
        #expect(throws: KeelError.self) { _ = try store.plan(service: "dely", inputs: []) }
        let input = try #require(throws: KeelError.self) {
            _ = try store.plan(service: "delay", inputs: [Signature.Input("departures_1", .float64)])
        }
        #expect(input.hint == "did you mean 'departures_1h'?")
        #expect(throws: KeelError.self) { _ = try store.plan(service: "delay", inputs: [Signature.Input("origin", .float64)]) }
    }
}
