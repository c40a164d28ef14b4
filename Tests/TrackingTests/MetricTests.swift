import Contracts
import Storage
import TestSupport
import Testing
import Tracking

@Suite("Histories of metrics")
struct MetricTests {
    private func order(_ a: Metric, _ b: Metric) -> Bool {
        (a.step, a.at.milliseconds, a.value.isNaN ? 0 : a.value, a.value.isNaN ? 1 : 0)
            < (b.step, b.at.milliseconds, b.value.isNaN ? 0 : b.value, b.value.isNaN ? 1 : 0)
    }

    private func text(_ metric: Metric) -> String { "\(metric.step)/\(metric.at.milliseconds)/\(metric.value)" }

    /// Logs points in a random order, some of them twice.
    private func log(_ points: [Metric], _ f: Fixture, _ random: inout Seeded) async throws -> String {
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        let all = (points + points.prefix(points.count / 5)).shuffled(using: &random)
        for start in stride(from: 0, to: all.count, by: 1000) {
            try await f.tracking.logBatch(runID: run.id, metrics: Array(all[start..<min(start + 1000, all.count)]), f.write)
        }
        return run.id
    }

    /// The first of each of `size` equal parts and the last of all, as MLflow's server samples.
    private func sampled(_ points: [Metric], _ size: Int) -> [Metric] {
        guard points.count > size else { return points }
        var out: [Metric] = []
        var place = 0
        for part in 0..<size {
            out.append(points[place])
            place += points.count / size + (part < points.count % size ? 1 : 0)
        }
        out[size - 1] = points[points.count - 1]
        return out
    }

    @Test(
        "samples are the first of equal parts and the last, in any range of steps, however points are spread",
        arguments: [1, 7, 40, 5000, 0])
    func samples(spread: Int) async throws {
        let f = try await Fixture()
        var random = Seeded(UInt64(spread))
        let points = (0..<3000).map { i in
            Metric("loss", i % 97 == 0 ? .nan : Double(i % 53), at: at(Int64(i)), step: Int64((i - 1000) * spread))
        }.sorted(by: order)
        let run = try await log(points, f, &random)
        #expect(try await f.tracking.run(id: run, f.read).metrics.map(text) == points.suffix(1).map(text))
        let lowest = points[0].step
        let highest = points[points.count - 1].step
        let ranges: [ClosedRange<Int64>?] = [
            nil, lowest...highest, (lowest / 2 + 3)...(highest / 2 + 3), highest...highest, (highest + 1)...Int64.max,
        ]
        for size in [1, 2, 10, 320, 2999, 3000] {
            for range in ranges {
                let expected = sampled(points.filter { range?.contains($0.step) ?? true }, size)
                let found = try await f.tracking.metricSamples(runIDs: [run], key: "loss", steps: range, size: size, f.read)
                #expect(found.map { text($0.metric) } == expected.map(text), "\(size) of \(String(describing: range))")
            }
        }
    }

    @Test("an outline keeps the lowest, the highest, the first and the last, and is as short as asked", arguments: [1, 300, 0])
    func outline(spread: Int) async throws {
        let f = try await Fixture()
        var random = Seeded(5)
        var points = (0..<30_000).map { i in
            Metric("loss", Double.random(in: 0...1, using: &random), at: at(Int64(i)), step: Int64(i * spread))
        }
        points[17_123] = Metric("loss", 9, at: at(17_123), step: Int64(17_123 * spread))
        points[21_001] = Metric("loss", -9, at: at(21_001), step: Int64(21_001 * spread))
        points[4_000] = Metric("loss", .nan, at: at(4_000), step: Int64(4_000 * spread))
        let run = try await log(points, f, &random)
        for size in [2, 20, 200, 2000] {
            let outline = try await f.tracking.metricOutline(runID: run, key: "loss", size: size, f.read)
            #expect(outline.count == 30_000)
            #expect(outline.points.count <= size + 2 && outline.points.count >= size / 2)
            #expect(outline.points.map(\.value).min() == -9 && outline.points.map(\.value).max() == 9)
            #expect(outline.points.first.map(text) == text(points[0]) && outline.points.last.map(text) == text(points[29_999]))
            #expect(outline.points.map(text) == outline.points.sorted(by: order).map(text))
        }
        await #expect(throws: KeelError.self) { _ = try await f.tracking.metricOutline(runID: run, key: "nothing", size: 10, f.read) }
    }

    @Test("a history of nothing but NaN has an outline too")
    func onlyNaN() async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        for start in 0..<3 {
            let metrics = (0..<1000).map { Metric("n", .nan, at: at(1), step: Int64(start * 1000 + $0)) }
            try await f.tracking.logBatch(runID: run.id, metrics: metrics, f.write)
        }
        for size in [4, 100] {
            let points = try await f.tracking.metricOutline(runID: run.id, key: "n", size: size, f.read).points
            #expect(points.count >= 2 && points.allSatisfy(\.value.isNaN))
        }
    }

    @Test("what a run holds is counted once, also when it is logged twice, and pages end where the history ends")
    func pages() async throws {
        let f = try await Fixture()
        var random = Seeded(3)
        let points = (0..<2500).map { Metric("loss", Double($0 % 10), at: at(Int64($0 / 100)), step: Int64($0)) }
        let run = try await log(points, f, &random)
        var (found, token): ([Metric], String?) = ([], nil)
        repeat {
            let page = try await f.tracking.metricHistory(runID: run, key: "loss", pageSize: 300, pageToken: token, f.read)
            found += page.items
            token = page.nextToken
        } while token != nil
        let expected = points.sorted {
            ($0.at.milliseconds, $0.step, $0.value) < ($1.at.milliseconds, $1.step, $1.value)
        }
        #expect(found.map(text) == expected.map(text))
        _ = try await f.tracking.updateRun(id: run, status: .finished, f.write)
        let event = try await f.database.read { try $0.ledgerEvents().last { $0.kind == "run.finished" } }
        #expect(event?.data["metric_points"] == .int(2500))
    }
}
