import Contracts
import FeatureStore
import Foundation
import Storage
import TestSupport
import Testing

private let now = at(10_000_000)

/// A store and what it takes to make another of the same definitions.
private struct Subject {
    var store: FeatureStore
    let views: [FeatureViewSpec]
    let seed: UInt64

    init(_ views: [FeatureViewSpec], seed: UInt64) throws {
        self.views = views
        self.seed = seed
        store = FeatureStore(clock: FixedClock(time: now), seed: seed, version: "1")
        let draft = try draft(in: store)
        draft.complete(dataset: "events", origin: "origin")
        store.adopt(draft)
    }

    func draft(in store: FeatureStore, views: [FeatureViewSpec]? = nil) throws -> FeatureDraft {
        let views = views ?? self.views
        return store.draft(
            try FeatureCatalog(
                entities: [machine], views: views,
                services: [FeatureServiceSpec(name: "all", features: views.map(\.name), time: "asked")],
                datasets: ["events": MachineEvent.schema]))
    }

    func apply(_ events: [MachineEvent]) throws {
        for start in stride(from: 0, to: events.count, by: 170) {
            try store.apply(dataset: "events", rows: MachineEvent.table(Array(events[start..<min(start + 170, events.count)])))
        }
    }

    /// The bytes of a state that was retained.
    static func bytes(_ state: FeatureState, place: UInt64 = 7) throws -> [UInt8] {
        let folder = try Folder()
        let file = try AtomicFile(path: folder.path + "/state", temporaryFolder: folder.path)
        try state.write(to: file, place: place)
        try file.commit()
        return Array(try #require(FileManager.default.contents(atPath: folder.path + "/state")))
    }

    var inexactReads: Int { store.statistics().reduce(0) { $0 + $1.inexactReads } }

    func bytes() throws -> [UInt8] { try Subject.bytes(try #require(store.retain(dataset: "events"))) }

    /// A store of its own that begins with the state in the bytes.
    func restored(from bytes: [UInt8]) throws -> Subject {
        var other = self
        other.store = FeatureStore(clock: FixedClock(time: now), seed: seed, version: "1")
        let draft = try draft(in: other.store)
        #expect(try restore(draft, bytes) == 7)
        draft.complete(dataset: "events", origin: "origin")
        other.store.adopt(draft)
        return other
    }

    func restore(_ draft: FeatureDraft, _ bytes: [UInt8], origin: String = "origin", isCovered: Bool = true) throws -> UInt64 {
        try bytes.withUnsafeBytes { try draft.restore(dataset: "events", from: $0, origin: origin) { _ in isCovered } }
    }
}

private func views(_ random: inout Seeded) -> [FeatureViewSpec] {
    randomViews(&random) + [
        FeatureViewSpec(
            name: "endless", source: .dataset("events", entity: "machine"), at: "time",
            features: [FeatureSpec("endless_x", .latest("x")), FeatureSpec("endless_s", .latest("s"))])
    ]
}

/// Events of few machines, which have many, and of many, which expire.
private func events(_ count: Int, from start: Double, _ random: inout Seeded) -> (events: [MachineEvent], end: Double) {
    var (events, end) = randomEvents(count, from: start, &random)
    for i in events.indices where Bool.random(using: &random) { events[i].machine = "m\(Int.random(in: 0..<400, using: &random))" }
    return (events, end)
}

/// Bytes with a digest that fits, as nobody but a forger makes them.
private func signed(_ body: ArraySlice<UInt8>) -> [UInt8] { body + Array(Digest(of: body).hex.utf8) }

@Suite("The online state for the disk") struct FeatureStateTests {
    @Test("D15: a state that was saved, read and gone on with is the one that was never saved", arguments: Array(1...8) as [UInt64])
    func continued(seed: UInt64) throws {
        var random = Seeded(seed)
        let whole = try Subject(views(&random), seed: random.next())
        var saved = try Subject(whole.views, seed: whole.seed)
        var end = 0.0
        for _ in 0..<10 {
            var (events, newEnd) = events(2000, from: end, &random)
            end = newEnd
            // More at a time than single events are kept.
            if Bool.random(using: &random) {
                for _ in 0..<500 {
                    let late = Double(Int.random(in: 0...80, using: &random)) / 4
                    events.insert(MachineEvent(machine: "a", line: 1, time: at(end - late), x: late), at: events.count / 3)
                }
            }
            try whole.apply(events)
            if Bool.random(using: &random) {
                // Keys expire between batches: the same ones for both.
                let cut = 170 * Int.random(in: 0...events.count / 170, using: &random)
                try saved.apply(Array(events[..<cut]))
                let state = try #require(saved.store.retain(dataset: "events"))
                // What is applied and read while the state is written is not in it.
                try saved.apply(Array(events[cut...]))
                _ = try saved.store.read(service: "all", request: requests([("a", 1, at(end)), ("m7", 1, at(end))]))
                saved = try saved.restored(from: try Subject.bytes(state))
                try saved.apply(Array(events[cut...]))
            } else {
                try saved.apply(events)
            }
            var asked: [(machine: String?, line: Int64, asked: Timestamp)] = []
            for _ in 0..<300 {
                let machine = ["a", "b", "", "unknown", nil, "m\(Int.random(in: 0..<400, using: &random))"].randomElement(using: &random)!
                let offset =
                    Int.random(in: 0..<3, using: &random) == 0
                    ? Double.random(in: -90_000...4000, using: &random) : Double.random(in: -20...20, using: &random)
                asked.append((machine, Int64.random(in: 1...2, using: &random), at(end + offset)))
            }
            let before = (whole.inexactReads, saved.inexactReads)
            let expected = try whole.store.read(service: "all", request: requests(asked))
            let found = try saved.store.read(service: "all", request: requests(asked))
            for row in asked.indices { #expect(found.row(row) == expected.row(row), "\(asked[row])") }
            #expect(saved.inexactReads - before.1 == whole.inexactReads - before.0)
            #expect(saved.store.statistics().map(\.keys) == whole.store.statistics().map(\.keys))
        }
        #expect(whole.inexactReads > 0)
    }

    @Test("D15: keys expire in a state that was read as they do in the one that was written")
    func expiry() throws {
        let view = FeatureViewSpec(
            name: "v", source: .dataset("events", entity: "machine"), at: "time",
            features: [FeatureSpec("n", .windowed(.count, of: nil, .seconds(60)))])
        let whole = try Subject([view], seed: 1)
        var saved = try Subject([view], seed: 1)
        for chunk in 0..<50 {
            let events = (0..<2040).map { MachineEvent(machine: "m\(chunk)-\($0 % 50)", line: 1, time: at(Double(chunk) * 100)) }
            try whole.apply(events)
            try saved.apply(events)
            if chunk % 7 == 3 { saved = try saved.restored(from: try saved.bytes()) }
            #expect(saved.store.statistics()[0].keys == whole.store.statistics()[0].keys, "chunk \(chunk)")
        }
        // A state that was read knows that keys were dropped, and which of those that are there were before.
        for chunk in [0, 20] {
            for subject in [whole, saved] { try subject.apply([MachineEvent(machine: "m\(chunk)-0", line: 1, time: at(Double(chunk) * 100))]) }
        }
        saved = try saved.restored(from: try saved.bytes())
        let before = (whole.inexactReads, saved.inexactReads)
        let asked = (0..<50).flatMap { chunk in ["m\(chunk)-0", "never"].map { ($0 as String?, Int64(1), at(Double(chunk) * 100 + 30)) } }
        for subject in [whole, saved] { _ = try subject.store.read(service: "all", request: requests(asked)) }
        #expect(whole.inexactReads - before.0 > 50)
        #expect(saved.inexactReads - before.1 == whole.inexactReads - before.0)
        #expect(whole.store.statistics()[0].keys < 2000)
    }

    @Test("D15: what fits another seed, version, origin, stream or definition is not taken")
    func fits() throws {
        var random = Seeded(5)
        let subject = try Subject(views(&random), seed: 9)
        try subject.apply(events(500, from: 0, &random).events)
        let bytes = try subject.bytes()
        var changed = subject.views
        changed[0].ttl = .days(300)
        var renamed = subject.views
        renamed[1].filter = "NOT b"
        func store(_ seed: UInt64 = 9, _ version: String = "1") -> FeatureStore { FeatureStore(seed: seed, version: version) }
        let cases: [(FeatureStore, [FeatureViewSpec], String, Bool)] = [
            (store(8), subject.views, "origin", true), (store(9, "2"), subject.views, "origin", true),
            (store(), subject.views, "other", true),
            (store(), subject.views, "origin", false), (store(), changed, "origin", true), (store(), renamed, "origin", true),
            (store(), Array(subject.views.dropLast()), "origin", true),
        ]
        for (i, (store, views, origin, isCovered)) in cases.enumerated() {
            let draft = try subject.draft(in: store, views: views)
            let error = try #require(throws: KeelError.self) { _ = try subject.restore(draft, bytes, origin: origin, isCovered: isCovered) }
            #expect(error.code == .failedPrecondition, "case \(i): \(error)")
            store.adopt(draft)
            #expect(store.statistics().allSatisfy { $0.keys == 0 })
        }
        #expect(try subject.restored(from: bytes).store.statistics().allSatisfy { $0.keys > 0 })
        // A state without its whole history is not written.
        let half = store()
        half.adopt(try subject.draft(in: half))
        #expect(half.retain(dataset: "events") == nil && subject.store.retain(dataset: "other") == nil)
    }

    @Test("equal definitions have an equal basis, in whatever order their keys were given")
    func basis() throws {
        let names = ["machine", "line", "s", "n"]
        let entity = EntitySpec(name: "machine", keys: [Field("p", .string), Field("q", .int64), Field("r", .string), Field("t", .int32)])
        var bases: Set<FeatureBasis?> = []
        for seed in 1...20 as ClosedRange<UInt64> {
            var random = Seeded(seed)
            var keys: [String: String] = [:]
            for (key, column) in zip(["p", "q", "r", "t"], names).shuffled(using: &random) { keys[key] = column }
            let view = FeatureViewSpec(
                name: "v", source: .dataset("events", entity: "machine"), at: "time", keys: keys, features: [FeatureSpec("x", .latest("x"))]
            )
            let store = FeatureStore(seed: 1)
            let draft = store.draft(
                try FeatureCatalog(entities: [entity], views: [view], services: [], datasets: ["events": MachineEvent.schema]))
            draft.complete(dataset: "events", origin: "")
            store.adopt(draft)
            bases.insert(store.basis(of: "events"))
        }
        #expect(bases.count == 1 && bases.first.flatMap { $0 } != nil)
    }

    @Test("D15: a file that is not what was written is refused whole", arguments: [1, 2, 3] as [UInt64])
    func damaged(seed: UInt64) throws {
        var random = Seeded(seed)
        let subject = try Subject(views(&random), seed: 3)
        try subject.apply(events(300, from: 0, &random).events)
        let bytes = try subject.bytes()
        func refuse(_ bytes: [UInt8], _ what: String) throws {
            let store = FeatureStore(seed: 3, version: "1")
            let draft = try subject.draft(in: store)
            let error = try #require(throws: KeelError.self, "\(what)") { _ = try subject.restore(draft, bytes) }
            #expect(error.code == .corrupted, "\(what): \(error)")
            store.adopt(draft)
            #expect(store.statistics().allSatisfy { $0.keys == 0 })
        }
        for _ in 0..<200 {
            var flipped = bytes
            flipped[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            try refuse(flipped, "flipped")
            try refuse(Array(bytes[..<Int.random(in: 0..<bytes.count, using: &random)]), "cut")
            try refuse((0..<Int.random(in: 0..<300, using: &random)).map { _ in UInt8.random(in: .min ... .max, using: &random) }, "random")
        }
        let body = bytes.dropLast(64)
        // The views before the cut are whole, and still nothing is taken.
        for cut in [1, 8, 40] { try refuse(signed(body.dropLast(cut)), "cut and signed") }
        try refuse(signed(body + [0]), "longer and signed")
        var older = body
        older[7] = UInt8(ascii: "0")
        let store = FeatureStore(seed: 3, version: "1")
        let error = try #require(throws: KeelError.self) { _ = try subject.restore(try subject.draft(in: store), signed(older)) }
        #expect(error.code == .failedPrecondition && error.message.contains("format"))
    }

    @Test("D15: no bytes of a forger end the process, when they are read or afterwards", arguments: [1, 2, 3, 4] as [UInt64])
    func forged(seed: UInt64) throws {
        var random = Seeded(seed)
        let subject = try Subject(views(&random), seed: 3)
        let (first, end) = events(200, from: 0, &random)
        try subject.apply(first)
        let (later, _) = events(40, from: end, &random)
        let body = try subject.bytes().dropLast(64)
        var taken = 0
        for _ in 0..<600 {
            var forged = body
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                // Behind the head, which says what the file is of.
                let place = Int.random(in: 220..<body.count, using: &random)
                let lengths: [[UInt8]] = [
                    [255], [255, 255, 255, 255], [255, 255, 255, 255, 255, 255, 255, 127], [0, 0, 0, 0, 0, 0, 0, 128],
                    [UInt8.random(in: 0...255, using: &random)],
                ]
                for (i, byte) in lengths.randomElement(using: &random)!.enumerated() where place + i < forged.count {
                    forged[place + i] = byte
                }
            }
            let other = FeatureStore(clock: FixedClock(time: now), seed: subject.seed, version: "1")
            let draft = try subject.draft(in: other)
            do { _ = try subject.restore(draft, signed(forged)) } catch { continue }
            taken += 1
            other.adopt(draft)
            try other.apply(dataset: "events", rows: MachineEvent.table(later))
            _ = try? other.read(service: "all", request: requests([("a", 1, at(end)), ("b", 2, at(end - 30)), ("", 1, at(end + 50))]))
        }
        #expect(taken > 0)
    }
}
