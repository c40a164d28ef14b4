import Contracts
import Foundation
import KeelClient
import NIOHTTP1
import Plotting

/// A run as the command line shows it.
struct TrackedRun {
    let json: JSON
    let experiment: String

    var info: JSON { json["info"] ?? .null }
    var id: String { info["run_id"]?.string ?? "" }
    var name: String { info["run_name"]?.string ?? "" }
    var params: [(key: String, value: String)] { pairs("params") }
    var tags: [(key: String, value: String)] { pairs("tags") }
    var metrics: [(key: String, value: Double)] {
        (json["data"]?["metrics"]?.items ?? []).map { ($0["key"]?.string ?? "", TrackedRun.number($0["value"])) }
    }
    var started: Timestamp? { time("start_time") }
    var ended: Timestamp? { time("end_time") }

    private func time(_ field: String) -> Timestamp? { info[field]?.integer.flatMap { Timestamp(given: $0) } }

    private func pairs(_ kind: String) -> [(key: String, value: String)] {
        (json["data"]?[kind]?.items ?? []).map { ($0["key"]?.string ?? "", $0["value"]?.string ?? "") }
    }

    /// MLflow writes what is no number as text.
    static func number(_ json: JSON?) -> Double { json?.number ?? json?.string.flatMap(Double.init) ?? .nan }

    func metric(_ key: String) -> Double? { metrics.first { $0.key == key }?.value }

    /// What a column such as `metrics.auc`, `params.depth` or `tags.team` holds; nil when the run has no such thing.
    func value(_ column: Column) -> ParallelPlot.Value? {
        switch column.entity {
        case .metrics: metric(column.key).map { .number($0) }
        case .params: params.first { $0.key == column.key }.map { pair in Double(pair.value).map { .number($0) } ?? .text(pair.value) }
        case .tags: tags.first { $0.key == column.key }.map { .text($0.value) }
        }
    }

    func cell(_ column: Column) -> String {
        switch column.entity {
        case .metrics: metric(column.key).map { Scale.short($0) } ?? "-"
        case .params: params.first { $0.key == column.key }.map { TrackedRun.brief($0.value) } ?? "-"
        case .tags: tags.first { $0.key == column.key }?.value ?? "-"
        }
    }

    /// A long fraction to six digits; anything else as it is.
    private static func brief(_ text: String) -> String {
        guard text.utf8.count > 10, text.utf8.contains(UInt8(ascii: ".")), let value = Double(text), value.isFinite else { return text }
        return Scale.short(value, digits: 6)
    }

    /// How long it took, or has taken until now.
    var duration: String {
        guard let started, ended != nil || info["status"]?.string == "RUNNING" else { return "-" }
        // Both ends are what a client said.
        let microseconds = max(0, Double((ended ?? .systemNow()).microseconds) - Double(started.microseconds))
        let seconds = Int64(saturating: microseconds / 1_000_000)
        if seconds < 1, ended != nil { return "\(Int64(saturating: microseconds / 1000)) ms" }
        if seconds < 60 { return "\(seconds) s" }
        if seconds < 3600 { return "\(seconds / 60) min \(seconds % 60) s" }
        return "\(seconds / 3600) h \(seconds / 60 % 60) min"
    }

    /// The error for a metric that none of these runs has.
    static func unknown(metric key: String, in runs: [TrackedRun]) -> KeelError {
        let keys = Set(runs.flatMap { $0.metrics.map(\.key) })
        let hint =
            keys.isEmpty
            ? "they have no metrics"
            : nearest(key, in: keys).map { "did you mean '\($0)'?" } ?? "they have \(keys.sorted().prefix(10).joined(separator: ", "))"
        return .notFound("none of these runs has the metric '\(key)'", hint: hint)
    }

    /// `metrics.auc`: what a run has under a key.
    struct Column: Hashable {
        enum Entity: String, CaseIterable { case metrics, params, tags }
        let entity: Entity
        let key: String
        var text: String { "\(entity.rawValue).\(key)" }

        init(_ entity: Entity, _ key: String) { (self.entity, self.key) = (entity, key) }

        init(_ text: String) throws(KeelError) {
            let parts = text.split(separator: ".", maxSplits: 1).map(String.init)
            let words = Entity.allCases.map(\.rawValue)
            guard parts.count == 2, let entity = Entity.allCases.first(where: { $0.rawValue == parts[0] || $0.rawValue == parts[0] + "s" })
            else {
                throw .invalid("'\(text)' is not a column", hint: "one of \(words.map { $0 + ".KEY" }.joined(separator: ", "))")
            }
            (self.entity, self.key) = (entity, parts[1])
        }

        static func list(_ text: String?) throws(KeelError) -> [Column]? {
            guard let text else { return nil }
            var out: [Column] = []
            for part in text.split(separator: ",") { out.append(try Column(part.trimmingCharacters(in: .whitespaces))) }
            return out
        }
    }
}

/// A metric's history in few points.
struct MetricShape {
    /// How many values were logged.
    let count: Int64
    /// By step; what is no number is NaN.
    let points: [Point]

    var values: [Double] { points.map(\.y) }

    /// From the lowest to the highest value; nil when there is none.
    var range: ClosedRange<Double>? {
        let known = values.filter { !$0.isNaN }
        guard let low = known.min(), let high = known.max() else { return nil }
        return low...high
    }
}

/// Runs, read from the server.
struct TrackedRuns {
    let client: KeelClient
    private let root = "/api/2.0/mlflow"

    init(_ connection: Connection) throws { client = try connection.client() }

    /// Names of experiments by their id: one when it is named, all that are active otherwise.
    func experiments(named name: String?) async throws -> [String: String] {
        if let name {
            do {
                let found = try await client.json(.GET, "\(root)/experiments/get-by-name?experiment_name=\(escaped(name))")
                return [found["experiment"]?["experiment_id"]?.string ?? "": name]
            } catch let error as KeelError where error.code == .notFound {
                let names = try await experiments(named: nil).values
                throw KeelError.notFound(
                    "there is no experiment '\(name)'",
                    hint: nearest(name, in: names).map { "did you mean '\($0)'?" }
                        ?? "there are: \(names.sorted().prefix(10).joined(separator: ", "))")
            }
        }
        var out: [String: String] = [:]
        var token: String?
        repeat {
            var body: JSON = ["max_results": 1000, "view_type": "ALL"]
            if let token { body["page_token"] = .string(token) }
            let page = try await client.json(.POST, "\(root)/experiments/search", body)
            for item in page["experiments"]?.items ?? [] { out[item["experiment_id"]?.string ?? ""] = item["name"]?.string ?? "" }
            token = page["next_page_token"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        } while token != nil
        return out
    }

    func search(
        _ experiments: [String: String], filter: String? = nil, order: [String] = [], limit: Int, view: String = "ACTIVE_ONLY"
    ) async throws -> [TrackedRun] {
        guard !experiments.isEmpty else { return [] }
        var (out, token): ([TrackedRun], String?) = ([], nil)
        repeat {
            var body: JSON = [
                "experiment_ids": .array(experiments.keys.sorted().map(JSON.string)),
                "max_results": .int(Int64(min(limit - out.count, 1000))),
                "order_by": .array(order.map(JSON.string)), "run_view_type": .string(view),
            ]
            if let filter { body["filter"] = .string(filter) }
            if let token { body["page_token"] = .string(token) }
            let page = try await client.json(.POST, "\(root)/runs/search", body)
            for json in page["runs"]?.items ?? [] {
                out.append(TrackedRun(json: json, experiment: experiments[json["info"]?["experiment_id"]?.string ?? ""] ?? ""))
            }
            token = page["next_page_token"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        } while token != nil && out.count < limit
        return out
    }

    /// The run of this id, of the one id that begins or ends so, or of this name when only one has it.
    func find(_ text: String) async throws -> TrackedRun {
        let experiments = try await experiments(named: nil)
        let isID = !text.isEmpty && text.utf8.count <= 32 && text.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }
        if isID, text.utf8.count == 32 {
            do {
                let run = try await client.json(.GET, "\(root)/runs/get?run_id=\(text)")["run"] ?? .null
                return TrackedRun(json: run, experiment: experiments[run["info"]?["experiment_id"]?.string ?? ""] ?? "")
            } catch let error as KeelError where error.code == .notFound { throw unknown(text) }
        }
        let quoted = text.replacing("'", with: "\\'")
        let ids = ["attributes.run_id LIKE '\(text)%'", "attributes.run_id LIKE '%\(text)'"]
        let filters = (isID ? ids : []) + ["attributes.run_name = '\(quoted)'"]
        for filter in filters {
            let found = try await search(experiments, filter: filter, limit: 4, view: "ALL")
            if found.count == 1 { return try await find(found[0].id) }
            if found.count > 1 {
                let names = found.prefix(3).map { "\($0.id) (\($0.name))" }.joined(separator: ", ")
                throw KeelError.invalid(
                    "'\(text)' may be several runs: \(names)\(found.count > 3 ? ", …" : "")",
                    hint: "give more of the id, from its beginning or to its end")
            }
        }
        let near = try await search(experiments, filter: "attributes.run_name ILIKE '%\(quoted)%'", limit: 3)
        throw near.isEmpty
            ? unknown(text)
            : KeelError.notFound(
                "there is no run '\(text)'",
                hint: "names like it: \(near.map { "\($0.name) (\($0.id.suffix(ShortID.least)))" }.joined(separator: ", "))")
    }

    private func unknown(_ text: String) -> KeelError {
        KeelError.notFound(
            "there is no run '\(text)'",
            hint: "name it by its id, the beginning or the end of its id, or its name; 'keel runs list' shows them")
    }

    /// The shape of a metric's history, in at most about `points` points.
    func shape(_ run: String, _ key: String, points: Int) async throws -> MetricShape {
        let answer = try await client.json(.GET, "/api/v1/tracking/runs/\(escaped(run))/metrics?key=\(escaped(key))&points=\(points)")
        // What is no number is null there.
        let values = (answer["points"]?.items ?? []).map { Point(Double($0["step"]?.integer ?? 0), $0["value"]?.number ?? .nan) }
        return MetricShape(count: answer["count"]?.integer ?? 0, points: values)
    }

    /// The artifacts below a path, as an indented tree; folders beyond `depth` are named and not opened.
    func artifacts(_ run: String, path: String = "", depth: Int = 6) async throws -> [JSON] {
        var (out, token): ([JSON], String?) = ([], nil)
        repeat {
            var query = "\(root)/artifacts/list?run_id=\(escaped(run))&path=\(escaped(path))"
            if let token { query += "&page_token=\(escaped(token))" }
            let page = try await client.json(.GET, query)
            for item in page["files"]?.items ?? [] {
                out.append(item)
                guard item["is_dir"]?.bool == true, depth > 1, let inner = item["path"]?.string else { continue }
                out += try await artifacts(run, path: inner, depth: depth - 1)
            }
            token = page["next_page_token"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        } while token != nil
        return out
    }
}
