import Contracts
import Serving
import Storage
import Synchronization
import Testing

@Suite struct PredictionLogTests {
    /// A runtime whose log has no writer yet: it fills.
    private func stalled(_ policy: LogPolicy, rows: Int) async throws -> (Home, ServingRuntime) {
        let home = try await Home()
        try await home.service.configure([.delay(log: policy)])
        try await home.release(0.2, 0.8)
        let runtime = ServingRuntime(log: PredictionLog(database: home.database, rowsMax: rows))
        let second = DeploymentService(database: home.database, objects: home.objects, runtime: runtime, features: nil)
        try await second.configure([.delay(log: policy)])
        return (home, runtime)
    }

    @Test func blockRefusesWhatItCannotLog() async throws {
        let (home, runtime) = try await stalled(LogPolicy(whenFull: .block), rows: 10)
        for i in 0..<10 { _ = try runtime.infer(endpoint: "delay", request: Home.request([0]), ids: ["a\(i)"]) }
        let error = try #require(throws: KeelError.self) { try runtime.infer(endpoint: "delay", request: Home.request([0]), ids: ["b"]) }
        #expect(error.code == .unavailable)
        #expect(runtime.log.counters.refused == 1 && runtime.log.counters.queued == 10)
        await home.stop()
    }

    @Test func dropAnswersAndCountsWhatItLeavesOut() async throws {
        let (home, runtime) = try await stalled(LogPolicy(whenFull: .drop), rows: 10)
        for i in 0..<25 { _ = try runtime.infer(endpoint: "delay", request: Home.request([0]), ids: ["a\(i)"]) }
        #expect(runtime.log.counters.dropped == 15 && runtime.log.counters.queued == 10)
        await home.stop()
    }

    @Test func sampleThinsOutAndCounts() async throws {
        let (home, runtime) = try await stalled(LogPolicy(whenFull: .sample), rows: 100)
        for i in 0..<400 { _ = try runtime.infer(endpoint: "delay", request: Home.request([0]), ids: ["a\(i)"]) }
        let counters = runtime.log.counters
        #expect(counters.sampled + counters.queued == 400)
        #expect(counters.queued > 50 && counters.queued <= 100)
        await home.stop()
    }

    @Test func onlyTheDeclaredShareIsLogged() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(log: LogPolicy(sample: 0.5))])
        try await home.release(0.2, 0.8)
        try await home.ask(400)
        let counters = home.runtime.log.counters
        #expect(counters.written + counters.unsampled == 400)
        #expect(counters.written > 140 && counters.written < 260)
        await home.stop()
    }

    @Test func aLabelFindsAPredictionThatIsStillInTheQueue() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let seen = Seen()
        home.runtime.log.observe(seen)
        _ = try home.runtime.infer(endpoint: "delay", request: Home.request([1]), ids: ["p1"])
        let counts = try await home.runtime.label([LabelInput(id: "p1", value: 1), LabelInput(id: "p2", value: 0)], Home.labeller)
        #expect(counts == LabelCounts(joined: 1, unknown: 1))
        // The label that came first waits for its prediction.
        _ = try home.runtime.infer(endpoint: "delay", request: Home.request([0]), ids: ["p2"])
        await home.runtime.flush()
        let rows = try await PredictionQueries(database: home.database).predictions(endpoint: "delay", Home.reader)
        #expect(Dictionary(uniqueKeysWithValues: rows.map { ($0.id, $0.label) }) == ["p1": 1, "p2": 0])
        #expect(seen.predictions.withLock { $0.map(\.id) } == ["p1", "p2"])
        #expect(seen.labels.withLock { $0.map(\.id) } == ["p1", "p2"])
        await home.stop()
    }

    @Test func aBadLabelIsRefusedWithItsPlace() async throws {
        let home = try await Home()
        let error = try await #require(throws: KeelError.self) {
            try await home.runtime.label([LabelInput(id: "a", value: .nan)], Home.labeller)
        }
        #expect(error.path == "labels[0].value")
        await home.stop()
    }

    @Test func aRepeatedIdIsKeptOnce() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        try await home.ask(3)
        try await home.ask(3)
        #expect(home.runtime.log.counters.written == 3 && home.runtime.log.counters.repeated == 3)
        await home.stop()
    }

    @Test func stoppingWritesWhatWasAnsweredAndRefusesLabels() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        for i in 0..<500 { _ = try home.runtime.infer(endpoint: "delay", request: Home.request([0]), ids: ["p\(i)"]) }
        await home.stop()
        #expect(home.runtime.log.counters.written == 500 && home.runtime.log.counters.lost == 0)
        let error = try await #require(throws: KeelError.self) {
            try await home.runtime.label([LabelInput(id: "p1", value: 1)], Home.labeller)
        }
        #expect(error.code == .unavailable)
    }

    @Test func pagesByKeyGiveEveryPredictionOnce() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        try await home.ask(25)
        let queries = PredictionQueries(database: home.database)
        var (ids, key) = ([String](), PredictionKey?.none)
        while true {
            let page = try await queries.predictions(endpoint: "delay", after: key, limit: 10, Home.reader)
            guard let last = page.last else { break }
            ids += page.map(\.id)
            key = last.key
        }
        #expect(ids.count == 25 && Set(ids).count == 25)
        let mean = try await queries.reduce(endpoint: "delay", into: 0, Home.reader) { count, outcome in count += outcome.shadow ? 0 : 1 }
        #expect(mean == 25)
        #expect(try await queries.sampleReads(endpoint: "delay", limit: 5, Home.reader).count == 5)
        await home.stop()
    }

    final class Seen: PredictionObserver {
        let predictions = Mutex<[PredictionRecord]>([])
        let labels = Mutex<[LabelledPrediction]>([])
        func observed(_ predictions: [PredictionRecord]) { self.predictions.withLock { $0 += predictions } }
        func observed(labels: [LabelledPrediction]) { self.labels.withLock { $0 += labels } }
    }
}
