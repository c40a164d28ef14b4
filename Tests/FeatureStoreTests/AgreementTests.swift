import Contracts
import Engines
import FeatureStore
import Foundation
import TestSupport
import Testing

/// What the documentation of windows and latest values says, computed the plainest way.
struct Oracle {
    let events: [MachineEvent]

    private func known(_ machine: String?, _ line: Int64, _ t: Timestamp) -> [MachineEvent] {
        guard let machine else { return [] }
        let indexed = events.enumerated().filter { _, e in e.machine == machine && e.line == line && e.time.map { $0 <= t } ?? false }
        return indexed.sorted { a, b in
            let (x, y) = (a.element, b.element)
            let (xw, yw) = (x.written?.microseconds ?? 0, y.written?.microseconds ?? 0)
            return (x.time!.microseconds, xw, Int64(a.offset)) < (y.time!.microseconds, yw, Int64(b.offset))
        }.map(\.element)
    }

    func value(_ feature: FeatureSpec, _ spec: FeatureViewSpec, _ machine: String?, _ line: Int64, _ t: Timestamp) -> Value {
        var rows = known(machine, line, t)
        if spec.filter != nil { rows = rows.filter { $0.b == true } }
        func values(_ of: String?) -> [Value] {
            rows.map { e in
                switch of {
                case "x": e.x.map(Value.double) ?? .null
                case "n": e.n.map(Value.int) ?? .null
                case "b": e.b.map(Value.bool) ?? .null
                case "s": e.s.map(Value.string) ?? .null
                case "x > 2": e.x.map { .bool($0 > 2) } ?? .null
                default: .int(1)
                }
            }
        }
        switch feature.definition {
        case .request: return .null
        case .latest(let of):
            guard let last = rows.last, let value = values(of).last else { return .null }
            if let ttl = spec.ttl, last.time! < t - ttl { return .null }
            return value
        case .windowed(let aggregate, let of, let length):
            let hop = max(length.microseconds / 60, 1_000_000)
            let start = (Int64((Double(t.microseconds) / Double(hop)).rounded(.down)) - length.microseconds / hop) * hop
            let inside = zip(rows, values(of)).filter { $0.0.time!.microseconds >= start && !$0.1.isNull }.map(\.1)
            let numbers = inside.compactMap(\.number)
            switch aggregate {
            case .count: return .int(Int64(inside.count))
            case .countDistinct: return .int(Int64(Set(inside).count))
            case .last: return inside.last ?? .null
            case .first: return inside.first ?? .null
            case .sum: return numbers.isEmpty ? .null : .double(numbers.reduce(0, +))
            case .mean: return numbers.isEmpty ? .null : .double(numbers.reduce(0, +) / Double(numbers.count))
            case .min: return numbers.min().map(Value.double) ?? .null
            case .max: return numbers.max().map(Value.double) ?? .null
            case .stddev:
                guard numbers.count > 1 else { return .null }
                let mean = numbers.reduce(0, +) / Double(numbers.count)
                return .double((numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(numbers.count - 1)).squareRoot())
            }
        }
    }
}

func agree(_ a: Value, _ b: Value) -> Bool {
    guard case .double(let x) = a, case .double(let y) = b else { return a == b }
    return abs(x - y) <= 1e-9 * max(1, abs(x), abs(y))
}

func randomViews(_ random: inout Seeded) -> [FeatureViewSpec] {
    let spans = ["1s", "7s", "60s", "90s", "5m", "1h", "1d"].map { TimeSpan($0)! }
    var windowed: [FeatureSpec] = [FeatureSpec("rows", .windowed(.count, of: nil, spans.randomElement(using: &random)!))]
    for aggregate in Aggregate.allCases {
        for (i, of) in ["x", "n", "x > 2"].enumerated() {
            windowed.append(FeatureSpec("\(aggregate.rawValue)_\(i)", .windowed(aggregate, of: of, spans.randomElement(using: &random)!)))
        }
    }
    windowed.append(FeatureSpec("texts", .windowed(.countDistinct, of: "s", spans.randomElement(using: &random)!)))
    var filtered: [FeatureSpec] = []
    for of in ["x", "n", "b", "s"] { filtered.append(FeatureSpec("latest_\(of)", .latest(of))) }
    filtered.append(FeatureSpec("seen", .windowed(.count, of: nil, TimeSpan("7s")!)))
    let source = FeatureViewSpec.Source.dataset("events", entity: "machine")
    return [
        FeatureViewSpec(name: "windowed", source: source, at: "time", created: "written", features: windowed),
        FeatureViewSpec(
            name: "latest", source: source, at: "time", created: "written", filter: "b",
            ttl: TimeSpan(["7s", "20s", "10m"].randomElement(using: &random)!)!,
            features: filtered),
    ]
}

func randomEvents(_ count: Int, from start: Double, _ random: inout Seeded) -> (events: [MachineEvent], end: Double) {
    var now = start
    var events: [MachineEvent] = []
    for _ in 0..<count {
        // Often several at one instant; some come late; some long after the rest.
        if Bool.random(using: &random) { now += Double(Int.random(in: 0...6, using: &random)) * 0.5 }
        if Int.random(in: 0..<60, using: &random) == 0 { now += Double.random(in: 50...4000, using: &random).rounded() }
        let late = Int.random(in: 0..<5, using: &random) == 0 ? Double(Int.random(in: 0...20, using: &random)) : 0
        func some<T>(_ value: T, _ random: inout Seeded) -> T? { Int.random(in: 0..<6, using: &random) == 0 ? nil : value }
        events.append(
            MachineEvent(
                machine: Int.random(in: 0..<25, using: &random) == 0 ? nil : ["a", "b", ""].randomElement(using: &random)!,
                line: Int64.random(in: 1...2, using: &random), time: Int.random(in: 0..<25, using: &random) == 0 ? nil : at(now - late),
                written: some(at(Double(Int.random(in: 0...2, using: &random))), &random),
                x: some(Double(Int.random(in: -20...20, using: &random)) / 4, &random),
                n: some(Int64.random(in: -3...3, using: &random), &random),
                b: some(Bool.random(using: &random), &random), s: some(["p", "q", "r", ""].randomElement(using: &random)!, &random)))
    }
    return (events, now)
}

@Suite struct AgreementTests {
    /// Online state, DuckDB and the naive oracle give the same for random definitions, events (late, tied, null) and instants.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func threeEnginesAgree(seed: UInt64) throws {
        var random = Seeded(seed)
        let views = randomViews(&random)
        let store = FeatureStore()
        let service = FeatureServiceSpec(name: "all", features: ["windowed", "latest"], time: "asked")
        let stale = try store.configure(entities: [machine], views: views, services: [service], datasets: ["events": MachineEvent.schema])
        #expect(stale == ["events"])
        let folder = try Folder()
        let connection = try DuckDB(settings: .init(folders: [NSTemporaryDirectory()])).connect()
        var all: [MachineEvent] = []
        var end = 0.0
        for chunk in 0..<6 {
            let (events, newEnd) = randomEvents(120, from: end, &random)
            end = newEnd
            all += events
            for start in stride(from: 0, to: events.count, by: 17) {
                try store.apply(dataset: "events", rows: MachineEvent.table(Array(events[start..<min(start + 17, events.count)])))
            }
            let path = "\(folder.path)/\(chunk).parquet"
            try connection.writeParquet(MachineEvent.table(events), to: path)
            var asked: [(machine: String?, line: Int64, asked: Timestamp)] = []
            for _ in 0..<40 {
                let offset =
                    Int.random(in: 0..<4, using: &random) == 0
                    ? Double.random(in: 0...4000, using: &random).rounded() : Double(Int.random(in: -4...50, using: &random)) * 0.5
                asked.append(
                    (
                        ["a", "b", "", "unknown", nil].randomElement(using: &random)!, Int64.random(in: 1...2, using: &random),
                        at(end + offset)
                    ))
            }
            let request = try requests(asked)
            let online = try store.read(service: "all", request: request)
            let offline = try store.offlineRead(service: "all", requests: request, on: connection) { _ in
                SourceRows((0...chunk).map { "\(folder.path)/\($0).parquet" })
            }
            #expect(online.names == offline.names)
            let oracle = Oracle(events: all)
            for view in views {
                for feature in view.features {
                    for (row, question) in asked.enumerated() {
                        let expected = oracle.value(feature, view, question.machine, question.line, question.asked)
                        let (a, b) = (try online.column(feature.name)[row], try offline.column(feature.name)[row])
                        #expect(agree(a, expected), "online \(feature) chunk \(chunk) \(question): \(a), expected \(expected)")
                        #expect(agree(b, expected), "batch \(feature) chunk \(chunk) \(question): \(b), expected \(expected)")
                    }
                }
            }
        }
        #expect(store.statistics().allSatisfy { $0.inexactReads == 0 })
    }

    @Test func ttlHoldsToTheMicrosecondOnBothSides() throws {
        let store = FeatureStore()
        let view = FeatureViewSpec(
            name: "v", source: .dataset("events", entity: "machine"), at: "time", ttl: .seconds(10),
            features: [FeatureSpec("x", .latest("x"))])
        _ = try store.configure(
            entities: [machine], views: [view], services: [FeatureServiceSpec(name: "s", features: ["v"], time: "asked")],
            datasets: ["events": MachineEvent.schema])
        let events = try MachineEvent.table([MachineEvent(machine: "a", line: 1, time: at(100), x: 1.5)])
        try store.apply(dataset: "events", rows: events)
        let exactly = at(110)
        let after = Timestamp(microseconds: exactly.microseconds + 1)
        let before = Timestamp(microseconds: at(100).microseconds - 1)
        let request = try requests([("a", 1, at(100)), ("a", 1, exactly), ("a", 1, after), ("a", 1, before)])
        let folder = try Folder()
        let connection = try DuckDB(settings: .init(folders: [NSTemporaryDirectory()])).connect()
        try connection.writeParquet(events, to: folder.path + "/e.parquet")
        let expected: [Value] = [1.5, 1.5, nil, nil]
        let online = try store.read(service: "s", request: request).column("x")
        let offline = try store.offlineRead(service: "s", requests: request, on: connection) { _ in SourceRows([folder.path + "/e.parquet"]) }.column(
            "x")
        #expect((0..<4).map { online[$0] } == expected)
        #expect((0..<4).map { offline[$0] } == expected)
    }
}
