import Contracts
import Foundation
import KeelClient
import NIOCore
import NIOHTTP1

/// One pass over a history. Requests go out in event time on one connection, a few ahead of their answers: the server answers in order, so all
/// facts up to an instant are accepted before a question at that instant is answered.
struct ReplaySession {
    private let history: FlightHistory
    private let endpoints: [String]
    private let client: KeelClient
    /// Sent and not yet answered, oldest first.
    private var ahead: [(what: String, sent: Timestamp, answer: EventLoopFuture<KeelClient.Response>)] = []
    private static let aheadMax = 24
    private var pending: [String: [[UInt8]]] = [:]
    private var labels: [JSON] = []
    private var questions = 0
    private var events = 0
    private var requests = 0
    private var rejected = 0
    private var latencies: [Double] = []
    private var seconds = 0.0
    private let progress = ProgressLine("replay")
    /// The month that was last told.
    private var shown = ""
    private static let datasets: [FlightHistory.Kind: String] = [.weather: "weather", .departure: "departures", .arrival: "arrivals"]

    init(history: FlightHistory, url: String, endpoints: [String]) throws {
        self.history = history
        self.endpoints = endpoints
        client = try KeelClient(url: url)
    }

    mutating func run(from start: Timestamp, until end: Timestamp) async throws {
        let begun = Timestamp.systemNow()
        var waited = 0.0
        var hour = start
        var i = 0
        while i < history.count {
            guard let moment = history.moments[i].time, let kind = history.kinds[i].integer.flatMap(FlightHistory.Kind.init) else { break }
            if moment - hour > .hours(1) {
                hour = moment
                try await flush()
                let share = Double(i) / Double(history.count)
                waited += try await waitForPipelines(share, moment)
                show(share, moment, begun, waited)
            }
            if kind == .question {
                var rows: [Int] = []
                while i < history.count, history.kinds[i].integer == kind.rawValue, history.moments[i].time == moment {
                    rows.append(i)
                    i += 1
                }
                try await pushFacts()
                try await ask(rows)
            } else {
                accept(i, kind)
                i += 1
            }
        }
        try await flush()
        seconds = (Timestamp.systemNow() - begun).seconds - waited
        progress.finish("\(end.description.prefix(10))")
    }

    private mutating func accept(_ row: Int, _ kind: FlightHistory.Kind) {
        guard let dataset = ReplaySession.datasets[kind], let payload = history.payloads[row].text else { return }
        pending[dataset, default: []].append(Array(payload.utf8))
        events += 1
        if kind == .arrival, let id = history.ids[row].text, let value = history.labels[row].number {
            labels.append(["id": .string(id), "value": .double(value), "at": .string(history.moments[row].description)])
        }
    }

    private mutating func send(_ what: String, _ path: String, _ body: [UInt8]) async throws {
        while ahead.count >= ReplaySession.aheadMax { try await settle() }
        ahead.append((what, .systemNow(), try await client.enqueue(.POST, path, body: body)))
        requests += 1
    }

    /// Waits for the oldest answer and checks it.
    private mutating func settle() async throws {
        let (what, sent, answer) = ahead.removeFirst()
        let response = try await answer.get()
        let body = try KeelClient.decode(response)
        rejected += body["rejected"]?.array?.count ?? 0
        if what == "question" { latencies.append((Timestamp.systemNow() - sent).seconds * 1000) }
    }

    private mutating func pushFacts() async throws {
        for (dataset, rows) in pending where !rows.isEmpty {
            let body = Array("{\"rows\":[".utf8) + Array(rows.joined(separator: [UInt8(ascii: ",")])) + Array("]}".utf8)
            try await send("facts", "/api/v1/datasets/\(dataset)/events", body)
        }
        pending.removeAll(keepingCapacity: true)
    }

    private mutating func flush() async throws {
        try await pushFacts()
        if !labels.isEmpty { try await send("labels", "/api/v1/labels", JSON.of(["labels": .array(labels)]).bytes) }
        labels.removeAll(keepingCapacity: true)
        while !ahead.isEmpty { try await settle() }
    }

    private mutating func ask(_ rows: [Int]) async throws {
        let body = try inferBody(rows)
        for endpoint in endpoints { try await send("question", "/v2/models/\(endpoint)/infer", body) }
        questions += rows.count * endpoints.count
    }

    /// The questions of one instant as one request of the Open Inference Protocol.
    private func inferBody(_ rows: [Int]) throws -> [UInt8] {
        let questions = try rows.map { try JSON.parse(history.payloads[$0].text ?? "") }
        let count = JSON.array([.int(Int64(rows.count))])
        var inputs: [JSON] = []
        for (name, type) in [
            ("carrier", "BYTES"), ("tailnum", "BYTES"), ("origin", "BYTES"), ("dest", "BYTES"), ("distance", "FP64"), ("hour", "INT32"),
            ("scheduled_departure", "BYTES"),
        ] {
            inputs.append([
                "name": .string(name), "datatype": .string(type), "shape": count, "data": .array(questions.map { $0[name] ?? .null }),
            ])
        }
        let ids = JSON.array(rows.map { .string(history.ids[$0].text ?? "") })
        return JSON.of(["parameters": ["ids": ids], "inputs": .array(inputs)]).bytes
    }

    /// Waits until no pipeline runs, and says what it waits for when that takes longer than ten seconds; returns for how many seconds.
    private func waitForPipelines(_ share: Double, _ moment: Timestamp) async throws -> Double {
        let begun = Timestamp.systemNow()
        var told = begun
        while let run = try await client.json(.GET, "/api/v1/runs?state=running")["runs"]?.array?.first {
            let now = Timestamp.systemNow()
            if now - told >= .seconds(10) {
                told = now
                let text = "waits for \(try await running(run)), \((now - begun).seconds.decimals(0)) s"
                if progress.isTerminal {
                    progress.update(share, text)
                } else {
                    Terminal.printError(lines: "replay \(moment.description.prefix(10)): \(text)")
                }
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        return (Timestamp.systemNow() - begun).seconds
    }

    /// A run's pipeline and the step that it is at.
    private func running(_ run: JSON) async throws -> String {
        let steps = try await client.json(.GET, "/api/v1/runs/\(run["id"]?.string ?? "")")["steps"]?.array ?? []
        let step = steps.first { $0["state"]?.string == "running" }?["name"]?.string
        return (run["pipeline"]?.string ?? "a pipeline") + (step.map { ": \($0)" } ?? "")
    }

    /// A line that redraws itself on a terminal; elsewhere a line for each month.
    private mutating func show(_ share: Double, _ moment: Timestamp, _ begun: Timestamp, _ waited: Double) {
        guard progress.isTerminal else {
            let month = String(moment.description.prefix(7))
            if month != shown, share < 1 { Terminal.printError(lines: "replay \(month): \((share * 100).decimals(0)) %") }
            return shown = month
        }
        let rate = Double(events + questions) / max((Timestamp.systemNow() - begun).seconds - waited, 0.001)
        progress.update(share, "\(moment.description.prefix(10))  \(rate.decimals(0)) events + predictions/s")
    }

    var summary: String {
        let sorted = latencies.sorted()
        func percentile(_ p: Double) -> String {
            sorted.isEmpty ? "-" : "\((sorted[Int(saturating: Double(sorted.count - 1) * p)] * 1000).rounded() / 1000) ms"
        }
        return """
            replayed \(events) events and \(questions) predictions in \(requests) requests and \(seconds.decimals(0)) s: \
            \((Double(events + questions) / max(seconds, 0.001)).decimals(0)) events + predictions/s, \(rejected) events rejected
            from asking to answer, with up to \(ReplaySession.aheadMax) requests ahead on one connection: p50 \(percentile(0.5)), p90 \(percentile(0.9)), p99 \(percentile(0.99))
            """
    }
}
