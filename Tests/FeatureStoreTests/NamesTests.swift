import Contracts
import Engines
import FeatureStore
import Foundation
import Testing

/// Names that SQL, Keel's own queries or files might stumble over, in the roles that columns can have.
private let hostile = [
    "rid", "row", "select", "t", "ts", "seq", "arrival", "created", "kid", "asked", "label", "k0", "a0", "c0", "c1", "d0", "e0", "f0", "p0",
    "r0", "v0",
    "w0", "x0", "j", "q", "keel_v", "__keel_rid", "ever", "o0", "questions", "time zone", "a b", "a\"b", "a'b", "a`b", "\"", "''", ";--",
    "%s", "$1", "?", "{}", "é", "日本", "🇫🇷", "null", "NULL", "true", "count(*)", "*", "a.b", "hive=1", "/x", "\\",
    String(repeating: "n", count: 200), String(repeating: "🙂", count: 200),
]

@Suite("Names of users meet no name of Keel's")
struct NamesTests {
    /// The name as an expression writes it.
    private func reference(_ name: String) -> String { DuckDBConnection.quoted(name) }

    @Test("V5: a key, a time, a value and a feature of any name agree online, in batch and in training sets", arguments: hostile.indices)
    func roles(index: Int) throws {
        let names = (0..<5).map { hostile[(index + $0 * 7) % hostile.count] }
        let (key, time, value, created, label) = (names[0], names[1], names[2], names[3], names[4])
        try #require(Set(names.map { $0.lowercased() }).count == 5)
        let schema = Schema(
            [
                Field(key, .string), Field(time, .timestamp), Field(value, .float64, nullable: true), Field(created, .timestamp),
                Field(label, .bool),
            ], eventTime: time)
        try schema.checkNames()
        let view = FeatureViewSpec(
            name: "v", source: .dataset("events", entity: "e"), at: time, created: created, filter: "\(reference(value)) < 1000",
            features: [
                FeatureSpec("s", .windowed(.sum, of: reference(value), .seconds(60))),
                FeatureSpec("n", .windowed(.count, of: nil, .seconds(60))),
                FeatureSpec("latest", .latest("\(reference(value)) * 2")),
            ])
        let request = FeatureViewSpec(
            name: "request", source: .request,
            features: [FeatureSpec("later", .request("hour(\(reference(time))) >= 0 AND s > 0"))])
        let store = FeatureStore()
        // A name with a dot is one of the request all the same when it is quoted whole.
        _ = try store.configure(
            entities: [EntitySpec(name: "e", keys: [Field(key, .string)])], views: [view, request],
            services: [FeatureServiceSpec(name: "all", features: ["v", "request"], time: time)], datasets: ["events": schema])
        var events = Table(emptyOf: schema.fields)
        for i in 0..<40 {
            try events.append(row: [
                .string("k\(i % 3)"), .timestamp(at(Double(i))), i % 7 == 0 ? .null : .double(Double(i)), .timestamp(at(0)),
                .bool(i % 2 == 0),
            ])
        }
        try store.apply(dataset: "events", rows: events)
        let folder = try Folder()
        let connection = try DuckDB(settings: .init(folders: [NSTemporaryDirectory()], threads: 1)).connect()
        let file = folder.path + "/it's env=prod.parquet"
        try connection.writeParquet(events, to: file)
        let asked = try events.selecting([key, time])
        let online = try store.read(service: "all", request: asked)
        let offline = try store.offlineRead(service: "all", requests: asked, on: connection) { _ in SourceRows([file]) }
        for row in 0..<asked.rowCount { #expect(online.row(row) == offline.row(row)) }
        #expect(online.names == [key, time, "s", "n", "latest", "later"])
        let inputs = ["s", "n", "latest"].map { Signature.Input($0, .float64) }
        let chosen = try online.selecting(inputs.map(\.name))
        let values = (0..<online.rowCount).map { chosen.row($0) }
        let report = try store.verify(service: "all", requests: asked, values: values, inputs: inputs, on: connection) { _ in SourceRows([file]) }
        #expect(report.differences == [])
        guard !["label"].contains(where: { names.contains($0) }) else { return }
        let set = try store.trainingSet(
            TrainingSetRequest(labels: "events", label: reference(label), service: "all", keep: [value, label]), on: connection
        ) { _ in SourceRows([file]) }
        #expect(set.names == [key, time, "s", "n", "latest", "later", value, label, "label"])
        for row in 0..<asked.rowCount {
            #expect(try set.row(row)[2...5] == online.row(row)[2...5] && set.column(value)[row] == events.row(row)[2])
        }
        #expect(try set.column("label").doubles() == (0..<40).map { $0 % 2 == 0 ? 1 : 0 })
        try connection.writeParquet(set, to: folder.path + "/set.parquet")
    }

    @Test("G3: names that differ in nothing but case are refused, with both names")
    func folding() throws {
        for (a, b) in [("x", "X"), ("Größe", "größe"), ("é", "É"), ("e\u{301}", "\u{c9}"), ("İ", "i̇")] {
            let error = try #require(throws: KeelError.self) { try Schema([Field(a, .int64), Field(b, .int64)]).checkNames() }
            #expect(error.message.contains("'\(a)'") && error.message.contains("'\(b)'"))
        }
        for name in ["", "a\u{0}b", "a\nb", String(repeating: "n", count: 1001)] {
            #expect(throws: KeelError.self) { try Schema([Field(name, .int64)]).checkNames() }
        }
        try Schema([Field("x", .int64), Field("x_", .int64)]).checkNames()
    }

    @Test("G3: a feature named like a column of the examples up to case is refused before anything runs, with both names")
    func featureAndColumn() throws {
        let schema = Schema([Field("Contract", .string), Field("at", .timestamp), Field("paid", .bool)], eventTime: "at")
        let view = FeatureViewSpec(
            name: "v", source: .dataset("bills", entity: "e"), features: [FeatureSpec("contract", .windowed(.count, of: nil, .seconds(60)))]
        )
        let clash = try #require(throws: KeelError.self) {
            try FeatureCatalog(
                entities: [EntitySpec(name: "e", keys: [Field("Contract", .string)])], views: [view],
                services: [FeatureServiceSpec(name: "s", features: ["v"], time: "at")], datasets: ["bills": schema])
        }
        #expect(clash.message.contains("'contract'") && clash.message.contains("'Contract'"))
        let catalog = try FeatureCatalog(
            entities: [EntitySpec(name: "e", keys: [Field("customer", .string)])],
            views: [
                FeatureViewSpec(
                    name: "v", source: .dataset("bills", entity: "e"), keys: ["customer": "Contract"],
                    features: [FeatureSpec("contract", .windowed(.count, of: nil, .seconds(60)))])
            ],
            services: [FeatureServiceSpec(name: "s", features: ["v"], time: "at")],
            datasets: [
                "bills": schema,
                "labels": Schema([Field("customer", .string), Field("Contract", .string), Field("at", .timestamp), Field("y", .bool)]),
            ])
        let kept = try #require(throws: KeelError.self) {
            try catalog.check(TrainingSetRequest(labels: "labels", label: "y", service: "s", keep: ["Contract"]))
        }
        #expect(kept.message.contains("'contract'") && kept.message.contains("'Contract'"))
        try catalog.check(TrainingSetRequest(labels: "labels", label: "y", service: "s"))
    }

    @Test("G5: another project's column of the same name and another type changes nothing")
    func twoProjects() throws {
        let mine = Schema([Field("id", .string), Field("at", .timestamp), Field("amount", .float64)], eventTime: "at")
        let theirs = Schema([Field("id", .int64), Field("at", .timestamp), Field("amount", .string)], eventTime: "at")
        func catalog(_ datasets: [String: Schema]) throws -> FeatureCatalog {
            try FeatureCatalog(
                entities: [EntitySpec(name: "e", keys: [Field("id", .string)])],
                views: [
                    FeatureViewSpec(
                        name: "v", source: .dataset("mine", entity: "e"),
                        features: [FeatureSpec("n", .windowed(.count, of: nil, .seconds(60)))]),
                    FeatureViewSpec(name: "r", source: .request, features: [FeatureSpec("big", .request("amount > 100"))]),
                    FeatureViewSpec(name: "tip", source: .request, features: [FeatureSpec("share", .request("tip / total"))]),
                ],
                services: [
                    FeatureServiceSpec(name: "s", features: ["v", "r"], time: "at"), FeatureServiceSpec(name: "alone", features: ["tip"]),
                ], datasets: datasets)
        }
        let bills = Schema([Field("tip", .float64), Field("total", .float64)])
        let before = try catalog(["mine": mine, "bills": bills])
        let after = try catalog(["mine": mine, "bills": bills, "theirs": theirs, "other": Schema([Field("tip", .string)])])
        for service in ["s", "alone"] { #expect(try before.requestFields(service) == after.requestFields(service)) }
        #expect(try after.resources("s") == ["Dataset/mine", "Entity/e", "FeatureService/s", "FeatureView/r", "FeatureView/v"])
    }

    @Test("G4: files of an older contract read with null in a new column, and convert to a wider type")
    func olderFiles() throws {
        let folder = try Folder()
        let connection = try DuckDB(settings: .init(folders: [NSTemporaryDirectory()], threads: 1)).connect()
        let old = try Table([
            ("id", try Column(.string, values: ["a", "a"])),
            ("at", try Column(.timestamp, values: [.timestamp(at(1)), .timestamp(at(2))])),
            ("n", try Column(.int32, values: [1, 2])), ("gone", try Column(.string, values: ["x", "y"])),
        ])
        let new = try Table([
            ("id", try Column(.string, values: ["a"])), ("at", try Column(.timestamp, values: [.timestamp(at(3))])),
            ("n", try Column(.int64, values: [3])), ("extra", try Column(.float64, values: [0.5])),
        ])
        try connection.writeParquet(old, to: folder.path + "/0.parquet")
        try connection.writeParquet(new, to: folder.path + "/1.parquet")
        let schema = Schema(
            [Field("id", .string), Field("at", .timestamp), Field("n", .int64), Field("extra", .float64, nullable: true)], eventTime: "at")
        let store = FeatureStore()
        let views = [
            FeatureViewSpec(
                name: "v", source: .dataset("d", entity: "e"),
                features: [
                    FeatureSpec("extras", .windowed(.count, of: "extra", .seconds(60))), FeatureSpec("last", .latest("extra")),
                    FeatureSpec("sum", .windowed(.sum, of: "n", .seconds(60))),
                ])
        ]
        let draft = store.draft(
            try FeatureCatalog(
                entities: [EntitySpec(name: "e", keys: [Field("id", .string)])], views: views,
                services: [FeatureServiceSpec(name: "s", features: ["v"], time: "at")], datasets: ["d": schema]))
        for rows in [old, new] { try draft.apply(dataset: "d", rows: rows, now: at(100)) }
        store.adopt(draft)
        let asked = try Table([
            ("id", try Column(.string, values: ["a", "a"])),
            ("at", try Column(.timestamp, values: [.timestamp(at(2)), .timestamp(at(3))])),
        ])
        let online = try store.read(service: "s", request: asked)
        #expect(online.row(0).suffix(3) == [0, .null, 3.0] && online.row(1).suffix(3) == [1, 0.5, 6.0])
        // All files, and the old one alone, which has no such column at all.
        for files in [["0", "1"], ["0"]] {
            let paths = files.map { "\(folder.path)/\($0).parquet" }
            let offline = try store.offlineRead(service: "s", requests: asked, on: connection) { _ in SourceRows(paths) }
            #expect(offline.row(0) == online.row(0))
            let set = try store.trainingSet(
                TrainingSetRequest(labels: "d", label: "n", service: "s", keep: ["extra"]), on: connection
            ) { _ in SourceRows(paths) }
            #expect(try set.column("extra")[0] == Value.null && set.column("label")[1] == 2.0)
            #expect(set.rowCount == files.count + 1)
        }
    }
}
