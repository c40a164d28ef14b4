import Contracts
import FeatureStore
import Foundation
import Storage
import Testing

@Suite struct ZzStall {
    @Test func stall() throws {
        guard ProcessInfo.processInfo.environment["KEEL_STALL"] != nil else { return }
        let store = FeatureStore(seed: 1)
        let view = FeatureViewSpec(
            name: "v", source: .dataset("events", entity: "machine"), at: "time",
            features: [FeatureSpec("n", .windowed(.count, of: nil, TimeSpan("1h")!)), FeatureSpec("m", .windowed(.mean, of: "x", TimeSpan("24h")!)), FeatureSpec("x", .latest("x"))])
        let draft = store.draft(try FeatureCatalog(entities: [machine], views: [view], services: [FeatureServiceSpec(name: "s", features: ["v"], time: "asked")], datasets: ["events": MachineEvent.schema]))
        draft.complete(dataset: "events", origin: "")
        store.adopt(draft)
        let keys = 1_000_000
        for start in stride(from: 0, to: keys * 2, by: 10_000) {
            try store.apply(dataset: "events", rows: MachineEvent.table((start..<start + 10_000).map { MachineEvent(machine: "machine-\($0 % keys)", line: 1, time: at(Double($0 / 1000)), x: 1) }))
        }
        print("keys", store.statistics()[0].keys)
        var random = SeededGenerator(seed: 7)
        let rows = try (0..<20_000).map { _ in try MachineEvent.table([MachineEvent(machine: "machine-\(Int.random(in: 0..<keys, using: &random))", line: 1, time: at(2000), x: 2)]) }
        let clock = ContinuousClock()
        func measure(_ what: String, _ body: (Table) throws -> Void) throws {
            var times: [Double] = []
            for row in rows { times.append(Double(try clock.measure { try body(row) }.components.attoseconds) / 1e12) }
            times.sort()
            print(what, "median", times[10_000], "p99", times[19_800], "p99.9", times[19_980], "max", times[19_999], "us")
        }
        let apply = { (row: Table) throws in try store.apply(dataset: "events", rows: row) }
        try measure("apply", apply)
        for _ in 0..<2 {
            var state: FeatureState?
            print("retain", clock.measure { state = store.retain(dataset: "events") })
            try measure("apply while retained", apply)
            try measure("apply while retained, again", apply)
            let kept = try #require(state.take())
            let folder = try Folder()
            let file = try AtomicFile(path: folder.path + "/f", temporaryFolder: folder.path)
            print("write", try clock.measure { try kept.write(to: file, place: 1) }, file.size)
            try measure("apply after", apply)
        }
    }
}
