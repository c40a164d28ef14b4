import Contracts
import Monitoring
import Statistics
import Storage
import TestSupport
import Testing

private func halves(_ name: String) throws -> ReferenceColumn { try ReferenceColumn(name: name, edges: [0], shares: [0.5, 0.5, 0]) }
private let hourly: JSON = [
    "endpoint": "delay", "window": "1h", "drift": ["minimumRows": 10],
    "performance": ["label": ["within": "2h"], "alertWhen": "auc < reference.auc - 0.03", "minimumLabels": 10],
]

@Suite("Monitors over windows of event time")
struct MonitoringServiceTests {
    @Test("each window whose rows moved raises one alert, which names every column that did")
    func driftAlert() async throws {
        let home = try await MonitorHome(
            spec: ["endpoint": "delay", "window": "1h", "drift": ["minimumRows": 10]], inputs: [halves("a"), halves("b"), halves("c")],
            score: halves("score"))
        // In the first hour `a` is always above 0, and the score too; `b` and `c` are as trained.
        try await home.service.observe(
            (0..<1000).map { home.prediction(at: $0 % 3600, features: [1, $0 % 2 == 0 ? 1 : -1, $0 % 2 == 0 ? -1 : 1], score: 0.9) })
        try await home.service.observe(
            (0..<1000).map { home.prediction(at: 3600 + $0, features: [$0 % 2 == 0 ? 1 : -1, 1, -1], score: $0 % 2 == 0 ? 0.9 : -0.1) })
        #expect(try await home.alerts().count == 1, "the first window closed once its lateness passed")
        // The third hour is as trained.
        try await home.service.observe(
            (0..<1000).map {
                home.prediction(at: 7300 + $0, features: $0 % 2 == 0 ? [1, 1, 1] : [-1, -1, -1], score: $0 % 2 == 0 ? 0.9 : -0.1)
            })
        try await home.service.observe([home.prediction(at: 12_000, features: [1, 1, 1])])

        let windows = try await home.windows(.drift)
        #expect(windows.map(\.rows) == [1000, 1000, 1000] && windows.map(\.alerted) == [true, true, false])
        #expect(windows[0].columns.filter(\.drifted).map(\.name) == ["a", "score"])
        #expect(windows[1].columns.filter(\.drifted).map(\.name) == ["b", "c"])
        #expect(windows[0].from == MonitorHome.start && windows[0].until == MonitorHome.start + .hours(1))

        let alerts = try await home.alerts()
        #expect(alerts.count == 2 && alerts[0].subject == "Monitor/delay" && alerts[0].caller == "keel/monitoring")
        #expect(alerts[0].data["columns"]?.array?.compactMap { $0["name"]?.string } == ["a", "score"])
        #expect(alerts[0].data["eventTime"]?.string == "2013-04-01T01:00:00Z" && alerts[0].data["kind"]?.string == "drift")
        #expect(alerts[0].data["release"]?.integer == 1 && alerts[0].data["rows"]?.integer == 1000)
        let latest = try #require(try await home.service.latest(endpoint: MonitorHome.endpoint, by: home.read()))
        #expect(latest.psi == windows[2].value && (latest.psi ?? 1) < 0.01 && latest.release == 1)
        #expect(try await home.service.alerts(MonitorHome.monitor, by: home.read()).count == 2)
    }

    @Test("V6: rows out of order count in their own window; those that come late are counted; few rows give no drift")
    func disorder() async throws {
        let home = try await MonitorHome(spec: ["endpoint": "delay", "window": "1h", "drift": ["minimumRows": 10]], inputs: [halves("a")])
        let times: [Int64] = [0, 3599, 10, 3600, 3598, 3635, 5, 1800]
        try await home.service.observe(times.map { home.prediction(at: $0, features: [1]) })
        #expect(try await home.windows(.drift).isEmpty, "the lateness of 36 s has not passed")
        try await home.service.observe([
            home.prediction(at: 3636, features: [1]), home.prediction(at: 7, features: [1]), home.prediction(at: 7201, features: [1]),
        ])
        var windows = try await home.windows(.drift)
        #expect(windows.map(\.rows) == [6] && windows.map(\.late) == [1])
        let few = try #require(try await home.service.latest(endpoint: MonitorHome.endpoint, by: home.read()))
        #expect(few.psi == nil && few.rows == 6, "V6: drift is no number while a window has fewer rows than minimumRows")
        try await home.service.observe([home.prediction(at: 7, features: [1]), home.prediction(at: 20_000, features: [1])])
        windows = try await home.windows(.drift)
        #expect(windows.map(\.rows) == [6, 3, 1] && windows.map(\.late) == [2, 0, 0])
        #expect(await home.service.counters.late == 2)
        #expect(windows[0].notes.contains("6 rows are fewer than the 10 an alert takes") && !windows[0].alerted)
    }

    @Test("a row from the far future closes nothing, and a shadow prediction counts nowhere")
    func implausible() async throws {
        let home = try await MonitorHome(spec: ["endpoint": "delay", "window": "1h", "drift": [:]], inputs: [halves("a")])
        try await home.service.observe([
            home.prediction(at: 0, features: [1]), home.prediction(at: 50_000, features: [1], shadow: true),
            ObservedPrediction(id: "x", endpoint: MonitorHome.endpoint, release: 1, eventTime: .distantFuture, score: 0, features: [1]),
            ObservedPrediction(id: "y", endpoint: MonitorHome.endpoint, release: 1, eventTime: .distantPast, score: 0, features: [1]),
        ])
        #expect(try await home.windows(.drift).isEmpty)
        #expect(await home.service.counters.implausible == 2)
    }

    @Test("performance waits for its labels, then compares what was realised with what the release promised")
    func performance() async throws {
        let home = try await MonitorHome(spec: hourly, inputs: [halves("a")], metrics: ["auc": 0.8])
        var random = Seeded(1)
        var rows: [ObservedPrediction] = []
        for i in 0..<400 {
            rows.append(home.prediction(at: Int64(i) * 9, features: [i % 2 == 0 ? 1 : -1], score: Float(random.uniform())))
        }
        // Labels that the scores cannot tell: an AUC near .5. A tenth never come.
        let labels = rows.prefix(360).map { home.label($0, random.next() % 2 == 0 ? 1 : 0) }
        try await home.service.observe(rows)
        try await home.service.observe(labels: Array(labels.prefix(200)))
        try await home.service.observe([home.prediction(at: 3600 + 7199, features: [1])])
        #expect(try await home.windows(.performance).isEmpty, "two hours after its end have not passed")
        try await home.service.observe(labels: Array(labels.dropFirst(200)))
        try await home.service.observe([home.prediction(at: 3600 + 7200, features: [1])])

        let window = try #require(try await home.windows(.performance).first)
        let expected = try BinaryMetrics(scores: labels.map(\.score), labels: labels.compactMap(\.label))
        #expect(window.value == expected.auc && window.alerted)
        #expect(abs(((window.metrics["logloss"] ?? nil) ?? 0) - expected.logLoss) < 1e-9)
        #expect(window.metrics["coverage"] == 0.9 && window.metrics["labels"] == 360)
        #expect(window.reference == ["auc": 0.8])
        let alert = try #require(try await home.alerts().last)
        #expect(alert.data["kind"]?.string == "performance" && alert.data["reference"]?["auc"]?.number == 0.8)
        try await home.service.observe(labels: [home.label(rows[399], 1)])
        #expect(try await home.windows(.performance).first?.late == 1)
    }

    @Test("accuracy is measured of classes of any type, over a restart too; the metrics of yes and no are not")
    func classes() async throws {
        let spec: JSON = [
            "endpoint": "delay", "window": "1h",
            "performance": ["label": ["within": "2h"], "metric": "accuracy", "alertWhen": "accuracy < 0.8", "minimumLabels": 50],
        ]
        let home = try await MonitorHome(spec: spec, inputs: [halves("a")])
        // Three quarters are right; of every tenth the label is no class of the model's.
        let rows = (0..<200).map { home.prediction(at: Int64($0) * 9, features: [1], score: .nan, id: "p\($0)") }
        let labels = rows.enumerated().map { i, row in home.label(row, nil, isRight: i % 10 == 0 ? nil : i % 4 != 1) }
        let right = labels.compactMap(\.isRight)
        home.log.append(rows)
        home.log.label(labels)
        try await home.service.observe(rows)
        try await home.service.observe(labels: labels)
        let service = try await home.restarted()
        try await service.observe([home.prediction(at: 3600 + 7200, features: [1], score: .nan)])
        let window = try #require(try await service.windows(MonitorHome.monitor, kind: .performance, by: home.read()).first)
        let accuracy = Double(right.count { $0 }) / Double(right.count)
        #expect(window.value == accuracy && window.metrics["accuracy"] == accuracy && window.alerted && accuracy < 0.8)
        #expect(window.metrics["labels"] == 180 && window.metrics["coverage"] == 0.9)
        #expect(window.metrics["auc"] == .some(nil) && window.metrics["logloss"] == .some(nil))
        #expect(window.notes.contains { $0.hasPrefix("20 labels cannot be used") })
    }

    @Test("a window is measured on the release that served most of it; one without a reference is counted and said so")
    func releases() async throws {
        let home = try await MonitorHome(spec: ["endpoint": "delay", "window": "1h", "drift": ["minimumRows": 10]], inputs: [halves("a")])
        let rows = (0..<300).map { home.prediction(at: $0, features: [$0 < 100 ? 1 : ($0 % 2 == 0 ? 1 : -1)], release: $0 < 100 ? 1 : 2) }
        try await home.service.observe(rows + [home.prediction(at: 9000, features: [1])])
        let window = try #require(try await home.windows(.drift).first)
        #expect(window.release == 2 && window.rows == 200 && window.totalRows == 300 && !window.alerted)

        let bare = MonitoringService(database: home.database, references: FixedReference(value: nil), history: MemoryLog())
        let spec = try MonitorSpec(
            resource: Resource(kind: "Monitor", name: "bare", spec: ["endpoint": "delay", "window": "1h", "drift": [:]]))
        try await bare.configure([spec])
        try await bare.observe(rows + [home.prediction(at: 9000, features: [1])])
        let unmeasured = try #require(try await bare.windows(spec.ref, by: home.read()).first)
        #expect(
            unmeasured.value == nil && unmeasured.rows == 200 && unmeasured.notes.contains("release 2 has no reference to compare with"))
    }

    @Test(
        "a restart in the middle of a window measures what an uninterrupted process measures, and alerts once",
        arguments: [1, 250, 777, 1199, 1200])
    func restart(at cut: Int) async throws {
        func rows(_ home: MonitorHome) -> [ObservedPrediction] {
            var random = Seeded(7)
            return (0..<1500).map { i in
                home.prediction(
                    at: Int64(i) * 20 - Int64(random.next() % 15), features: [Float(random.normal() + Double(i) / 700)],
                    score: Float(random.uniform()), id: "p\(i)")
            }
        }
        func run(_ home: MonitorHome, restartAt: Int?) async throws -> [WindowMeasurement] {
            var service = home.service
            let all = rows(home)
            for (i, row) in all.enumerated() {
                if i == restartAt { service = try await home.restarted() }
                home.log.append([row])
                try await service.observe([row])
                if i >= 50 {
                    let label = home.label(all[i - 50], i % 3 == 0 ? 1 : 0)
                    home.log.label([label])
                    try await service.observe(labels: [label])
                }
            }
            return try await service.windows(MonitorHome.monitor, limit: 1000, by: home.read())
        }
        let one = try await MonitorHome(spec: hourly, inputs: [halves("a")], metrics: ["auc": 0.8])
        let two = try await MonitorHome(spec: hourly, inputs: [halves("a")], metrics: ["auc": 0.8])
        let (whole, cutted) = (try await run(one, restartAt: nil), try await run(two, restartAt: cut))
        #expect(whole == cutted && whole.count >= 12)
        let (a, b) = (try await one.alerts().map(\.data), try await two.alerts().map(\.data))
        #expect(a == b && !a.isEmpty)
    }

    @Test("the database refusing a measurement loses nothing: it is written with the next batch")
    func refusal() async throws {
        let home = try await MonitorHome(spec: ["endpoint": "delay", "window": "1h", "drift": ["minimumRows": 10]], inputs: [halves("a")])
        try await home.service.observe((0..<100).map { home.prediction(at: $0, features: [1]) })
        _ = try await home.database.write { try $0.execute("ALTER TABLE monitor_windows RENAME TO elsewhere") }
        await #expect(throws: KeelError.self) { try await home.service.observe([home.prediction(at: 8000, features: [1])]) }
        #expect(try await home.alerts().isEmpty)
        _ = try await home.database.write { try $0.execute("ALTER TABLE elsewhere RENAME TO monitor_windows") }
        try await home.service.observe([home.prediction(at: 8001, features: [1])])
        #expect(try await home.windows(.drift).map(\.rows) == [100])
        #expect(try await home.alerts().count == 1)
    }
}

@Suite("Monitor specs")
struct MonitorSpecTests {
    private func spec(_ json: JSON) throws(KeelError) -> MonitorSpec {
        try MonitorSpec(resource: Resource(kind: "Monitor", name: "m", spec: json))
    }

    @Test("the example reads as written, with sensible defaults")
    func example() throws {
        let found = try spec([
            "endpoint": "delay", "window": "7d", "drift": ["method": "psi", "threshold": 0.2, "columns": ["features", "score"]],
            "performance": ["label": ["within": "2d"], "metric": "auc", "alertWhen": "auc < reference.auc - 0.03"],
        ])
        #expect(found.window == .days(7) && found.lateness == .hours(1))
        #expect(found.drift?.features == true && found.drift?.score == true && found.performance?.within == .days(2))
    }

    @Test(
        "a mistake is named with its place",
        arguments: [
            (["endpoint": "e", "window": "7d"], "spec"),
            (["endpoint": "e", "window": "7d", "drift": ["treshold": 0.1]], "spec.drift.treshold"),
            (["endpoint": "e", "window": "7d", "drift": ["threshold": -1]], "spec.drift.threshold"),
            (["endpoint": "e", "window": "7 days", "drift": [:]], "spec.window"),
            (
                ["endpoint": "e", "window": "7d", "performance": ["label": ["within": "2d"], "alertWhen": "acu < 0.5"]],
                "spec.performance.alertWhen"
            ),
            (
                ["endpoint": "e", "window": "7d", "performance": ["label": ["within": "2d"], "alertWhen": "auc + 1"]],
                "spec.performance.alertWhen"
            ),
            (["endpoint": "e", "window": "1m", "performance": ["label": ["within": "2d"]]], "spec.performance.label.within"),
        ] as [(JSON, String)])
    func mistakes(json: JSON, path: String) {
        let error = #expect(throws: KeelError.self) { try spec(json) }
        #expect(error?.path == path)
    }
}
