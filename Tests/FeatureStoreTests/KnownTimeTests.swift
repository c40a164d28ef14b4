import Contracts
import Engines
import FeatureStore
import Foundation
import Synchronization
import TestSupport
import Testing

/// An event and when it was accepted; nil for one that came with a history.
private struct Received {
    var event: MachineEvent
    var accepted: Timestamp?
}

/// A stream in order of arrival. Every fifth event is late, by seconds or by hours; several have one time; some have no value.
private func stream(_ count: Int, from start: Double, _ random: inout Seeded) throws -> (received: [Received], end: Double) {
    let (events, end) = randomEvents(count, from: start, &random)
    var out: [Received] = []
    var now = at(start).microseconds
    for event in events {
        now = max(now + 1, event.time?.microseconds ?? 0)
        var event = event
        if let time = event.time, Int.random(in: 0..<5, using: &random) == 0 {
            let delay = [1.0, 5, 30, 600, 8000].randomElement(using: &random)!
            event.time = Timestamp(microseconds: time.microseconds - Int64(delay * Double.random(in: 0...1, using: &random)) * 1_000_000)
        }
        out.append(Received(event: event, accepted: Timestamp(microseconds: now)))
    }
    return (out, max(end, Timestamp(microseconds: now).seconds - 1_365_000_000))
}

private let acceptedAt = "accepted_at"

extension Table {
    fileprivate init(_ received: [Received]) throws {
        self = try MachineEvent.table(received.map(\.event)).with(
            acceptedAt, Column(.timestamp, values: received.map { $0.accepted.map(Value.timestamp) ?? .null }))
    }
}

extension [Received] {
    /// What had happened by `t` and was known by `k` is for the oracle to choose from; it leaves out what happened later itself.
    fileprivate func known(by k: Timestamp) -> Oracle {
        Oracle(events: filter { $0.accepted ?? $0.event.time ?? .distantFuture <= k }.map(\.event))
    }
}

private final class MovedClock: Clock {
    private let time = Mutex(at(0))
    func set(_ seconds: Double) { time.withLock { $0 = at(seconds) } }
    func now() -> Timestamp { time.withLock { $0 } }
}

private struct Question {
    var machine: String?
    var line: Int64
    var asked: Timestamp
    /// The last row that had been accepted.
    var known: Timestamp
    var online: [Value]
}

@Suite struct KnownTimeTests {
    private let folder: Folder
    private let connection: DuckDBConnection

    init() throws {
        folder = try Folder()
        connection = try DuckDB(settings: .init(folders: [NSTemporaryDirectory()])).connect()
    }

    private static let labels = Schema(
        [Field("machine", .string, nullable: true), Field("line", .int64), Field("asked", .timestamp)], eventTime: "asked")

    private func store(_ views: [FeatureViewSpec]) throws -> FeatureStore {
        let store = FeatureStore()
        _ = try store.configure(
            entities: [machine], views: views,
            services: [FeatureServiceSpec(name: "all", features: views.map(\.name), time: "asked")],
            datasets: ["events": MachineEvent.schema, "labels": KnownTimeTests.labels])
        return store
    }

    private func write(_ received: [Received], _ name: String) throws -> String {
        let path = "\(folder.path)/\(name).parquet"
        try connection.writeParquet(try Table(received), to: path)
        return path
    }

    /// The online state, DuckDB and the oracle agree on what was served when events came late: then, and after all that came since. A training set made at
    /// the end has what was known at each label's time and nothing else.
    @Test(arguments: [11, 12, 13, 14, 15, 16, 17, 18] as [UInt64])
    func whatWasKnownThenIsWhatIsReplayed(seed: UInt64) throws {
        var random = Seeded(seed)
        let views = randomViews(&random)
        let features = views.flatMap { view in view.features.map { (view: view, feature: $0) } }
        let store = try store(views)
        var all: [Received] = []
        var asked: [Question] = []
        var end = 0.0
        for _ in 0..<8 {
            let (received, newEnd) = try stream(90, from: end, &random)
            end = newEnd
            for start in stride(from: 0, to: received.count, by: 15) {
                let part = Array(received[start..<min(start + 15, received.count)])
                all += part
                try store.apply(dataset: "events", rows: Table(part))
                let known = part[part.count - 1].accepted!
                var rows: [(machine: String?, line: Int64, asked: Timestamp)] = []
                for _ in 0..<5 {
                    let ahead = Double(Int.random(in: 0...40, using: &random)) * 0.5
                    let asked = Timestamp(microseconds: known.microseconds + Int64(ahead * 1_000_000))
                    rows.append((["a", "b", "", nil].randomElement(using: &random)!, Int64.random(in: 1...2, using: &random), asked))
                }
                let online = try store.read(service: "all", request: try requests(rows)).selecting(features.map(\.feature.name))
                for (i, row) in rows.enumerated() {
                    asked.append(Question(machine: row.machine, line: row.line, asked: row.asked, known: known, online: online.row(i)))
                }
            }
        }
        #expect(store.statistics().allSatisfy { $0.inexactReads == 0 })
        // For the training set some rows came with a history: they do not say when they became known.
        let history = all[..<60].map { Received(event: $0.event, accepted: nil) }
        let paths = try [write(Array(all[..<300]), "0"), write(Array(all[300...]), "1")]
        let source = SourceRows([.init(files: paths)], accepted: acceptedAt)
        let request = try requests(asked.map { ($0.machine, $0.line, $0.asked) })
        let offline = try store.offlineRead(service: "all", requests: request, known: asked.map(\.known), on: connection) { _ in source }
        for (row, question) in asked.enumerated() {
            let oracle = all.known(by: question.known)
            for (i, (view, feature)) in features.enumerated() {
                let expected = oracle.value(feature, view, question.machine, question.line, question.asked)
                let batch = try offline.column(feature.name)[row]
                #expect(agree(question.online[i], expected), "online \(feature) \(question.asked): \(question.online[i]), expected \(expected)")
                #expect(agree(batch, expected), "batch \(feature) \(question.asked) known \(question.known): \(batch), expected \(expected)")
            }
        }
        let inputs = try features.map { Signature.Input($0.feature.name, try offline.column($0.feature.name).type) }
        func verify(_ known: [ClosedRange<Timestamp>?]?) throws -> ParityReport {
            try store.verify(
                service: "all", requests: request, known: known, values: asked.map(\.online), inputs: inputs, on: connection
            ) { _ in source }
        }
        #expect(try verify(asked.map { $0.known...$0.known }).differences == [])
        #expect(try !verify(nil).differences.isEmpty, "late events that make no difference prove nothing")

        let rows = history + all[60...]
        let mixed = SourceRows([.init(files: [try write(Array(rows), "mixed")])], accepted: acceptedAt)
        let labels = try (0..<200).map { _ in
            (
                machine: ["a", "b", "", nil].randomElement(using: &random)! as String?, line: Int64.random(in: 1...2, using: &random),
                asked: Timestamp(
                    microseconds: at(Double.random(in: -100...(end + 50), using: &random).rounded()).microseconds
                        + Int64.random(in: 0...1, using: &random))
            )
        }
        let path = folder.path + "/labels.parquet"
        try connection.writeParquet(try requests(labels), to: path)
        let set = try store.trainingSet(TrainingSetRequest(labels: "labels", label: "1", service: "all"), on: connection) {
            $0 == "labels" ? SourceRows([path]) : mixed
        }
        #expect(set.rowCount == labels.count)
        var changed = 0
        for row in 0..<set.rowCount {
            let t = try #require(try set.column("asked")[row].time)
            let oracle = Array(rows).known(by: t)
            let careless = Oracle(events: rows.map(\.event))
            for (view, feature) in features {
                let (name, line) = (try set.column("machine")[row].text, Int64(try #require(try set.column("line")[row].number)))
                let expected = oracle.value(feature, view, name, line, t)
                let found = try set.column(feature.name)[row]
                #expect(agree(found, expected), "training \(feature) at \(t): \(found), expected \(expected)")
                if !agree(expected, careless.value(feature, view, name, line, t)) { changed += 1 }
            }
        }
        #expect(changed > 0, "no label would have leaked")
    }

    private let one = [
        FeatureViewSpec(
            name: "v", source: .dataset("events", entity: "machine"), at: "time",
            features: [
                FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("1h")!)), FeatureSpec("last", .windowed(.last, of: "x", TimeSpan("1h")!)),
                FeatureSpec("x", .latest("x")),
            ])
    ]
    private func event(_ time: Double, _ x: Double, accepted: Double?) -> Received {
        Received(event: MachineEvent(machine: "a", line: 1, time: at(time), x: x), accepted: accepted.map(at))
    }

    @Test("an event that is pushed after a prediction of a later time is no difference, and no example before its arrival has it")
    func lateEvent() throws {
        let store = try store(one)
        let early = [event(100, 1, accepted: 101)]
        let late = [event(150, 2, accepted: 300)]
        try store.apply(dataset: "events", rows: Table(early))
        let inputs = [Signature.Input("n", .float64), Signature.Input("last", .float64), Signature.Input("x", .float64)]
        let request = try requests([("a", 1, at(200))])
        let served = try store.plan(service: "all", inputs: inputs).inputs(for: request).table.row(0)
        #expect(served == [1.0, 1.0, 1.0])
        try store.apply(dataset: "events", rows: Table(late))
        let file = try write(early + late, "events")
        let source = SourceRows([.init(files: [file])], accepted: acceptedAt)
        func differences(_ known: ClosedRange<Timestamp>?, _ values: [Value]) throws -> [String] {
            try store.verify(service: "all", requests: request, known: [known], values: [values], inputs: inputs, on: connection) { _ in source }
                .differences.map(\.feature)
        }
        #expect(try differences(at(200)...at(200), served) == [])
        // Without the bound, the read looks wrong; with it, a read that had the event before it came is found.
        #expect(try differences(nil, served) == ["n", "last", "x"])
        #expect(try differences(at(200)...at(200), [2.0, 2.0, 2.0]) == ["n", "last", "x"])
        // While it was on its way, a read may have seen it or not, and nothing else.
        #expect(try differences(at(299)...at(301), served) == [])
        #expect(try differences(at(299)...at(301), [2.0, 2.0, 2.0]) == [])
        #expect(try differences(at(299)...at(301), [3.0, 2.0, 1.0]) == ["n"])

        let labels = folder.path + "/labels.parquet"
        try connection.writeParquet(try requests([("a", 1, at(200)), ("a", 1, at(299)), ("a", 1, at(300)), ("a", 1, at(400))]), to: labels)
        func training(_ source: SourceRows) throws -> [[Value]] {
            let set = try store.trainingSet(TrainingSetRequest(labels: "labels", label: "1", service: "all"), on: connection) {
                $0 == "labels" ? SourceRows([labels]) : source
            }
            return try (0..<4).map { try [set.column("n")[$0], set.column("last")[$0], set.column("x")[$0]] }
        }
        #expect(try training(source) == [[1, 1.0, 1.0], [1, 1.0, 1.0], [2, 2.0, 2.0], [2, 2.0, 2.0]])
        // Rows that do not say it were known when they happened.
        #expect(try training(SourceRows([file])) == Array(repeating: [2, 2.0, 2.0], count: 4))
        let times = try #require(try store.knownTimes(source, on: connection))
        #expect(times == KnownTimes(rows: 2, assumed: 0))
        #expect(try store.knownTimes(SourceRows([.init(files: [file])], accepted: "nothing"), on: connection) == KnownTimes(rows: 2, assumed: 2))
        let before = FeatureStore(clock: FixedClock(time: at(299)))
        #expect(try before.knownTimes(source, on: connection) == KnownTimes(rows: 2, assumed: 0, ahead: 1))
    }

    @Test("a column of the contract that says when a row became known counts before its arrival")
    func declaredTime() throws {
        let store = try store(one)
        var rows = [event(100, 1, accepted: 1000), event(110, 2, accepted: 1001), event(120, 3, accepted: 1002)]
        rows[0].event.written = at(100)
        rows[1].event.written = at(190)
        let source = SourceRows([.init(files: [try write(rows, "events")])], accepted: acceptedAt, knownAt: "written")
        let labels = folder.path + "/labels.parquet"
        try connection.writeParquet(try requests([("a", 1, at(130)), ("a", 1, at(200)), ("a", 1, at(1002))]), to: labels)
        let set = try store.trainingSet(TrainingSetRequest(labels: "labels", label: "1", service: "all"), on: connection) {
            $0 == "labels" ? SourceRows([labels]) : source
        }
        #expect(try (0..<3).map { try set.column("n")[$0] } == [1, 2, 3])
        #expect(try (0..<3).map { try set.column("x")[$0] } == [1.0, 2.0, 3.0])
    }

    @Test("rows that were ingested after a read are no difference")
    func laterIngest() throws {
        let store = try store(one)
        let files = try [write([event(100, 1, accepted: 101)], "pushed"), write([event(90, 5, accepted: nil), event(150, 2, accepted: nil)], "ingested")]
        let source = SourceRows([.init(files: [files[0]]), .init(files: [files[1]], acceptedAt: at(500))], accepted: acceptedAt)
        let request = try requests([("a", 1, at(200)), ("a", 1, at(200))])
        let read = try store.offlineRead(service: "all", requests: request, known: [at(499), at(500)], on: connection) { _ in source }
        #expect(try (0..<2).map { try read.column("n")[$0] } == [1, 3])
        #expect(try (0..<2).map { try read.column("x")[$0] } == [1.0, 2.0])
    }

    @Test("a question that is asked ahead of what is known lacks rows that were on time")
    func aheadOfKnown() throws {
        let store = try store(one)
        let source = SourceRows(
            [.init(files: [try write([event(100, 1, accepted: 100), event(150, 2, accepted: 150)], "events")])], accepted: acceptedAt)
        let request = try requests([("a", 1, at(200))])
        let read = try store.offlineRead(service: "all", requests: request, known: [at(120)], on: connection) { _ in source }
        #expect(try read.column("n")[0] == 1)
        #expect(try read.column("x")[0] == 1.0)
    }

    @Test("a read notes that a push, and an ingest, are under way, and the rows that are ahead of the clock")
    func boundsOfReads() async throws {
        let clock = MovedClock()
        let store = FeatureStore(clock: clock)
        _ = try store.configure(
            entities: [machine], views: one, services: [FeatureServiceSpec(name: "all", features: ["v"], time: "asked")],
            datasets: ["events": MachineEvent.schema])
        let plan = try store.plan(service: "all", inputs: [])
        let request = try requests([("a", 1, at(1000))])
        func bounds() throws -> [Int64] {
            let found = try #require(try plan.inputs(for: request).bounds)
            return [found.from, found.until].map { $0.microseconds - at(0).microseconds }
        }
        clock.set(1000)
        #expect(try bounds() == [999_999_999, 1_000_000_000])
        clock.set(1010)
        let pushing = store.pushing(into: "events") {
            clock.set(1020)
            return Result { try bounds() }
        }
        let pushed = try pushing.get()
        #expect(pushed == [1_009_999_999, 1_020_000_000])
        try await store.loading(into: "events") { (willTakeTime) async throws in
            clock.set(1022)
            // While a file is read its rows have no time yet.
            #expect(try bounds() == [1_021_999_999, 1_022_000_000])
            try await store.loading(into: "events") { (other) async throws in
                other()
                clock.set(1025)
                willTakeTime()
                clock.set(1030)
                #expect(try bounds() == [1_021_999_999, 1_030_000_000])
            }
            // What one has begun ends with it, also where another goes on.
            #expect(try bounds() == [1_024_999_999, 1_030_000_000])
        }
        #expect(try bounds() == [1_029_999_999, 1_030_000_000])
        await #expect(throws: KeelError.self) {
            try await store.loading(into: "events") { (willTakeTime) async throws in
                willTakeTime()
                throw KeelError(.cancelled, "the file is not what it says")
            }
        }
        clock.set(1031)
        #expect(try bounds() == [1_030_999_999, 1_031_000_000])
        try store.apply(dataset: "events", rows: Table([event(900, 1, accepted: 1040)]), acceptedUpTo: at(1040))
        #expect(try bounds() == [1_030_999_999, 1_040_000_000])
    }

    @Test("a state that is made of a history has its newest row, however far the clock is behind it")
    func clockSetBack() throws {
        let clock = MovedClock()
        clock.set(400)
        let store = FeatureStore(clock: clock)
        let draft = store.draft(
            try FeatureCatalog(
                entities: [machine], views: one, services: [FeatureServiceSpec(name: "all", features: ["v"], time: "asked")],
                datasets: ["events": MachineEvent.schema]))
        let history = [event(100, 1, accepted: 1000)]
        try draft.apply(dataset: "events", rows: Table(history), now: at(400))
        draft.complete(dataset: "events", origin: "origin", acceptedUpTo: at(1000))
        store.adopt(draft)
        let inputs = [Signature.Input("n", .float64)]
        let request = try requests([("a", 1, at(400))])
        let read = try store.plan(service: "all", inputs: inputs).inputs(for: request)
        let bounds = try #require(read.bounds)
        #expect(bounds.until == at(1000) && bounds.from < at(400))
        let source = SourceRows([.init(files: [try write(history, "history")])], accepted: acceptedAt)
        let report = try store.verify(
            service: "all", requests: request, known: [bounds.from...bounds.until], values: [read.table.row(0)], inputs: inputs, on: connection
        ) { _ in source }
        #expect(read.table.row(0) == [1.0] && report.differences == [] && report.undecided == 0)
    }

    @Test("the latest row that was known is found however many that were not lie behind it")
    func latestBehindLateRows() throws {
        let store = try store(one)
        // Rows of one key, a second apart. Those at some places were known at once, the others at the end; what is found lies on both sides of each step.
        let known = [0, 1, 100, 700, 5400, 5990]
        let rows = (0..<6000).map { event(Double($0), Double($0), accepted: known.contains($0) ? Double($0) : 1_000_000) }
        let source = SourceRows([.init(files: [try write(rows, "events")])], accepted: acceptedAt)
        var times = [0, 1, 2, 63, 64, 65, 66, 99, 100, 101, 163, 164, 165, 675, 676, 677, 5399, 5400, 5999]
        for place in known { for step in [64, 64 + 512, 64 + 512 + 4096] { times += [place + step - 1, place + step, place + step + 1] } }
        times = times.filter { $0 < 6000 }
        let asked: [(machine: String?, line: Int64, asked: Timestamp)] = times.map { ("a", 1, at(Double($0))) } + [("a", 1, at(-1)), ("b", 1, at(50))]
        let request = try requests(asked)
        let read = try store.offlineRead(
            service: "all", requests: request, known: asked.map(\.asked), on: connection
        ) { _ in source }
        for (i, time) in times.enumerated() {
            let latest = try #require(known.last { $0 <= time })
            #expect(try read.column("x")[i] == .double(Double(latest)), "at \(time)")
            #expect(try read.column("n")[i] == .int(Int64(known.count { $0 <= time && $0 > (time / 60 - 60) * 60 - 1 })), "at \(time)")
        }
        for i in [times.count, times.count + 1] {
            #expect(try read.column("x")[i] == .null)
            #expect(try read.column("n")[i] == 0)
        }
        // A history that is known from today on: no question of before has any of it, and as of the end all have all.
        let all = try store.offlineRead(service: "all", requests: request, known: asked.map { _ in at(-2) }, on: connection) { _ in source }
        let late = try store.offlineRead(service: "all", requests: request, known: asked.map { _ in at(1_000_000) }, on: connection) { _ in source }
        for (i, time) in times.enumerated() {
            #expect(try all.column("x")[i] == .null)
            #expect(try all.column("n")[i] == 0)
            #expect(try late.column("x")[i] == .double(Double(time)))
        }
    }

    @Test("what is read while several rows are on their way is undecided where it is neither without them nor with all, and no difference")
    func undecided() throws {
        let views = [
            FeatureViewSpec(
                name: "v", source: .dataset("events", entity: "machine"), at: "time",
                features: one[0].features + [
                    FeatureSpec("most", .windowed(.max, of: "x", TimeSpan("1h")!)), FeatureSpec("sum", .windowed(.sum, of: "x", TimeSpan("1h")!)),
                ])
        ]
        let store = try store(views)
        let rows = [event(100, 1, accepted: 101), event(150, 2, accepted: 300), event(160, 4, accepted: 302), event(170, 8, accepted: 600)]
        let source = SourceRows([.init(files: [try write(rows, "events")])], accepted: acceptedAt)
        let names = ["n", "last", "x", "most", "sum"]
        let request = try requests([("a", 1, at(200))])
        func verify(_ known: ClosedRange<Timestamp>, _ values: [Double]) throws -> (differences: [String], undecided: Int) {
            let report = try store.verify(
                service: "all", requests: request, known: [known], values: [values.map(Value.double)], inputs: names.map { .init($0, .float64) },
                on: connection
            ) { _ in source }
            return (report.differences.map(\.feature), report.undecided)
        }
        let between: [Double] = [2, 2, 2, 2, 3]
        #expect(try verify(at(299)...at(302), between) == ([], 5))
        #expect(try verify(at(299)...at(302), [1, 1, 1, 1, 1]) == ([], 0))
        #expect(try verify(at(299)...at(302), [3, 4, 4, 4, 7]) == ([], 0))
        // A count and a maximum cannot be more than with all rows, nor less than with none.
        #expect(try verify(at(299)...at(302), [4, 8, 8, 8, 15]) == (["n", "most"], 3))
        #expect(try verify(at(299)...at(302), [0, 4, 4, 0.5, 7]) == (["n", "most"], 0))
        // Where nothing was on its way that the value is made of, it is decided.
        #expect(try verify(at(303)...at(500), between) == (names, 0))
        #expect(try verify(at(300)...at(300), between) == ([], 0))
    }

    @Test("a read too far before the newest event of its key says that it is not exact")
    func inexactReads() throws {
        let store = try store([
            FeatureViewSpec(
                name: "v", source: .dataset("events", entity: "machine"), at: "time",
                features: [FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("60s")!))])
        ])
        try store.apply(dataset: "events", rows: Table((0..<400).map { event(Double($0), 1, accepted: Double($0)) }))
        let request = try requests([("a", 1, at(399)), ("a", 1, at(100)), ("b", 1, at(100))])
        // Nothing was dropped yet: a key that is not there never had an event.
        #expect(try store.plan(service: "all", inputs: []).inputs(for: request).bounds?.inexact == [1])
    }

    @Test("a read that covers events of a key that was dropped since says that it is not exact, and so does one after the key came back")
    func droppedKeys() throws {
        let store = try store([
            FeatureViewSpec(
                name: "v", source: .dataset("events", entity: "machine"), at: "time",
                features: [FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("1h")!))])
        ])
        let end = 100_000.0
        let minute = 60.0
        func apply(_ machine: String, _ time: Double, count: Int = 1) throws {
            let event = MachineEvent(machine: machine, line: 1, time: at(time))
            try store.apply(dataset: "events", rows: MachineEvent.table(Array(repeating: event, count: count)))
        }
        func inexact(_ machine: String, _ time: Double) throws -> Bool {
            try #require(try store.plan(service: "all", inputs: []).inputs(for: requests([(machine, 1, at(time))])).bounds).inexact == [0]
        }
        func count(_ machine: String, _ time: Double) throws -> Value {
            try store.read(service: "all", request: requests([(machine, 1, at(time))])).column("n")[0]
        }
        try apply("a", end - 65 * minute)
        #expect(try count("a", end - 10 * minute) == 1)
        #expect(try !inexact("a", end - 10 * minute))
        // Enough rows for a sweep over every part of the keys.
        for _ in 0..<17 { try apply("b", end, count: 4096) }
        #expect(store.statistics().map(\.keys) == [1])
        #expect(try count("a", end - 10 * minute) == 0)
        #expect(try inexact("a", end - 10 * minute))
        // As of now it lacks nothing, and neither does a key that never was there, or one that stayed.
        #expect(try !inexact("a", end))
        #expect(try !inexact("never", end))
        #expect(try !inexact("b", end))
        try apply("a", end - 12 * minute)
        #expect(try count("a", end - 10 * minute) == 1)
        #expect(try inexact("a", end - 10 * minute))
        #expect(try count("a", end) == 1)
        #expect(try !inexact("a", end))
    }
}
