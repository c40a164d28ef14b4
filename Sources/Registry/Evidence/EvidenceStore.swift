import Contracts
import Storage

/// SQL of evidence: rows are inserted, never updated or deleted.
enum EvidenceStore {
    /// Writes the evidence and its ledger event, which names the row's content by its digest.
    @discardableResult
    static func insert(
        _ tx: Transaction, _ kind: Evidence.Kind, of subject: Digest, version: VersionKey? = nil, origin: StepOrigin? = nil,
        verdict: String? = nil, data: JSON = .object([]), _ grant: Grant
    ) throws -> Evidence {
        let now = Timestamp(milliseconds: tx.now.milliseconds)
        // As it is read back, so that its digest is the same then.
        let data = try JSON.parse(data.text)
        let evidence = Evidence(
            id: Identifier.ordered32(at: now), kind: kind, subject: subject, version: version, origin: origin, verdict: verdict, data: data,
            by: grant.caller.name, at: now)
        var event: JSON = [
            "evidence": .string(evidence.id), "subject": .string(subject.hex), "digest": .string(digest(of: evidence).hex),
        ]
        if let version { event["version"] = .int(Int64(version.version)) }
        if let verdict { event["verdict"] = .string(verdict) }
        if let origin { event["run"] = .string(origin.run) }
        if let reason = data["reason"] { event["reason"] = reason }
        if let carried = data["carried_from"] { event["carried_from"] = carried }
        let place = version.map { "Model/\($0.name)" } ?? "Bundle/\(subject.hex)"
        let seq = try tx.record(
            version == nil ? "evidence.\(kind.rawValue)" : "model.version.\(kind.rawValue)", on: place, event, by: grant)
        try tx.execute(
            """
            INSERT INTO registry_evidence (
                id, workspace, kind, subject, model, version, run_id, step, verdict, data, made_by, at_ms, seq)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .string(evidence.id), .string(grant.workspace.name), .string(kind.rawValue), .string(subject.hex),
                version.map { .string($0.name) } ?? .null, version.map { .int(Int64($0.version)) } ?? .null,
                origin.map { .string($0.run) } ?? .null, origin.map { .string($0.step) } ?? .null, verdict.map(Value.string) ?? .null,
                .string(data.text), .string(evidence.by), .int(now.milliseconds), .int(seq),
            ])
        return evidence
    }

    static func find(_ db: some Querying, _ id: String) throws -> Evidence? {
        try db.row("SELECT * FROM registry_evidence WHERE id = ? AND workspace = ?", [.string(id), db.inWorkspace]).map { try verified($0, db) }
    }

    /// What a version is bound to, last; nil for one that a client registered and nobody deployed.
    static func bundle(_ db: some Querying, of version: VersionKey) throws -> Evidence? {
        try all(db, .bundle, of: version).last
    }

    /// The numbers of a model's versions that are bound to a bundle, the newest first.
    static func boundVersions(_ db: some Querying, of model: String) throws -> [Int] {
        try db.rows(
            "SELECT DISTINCT version FROM registry_evidence WHERE workspace = ? AND model = ? AND kind = ? ORDER BY version DESC LIMIT 200",
            [db.inWorkspace, .string(model), .string(Evidence.Kind.bundle.rawValue)]
        ).compactMap { $0.optionalInt("version").map { Int($0) } }
    }

    /// Evidence of one kind about a version, oldest first.
    static func all(_ db: some Querying, _ kind: Evidence.Kind, of version: VersionKey) throws -> [Evidence] {
        try db.rows(
            "SELECT * FROM registry_evidence WHERE workspace = ? AND model = ? AND version = ? AND kind = ? ORDER BY seq",
            [db.inWorkspace, .string(version.name), .int(Int64(version.version)), .string(kind.rawValue)]
        ).map { try verified($0, db) }
    }

    /// How Keel trained a bundle: more than once when the same training was asked for in several ways. Oldest first.
    static func trainings(_ db: some Querying, of subject: Digest) throws -> [Evidence] {
        try db.rows(
            "SELECT * FROM registry_evidence WHERE workspace = ? AND subject = ? AND kind = ? ORDER BY seq",
            [db.inWorkspace, .string(subject.hex), .string(Evidence.Kind.training.rawValue)]
        ).map { try verified($0, db) }
    }

    /// Signatures of a manifest, of whichever version. Oldest first.
    static func signatures(_ db: some Querying, of manifest: Digest) throws -> [Evidence] {
        try db.rows(
            "SELECT * FROM registry_evidence WHERE workspace = ? AND subject = ? AND kind = ? ORDER BY seq",
            [db.inWorkspace, .string(manifest.hex), .string(Evidence.Kind.signature.rawValue)]
        ).map { try verified($0, db) }
    }

    /// Writes evidence about one version again for another that is the same model: a copy, or the same one under a new name.
    static func carry(_ tx: Transaction, _ kinds: [Evidence.Kind], from old: VersionKey, to new: VersionKey, _ grant: Grant) throws {
        for kind in kinds {
            for evidence in try all(tx, kind, of: old) {
                var data = evidence.data
                data["carried_from"] = .string(evidence.id)
                data["carried_by"] = .string(evidence.by)
                try insert(
                    tx, kind, of: evidence.subject, version: new, origin: evidence.origin, verdict: evidence.verdict, data: data, grant)
            }
        }
    }

    /// Writes what another workspace saw of a version for the one that it became here: each names the evidence that it was carried from. Approvals
    /// stay behind.
    static func carry(_ tx: Transaction, _ seen: VersionEvidence, from offer: ModelOffer, to new: VersionKey, _ grant: Grant) throws {
        func carried(_ evidence: Evidence?, version: VersionKey? = nil, _ names: [(field: String, evidence: Evidence?)] = []) throws -> Evidence? {
            guard let evidence else { return nil }
            var data = evidence.data
            data["carried_from"] = .string(evidence.id)
            data["carried_by"] = .string(evidence.by)
            data["carried_workspace"] = .string(offer.source.name)
            for name in names { data[name.field] = name.evidence.map { .string($0.id) } ?? .null }
            return try insert(
                tx, evidence.kind, of: evidence.subject, version: version, origin: evidence.origin, verdict: evidence.verdict, data: data, grant)
        }
        let training = try carried(seen.training)
        let evaluation = try carried(seen.evaluation)
        let gate = try carried(seen.gate, [("evaluation", evaluation)])
        _ = try carried(seen.bundle, version: new, [("gate", gate), ("training", training)])
    }

    private static func digest(of evidence: Evidence) -> Digest { Digest(of: evidence.content.canonical) }

    /// The row as the ledger vouches for it.
    /// - Throws: `corrupted` when the row is not what its event says: somebody wrote to the database.
    private static func verified(_ row: SQLRow, _ db: some Querying) throws -> Evidence {
        let name = row.optionalText("model")
        let number = row.optionalInt("version")
        let run = row.optionalText("run_id")
        guard let kind = Evidence.Kind(rawValue: row.text("kind")), let subject = Digest(hex: row.text("subject")) else {
            throw altered(row)
        }
        let evidence = Evidence(
            id: row.text("id"), kind: kind, subject: subject,
            version: name.flatMap { name in number.map { VersionKey(name, Int($0)) } },
            origin: run.map { StepOrigin(run: $0, step: row.optionalText("step") ?? "") }, verdict: row.optionalText("verdict"),
            data: try row.json("data"), by: row.text("made_by"), at: Timestamp(milliseconds: row.int("at_ms")))
        let event = try db.ledgerEvents(after: row.int("seq") - 1, limit: 1).first
        guard event?.data["evidence"]?.string == evidence.id, event?.data["digest"]?.string == digest(of: evidence).hex else {
            throw altered(row)
        }
        return evidence
    }

    private static func altered(_ row: SQLRow) -> KeelError {
        KeelError(
            .corrupted, "the evidence \(row.text("id")) is not what the ledger says",
            hint: "the database was changed from outside: restore it")
    }
}
