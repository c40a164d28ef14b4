import Contracts
import Storage

/// A prediction as it is kept.
public struct StoredPrediction: Sendable, Hashable {
    public let id: String
    public let release: Int
    public let eventTime: Timestamp
    public let at: Timestamp
    public let shadow: Bool
    /// The primary output as a number; nil when the model has none.
    public let score: Double?
    /// The model's inputs in the order of its signature.
    public let inputs: [Value]
    /// What the model gave, in the order of its outputs.
    public let outputs: [Value]
    /// The request's columns as a JSON object.
    public let request: String
    public let latencyNanoseconds: Int
    public let label: Label?
    public let labelAt: Timestamp?
    /// Which rows its features were made of (`FeatureReads`). Nil where none were read, in rows of a version before it was kept, and when they are inexact.
    public let known: ClosedRange<Timestamp>?
    /// Whether its features lack something that they cover, because they were read as of a time too far before the newest event of their key.
    public let isInexact: Bool

    /// Where the next page begins.
    public var key: PredictionKey { PredictionKey(eventTime: eventTime, id: id, release: release) }
}

/// A position in an endpoint's predictions, in the order of event time.
public struct PredictionKey: Sendable, Hashable {
    public let eventTime: Timestamp
    public let id: String
    public let release: Int
    public init(eventTime: Timestamp, id: String, release: Int) { (self.eventTime, self.id, self.release) = (eventTime, id, release) }
}

/// What a report on performance reads of one prediction.
public struct PredictionOutcome: Sendable, Hashable {
    public let eventTime: Timestamp
    public let release: Int
    public let shadow: Bool
    /// Nil when the model gives no number a row.
    public let score: Double?
    public let label: Label?
    /// What the model gave, in the order of its outputs. Nil without a label, and in rows of a version before outputs were kept.
    public let outputs: PackedRow?
}

/// Reads the prediction log.
public struct PredictionQueries: Sendable {
    private let database: Database

    public init(database: Database) { self.database = database }

    /// Predictions with `from <= eventTime < until`, in order of event time, at most `limit` behind `after`.
    public func predictions(
        endpoint: ResourceRef, from: Timestamp = .distantPast, until: Timestamp = .distantFuture, after key: PredictionKey? = nil,
        limit: Int = 1000,
        _ grant: Grant
    ) async throws -> [StoredPrediction] {
        try grant.require(.predictionsRead, on: endpoint)
        let start = key.map { max($0.eventTime, from) } ?? from
        var clause = ""
        var parameters = ReleaseStore.key(endpoint) + [.timestamp(start), .timestamp(until)]
        if let key {
            clause = "AND (event_time > ? OR (event_time = ? AND (id > ? OR (id = ? AND release_number > ?))))"
            parameters += [
                .timestamp(key.eventTime), .timestamp(key.eventTime), .string(key.id), .string(key.id), .int(Int64(key.release)),
            ]
        }
        let sql = """
            SELECT * FROM predictions WHERE workspace = ? AND endpoint = ? AND event_time >= ? AND event_time < ? \(clause)
            ORDER BY event_time, id, release_number LIMIT ?
            """
        let all = parameters + [.int(Int64(max(0, min(limit, 10_000))))]
        return try await database.read(in: endpoint.workspace) { reader in try reader.rows(sql, all).map(PredictionQueries.stored) }
    }

    /// The newest predictions by event time, at most `limit` before `key`.
    public func latest(endpoint: ResourceRef, before key: PredictionKey? = nil, limit: Int = 50, _ grant: Grant) async throws -> [StoredPrediction] {
        try grant.require(.predictionsRead, on: endpoint)
        var clause = ""
        var parameters = ReleaseStore.key(endpoint)
        if let key {
            clause = "AND event_time <= ? AND (event_time < ? OR (id < ? OR (id = ? AND release_number < ?)))"
            parameters += [
                .timestamp(key.eventTime), .timestamp(key.eventTime), .string(key.id), .string(key.id), .int(Int64(key.release)),
            ]
        }
        let sql = """
            SELECT * FROM predictions WHERE workspace = ? AND endpoint = ? \(clause)
            ORDER BY event_time DESC, id DESC, release_number DESC LIMIT ?
            """
        let all = parameters + [.int(Int64(max(0, min(limit, 1000))))]
        return try await database.read(in: endpoint.workspace) { reader in try reader.rows(sql, all).map(PredictionQueries.stored) }
    }

    /// The logged scores of one id on an endpoint, by every release.
    public func prediction(id: String, endpoint: ResourceRef, _ grant: Grant) async throws -> [StoredPrediction] {
        try grant.require(.predictionsRead, on: endpoint)
        return try await database.read(in: endpoint.workspace) { reader in
            try reader.rows(
                "SELECT * FROM predictions WHERE workspace = ? AND endpoint = ? AND id = ? ORDER BY release_number",
                ReleaseStore.key(endpoint) + [.string(id)]
            ).map(PredictionQueries.stored)
        }
    }

    /// The endpoints of the workspace that have a logged score of an id.
    public func endpoints(ofPrediction id: String, _ grant: Grant) async throws -> [ResourceRef] {
        try grant.requireSome(.predictionsRead)
        let found = try await database.read(in: grant.workspace) { reader in
            try reader.rows("SELECT DISTINCT endpoint FROM predictions WHERE workspace = ? AND id = ?", [reader.inWorkspace, .string(id)]).map { $0.text("endpoint") }
        }
        return found.map { ResourceRef(EndpointSpec.kind, stored: $0, in: grant.workspace) }.filter(grant.covers)
    }

    /// The logged scores of one id, by every release on every endpoint of the workspace.
    public func prediction(id: String, _ grant: Grant) async throws -> [StoredPrediction] {
        try grant.require(.predictionsRead)
        return try await database.read(in: grant.workspace) { reader in
            try reader.rows(
                "SELECT * FROM predictions WHERE workspace = ? AND id = ? ORDER BY endpoint, release_number", [reader.inWorkspace, .string(id)]
            ).map(PredictionQueries.stored)
        }
    }

    /// The greatest event time of an answered prediction; nil when there is none.
    public func lastEventTime(endpoint: ResourceRef, _ grant: Grant) async throws -> Timestamp? {
        try grant.require(.predictionsRead, on: endpoint)
        return try await database.read(in: endpoint.workspace) { reader in
            try reader.row(
                "SELECT event_time FROM predictions WHERE workspace = ? AND endpoint = ? AND shadow = 0 ORDER BY event_time DESC LIMIT 1",
                ReleaseStore.key(endpoint))?.time("event_time")
        }
    }

    /// Folds every prediction with `from <= eventTime < until` in order of event time, without holding them: for reports by month, monitors.
    public func reduce<Result: Sendable>(
        endpoint: ResourceRef, from: Timestamp = .distantPast, until: Timestamp = .distantFuture, into initial: Result, _ grant: Grant,
        _ body: @escaping @Sendable (inout Result, PredictionOutcome) -> Void
    ) async throws -> Result {
        try grant.require(.predictionsRead, on: endpoint)
        return try await database.read(in: endpoint.workspace) { reader in
            var result = initial
            try reader.forEach(
                """
                SELECT event_time, release_number, shadow, score, label, label_text, label_type,
                CASE WHEN label_at IS NULL THEN NULL ELSE outputs END AS outputs FROM predictions
                WHERE workspace = ? AND endpoint = ? AND event_time >= ? AND event_time < ? ORDER BY event_time, id
                """, ReleaseStore.key(endpoint) + [.timestamp(from), .timestamp(until)]
            ) { row in
                body(
                    &result,
                    PredictionOutcome(
                        eventTime: row.time("event_time"), release: Int(row.int("release_number")), shadow: row.bool("shadow"),
                        score: row.optionalDouble("score"), label: Label(row), outputs: row.optionalBytes("outputs").map(PackedRow.init)))
            }
            return result
        }
    }

    /// Up to `limit` answered predictions spread over the log, for the parity check: what was asked, and the values the model was given.
    public func sampleReads(endpoint: ResourceRef, limit: Int, _ grant: Grant) async throws -> [StoredPrediction] {
        try grant.require(.predictionsRead, on: endpoint)
        let key = ReleaseStore.key(endpoint)
        return try await database.read(in: endpoint.workspace) { reader in
            let total =
                try reader.row("SELECT COUNT(*) AS n FROM predictions WHERE workspace = ? AND endpoint = ? AND shadow = 0", key)?.int("n") ?? 0
            let step = max(1, Int(total) / max(1, limit))
            var out: [StoredPrediction] = []
            var index = 0
            var wanted: [(Timestamp, String)] = []
            try reader.forEach(
                "SELECT event_time, id FROM predictions WHERE workspace = ? AND endpoint = ? AND shadow = 0 ORDER BY event_time, id", key
            ) { row in
                if index % step == 0, wanted.count < limit { wanted.append((row.time("event_time"), row.text("id"))) }
                index += 1
            }
            for (_, id) in wanted {
                if let row = try reader.row(
                    """
                    SELECT * FROM predictions WHERE workspace = ? AND endpoint = ? AND id = ? AND shadow = 0 ORDER BY release_number LIMIT 1
                    """, key + [.string(id)])
                {
                    out.append(try PredictionQueries.stored(row))
                }
            }
            return out
        }
    }

    private static func stored(_ row: SQLRow) throws(KeelError) -> StoredPrediction {
        let score = row.optionalDouble("score")
        // Rows of a version before inputs had types have no outputs but the score.
        let outputs = row.optionalBytes("outputs")
        let inputs = row.bytes("inputs")
        return StoredPrediction(
            id: row.text("id"), release: Int(row.int("release_number")), eventTime: row.time("event_time"), at: row.time("at"),
            shadow: row.bool("shadow"), score: score,
            inputs: try outputs == nil ? PredictionStore.floats(inputs) : PackedRow(bytes: inputs).values(),
            outputs: try outputs.map { (bytes) throws(KeelError) in try PackedRow(bytes: bytes).values() } ?? [score.map(Value.double) ?? .null],
            request: row.text("request"), latencyNanoseconds: Int(row.int("latency_ns")), label: Label(row),
            labelAt: row.optionalTime("label_at"), known: PredictionQueries.known(row),
            isInexact: row.optionalTime("known_until") != nil && row.optionalTime("known_from") == nil)
    }

    private static func known(_ row: SQLRow) -> ClosedRange<Timestamp>? {
        guard let lower = row.optionalTime("known_from"), let upper = row.optionalTime("known_until"), lower <= upper else { return nil }
        return lower...upper
    }
}
