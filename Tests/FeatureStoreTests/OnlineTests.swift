import Contracts
import Engines
import FeatureStore
import Foundation
import Synchronization
import TestSupport
import Testing

struct FixedClock: Clock {
    let time: Timestamp
    func now() -> Timestamp { time }
}

private final class Flags: Sendable {
    let done = Atomic(false)
    let torn = Atomic(0)
}

private func store(_ features: [FeatureSpec], ttl: TimeSpan? = nil, clock: any Clock = SystemClock(), service time: String? = "asked")
    throws -> FeatureStore
{
    let store = FeatureStore(clock: clock)
    let view = FeatureViewSpec(name: "v", source: .dataset("events", entity: "machine"), at: "time", ttl: ttl, features: features)
    _ = try store.configure(
        entities: [machine], views: [view], services: [FeatureServiceSpec(name: "s", features: ["v"], time: time)],
        datasets: ["events": MachineEvent.schema])
    return store
}

@Suite struct OnlineTests {
    @Test func aLateEventCountsWhereItBelongsAndOneBeyondEveryWindowIsDropped() throws {
        let store = try store([
            FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("60s")!)),
            FeatureSpec("first", .windowed(.first, of: "x", TimeSpan("60s")!)),
        ])
        func push(_ time: Double, _ x: Double) throws {
            try store.apply(dataset: "events", rows: MachineEvent.table([MachineEvent(machine: "a", line: 1, time: at(time), x: x)]))
        }
        func read(_ time: Double) throws -> [Value] {
            let row = try store.read(service: "s", request: requests([("a", 1, at(time))])).row(0)
            return Array(row.suffix(2))
        }
        try push(100, 1)
        #expect(try read(100) == [1, 1.0])
        try push(80, 2)
        #expect(try read(100) == [2, 2.0])
        try push(10, 3)
        #expect(try read(100) == [2, 2.0])
        // The read at 99.5 does not see the event at 100.
        #expect(try read(99.5) == [1, 2.0])
    }

    @Test func withoutATimeColumnFeaturesAreReadAsOfNow() throws {
        let store = try store(
            [FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("60s")!))], clock: FixedClock(time: at(100)), service: nil)
        try store.apply(
            dataset: "events",
            rows: MachineEvent.table([
                MachineEvent(machine: "a", line: 1, time: at(99)), MachineEvent(machine: "a", line: 1, time: at(101)),
            ]))
        let request = try requests([("a", 1, at(0))]).selecting(["machine", "line"])
        #expect(try store.read(service: "s", request: request).column("n")[0] == 1)
        let read = try store.plan(service: "s", inputs: []).inputs(for: request)
        #expect(read.times == [at(100)])
        // A row that is accepted in the microsecond of the read may have been seen or not.
        let bounds = try #require(read.bounds)
        #expect(bounds.until == at(100) && bounds.from == Timestamp(microseconds: at(100).microseconds - 1) && bounds.inexact == [])
    }

    @Test func expiredKeysAreDroppedAndOthersStay() throws {
        let store = try store([FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("60s")!))])
        for chunk in 0..<40 {
            var events: [MachineEvent] = []
            for i in 0..<2048 { events.append(MachineEvent(machine: "m\(chunk)-\(i % 50)", line: 1, time: at(Double(chunk) * 100))) }
            try store.apply(dataset: "events", rows: MachineEvent.table(events))
        }
        let keys = store.statistics()[0].keys
        #expect(keys >= 50 && keys < 2000, "\(keys) of 2000 keys are kept")
        #expect(try store.read(service: "s", request: requests([("m39-7", 1, at(3900))])).column("n")[0] != 0)
        store.adopt(store.draft(rebuilding: "events"))
        #expect(store.statistics()[0].keys == 0)
    }

    @Test func anUnchangedViewKeepsItsStateAcrossAChangeOfTheCatalogue() throws {
        let store = try store([FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("60s")!))])
        try store.apply(dataset: "events", rows: MachineEvent.table([MachineEvent(machine: "a", line: 1, time: at(1))]))
        let plan = try store.plan(service: "s", inputs: [Signature.Input("n", .float64)])
        let old = FeatureViewSpec(
            name: "v", source: .dataset("events", entity: "machine"), at: "time",
            features: [FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("60s")!))])
        var new = old
        new.name = "w"
        new.features[0].name = "m"
        let service = FeatureServiceSpec(name: "s", features: ["v"], time: "asked")
        #expect(
            try store.configure(entities: [machine], views: [old], services: [service], datasets: ["events": MachineEvent.schema]) == [])
        #expect(
            try store.configure(entities: [machine], views: [old, new], services: [service], datasets: ["events": MachineEvent.schema]) == [
                "events"
            ])
        #expect(try plan.inputs(for: requests([("a", 1, at(2))])).table.row(0) == [1.0])
    }

    @Test("D3: a draft changes nothing until it is adopted, and nothing when it is given up")
    func drafts() throws {
        let window = TimeSpan("1h")!
        let store = try store([FeatureSpec("n", .windowed(.count, of: nil, window))])
        let plan = try store.plan(service: "s", inputs: [Signature.Input("n", .float64)])
        func event(_ time: Double) throws -> Table { try MachineEvent.table([MachineEvent(machine: "a", line: 1, time: at(time), x: 2)]) }
        func count() throws -> Double? { try plan.inputs(for: requests([("a", 1, at(100))])).table.row(0)[0].number }
        try store.apply(dataset: "events", rows: event(1))
        let given = store.draft(rebuilding: "events")
        store.follow(given, dataset: "events")
        try store.apply(dataset: "events", rows: event(2))
        #expect(try count() == 2)
        store.discard(given)
        #expect(try count() == 2)
        let rebuilt = store.draft(rebuilding: "events")
        for time in [1.0, 2, 3] { try rebuilt.apply(dataset: "events", rows: event(time), now: at(100)) }
        #expect(try count() == 2)
        store.adopt(rebuilt)
        // The plan made before reads the new state.
        #expect(try count() == 3)
        // A change of the view: the old one answers until the new one has its history, and rows of meanwhile reach both.
        let changed = FeatureViewSpec(
            name: "v", source: .dataset("events", entity: "machine"), at: "time",
            features: [FeatureSpec("n", .windowed(.sum, of: "x", window))])
        let draft = store.draft(
            try FeatureCatalog(
                entities: [machine], views: [changed], services: [FeatureServiceSpec(name: "s", features: ["v"], time: "asked")],
                datasets: ["events": MachineEvent.schema]))
        #expect(draft.viewNames == ["v"])
        for time in [1.0, 2, 3] { try draft.apply(dataset: "events", rows: event(time), now: at(100)) }
        store.follow(draft, dataset: "events")
        try store.apply(dataset: "events", rows: event(4))
        func read() throws -> Value { try store.read(service: "s", request: requests([("a", 1, at(100))])).column("n")[0] }
        #expect(try read() == 4)
        store.adopt(draft)
        #expect(try read() == 8.0)
        try store.apply(dataset: "events", rows: event(5))
        #expect(try read() == 10.0)
    }

    @Test("D3: a history that cannot be read leaves its views without state, and they say so")
    func broken() throws {
        let store = FeatureStore()
        let view = FeatureViewSpec(
            name: "v", source: .dataset("events", entity: "machine"), at: "time", features: [FeatureSpec("x", .latest("x"))])
        let draft = store.draft(
            try FeatureCatalog(
                entities: [machine], views: [view], services: [FeatureServiceSpec(name: "s", features: ["v"], time: "asked")],
                datasets: ["events": MachineEvent.schema]))
        draft.fail(dataset: "events", KeelError(.corrupted, "a file is damaged"))
        store.adopt(draft)
        #expect(store.isBroken("events"))
        let refused = try #require(throws: KeelError.self) { try store.read(service: "s", request: requests([("a", 1, at(1))])) }
        #expect(refused.code == .unavailable && refused.message.contains("a file is damaged"))
        store.adopt(store.draft(rebuilding: "events"))
        #expect(!store.isBroken("events"))
        #expect(try store.read(service: "s", request: requests([("a", 1, at(1))])).column("x")[0] == .null)
    }

    @Test("D15: state made of as much history as reads look back answers as all of it does", arguments: [1, 2, 3, 4] as [UInt64])
    func pruned(seed: UInt64) throws {
        var random = Seeded(seed)
        let features = [
            FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("60s")!)), FeatureSpec("sum", .windowed(.sum, of: "x", TimeSpan("10m")!)),
            FeatureSpec("last", .windowed(.last, of: "x", TimeSpan("15m")!)), FeatureSpec("x", .latest("x")),
        ]
        let (whole, part) = (try store(features, ttl: TimeSpan("20m")!), try store(features, ttl: TimeSpan("20m")!))
        var events: [MachineEvent] = []
        for _ in 0..<3000 {
            events.append(
                MachineEvent(
                    machine: ["a", "b", "c"].randomElement(using: &random)!, line: 1,
                    time: at(Double(Int.random(in: 0...14_400, using: &random))),
                    x: Double(Int.random(in: 0...40, using: &random)) / 4))
        }
        let newest = try #require(events.compactMap(\.time).max())
        try whole.apply(dataset: "events", rows: MachineEvent.table(events))
        let draft = part.draft(rebuilding: "events")
        let reach = try #require(draft.reach(of: "events"))
        #expect(reach.map(\.column) == ["time"])
        let start = newest - reach[0].span
        #expect(events.contains { $0.time.map { $0 < start } ?? false })
        draft.leavesOut(dataset: "events", column: "time", before: start)
        try draft.apply(dataset: "events", rows: MachineEvent.table(events.filter { $0.time.map { $0 >= start } ?? false }), now: newest)
        part.adopt(draft)
        var asked: [(machine: String?, line: Int64, asked: Timestamp)] = []
        for _ in 0..<300 {
            let when = Timestamp(microseconds: newest.microseconds + Int64.random(in: -3_000_000...1_800_000_000, using: &random))
            asked.append((["a", "b", "c", "d"].randomElement(using: &random)!, 1, when))
        }
        let (all, few) = (try whole.read(service: "s", request: requests(asked)), try part.read(service: "s", request: requests(asked)))
        for row in asked.indices { #expect(all.row(row) == few.row(row), "\(asked[row])") }
        #expect(part.statistics()[0].inexactReads == whole.statistics()[0].inexactReads)
        _ = try part.read(service: "s", request: requests([("a", 1, start)]))
        #expect(part.statistics()[0].inexactReads > whole.statistics()[0].inexactReads)
        // A latest value without an end needs everything.
        let endless = try store([FeatureSpec("x", .latest("x"))])
        #expect(endless.draft(rebuilding: "events").reach(of: "events") == nil)
    }

    @Test("S2: rows outside all instants that an older version let in are no facts, online and in batch")
    func outsideAllInstants() throws {
        let schema = Schema([Field("machine", .string), Field("line", .int64), Field("time", .timestamp), Field("day", .date)])
        let services = ["time", "day"].map { FeatureServiceSpec(name: $0, features: [$0], time: "asked") }
        let views = ["time", "day"].map { column in
            FeatureViewSpec(
                name: column, source: .dataset("events", entity: "machine"), at: column, ttl: .days(3650),
                features: [
                    FeatureSpec("n_\(column)", .windowed(.count, of: nil, .days(3650))), FeatureSpec("last_\(column)", .latest(column)),
                ])
        }
        let store = FeatureStore()
        _ = try store.configure(entities: [machine], views: views, services: services, datasets: ["events": schema])
        let times: [Int64] = [.min, .min + 1, -.max, Timestamp.range.lowerBound - 1, 0, Timestamp.range.upperBound + 1, .max - 1, .max]
        let days: [Int32] = [.min, -.max, CivilDate.range.lowerBound - 1, 3, 4, CivilDate.range.upperBound + 1, .max - 1, .max]
        let rows = try Table([
            ("machine", try Column(.string, values: times.map { _ in "a" })), ("line", try Column(.int64, values: times.map { _ in 1 })),
            ("time", Column(.timestamp, .int64(times))), ("day", Column(.date, .int32(days))),
        ])
        try store.apply(dataset: "events", rows: rows)
        let folder = try Folder()
        let connection = try DuckDB(settings: .init(folders: [NSTemporaryDirectory()], threads: 1)).connect()
        try connection.writeParquet(rows, to: folder.path + "/rows.parquet")
        let asked = try requests([Timestamp(day: 10), .distantPast, .distantFuture].map { ("a", 1, $0) })
        for name in ["time", "day"] {
            let online = try store.read(service: name, request: asked)
            let offline = try store.offlineRead(service: name, requests: asked, on: connection) { _ in SourceRows([folder.path + "/rows.parquet"]) }
            for row in 0..<asked.rowCount { #expect(online.row(row) == offline.row(row)) }
            #expect(try online.column("n_\(name)")[0] == (name == "time" ? 1 : 2))
        }
    }

    /// A writer adds events with x = 1 to one key while readers ask: whatever a reader sees, sum, count and mean belong together.
    @Test func readersBesideAWriterSeeNoTornRow() async throws {
        let window = TimeSpan("1h")!
        let store = try store([
            FeatureSpec("n", .windowed(.count, of: "x", window)), FeatureSpec("total", .windowed(.sum, of: "x", window)),
            FeatureSpec("rows", .windowed(.count, of: nil, window)), FeatureSpec("x", .latest("x")),
        ])
        let plan = try store.plan(service: "s", inputs: ["n", "total", "rows", "x"].map { Signature.Input($0, .float64) })
        let flags = Flags()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for i in 0..<3000 {
                    if let rows = try? MachineEvent.table([MachineEvent(machine: "a", line: 1, time: at(Double(i) / 100), x: 1)]) {
                        try? store.apply(dataset: "events", rows: rows)
                    }
                }
                flags.done.store(true, ordering: .releasing)
            }
            group.addTask {
                guard let request = try? requests([("a", 1, at(100))]) else { return }
                var matrix: [Double] = [0, 0, 0, 0]
                repeat {
                    matrix = (try? plan.inputs(for: request).table.row(0).map { $0.number ?? .nan }) ?? matrix
                    let whole = matrix[0] == matrix[2] && (matrix[0] == 0 || (matrix[1] == matrix[0] && matrix[3] == 1))
                    if !whole { flags.torn.add(1, ordering: .relaxed) }
                } while !flags.done.load(ordering: .acquiring)
                if matrix[0] > 3000 { flags.torn.add(1, ordering: .relaxed) }
            }
        }
        #expect(flags.torn.load(ordering: .relaxed) == 0)
        #expect(try store.read(service: "s", request: requests([("a", 1, at(100))])).column("n")[0] == 3000)
    }
}
