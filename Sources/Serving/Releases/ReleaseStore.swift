import Contracts
import Storage

/// The SQL of releases and of what serves.
enum ReleaseStore {
    static func releases(_ endpoint: String, in db: some Querying) throws -> [Release] {
        try db.rows("SELECT * FROM releases WHERE endpoint = ? ORDER BY number DESC LIMIT 1000", [.string(endpoint)]).map(release)
    }

    static func find(_ endpoint: String, _ number: Int, in db: some Querying) throws -> Release {
        guard let row = try db.row("SELECT * FROM releases WHERE endpoint = ? AND number = ?", [.string(endpoint), .int(Int64(number))])
        else {
            throw KeelError.notFound("there is no release \(endpoint)/\(number)", hint: "list them with keel releases \(endpoint)")
        }
        return try release(row)
    }

    static func newest(_ endpoint: String, in db: some Querying) throws -> Release? {
        try db.row("SELECT * FROM releases WHERE endpoint = ? ORDER BY number DESC LIMIT 1", [.string(endpoint)]).map(release)
    }

    static func find(_ endpoint: String, requestedBy key: String, in db: some Querying) throws -> Release? {
        try db.row("SELECT * FROM releases WHERE endpoint = ? AND requested_by = ?", [.string(endpoint), .string(key)]).map(release)
    }

    static func wasDeployed(_ release: Release, in db: some Querying) throws -> Bool {
        try db.row(
            "SELECT 1 AS one FROM releases WHERE endpoint = ? AND number = ? AND deployed_at IS NOT NULL",
            [.string(release.endpoint), .int(Int64(release.number))]) != nil
    }

    static func noteDeployed(_ endpoint: String, _ number: Int, in transaction: Transaction) throws {
        try transaction.execute(
            "UPDATE releases SET deployed_at = coalesce(deployed_at, ?) WHERE endpoint = ? AND number = ?",
            [.timestamp(transaction.now), .string(endpoint), .int(Int64(number))])
    }

    /// `endpoint/number` of every release of a model version, or of any version of the model.
    static func names(model: String, version: String?, in db: some Querying) throws -> [String] {
        let clause = version == nil ? "" : "AND model_version = ?"
        return try db.rows(
            "SELECT endpoint, number FROM releases WHERE model = ? \(clause) ORDER BY endpoint, number",
            [.string(model)] + (version.map { [.string($0)] } ?? [])
        ).map { "\($0.text("endpoint"))/\($0.int("number"))" }
    }

    /// - Parameter seq: the number of the ledger event that tells of it.
    static func insert(_ release: Release, event seq: Int64, requestedBy key: String?, in transaction: Transaction) throws {
        try transaction.execute(
            """
            INSERT INTO releases (
                endpoint, number, model, model_version, bundle, feature_service, gate, digest, created_at, created_by, requested_by,
                created_seq)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .string(release.endpoint), .int(Int64(release.number)), .string(release.model), .string(release.modelVersion),
                .string(release.bundle.hex), release.featureService.map(Value.string) ?? .null, .string(release.gate.text),
                .string(release.digest.hex), .timestamp(release.createdAt), .string(release.createdBy), key.map(Value.string) ?? .null,
                .int(seq),
            ])
    }

    private static func release(_ row: SQLRow) throws -> Release {
        guard let bundle = Digest(hex: row.text("bundle")) else { throw KeelError(.corrupted, "a release has no valid bundle digest") }
        let release = Release(
            endpoint: row.text("endpoint"), number: Int(row.int("number")), model: row.text("model"),
            modelVersion: row.text("model_version"),
            bundle: bundle, featureService: row.optionalText("feature_service"), createdAt: row.time("created_at"),
            createdBy: row.text("created_by"),
            gate: GateResult(text: row.text("gate")))
        guard release.digest.hex == row.text("digest") else {
            throw KeelError(.corrupted, "release \(release.name) is not what was released")
        }
        return release
    }

    // MARK: State

    static func state(_ endpoint: String, in db: some Querying) throws -> EndpointState {
        var state = EndpointState(endpoint: endpoint)
        guard let row = try db.row("SELECT * FROM endpoint_state WHERE endpoint = ?", [.string(endpoint)]) else { return state }
        state.stable = row.optionalInt("stable").map(Int.init)
        state.previous = row.optionalInt("previous").map(Int.init)
        state.candidate = row.optionalInt("candidate").map(Int.init)
        if state.candidate != nil { state.phase = row.optionalInt("step").map { .canary(step: Int($0)) } ?? .shadow }
        state.phaseRequests = Int(row.int("phase_requests"))
        state.requests = Int(row.int("requests"))
        state.errors = Int(row.int("errors"))
        state.startedAt = row.optionalTime("started_at")
        return state
    }

    static func save(_ state: EndpointState, in transaction: Transaction) throws {
        func number(_ value: Int?) -> Value { value.map { .int(Int64($0)) } ?? .null }
        var step: Int?
        if case .canary(let at) = state.phase { step = at }
        try transaction.execute(
            """
            INSERT INTO endpoint_state (endpoint, stable, previous, candidate, step, phase_requests, requests, errors, started_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (endpoint) DO UPDATE SET stable = excluded.stable, previous = excluded.previous, candidate = excluded.candidate,
                step = excluded.step, phase_requests = excluded.phase_requests, requests = excluded.requests, errors = excluded.errors,
                started_at = excluded.started_at
            """,
            [
                .string(state.endpoint), number(state.stable), number(state.previous), number(state.candidate), number(step),
                .int(Int64(state.phaseRequests)), .int(Int64(state.requests)), .int(Int64(state.errors)),
                state.startedAt.map(Value.timestamp) ?? .null,
            ])
    }

    /// What the prediction log holds of a rollout: the evidence that a restart goes on with.
    static func evidence(_ state: EndpointState, in reader: Reader) throws -> [Rollout.Observation] {
        guard let candidate = state.candidate, let stable = state.stable else { return [] }
        return try reader.rows(
            """
            SELECT c.id AS id, c.score AS candidate, i.score AS incumbent, c.label AS label FROM predictions c
            LEFT JOIN predictions i ON i.id = c.id AND i.endpoint = c.endpoint AND i.release_number = ?
            WHERE c.endpoint = ? AND c.release_number = ? AND c.at >= ? ORDER BY c.event_time DESC LIMIT ?
            """,
            [
                .int(Int64(stable)), .string(state.endpoint), .int(Int64(candidate)), .timestamp(state.startedAt ?? .distantPast),
                .int(Int64(RolloutEvidence.pairsMax)),
            ]
        ).reversed().map { row in
            .request(
                id: row.text("id"), candidate: row.optionalDouble("candidate"), incumbent: row.optionalDouble("incumbent"),
                label: row.optionalDouble("label"))
        }
    }
}
