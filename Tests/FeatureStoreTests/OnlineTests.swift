import Contracts
import Engines
import FeatureStore
import Foundation
import Synchronization
import Testing

private struct FixedClock: Clock {
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
        var nothing: [Float] = []
        #expect(try nothing.withUnsafeMutableBufferPointer { try store.plan(service: "s", inputs: []).fill(request, into: $0) } == nil)
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
        var matrix: [Float] = [-1]
        try matrix.withUnsafeMutableBufferPointer { try plan.fill(requests([("a", 1, at(2))]), into: $0) }
        #expect(matrix == [1])
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
                var matrix: [Float] = [0, 0, 0, 0]
                repeat {
                    try? matrix.withUnsafeMutableBufferPointer { try plan.fill(request, into: $0) }
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
