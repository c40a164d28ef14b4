import Contracts
import Importing
import Storage
import Tracking

/// A table of measurements of MLflow's.
struct PointTable: Sendable {
    let kind: TrackingImportKind
    let table: String
    let owner: String
    let columns: [String]
    let words: String

    static let runs = PointTable(
        kind: .runs, table: "metrics", owner: "run_uuid", columns: ["run_uuid", "key", "value", "timestamp", "step", "is_nan"],
        words: "metric points")
    static let models = PointTable(
        kind: .loggedModels, table: "logged_model_metrics", owner: "model_id",
        columns: [
            "model_id", "metric_name", "metric_value", "metric_timestamp_ms", "metric_step", "run_id", "dataset_name", "dataset_digest",
        ],
        words: "model metric points")

    /// Nil without a time; one that is no instant is brought to the nearest.
    func point(_ row: ForeignRow, _ source: MLflowSource) -> MetricPoint? {
        guard kind == .loggedModels else { return source.metric(row).map { MetricPoint(owner: row.text(owner), metric: $0) } }
        guard let at = row.optionalInt("metric_timestamp_ms").map({ Timestamp(milliseconds: $0) }) else { return nil }
        func given(_ name: String) -> String? { row.text(name).isEmpty ? nil : row.text(name) }
        let metric = Metric(
            row.text("metric_name"), row.double("metric_value"), at: at, step: row.int("metric_step"),
            modelID: row.text(owner), datasetName: given("dataset_name"), datasetDigest: given("dataset_digest"))
        return MetricPoint(owner: row.text(owner), metric: metric, runID: row.text("run_id"))
    }
}

extension MLflowSource {
    /// How many rows each owner has; one that has none is absent.
    func pointCounts(_ table: PointTable, _ ids: [String]) throws -> [String: Int] {
        guard has(table.table), !ids.isEmpty else { return [:] }
        let marks = repeatElement("?", count: ids.count).joined(separator: ", ")
        let rows = try database.rows(
            "SELECT \(table.owner) AS owner, count(*) AS n FROM \(table.table) WHERE \(table.owner) IN (\(marks)) GROUP BY \(table.owner)",
            ids.map(Value.string))
        return Dictionary(rows.map { ($0.text("owner"), Int($0.int("n"))) }, uniquingKeysWith: { $1 })
    }

    func pointCursor(_ table: PointTable, _ ids: [String]) throws -> any ForeignCursor {
        let marks = repeatElement("?", count: ids.count).joined(separator: ", ")
        return try database.cursor(
            ForeignQuery(table.columns, from: table.table, where: "\(table.owner) IN (\(marks))", ids.map(Value.string)),
            batch: Importer.pointBatch)
    }
}

/// The history of metrics: compared by the fingerprint of each metric, sent in batches, never held whole.
extension Importer {
    func points(_ table: PointTable, _ ids: [String]) async throws {
        let counts = try await read { try $0.pointCounts(table, ids) }
        // Owners without any are none to ask for, unless Keel has some: their records differ then.
        let owners = ids.filter { counts[$0] != nil }
        guard !owners.isEmpty else { return }
        let there = pass == .rehearse && result.counts["runs"]?.same == 0 ? [:] : try await server.fingerprints(table.kind, owners)
        var (group, size): ([String], Int) = ([], 0)
        for id in owners {
            let count = counts[id] ?? 0
            if size + count > Importer.pointBatch, !group.isEmpty {
                try await pointGroup(table, group, there, size)
                (group, size) = ([], 0)
            }
            group.append(id)
            size += count
        }
        try await pointGroup(table, group, there, size)
    }

    /// Owners that are read together: many small ones, or one that is large.
    private func pointGroup(_ table: PointTable, _ ids: [String], _ there: [String: [String: Fingerprint]], _ size: Int) async throws {
        if pass == .rehearse, ids.allSatisfy({ there[$0] == nil }) { return add(table, new: size, same: 0) }
        // What Keel has none of is sent at once; all else is compared first.
        guard pass != .bring || ids.contains(where: { there[$0] != nil }) else {
            return try await sendPoints(table, ids) { _ in true }
        }
        let here = try await localFingerprints(table, ids)
        var differing: Set<[String]> = []
        for (id, keys) in here {
            for (key, print) in keys {
                let own = there[id]?[key]
                let isSame = own == print
                add(table, new: isSame ? 0 : Int(print.count - min(own?.count ?? 0, print.count)), same: isSame ? Int(print.count) : 0)
                guard !isSame else { continue }
                differing.insert([id, key])
                guard pass == .verify else { continue }
                result.mismatches.add(
                    "metric '\(key)' of \(id): \(print.count) points in the source, \(own?.count ?? 0) in Keel, of other content")
            }
        }
        if pass == .bring, !differing.isEmpty {
            try await sendPoints(table, ids, counting: false) { differing.contains([$0.owner, $0.metric.key]) }
        }
    }

    private func localFingerprints(_ table: PointTable, _ ids: [String]) async throws -> [String: [String: Fingerprint]] {
        var out: [String: [String: Fingerprint]] = [:]
        let cursor = try await read { try $0.pointCursor(table, ids) }
        while true {
            let points = try await nextPoints(table, cursor)
            guard let points else { return out }
            for point in points { out[point.owner, default: [:]][point.metric.key, default: Fingerprint()].add(point.identity) }
        }
    }

    private func sendPoints(_ table: PointTable, _ ids: [String], counting: Bool = true, _ wanted: (MetricPoint) -> Bool) async throws {
        let cursor = try await read { try $0.pointCursor(table, ids) }
        while let points = try await nextPoints(table, cursor) {
            let chosen = points.filter(wanted)
            if !chosen.isEmpty { try await server.points(table.kind, chosen) }
            if counting { add(table, new: chosen.count, same: 0) }
            sent += chosen.count
        }
    }

    /// Nil at the end.
    private func nextPoints(_ table: PointTable, _ cursor: any ForeignCursor) async throws -> [MetricPoint]? {
        let source = source
        let (count, points) = try await read { _ in
            let rows = try cursor.next()
            return (rows.count, rows.compactMap { table.point($0, source) })
        }
        if count > points.count, pass != .verify {
            result.notBrought.add("\(count - points.count) \(table.words) whose time is beyond what an instant can be")
        }
        return count == 0 ? nil : points
    }

    private func add(_ table: PointTable, new: Int, same: Int) {
        result.counts[table.words, default: ImportReport.Count()].source += new + same
        result.counts[table.words, default: ImportReport.Count()].new += new
        result.counts[table.words, default: ImportReport.Count()].same += same
        progress(table.words, nil)
    }
}
