import Contracts
import Storage

/// Evidence: written by the steps of pipelines and by people who approve; no API takes it from a client.
extension RegistryService {
    // MARK: What steps saw

    /// A training step made a bundle.
    /// - Parameters:
    ///   - candidate: the bundle that is measured in its place when this one was fitted again on all rows; itself otherwise.
    ///   - until: the instant of the last row that it was trained on.
    public func recordTraining(
        of bundle: Digest, candidate: Digest, until: Timestamp?, data: JSON, by origin: StepOrigin, _ grant: Grant
    ) async throws -> Evidence {
        try grant.require(.pipelinesRun)
        return try await database.write(in: grant.workspace) { tx in
            try EvidenceStore.insert(
                tx, .training, of: bundle, origin: origin,
                data: ["candidate": .string(candidate.hex), "until": until.map { .string($0.description) } ?? .null, "data": data], grant)
        }
    }

    /// Keel measured a bundle.
    public func recordEvaluation(of bundle: Digest, _ data: JSON, by origin: StepOrigin, _ grant: Grant) async throws -> Evidence {
        try grant.require(.pipelinesRun)
        return try await database.write(in: grant.workspace) { try EvidenceStore.insert($0, .evaluation, of: bundle, origin: origin, data: data, grant) }
    }

    /// A gate judged a bundle.
    /// - Parameter failures: the conditions that do not hold; none means that it passed.
    public func recordVerdict(on bundle: Digest, failures: [String], _ data: JSON, by origin: StepOrigin, _ grant: Grant) async throws
        -> Evidence
    {
        try grant.require(.pipelinesRun)
        let verdict = failures.isEmpty ? Evidence.passed : "failed: \(failures.joined(separator: "; "))"
        return try await database.write(in: grant.workspace) { tx in
            try EvidenceStore.insert(tx, .gate, of: bundle, origin: origin, verdict: String(verdict.prefix(4000)), data: data, grant)
        }
    }

    /// Binds a version that a client registered to the bundle that was made of its files. Binding it again to the same one changes nothing.
    ///
    /// No gate judged it, and the evidence says so.
    /// - Parameter grant: of who deploys the version.
    public func bind(_ version: VersionKey, to bundle: Digest, _ data: JSON, _ grant: Grant) async throws {
        try grant.require(.releasesDeploy, .releasesForce)
        try await database.write(in: grant.workspace) { tx in
            _ = try RegistryStore.version(tx, version.name, version.version)
            if let bound = try EvidenceStore.bundle(tx, of: version) {
                guard bound.subject != bundle else { return }
                throw KeelError(
                    .failedPrecondition, "models:/\(version.name)/\(version.version) was deployed before with other files or another runner",
                    hint: "what a version is does not change: register it as a new version")
            }
            try EvidenceStore.insert(tx, .bundle, of: bundle, version: version, verdict: Evidence.ungated, data: data, grant)
        }
    }

    // MARK: Reading

    /// Evidence by its id, as a step's output names it.
    /// - Throws: `invalidArgument` when there is none of this kind; `corrupted` when it is not what the ledger says.
    public func evidence(_ id: String, _ kind: Evidence.Kind, _ grant: Grant) async throws -> Evidence {
        try grant.require(.registryRead, .pipelinesRun)
        return try await database.read(in: grant.workspace) { try RegistryService.evidence($0, id, kind) }
    }

    static func evidence(_ db: some Querying, _ id: String, _ kind: Evidence.Kind) throws -> Evidence {
        guard let found = try EvidenceStore.find(db, id), found.kind == kind else {
            throw KeelError.invalid(
                "'\(id.prefix(80))' names no \(kind.rawValue) that Keel recorded",
                hint: "reference the step that made it: a program's output cannot stand in for it")
        }
        return found
    }

    /// What a version is bound to: its bundle and the verdict on it. Nil for a version that another client registered.
    public func bundle(of version: ModelVersion, _ grant: Grant) async throws -> Evidence? {
        try grant.require(.registryRead, on: RegistryService.thing(version.name, grant))
        return try await database.read(in: grant.workspace) { try EvidenceStore.bundle($0, of: VersionKey(version.name, version.version)) }
    }

    /// All that Keel saw of a version; nil for one that another client registered.
    public func evidence(of version: ModelVersion, _ grant: Grant) async throws -> VersionEvidence? {
        try grant.require(.registryRead, on: RegistryService.thing(version.name, grant))
        return try await database.read(in: grant.workspace) { try RegistryService.evidence($0, of: VersionKey(version.name, version.version)) }
    }

    static func evidence(_ db: some Querying, of version: VersionKey) throws -> VersionEvidence? {
        guard let bundle = try EvidenceStore.bundle(db, of: version) else { return nil }
        func named(_ evidence: Evidence?, _ field: String) throws -> Evidence? {
            try evidence?.data[field]?.string.flatMap { try EvidenceStore.find(db, $0) }
        }
        let gate = try named(bundle, "gate")
        return VersionEvidence(
            bundle: bundle, gate: gate, evaluation: try named(gate, "evaluation"), training: try named(bundle, "training"),
            approvals: try EvidenceStore.all(db, .approval, of: version).filter { $0.subject == bundle.subject },
            signatures: try EvidenceStore.all(db, .signature, of: version))
    }

    /// The bundles of versions that there are.
    public func bundles(_ grant: Grant) async throws -> Set<Digest> {
        try grant.require(.storageCollect)
        return try await database.read(in: grant.workspace) { db in try RegistryService.bundles(in: db) }
    }

    /// The same inside a transaction or read, also of a backup from before there were workspaces. A version of the same name and number in another
    /// workspace keeps a bundle too: too many are kept rather than one too few.
    public static func bundles(in db: some Querying) throws -> Set<Digest> {
        let rows = try db.rows(
            """
            SELECT DISTINCT e.subject AS subject FROM registry_evidence e
            JOIN registry_versions v ON v.name = e.model AND v.version = e.version WHERE e.kind = 'bundle'
            """)
        return Set(rows.compactMap { Digest(hex: $0.text("subject")) })
    }

    /// Whether evidence about a bundle holds for another one: it is the same, or the refit of the one that was seen.
    public func holds(_ evidence: Evidence, for bundle: Digest, _ grant: Grant) async throws -> Bool {
        try grant.require(.registryRead, .pipelinesRun)
        return try await database.read(in: grant.workspace) { RegistryService.holds(evidence, for: bundle, try EvidenceStore.trainings($0, of: bundle)) }
    }

    static func holds(_ evidence: Evidence, for bundle: Digest, _ trainings: [Evidence]) -> Bool {
        evidence.subject == bundle || trainings.contains { $0.data["candidate"]?.string == evidence.subject.hex }
    }

    /// Whether a model URI ever led to a version, however it was taken away: an alias that was removed, a number that was deleted.
    public func hasStood(_ uri: String, _ grant: Grant) async throws -> Bool {
        guard let reference = ModelURI(uri) else { return false }
        try grant.require(.registryRead, on: RegistryService.thing(reference.name, grant))
        return try await database.read(in: grant.workspace) { db in
            switch reference.target {
            case .version(let number): return try RegistryStore.isRetired(db, reference.name, number)
            case .latest: return try RegistryStore.lastRetired(db, of: reference.name) > 0
            case .alias(let alias):
                // Under a name that the model got later, only the removal tells.
                return try RegistryService.hasChanged(db, alias, of: reference.name, after: 0)
            }
        }
    }

    /// Whether an alias was set or removed after an event of the ledger.
    public func hasChanged(alias: String, of model: String, after event: Int64, _ grant: Grant) async throws -> Bool {
        try grant.require(.registryWrite, on: RegistryService.thing(model, grant))
        return try await database.read(in: grant.workspace) { try RegistryService.hasChanged($0, alias, of: model, after: event) }
    }

    private static func hasChanged(_ db: some Querying, _ alias: String, of model: String, after event: Int64) throws -> Bool {
        try ["model.alias.set", "model.alias.removed", "model.aliases.imported"].contains { kind in
            try any(db, kind, on: model, after: event) { $0.data["alias"]?.string == alias || $0.data["aliases"]?[alias] != nil }
        }
    }

    /// Whether the ledger has an event of a kind on a model that is like this.
    private static func any(
        _ db: some Querying, _ kind: String, on model: String, after event: Int64, where isWanted: (LedgerEvent) -> Bool
    ) throws -> Bool {
        var before = Int64.max
        while true {
            let page = try db.ledgerEvents(of: kind, on: "Model/\(model)", after: event, before: before, limit: 500)
            if page.contains(where: isWanted) { return true }
            guard page.count == 500, let last = page.last else { return false }
            before = last.seq
        }
    }

    // MARK: Approving

    /// A person who did not register the version takes responsibility for it.
    /// - Throws: `permissionDenied` for who registered it; `failedPrecondition` when it has no bundle that Keel could serve.
    public func approve(model name: String, version number: Int, reason: String, _ grant: Grant) async throws -> Evidence {
        try grant.require(.modelsApprove, on: RegistryService.thing(name, grant))
        let text = reason.split(whereSeparator: \.isWhitespace)
        guard !text.isEmpty, reason.utf8.count <= 4000 else {
            throw KeelError.invalid("must be a text of 1 to 4000 bytes", hint: "say why the version may serve", path: "reason")
        }
        return try await guarded(name, grant, needing: .modelsApprove) { tx in
            let version = try RegistryStore.version(tx, name, number)
            guard version.userID != grant.caller.name else {
                throw KeelError(
                    .permissionDenied, "\(grant.caller.name) registered \(version.uri) and cannot approve it",
                    hint: "somebody else with the permission models.approve can")
            }
            let key = VersionKey(name, number)
            guard let bundle = try EvidenceStore.bundle(tx, of: key) else { throw RegistryService.noBundle(version) }
            return try EvidenceStore.insert(
                tx, .approval, of: bundle.subject, version: key, data: ["reason": .string(reason), "bundle": .string(bundle.id)], grant)
        }
    }

    // MARK: Signing

    /// Keeps a signature of a version's files. The same one again changes nothing.
    /// - Parameters:
    ///   - manifest: the text that was signed.
    ///   - key: the public key of Ed25519, 32 bytes in base64; `signature` in base64.
    /// - Throws: `invalidArgument` for a signature that is not one of this text by this key.
    public func sign(
        model name: String, version number: Int, manifest: String, key: String, signature: String, _ grant: Grant
    ) async throws -> Evidence {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        guard SigningKey.isValid(signature, of: manifest, publicKey: key) else {
            throw KeelError.invalid(
                "is no signature of the version's files by this key", hint: "keel models sign models:/\(name)/\(number) --key FILE makes it", path: "signature")
        }
        return try await guarded(name, grant) { tx in
            _ = try RegistryStore.version(tx, name, number)
            let version = VersionKey(name, number)
            let subject = Digest(of: manifest)
            let known = try EvidenceStore.all(tx, .signature, of: version).first { $0.subject == subject && $0.data["key"]?.string == key }
            if let known { return known }
            return try EvidenceStore.insert(
                tx, .signature, of: subject, version: version, data: ["key": .string(key), "signature": .string(signature)], grant)
        }
    }

    /// The signatures of a manifest in the grant's workspace.
    public func signatures(of manifest: Digest, _ grant: Grant) async throws -> [Evidence] {
        try grant.require(.registryRead)
        return try await database.read(in: grant.workspace) { try EvidenceStore.signatures($0, of: manifest) }
    }

    public static func noBundle(_ version: ModelVersion) -> KeelError {
        KeelError(
            .failedPrecondition, "\(version.uri) has no bundle that Keel can serve",
            hint: "keel deploy \(version.uri) --endpoint NAME makes one of its files")
    }
}
