import Contracts
import Monitoring
import Registry
import Serving

/// The one way from a registered model to an endpoint, for pipelines and for people.
public struct Releasing: Sendable {
    private let registry: RegistryService
    private let binding: ModelBinding
    private let deployments: DeploymentService
    private let monitoring: MonitoringService
    private let denied: @Sendable (Caller, Action, _ subject: String) async throws -> Void

    /// - Parameter denied: records that a caller was refused. Steps of pipelines come here without the check that an API makes.
    package init(
        registry: RegistryService, binding: ModelBinding, deployments: DeploymentService, monitoring: MonitoringService,
        denied: @escaping @Sendable (Caller, Action, _ subject: String) async throws -> Void
    ) {
        self.registry = registry
        self.binding = binding
        self.deployments = deployments
        self.monitoring = monitoring
        self.denied = denied
    }

    /// - Parameters:
    ///   - alias: what the caller named, when `uri` is the version that it led to: moved meanwhile, it leads nowhere.
    ///   - asksNoGate: takes a version that no gate judged where the endpoint says `gate: optional`. Pipelines do not: who forgot their gate shall notice.
    ///   - signature: whether callers of the endpoint may notice the change; nil is as the endpoint says.
    ///   - decision: what was decided last about the endpoint when the caller began; nil is now.
    ///   - expected: the bundle that the caller believes to release, in hexadecimal; another one is refused.
    ///   - key: names the request: asked again, it has no effect and returns the release that is there.
    /// - Throws: `failedPrecondition` when the gate did not pass and `force` is false; `permissionDenied` when the caller may not.
    public func release(
        _ uri: String, named alias: String? = nil, to endpoint: ResourceRef, force: Bool, asksNoGate: Bool = false, reason: String,
        signature: EndpointSpec.SignatureRule? = nil, since decision: String? = nil, bundle expected: String? = nil, key: String? = nil, by caller: Caller
    ) async throws -> Release {
        let deploying = try await granted(caller, force ? .releasesForce : .releasesDeploy, endpoint)
        var decided = decision
        if decided == nil { decided = await deployments.decision(endpoint: endpoint) }
        let (version, evidence) = try await registered(uri, runner: nil, deploying)
        let bundle = evidence.bundle
        guard expected == nil || expected == bundle.subject.hex else {
            throw KeelError.invalid("\(version.uri) is another bundle than \(expected?.prefix(12) ?? "")", path: "with.model")
        }
        let spec = try await deployments.spec(endpoint: endpoint, deploying)
        let whole = try await composed(version, evidence, before: spec.before, after: spec.after, deploying)
        let gate: GateResult
        switch whole.verdict {
        case .passed: gate = .passed
        case .unasked where asksNoGate && !force && spec.gate == .optional: gate = .unasked(reason: reason)
        case .unasked(let part), .refused(let part):
            guard force else {
                throw KeelError(.failedPrecondition, "the gate of \(part)", hint: "force: true releases it all the same, for those who may")
            }
            // Of the model itself the version says which it is.
            gate = .forced(reason: "\(reason): \(part.replacing(version.uri + " ", with: ""))")
        }
        return try await release(
            version, evidence, to: endpoint, bundle: whole.bundle, gate: gate, signature: signature, since: decided, key: key,
            meant: Meant(uri: alias ?? uri, before: spec.before, after: spec.after), by: caller)
    }

    /// What a release was made by that may change while its model is loaded.
    private struct Meant {
        /// As the caller wrote it: an alias may be moved.
        let uri: String
        /// The models beside it, as the endpoint declared them.
        let before: [String]
        let after: [String]
    }

    /// What a release is made of.
    struct Composition: Sendable {
        let bundle: Digest
        let signature: Signature
        let verdict: Verdict
    }

    /// What gates said of all the versions of a release.
    enum Verdict: Sendable {
        case passed
        /// No gate was asked about some, and none refused one; the first of them, with what is known of it.
        case unasked(String)
        /// A gate refused some; the first of them, with the verdict.
        case refused(String)
    }

    /// A version with those that answer before and after it. Several are tried together, and stored as one bundle.
    private func composed(
        _ version: ModelVersion, _ evidence: VersionEvidence, before: [String], after: [String], _ grant: Grant
    ) async throws -> Composition {
        func verdict(_ version: ModelVersion, _ bundle: Evidence) -> Verdict {
            guard !bundle.hasPassed else { return .passed }
            let text = "\(version.uri) \(bundle.verdict ?? Evidence.ungated)"
            return bundle.isUngated ? .unasked(text) : .refused(text)
        }
        guard !before.isEmpty || !after.isEmpty else {
            let bundle = try await ModelBundle.read(evidence.bundle.subject, from: binding.models.objects)
            return Composition(bundle: evidence.bundle.subject, signature: bundle.signature, verdict: verdict(version, evidence.bundle))
        }
        var worst = verdict(version, evidence.bundle)
        var parts: [ModelPart] = []
        for uri in before + [version.uri] + after {
            let (part, seen) = uri == version.uri ? (version, evidence) : try await registered(uri, runner: nil, grant)
            let other = verdict(part, seen.bundle)
            switch (worst, other) {
            case (.passed, _), (.unasked, .refused): worst = other
            default: break
            }
            parts.append(ModelPart(name: part.uri, bundle: try await ModelBundle.read(seen.bundle.subject, from: binding.models.objects)))
        }
        let whole = try ModelBundle(parts: parts)
        let (digest, _) = try await binding.models.store(whole, in: grant.workspace)
        return Composition(bundle: digest, signature: whole.signature, verdict: worst)
    }

    /// Makes sure that a version can be served, before an endpoint for it is declared.
    /// - Parameters:
    ///   - runner: who runs a model that a client registered; nil is as it was bound before, or whatever fits.
    ///   - before: versions that answer before it, as the endpoint declares them; `after` those behind it.
    /// - Returns: what would be released.
    /// - Throws: what keeps it from it; `permissionDenied` when the caller may not deploy there.
    @discardableResult
    func prepare(
        _ uri: String, runner: ModelBinding.Runner?, before: [String] = [], after: [String] = [], for endpoint: ResourceRef, by caller: Caller
    ) async throws -> Composition {
        let grant = try await granted(caller, .releasesDeploy, endpoint)
        let (version, evidence) = try await registered(uri, runner: runner, grant)
        return try await composed(version, evidence, before: before, after: after, grant)
    }

    /// The bundle of a version, or what it would be before it was ever loaded; nil when that cannot be told.
    func draft(of uri: String, by caller: Caller) async throws -> ModelBundle? {
        let reading = try Grant.check(caller, may: .registryRead, on: ModelURI(uri).map { "Model/\($0.name)" } ?? "*")
        guard let version = try await registry.resolve(uri, reading) else { return nil }
        if let bound = try await registry.bundle(of: version, reading) {
            return try await ModelBundle.read(bound.subject, from: binding.models.objects)
        }
        return try await binding.draft(of: version, in: caller.workspace)
    }

    /// What a plan says of a model that brings code; nil for others.
    func code(of bundle: ModelBundle, _ uri: String, in workspace: WorkspaceID) async -> String? {
        guard bundle.runsCode else { return nil }
        do {
            let signers = try await binding.models.requireAccepted(bundle, in: workspace)
            return "\(uri) brings Python code" + (signers.isEmpty ? "" : ", signed by \(signers.joined(separator: ", "))")
        } catch { return "it is refused: \(KeelError.wrapping(error).message)" }
    }

    /// - Parameter force: for what needs the permission to force.
    func requireDeploy(_ endpoint: ResourceRef, force: Bool, _ caller: Caller) async throws {
        _ = try await granted(caller, force ? .releasesForce : .releasesDeploy, endpoint)
    }

    /// Releases what serves, or served, in one environment to the endpoint of the same name in another, with what is known of it there.
    ///
    /// It goes the way of every release: what the target asks of a version is asked of this one, and its rollout decides.
    /// - Parameters:
    ///   - number: the release; the one that answers all requests of `source` when it is nil.
    ///   - force: takes a release whose gate did not pass there, for those who may force.
    /// - Throws: `failedPrecondition` for a release that never served in its environment, and for one whose gate did not pass unless `force` is true.
    public func promote(
        from source: ResourceRef, release number: Int?, to target: ResourceRef, force: Bool, signature: EndpointSpec.SignatureRule? = nil,
        by caller: Caller
    ) async throws -> Release {
        guard source.name == target.name, source != target else {
            throw KeelError.invalid(
                "a release is promoted to the endpoint of its name in another environment, not from '\(source.qualifiedName)' to "
                    + "'\(target.qualifiedName)'", hint: "'\(target.name)@staging' is one of another environment", path: "from")
        }
        let record = try await deployments.record(endpoint: source, release: number, try await granted(caller, .releasesRead, source))
        let release = record.release
        guard record.hasServed else {
            throw KeelError(
                .failedPrecondition, "release \(release.name) never served in \(source.environment?.rawValue ?? "its environment")",
                hint: "keel promote \(source.qualifiedName) ends its rollout; or release the model version itself")
        }
        var gate = release.gate
        if let event = record.takenBack {
            let reason = event.data["reason"]?.string ?? ""
            guard force else {
                throw KeelError(
                    .failedPrecondition, "release \(release.name) was taken back: \(reason)",
                    hint: "force: true promotes it all the same, for those who may")
            }
            gate = .forced(reason: "it was taken back in \(source.environment?.rawValue ?? "its environment"): \(reason)")
        }
        if case .forced = release.gate, !force {
            throw KeelError(
                .failedPrecondition, "the gate of release \(release.name) did not pass: \(release.gate.text)",
                hint: "force: true promotes it all the same, for those who may")
        }
        let deploying = try await granted(caller, force ? .releasesForce : .releasesDeploy, target)
        let decided = await deployments.decision(endpoint: target)
        if case .unasked(let reason) = gate {
            let isTaken = try await deployments.spec(endpoint: target, deploying).gate == .optional
            guard isTaken || force else {
                throw KeelError(
                    .failedPrecondition, "no gate judged release \(release.name), and \(target.subject) takes none such",
                    hint: "force: true promotes it all the same, for those who may")
            }
            if !isTaken { gate = .forced(reason: "no gate judged it in \(source.environment?.rawValue ?? "its environment"): \(reason)") }
        }
        let (version, evidence) = try await registered("models:/\(release.model)/\(release.modelVersion)", runner: nil, deploying)
        var known = record.json
        let reading = try Grant.check(.system("releases", in: source.workspace), may: .monitorsRead)
        if let window = try await monitoring.latest(endpoint: source, release: release.number, by: reading) {
            known["monitor"] = [
                "monitor": .string(window.monitor.qualifiedName), "kind": .string(window.kind.rawValue),
                "until": .string(window.until.description), "rows": .int(Int64(window.rows)), "value": window.value.map(JSON.double) ?? .null,
                "alerted": .bool(window.alerted),
            ]
        }
        let origin = PromotedFrom(endpoint: source, release: release.number, digest: release.digest, evidence: known)
        return try await self.release(
            version, evidence, to: target, bundle: release.bundle, gate: gate, from: origin, signature: signature, since: decided, key: nil, by: caller)
    }

    /// A version with what Keel saw of it; one that a client registered is bound to its files first.
    private func registered(
        _ uri: String, runner: ModelBinding.Runner?, _ grant: Grant
    ) async throws -> (version: ModelVersion, evidence: VersionEvidence) {
        let reading = try Grant.check(grant.caller, may: .registryRead, on: ModelURI(uri).map { "Model/\($0.name)" } ?? "*")
        let version = try await registry.found(uri, reading)
        if let evidence = try await registry.evidence(of: version, reading), runner == nil || evidence.bundle.data["asked"]?.string == runner?.rawValue {
            return (version, evidence)
        }
        try await binding.bind(version, runner: runner ?? .auto, grant)
        guard let evidence = try await registry.evidence(of: version, reading) else { throw RegistryService.noBundle(version) }
        return (version, evidence)
    }

    private func release(
        _ version: ModelVersion, _ evidence: VersionEvidence, to endpoint: ResourceRef, bundle: Digest, gate: GateResult,
        from source: PromotedFrom? = nil, signature: EndpointSpec.SignatureRule?, since decision: String?, key: String?, meant: Meant? = nil, by caller: Caller
    ) async throws -> Release {
        let grant = try await granted(caller, gate.isForced ? .releasesForce : .releasesDeploy, endpoint)
        try await requireApprovals(version, try await deployments.spec(endpoint: endpoint, grant), by: caller)
        let (release, loaded) = try await deployments.loadedRelease(
            endpoint: endpoint, model: version.name, version: String(version.version), bundle: bundle, gate: gate, from: source,
            signature: signature, key: key, grant)
        try await deployments.deploy(
            endpoint: endpoint, release: release.number, loaded: loaded, once: key != nil, signature: signature, since: decision,
            recheck: { spec in
                if let meant { try await requireStillMeant(meant, version, spec, by: caller) }
                try await requireApprovals(version, spec, by: caller)
                if case .unasked = gate, spec.gate == .required {
                    throw KeelError(
                        .failedPrecondition, "while \(version.uri) was loaded, \(spec.ref.subject) was changed to gate: required",
                        hint: "no gate judged it; deploy one that a gate passed")
                }
            }, grant)
        return release
    }

    /// - Throws: `failedPrecondition` when the alias that was named is of another version now, or the endpoint has other models beside it.
    private func requireStillMeant(_ meant: Meant, _ version: ModelVersion, _ spec: EndpointSpec, by caller: Caller) async throws {
        let reading = try Grant.check(caller, may: .registryRead, on: "Model/\(version.name)")
        guard try await registry.resolve(meant.uri, reading)?.uri == version.uri else {
            throw KeelError(
                .failedPrecondition, "while \(version.uri) was loaded, \(meant.uri) was moved to another version", hint: "deploy again what shall serve")
        }
        guard spec.before == meant.before, spec.after == meant.after else {
            throw KeelError(
                .failedPrecondition, "while \(version.uri) was loaded, \(spec.ref.subject) was given other models before or after it", hint: "deploy it again")
        }
    }

    /// The version's own approval, and those of the models beside it, which decide the answer as well.
    private func requireApprovals(_ version: ModelVersion, _ spec: EndpointSpec, by caller: Caller) async throws {
        guard spec.approval == .required else { return }
        for uri in [version.uri] + spec.before + spec.after {
            let reading = try Grant.check(caller, may: .registryRead, on: ModelURI(uri).map { "Model/\($0.name)" } ?? "*")
            let part = try await registry.found(uri, reading)
            guard let evidence = try await registry.evidence(of: part, reading) else { throw RegistryService.noBundle(part) }
            try requireApproval(part, evidence, for: spec.ref)
        }
    }

    private func requireApproval(_ version: ModelVersion, _ evidence: VersionEvidence, for endpoint: ResourceRef) throws(KeelError) {
        guard evidence.approvals.isEmpty else { return }
        throw KeelError(
            .failedPrecondition, "the endpoint '\(endpoint.qualifiedName)' takes approved versions only, and nobody approved \(version.uri)",
            hint: "keel approve \(version.uri) --reason TEXT, by somebody who did not register it")
    }

    private func granted(_ caller: Caller, _ action: Action, _ endpoint: ResourceRef) async throws -> Grant {
        do throws(KeelError) { return try Grant.check(caller, may: action, on: endpoint) } catch {
            try await denied(caller, action, endpoint.subject)
            throw error
        }
    }
}
