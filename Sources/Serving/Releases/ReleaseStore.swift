import Contracts
import Storage

/// The SQL of releases and of what serves. Each row is of the workspace of the transaction or read.
enum ReleaseStore {
    /// What names an endpoint in a table.
    static func key(_ endpoint: ResourceRef) -> [Value] { [.string(endpoint.workspace.name), .string(endpoint.qualifiedName)] }

    /// The endpoint that a row names.
    static func endpoint(_ row: SQLRow) -> ResourceRef {
        ResourceRef(EndpointSpec.kind, stored: row.text("endpoint"), in: WorkspaceID(stored: row.text("workspace")))
    }

    static func releases(_ endpoint: ResourceRef, in db: some Querying) throws -> [Release] {
        try db.rows("SELECT * FROM releases WHERE workspace = ? AND endpoint = ? ORDER BY number DESC LIMIT 1000", key(endpoint)).map { try release($0, in: db) }
    }

    static func find(_ endpoint: ResourceRef, _ number: Int, in db: some Querying) throws -> Release {
        guard
            let row = try db.row(
                "SELECT * FROM releases WHERE workspace = ? AND endpoint = ? AND number = ?", key(endpoint) + [.int(Int64(number))])
        else {
            let name = endpoint.qualifiedName
            throw KeelError.notFound("there is no release \(name)/\(number)", hint: "list them with keel releases \(name)")
        }
        return try release(row, in: db)
    }

    static func newest(_ endpoint: ResourceRef, in db: some Querying) throws -> Release? {
        try db.row("SELECT * FROM releases WHERE workspace = ? AND endpoint = ? ORDER BY number DESC LIMIT 1", key(endpoint)).map { try release($0, in: db) }
    }

    static func find(_ endpoint: ResourceRef, requestedBy request: String, in db: some Querying) throws -> Release? {
        try db.row(
            "SELECT * FROM releases WHERE workspace = ? AND endpoint = ? AND requested_by = ?", key(endpoint) + [.string(request)]
        ).map { try release($0, in: db) }
    }

    static func wasDeployed(_ release: Release, in db: some Querying) throws -> Bool {
        try deployedAt(release, in: db) != nil
    }

    /// When it was first deployed; nil when it never was.
    static func deployedAt(_ release: Release, in db: some Querying) throws -> Timestamp? {
        try db.row(
            "SELECT deployed_at FROM releases WHERE workspace = ? AND endpoint = ? AND number = ?",
            key(release.endpoint) + [.int(Int64(release.number))])?.optionalTime("deployed_at")
    }

    /// The number of the event that made it; 0 for one from before that was noted.
    static func createdSeq(_ release: Release, in db: some Querying) throws -> Int64 {
        try db.row(
            "SELECT created_seq FROM releases WHERE workspace = ? AND endpoint = ? AND number = ?",
            key(release.endpoint) + [.int(Int64(release.number))])?.int("created_seq") ?? 0
    }

    static func noteDeployed(_ endpoint: ResourceRef, _ number: Int, in transaction: Transaction) throws {
        try transaction.execute(
            "UPDATE releases SET deployed_at = coalesce(deployed_at, ?) WHERE workspace = ? AND endpoint = ? AND number = ?",
            [.timestamp(transaction.now)] + key(endpoint) + [.int(Int64(number))])
    }

    /// `endpoint/number` of every release of a model version, or of any version of the model.
    static func names(model: String, version: String?, in db: some Querying) throws -> [String] {
        let clause = version == nil ? "" : "AND model_version = ?"
        let values = try [db.inWorkspace, .string(model)] + (version.map { [.string($0)] } ?? [])
        let alone = try db.rows(
            "SELECT endpoint, number FROM releases WHERE workspace = ? AND model = ? \(clause) ORDER BY endpoint, number", values)
        let beside = try db.rows(
            "SELECT endpoint, number FROM release_parts WHERE workspace = ? AND model = ? \(clause) ORDER BY endpoint, number", values)
        var names: [String] = []
        for row in alone + beside {
            let name = "\(row.text("endpoint"))/\(row.int("number"))"
            if !names.contains(name) { names.append(name) }
        }
        return names
    }

    /// The model and version that `models:/NAME/VERSION` names; nil for another text.
    static func version(of uri: String) -> (model: String, version: String)? {
        guard uri.hasPrefix("models:/"), let slash = uri.lastIndex(of: "/") else { return nil }
        let name = uri[..<slash].dropFirst("models:/".count)
        return name.isEmpty ? nil : (String(name), String(uri[uri.index(after: slash)...]))
    }

    /// - Parameter seq: the number of the ledger event that tells of it.
    static func insert(_ release: Release, event seq: Int64, requestedBy request: String?, in transaction: Transaction) throws {
        try transaction.execute(
            """
            INSERT INTO releases (
                workspace, endpoint, number, model, model_version, bundle, feature_service, gate, digest, created_at, created_by, requested_by,
                created_seq, promoted_from)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            key(release.endpoint) + [
                .int(Int64(release.number)), .string(release.model), .string(release.modelVersion), .string(release.bundle.hex),
                release.featureService.map(Value.string) ?? .null, .string(release.gate.text), .string(release.digest.hex),
                .timestamp(release.createdAt), .string(release.createdBy), request.map(Value.string) ?? .null, .int(seq),
                release.promotedFrom.map { .string($0.json.text) } ?? .null,
            ])
        for (i, part) in release.parts.enumerated() {
            guard let named = version(of: part) else { continue }
            try transaction.execute(
                "INSERT INTO release_parts (workspace, endpoint, number, position, model, model_version) VALUES (?, ?, ?, ?, ?, ?)",
                key(release.endpoint) + [.int(Int64(release.number)), .int(Int64(i)), .string(named.model), .string(named.version)])
        }
    }

    private static func release(_ row: SQLRow, in db: some Querying) throws -> Release {
        guard let bundle = Digest(hex: row.text("bundle")) else { throw KeelError(.corrupted, "a release has no valid bundle digest") }
        var release = Release(
            endpoint: endpoint(row), number: Int(row.int("number")), model: row.text("model"), modelVersion: row.text("model_version"),
            bundle: bundle, featureService: row.optionalText("feature_service"), createdAt: row.time("created_at"),
            createdBy: row.text("created_by"), gate: GateResult(text: row.text("gate")))
        if let source = row.optionalText("promoted_from") {
            release.promotedFrom = PromotedFrom(json: try JSON.parse(source), in: release.endpoint.workspace)
        }
        release.parts = try db.rows(
            "SELECT model, model_version FROM release_parts WHERE workspace = ? AND endpoint = ? AND number = ? ORDER BY position",
            key(release.endpoint) + [.int(Int64(release.number))]
        ).map { "models:/\($0.text("model"))/\($0.text("model_version"))" }
        guard release.digest.hex == row.text("digest") else {
            throw KeelError(.corrupted, "release \(release.name) is not what was released")
        }
        return release
    }

    // MARK: State

    static func state(_ endpoint: ResourceRef, in db: some Querying) throws -> EndpointState {
        var state = EndpointState(endpoint: endpoint)
        guard let row = try db.row("SELECT * FROM endpoint_state WHERE workspace = ? AND endpoint = ?", key(endpoint)) else { return state }
        state.stable = row.optionalInt("stable").map(Int.init)
        state.previous = row.optionalInt("previous").map(Int.init)
        state.candidate = row.optionalInt("candidate").map(Int.init)
        if state.candidate != nil { state.phase = row.optionalInt("step").map { .canary(step: Int($0)) } ?? .shadow }
        state.phaseRequests = Int(row.int("phase_requests"))
        state.requests = Int(row.int("requests"))
        state.errors = Int(row.int("errors"))
        state.startedAt = row.optionalTime("started_at")
        state.pause = pause(row, of: state)
        return state
    }

    /// A version from before pauses leaves their columns as they are: one of before the rollout began is not of this rollout.
    private static func pause(_ row: SQLRow, of state: EndpointState) -> RolloutPause? {
        guard state.candidate != nil, let at = row.optionalTime("paused_at"), let started = state.startedAt, at >= started else { return nil }
        return RolloutPause(at: at, by: row.optionalText("paused_by") ?? "", reason: row.optionalText("pause_reason") ?? "")
    }

    static func save(_ state: EndpointState, in transaction: Transaction) throws {
        func number(_ value: Int?) -> Value { value.map { .int(Int64($0)) } ?? .null }
        var step: Int?
        if case .canary(let at) = state.phase { step = at }
        try transaction.execute(
            """
            INSERT INTO endpoint_state (
                workspace, endpoint, stable, previous, candidate, step, phase_requests, requests, errors, started_at, paused_at, paused_by, pause_reason)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (workspace, endpoint) DO UPDATE SET stable = excluded.stable, previous = excluded.previous,
                candidate = excluded.candidate, step = excluded.step, phase_requests = excluded.phase_requests, requests = excluded.requests,
                errors = excluded.errors, started_at = excluded.started_at, paused_at = excluded.paused_at, paused_by = excluded.paused_by,
                pause_reason = excluded.pause_reason
            """,
            key(state.endpoint) + [
                number(state.stable), number(state.previous), number(state.candidate), number(step), .int(Int64(state.phaseRequests)),
                .int(Int64(state.requests)), .int(Int64(state.errors)), state.startedAt.map(Value.timestamp) ?? .null,
                (state.pause?.at).map(Value.timestamp) ?? .null, (state.pause?.by).map(Value.string) ?? .null,
                (state.pause?.reason).map(Value.string) ?? .null,
            ])
    }

    /// What the prediction log holds of a rollout: the evidence that a restart goes on with.
    static func evidence(_ state: EndpointState, in reader: Reader) throws -> [Rollout.Observation] {
        guard let candidate = state.candidate, let stable = state.stable else { return [] }
        return try reader.rows(
            """
            SELECT c.id AS id, c.score AS candidate, i.score AS incumbent, c.label AS label FROM predictions c
            LEFT JOIN predictions i ON i.workspace = c.workspace AND i.id = c.id AND i.endpoint = c.endpoint AND i.release_number = ?
            WHERE c.workspace = ? AND c.endpoint = ? AND c.release_number = ? AND c.at >= ? ORDER BY c.event_time DESC LIMIT ?
            """,
            [.int(Int64(stable))] + key(state.endpoint) + [
                .int(Int64(candidate)), .timestamp(state.startedAt ?? .distantPast), .int(Int64(RolloutEvidence.pairsMax)),
            ]
        ).reversed().map { row in
            .request(
                id: row.text("id"), candidate: row.optionalDouble("candidate"), incumbent: row.optionalDouble("incumbent"),
                label: row.optionalDouble("label"))
        }
    }
}
