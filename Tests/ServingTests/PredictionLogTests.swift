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
        let runtime = ServingRuntime(
            log: try PredictionLog(database: home.database, journal: home.folder + "/stalled", rowsMax: rows), threads: 1)
        let second = DeploymentService(database: home.database, models: ModelLoader(objects: home.objects), runtime: runtime, features: nil)
        try await second.configure([.delay(log: policy)])
        return (home, runtime)
    }

    @Test func blockRefusesWhatItCannotLog() async throws {
        let (home, runtime) = try await stalled(LogPolicy(whenFull: .block), rows: 10)
        for i in 0..<10 { _ = try await runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["a\(i)"]) }
        let error = try await #require(throws: KeelError.self) {
            try await runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["b"])
        }
        #expect(error.code == .unavailable)
        #expect(runtime.log.counters.refused == 1 && runtime.log.counters.queued == 10)
        await home.stop()
    }

    @Test func dropAnswersAndCountsWhatItLeavesOut() async throws {
        let (home, runtime) = try await stalled(LogPolicy(whenFull: .drop), rows: 10)
        for i in 0..<25 { _ = try await runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["a\(i)"]) }
        #expect(runtime.log.counters.dropped == 15 && runtime.log.counters.queued == 10)
        await home.stop()
    }

    @Test func sampleThinsOutAndCounts() async throws {
        let (home, runtime) = try await stalled(LogPolicy(whenFull: .sample), rows: 100)
        for i in 0..<400 { _ = try await runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["a\(i)"]) }
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
        _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([1]), ids: ["p1"])
        let counts = try await home.runtime.label([LabelInput(id: "p1", value: 1), LabelInput(id: "p2", value: 0)], Home.labeller)
        #expect(counts == LabelCounts(joined: 1, unknown: 1))
        // The label that came first waits for its prediction.
        _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["p2"])
        try await home.runtime.flush()
        let rows = try await PredictionQueries(database: home.database).predictions(endpoint: .delay, Home.reader)
        #expect(Dictionary(uniqueKeysWithValues: rows.map { ($0.id, $0.label) }) == ["p1": 1, "p2": 0])
        #expect(seen.predictions.withLock { $0.map(\.id) } == ["p1", "p2"])
        #expect(seen.labels.withLock { $0.map(\.id) } == ["p1", "p2"])
        await home.stop()
    }

    @Test("a label that its endpoint cannot have is refused alone, with its place; where nobody says what labels are, all are taken")
    func labelsOfAClassifier() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([1, 0]), ids: ["p1", "p2"])
        let posted = [LabelInput(id: "p1", value: 0.5), LabelInput(id: "p2", value: 1), LabelInput(id: "later", value: 7)]
        #expect(try await home.runtime.label(posted, Home.labeller) == LabelCounts(joined: 2, unknown: 1))
        home.runtime.log.setBinaryEndpoints([.delay], in: .default)
        let again = [LabelInput(id: "p1", value: 0), LabelInput(id: "p2", value: -1), LabelInput(id: "p2", value: 0.5)]
        let counts = try await home.runtime.label(again, Home.labeller)
        #expect(counts.joined == 1 && counts.rejected.map(\.index) == [1, 2])
        #expect(counts.rejected[0].reason.contains("-1 is neither 0 nor 1") && counts.rejected[0].reason.contains("'delay'"))
        let rows = try await PredictionQueries(database: home.database).predictions(endpoint: .delay, Home.reader)
        #expect(Dictionary(uniqueKeysWithValues: rows.map { ($0.id, $0.label) }) == ["p1": 0, "p2": 1], "the label before stays")
        await home.stop()
    }

    @Test func aBadLabelIsRefusedWithItsPlace() async throws {
        let home = try await Home()
        let error = try await #require(throws: KeelError.self) {
            try await home.runtime.label([LabelInput(id: "a", value: .double(.nan))], Home.labeller)
        }
        #expect(error.path == "labels[0].value")
        await home.stop()
    }

    @Test("a label is kept as what it was posted as, whether its prediction is logged already or comes later")
    func typedLabels() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let labels: [Label] = [true, 9_007_199_254_740_993, 0.25, "on time", "1", false, -3]
        let inputs = labels.enumerated().map { LabelInput(id: "p\($0.offset)", value: $0.element) }
        try await home.ask(4)
        #expect(try await home.runtime.label(inputs, Home.labeller) == LabelCounts(joined: 4, unknown: 3))
        try await home.ask(3, from: 4)
        let rows = try await PredictionQueries(database: home.database).predictions(endpoint: .delay, Home.reader)
        #expect(Dictionary(uniqueKeysWithValues: rows.map { ($0.id, $0.label) }) == Dictionary(uniqueKeysWithValues: inputs.map { ($0.id, $0.value) }))
        // A text is no label of an endpoint whose labels are 0 or 1; true is.
        home.runtime.log.setBinaryEndpoints([.delay], in: .default)
        let counts = try await home.runtime.label([LabelInput(id: "p0", value: "yes"), LabelInput(id: "p1", value: true)], Home.labeller)
        #expect(counts.joined == 1 && counts.rejected.map(\.index) == [0])
        #expect(counts.rejected[0].reason.hasPrefix(#""yes" is neither 0 nor 1"#))
        for label: Label in ["", .text(String(repeating: "é", count: 501)), "a\0b"] {
            let error = try await #require(throws: KeelError.self) { try await home.runtime.label([LabelInput(id: "p0", value: label)], Home.labeller) }
            #expect(error.path == "labels[0].value")
        }
        await home.stop()
    }

    @Test("a label that became known after the endpoint's horizon is refused, and one that waited for such a prediction does not join")
    func horizon() async throws {
        let home = try await Home()
        try await home.service.configure([EndpointSpec(.delay, label: LabelPolicy(within: .days(2)))])
        try await home.release(0.2, 0.8)
        try await home.ask(2)
        let queries = PredictionQueries(database: home.database)
        let asked = try #require(try await queries.predictions(endpoint: .delay, Home.reader).first?.eventTime)
        let late = LabelInput(id: "p0", value: "late", at: asked + .days(3))
        let counts = try await home.runtime.label([late, LabelInput(id: "p1", value: "in time", at: asked + .days(1))], Home.labeller)
        #expect(counts.joined == 1 && counts.rejected.map(\.index) == [0])
        #expect(counts.rejected[0].reason.contains("later than 2d after its prediction") && counts.rejected[0].reason.contains("'delay'"))
        // Of an id that is not logged it is not known whose it is: it is looked at when its prediction comes.
        let early = [LabelInput(id: "p2", value: "late", at: asked + .days(3)), LabelInput(id: "p3", value: "in time", at: asked + .days(1))]
        #expect(try await home.runtime.label(early, Home.labeller) == LabelCounts(unknown: 2))
        try await home.ask(2, from: 2)
        func labels() async throws -> [String: Label] {
            let rows = try await queries.predictions(endpoint: .delay, Home.reader)
            return Dictionary(uniqueKeysWithValues: rows.compactMap { row in row.label.map { (row.id, $0) } })
        }
        #expect(try await labels() == ["p1": "in time", "p3": "in time"])
        // Without a horizon labels are taken whenever they come.
        try await home.service.configure([.delay()])
        #expect(try await home.runtime.label([late], Home.labeller) == LabelCounts(joined: 1))
        #expect(try await labels()["p0"] == "late")
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
        for i in 0..<500 { _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["p\(i)"]) }
        await home.stop()
        #expect(home.runtime.log.counters.written == 500 && home.runtime.log.counters.left == 0)
        let error = try await #require(throws: KeelError.self) {
            try await home.runtime.label([LabelInput(id: "p1", value: 1)], Home.labeller)
        }
        #expect(error.code == .unavailable)
    }

    @Test(
        "D4: what a killed process had answered is in the table after the next start, once",
        arguments: [LogPolicy.Durability.buffered, .acknowledged])
    func answeredPredictionsSurviveTheProcess(durability: LogPolicy.Durability) async throws {
        let first = try await Home()
        try await first.service.configure([.delay(log: LogPolicy(durability: durability))])
        try await first.release(0.2, 0.8)
        try await first.ask(5)
        await first.stop()
        // The writer of this one never runs: its answers get no further than the journal.
        let killed = try await Home(at: first.folder, writes: false)
        try await killed.service.configure([.delay(log: LogPolicy(durability: durability))])
        var answered: [String: Float] = [:]
        for i in 0..<300 {
            let result = try await killed.runtime.infer(
                endpoint: .delay, request: Home.request([Double(i % 2), 0]), ids: ["k\(i)", "l\(i)"])
            for (id, score) in zip(result.ids, result.scores ?? []) { answered[id] = score }
        }
        let remains = try killed.remains()
        for _ in 0..<2 {
            let again = try await Home(at: remains)
            let rows = try await PredictionQueries(database: again.database).predictions(endpoint: .delay, limit: 10_000, Home.reader)
            #expect(rows.count == 605)
            #expect(Set(rows.map(\.id)).isSuperset(of: answered.keys))
            #expect(rows.allSatisfy { answered[$0.id].map(Double.init) ?? $0.score == $0.score })
            #expect(rows.first { $0.id == "k1" }?.request == #"{"x":1.0}"# && rows.first { $0.id == "k1" }?.inputs == [1.0])
            await again.stop()
        }
        // What was recovered is not recovered again.
        let last = try await Home(at: remains)
        #expect(last.runtime.log.counters.recovered == 0 && last.runtime.log.counters.repeated == 0)
        await last.stop()
    }

    @Test("D4: only the sampled share of the answers is in the journal")
    func theJournalHoldsWhatIsSampled() async throws {
        let killed = try await Home(writes: false)
        try await killed.service.configure([.delay(log: LogPolicy(sample: 0.5))])
        try await killed.release(0.2, 0.8)
        for i in 0..<400 { _ = try await killed.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["p\(i)"]) }
        let unsampled = killed.runtime.log.counters.unsampled
        #expect(unsampled > 140 && unsampled < 260)
        let again = try await Home(at: killed.remains())
        #expect(again.runtime.log.counters.recovered == 400 - unsampled)
        await again.stop()
    }

    @Test("D5: a full log refuses at once, and labels and flushes end while the table cannot be written")
    func everyWaitEnds() async throws {
        let home = try await Home(logRows: 10)
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        // The table is gone: every write fails, as on a full disk.
        _ = try await home.database.write { try $0.execute("ALTER TABLE predictions RENAME TO gone") }
        for i in 0..<10 { _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["a\(i)"]) }
        let full = try await #require(throws: KeelError.self) {
            try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["b"])
        }
        #expect(full.code == .unavailable)
        await #expect(throws: KeelError.self) { try await home.runtime.label([LabelInput(id: "a1", value: 1)], Home.labeller) }
        await #expect(throws: KeelError.self) { try await home.runtime.flush() }
        // When it can be written again, nothing was lost.
        _ = try await home.database.write { try $0.execute("ALTER TABLE gone RENAME TO predictions") }
        while home.runtime.log.counters.queued > 0 { try await Task.sleep(for: .milliseconds(20)) }
        #expect(home.runtime.log.counters.written == 10)
        #expect(try await home.runtime.label([LabelInput(id: "a1", value: 1)], Home.labeller) == LabelCounts(joined: 1))
        await home.stop()
    }

    @Test("D6: a log that is stopped while the table cannot be written leaves its rows in the journal and says how many")
    func aStoppedLogLeavesItsRows() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        _ = try await home.database.write { try $0.execute("ALTER TABLE predictions RENAME TO gone") }
        for i in 0..<7 { _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["a\(i)"]) }
        await home.stop()
        #expect(home.runtime.log.counters.left == 7)
        _ = try await home.database.write { try $0.execute("ALTER TABLE gone RENAME TO predictions") }
        let again = try await Home(at: home.folder)
        #expect(again.runtime.log.counters.recovered == 7)
        await again.stop()
    }

    @Test func pagesByKeyGiveEveryPredictionOnce() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        try await home.ask(25)
        let queries = PredictionQueries(database: home.database)
        var (ids, key) = ([String](), PredictionKey?.none)
        while true {
            let page = try await queries.predictions(endpoint: .delay, after: key, limit: 10, Home.reader)
            guard let last = page.last else { break }
            ids += page.map(\.id)
            key = last.key
        }
        #expect(ids.count == 25 && Set(ids).count == 25)
        let mean = try await queries.reduce(endpoint: .delay, into: 0, Home.reader) { count, outcome in count += outcome.shadow ? 0 : 1 }
        #expect(mean == 25)
        #expect(try await queries.sampleReads(endpoint: .delay, limit: 5, Home.reader).count == 5)
        await home.stop()
    }

    final class Seen: PredictionObserver {
        let predictions = Mutex<[PredictionRecord]>([])
        let labels = Mutex<[LabelledPrediction]>([])
        func observed(_ predictions: [PredictionRecord]) { self.predictions.withLock { $0 += predictions } }
        func observed(labels: [LabelledPrediction]) { self.labels.withLock { $0 += labels } }
    }
}
