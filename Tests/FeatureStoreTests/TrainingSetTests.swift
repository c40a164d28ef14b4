import Contracts
import Engines
import FeatureStore
import Foundation
import Testing

private let orders = Schema(
    [
        Field("machine", .string), Field("line", .int64), Field("asked", .timestamp), Field("shipped", .timestamp, nullable: true),
        Field("days", .float64, nullable: true), Field("region", .string),
    ], eventTime: "asked")

@Suite struct TrainingSetTests {
    private let folder: Folder
    private let store = FeatureStore()
    private let connection: DuckDBConnection

    init() throws {
        folder = try Folder()
        connection = try DuckDB(settings: .init(folders: [NSTemporaryDirectory()])).connect()
        let view = FeatureViewSpec(
            name: "v", source: .dataset("events", entity: "machine"), at: "time",
            features: [
                FeatureSpec("mean_1h", .windowed(.mean, of: "x", TimeSpan("1h")!)),
                FeatureSpec("n_1h", .windowed(.count, of: nil, TimeSpan("1h")!)),
                FeatureSpec("state", .latest("s")),
            ])
        let request = FeatureViewSpec(
            name: "request", source: .request,
            features: [FeatureSpec("twice", .request("mean_1h * 2")), FeatureSpec("busy", .request("coalesce(twice, 0) + n_1h > 3"))])
        _ = try store.configure(
            entities: [machine], views: [view, request],
            services: [FeatureServiceSpec(name: "s", features: ["v", "request"], time: "asked")],
            datasets: ["events": MachineEvent.schema, "orders": orders])
        var table = Table(emptyOf: orders.fields)
        // In the second row the label became known late, in the third it never did.
        try table.append(row: ["a", 1, .timestamp(at(100)), .timestamp(at(150)), 3.0, "north"])
        try table.append(row: ["a", 1, .timestamp(at(200)), .timestamp(at(9000)), 1.0, "south"])
        try table.append(row: ["a", 1, .timestamp(at(210)), nil, nil, "south"])
        try table.append(row: ["zz", 1, .timestamp(at(50)), .timestamp(at(60)), 9.0, "east"])
        try table.append(row: ["a", 1, .timestamp(at(1000)), .timestamp(at(1001)), 9.0, "east"])
        try connection.writeParquet(table, to: folder.path + "/orders.parquet")
        try connection.writeParquet(events, to: folder.path + "/events.parquet")
    }

    private var events: Table {
        get throws {
            try MachineEvent.table([
                MachineEvent(machine: "a", line: 1, time: at(90), x: 2, s: "up"),
                MachineEvent(machine: "a", line: 1, time: at(100), x: 4, s: "down"),
                MachineEvent(machine: "a", line: 1, time: Timestamp(microseconds: at(100).microseconds + 1), x: 100, s: "later"),
            ])
        }
    }

    private func rows(_ dataset: String) -> SourceRows { SourceRows(["\(folder.path)/\(dataset).parquet"]) }

    @Test func examplesHaveWhatWasKnownAtTheirTime() throws {
        var request = TrainingSetRequest(labels: "orders", label: "days > 2", service: "s", until: at(1000), keep: ["region"])
        let all = try store.trainingSet(request, on: connection, source: rows)
        #expect(all.names == ["machine", "line", "asked", "mean_1h", "n_1h", "state", "twice", "busy", "region", "label"])
        #expect(all.row(0) == ["zz", 1, .timestamp(at(50)), nil, 0, nil, nil, false, "east", 1.0])
        #expect(all.row(1) == ["a", 1, .timestamp(at(100)), 3.0, 2, "down", 6.0, true, "north", 1.0])
        #expect(all.rowCount == 3)
        #expect(all.row(2)[4] == 3)
        request.knownAt = "shipped"
        request.from = at(100)
        let known = try store.trainingSet(request, on: connection, source: rows)
        #expect(known.rowCount == 1 && known.row(0)[2] == .timestamp(at(100)))
        let features = try store.trainingSet(request, on: connection) { $0 == "events" ? SourceRows([String]()) : rows($0) }
        #expect(features.row(0)[3] == .null && features.row(0)[4] == 0)
    }

    @Test func wrongRequestsNameTheField() throws {
        func failure(_ change: (inout TrainingSetRequest) -> Void) throws -> KeelError {
            var request = TrainingSetRequest(labels: "orders", label: "days", service: "s")
            change(&request)
            return try #require(throws: KeelError.self) { _ = try store.trainingSet(request, on: connection, source: rows) }
        }
        #expect(try failure { $0.labels = "order" }.hint == "did you mean 'orders'?")
        #expect(try failure { $0.label = "day" }.path == "label")
        #expect(try failure { $0.label = "region" }.path == "label")
        #expect(try failure { $0.at = "shipped" }.path == "at")
        #expect(try failure { $0.keep = ["regio"] }.path == "keep[0]")
        #expect(try failure { $0.knownAt = "shiped" }.hint == "did you mean 'shipped'?")
        #expect(try failure { $0.service = "t" }.code == .notFound)
    }

    @Test func parityHoldsAndASkewIsReported() throws {
        try store.apply(dataset: "events", rows: events)
        let inputs =
            ["mean_1h", "n_1h", "twice", "busy"].map { Signature.Input($0, .float64) } + [
                Signature.Input("state", .string, categories: ["up", "down"])
            ]
        let plan = try store.plan(service: "s", inputs: inputs)
        let asked = try requests([("a", 1, at(100)), ("zz", 1, at(100)), ("a", 1, at(95)), ("a", 1, at(4000))])
        let read = try plan.inputs(for: asked).table
        var values = (0..<4).map { read.row($0) }
        #expect(values[0] == [3.0, 2.0, 6.0, 1.0, "down"])
        let report = try store.verify(service: "s", requests: asked, values: values, inputs: inputs, on: connection, source: rows)
        #expect(report.rows == 4 && report.compared == 20)
        #expect(report.differences == [])
        values[2][1] = 2.0
        values[0][4] = "up"
        let skewed = try store.verify(service: "s", requests: asked, values: values, inputs: inputs, on: connection, source: rows)
        #expect(
            skewed.differences == [
                ParityDifference(row: 0, feature: "state", online: "up", offline: "down"),
                ParityDifference(row: 2, feature: "n_1h", online: 2.0, offline: 1),
            ])
        // Predictions of a version before texts were logged have the position of the category.
        (values[2][1], values[0][4]) = (1.0, 1.0)
        #expect(
            try store.verify(service: "s", requests: asked, values: values, inputs: inputs, on: connection, source: rows).differences == [])
    }
}
