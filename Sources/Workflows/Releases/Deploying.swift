import Contracts
import Governance
import Registry
import Serving

/// Puts a registered model behind an endpoint with one request: the endpoint is declared when there is none, the model is tried, released and served.
public struct Deploying: Sendable {
    private let applying: Applying
    private let releasing: Releasing
    private let remotes: RemoteBinding
    private let registry: RegistryService
    private let deployments: DeploymentService

    package init(applying: Applying, releasing: Releasing, remotes: RemoteBinding, registry: RegistryService, deployments: DeploymentService) {
        self.applying = applying
        self.releasing = releasing
        self.remotes = remotes
        self.registry = registry
        self.deployments = deployments
    }

    /// - Parameters:
    ///   - features: the feature service that a new endpoint reads; the request carries the model's inputs without one.
    ///   - runner: who runs the model; nil is as it was bound before, or whatever fits.
    ///   - reason: why, for the ledger, when no gate judged the version.
    ///   - signature: whether callers of the endpoint may notice the change; nil is as the endpoint says.
    /// - Returns: the release, and what is known of the model behind it.
    /// - Throws: `failedPrecondition` for a model that answers its example with something else than was logged, that has no signature, or whose gate refused
    ///   it; `permissionDenied` for a version that no gate judged when the endpoint asks for one and the caller may not force; `invalidArgument` for features other than the endpoint's.
    public func deploy(
        _ uri: String, to endpoint: ResourceRef, features: String?, runner: ModelBinding.Runner?, reason: String?,
        signature: EndpointSpec.SignatureRule? = nil, by caller: Caller
    ) async throws -> JSON {
        try await deploy(uri, to: endpoint, features: features, runner: runner, reason: reason, signature: signature, since: nil, by: caller)
    }

    /// - Parameter known: what was decided last about the endpoint when the caller began; nil is now.
    private func deploy(
        _ uri: String, to endpoint: ResourceRef, features: String?, runner: ModelBinding.Runner?, reason: String?,
        signature: EndpointSpec.SignatureRule?, since known: String?, by caller: Caller
    ) async throws -> JSON {
        let reading = try Grant.check(caller, may: .registryRead, on: ModelURI(uri).map { "Model/\($0.name)" } ?? "*")
        let version = try await registry.found(uri, reading)
        var decision = known
        if decision == nil { decision = await deployments.decision(endpoint: endpoint) }
        // What cannot be served is found before anything is declared.
        let declared = try? await deployments.spec(endpoint: endpoint, try Grant.check(caller, may: .releasesDeploy, on: endpoint))
        let whole = try await releasing.prepare(
            version.uri, runner: runner, before: declared?.before ?? [], after: declared?.after ?? [], for: endpoint, by: caller)
        // Two versions may have the same files.
        if let serving = try? await stable(endpoint, caller), serving.bundle == whole.bundle, serving.model == version.name,
            serving.modelVersion == String(version.version)
        {
            return try await answer(serving, version, isNew: false, reading, caller)
        }
        // A gate that refused it is not passed over in silence; that there was none is said in the release.
        if case .refused(let part) = whole.verdict {
            throw KeelError(
                .failedPrecondition, "the gate of \(part)",
                hint: "keel release \(endpoint.qualifiedName) \(version.uri) --force releases it all the same, for those who may")
        }
        // An endpoint that this makes takes what it was made for.
        let isUngated = if case .unasked = whole.verdict { true } else { false }
        let force = isUngated && declared.map { $0.gate == .required } ?? false
        if force {
            do { try await releasing.requireDeploy(endpoint, force: true, caller) } catch let error as KeelError {
                throw KeelError(
                    error.code, "no gate judged \(version.uri), and \(endpoint.subject) asks for one: \(error.message)",
                    hint: "deploy a version that a gate passed, or ask an owner, who may also apply the endpoint with gate: optional")
            }
        }
        let isNew = try await declare(endpoint, features, gate: isUngated ? .optional : .required, caller)
        let release: Release
        do {
            release = try await releasing.release(
                version.uri, named: uri, to: endpoint, force: force, asksNoGate: true, reason: reason ?? "deployed by \(caller.name)",
                signature: signature, since: decision, by: caller)
        } catch {
            // An endpoint without a release would stay behind.
            if isNew { try? await withdraw(endpoint, caller) }
            throw error
        }
        return try await answer(release, version, isNew: isNew, reading, caller)
    }

    /// The release that answers all requests; nil when there is none yet.
    private func stable(_ endpoint: ResourceRef, _ caller: Caller) async throws -> Release? {
        let grant = try Grant.check(caller, may: .releasesDeploy, on: endpoint)
        guard let number = try await deployments.state(endpoint: endpoint, grant).stable else { return nil }
        return try await deployments.releases(endpoint: endpoint, grant).first { $0.number == number }
    }

    private func answer(_ release: Release, _ version: ModelVersion, isNew: Bool, _ reading: Grant, _ caller: Caller) async throws -> JSON {
        var out = release.json
        out["endpoint_created"] = .bool(isNew)
        out["uri"] = .string(version.uri)
        if let bound = try await registry.bundle(of: version, reading) {
            out["runner"] = bound.data["runner"] ?? .null
            out["example"] = bound.data["example"] ?? .null
        }
        // What serves already may be refused since: it is told what it is all the same.
        let signers = (try? await deployments.signers(of: release.bundle, in: release.endpoint.workspace)) ?? []
        if !signers.isEmpty { out["signed_by"] = .array(signers.map(JSON.string)) }
        let warnings = try await applying.blindMonitors(in: release.endpoint.workspace) { $0.endpoint == release.endpoint }
        if !warnings.isEmpty { out["warnings"] = .array(warnings.map(JSON.string)) }
        let state = try await deployments.state(endpoint: release.endpoint, try Grant.check(caller, may: .releasesDeploy, on: release.endpoint))
        // What it was deployed to do may be over when this is asked.
        out["state"] = state.candidate == release.number ? "rollout" : state.stable == release.number ? "stable" : "idle"
        if let candidate = state.candidate, candidate != release.number { out["candidate"] = .int(Int64(candidate)) }
        return out
    }

    /// Applies resources, and deploys the models that endpoints among them name.
    ///
    /// A model that cannot be served refuses the whole apply: it is tried before anything is stored. An endpoint that has not changed is left alone, so that
    /// what was rolled back stays so.
    public func apply(_ resources: [Resource], by grant: Grant) async throws -> JSON {
        var models: [(endpoint: ResourceRef, uri: String, decision: String?)] = []
        let changes = try await applying.changes(resources, by: grant)
        for (i, resource) in resources.enumerated() where changes[i].kind != .unchanged && resource.kind == EndpointSpec.kind {
            // What cannot be read, the apply reports with all other mistakes.
            guard let spec = try? EndpointSpec(resource: resource) else { continue }
            let endpoint = resource.ref(in: grant.workspace)
            let decision = await deployments.decision(endpoint: endpoint)
            guard let uri = try await registered(spec, endpoint, by: grant.caller) else { continue }
            let whole = try await releasing.prepare(uri, runner: nil, before: spec.before, after: spec.after, for: endpoint, by: grant.caller)
            try await deployments.requireCompatible(whole.signature, of: uri, at: spec, asked: nil)
            models.append((endpoint, uri, decision))
        }
        let result = try await applying.apply(resources, by: grant)
        var out = result.json
        var deployed: [JSON] = []
        for (endpoint, uri, decision) in models {
            let change = result.changes.first { change in
                change.id == "\(EndpointSpec.kind)/\(endpoint.name)" && (change.environment ?? EnvironmentName.production.rawValue) == endpoint.environment?.rawValue
            }
            guard change?.kind != .unchanged else { continue }
            deployed.append(
                try await deploy(
                    uri, to: endpoint, features: nil, runner: nil, reason: "applied by \(grant.caller.name)", signature: nil,
                    since: decision, by: grant.caller))
        }
        if !deployed.isEmpty { out["deployments"] = .array(deployed) }
        let changed = Set(zip(resources, result.changes).filter { $0.1.kind != .unchanged }.map { $0.0.ref(in: grant.workspace) })
        var warnings = try await applying.blindMonitors(in: grant.workspace) { changed.contains($0.ref) || changed.contains($0.endpoint) }
        for resource in resources where resource.kind == ModelPolicySpec.kind {
            warnings += try await applying.warnings(of: resource, in: grant.workspace)
        }
        if !warnings.isEmpty { out["warnings"] = .array(warnings.map(JSON.string)) }
        return out
    }

    /// What `apply` would do, without doing it, with what callers of an endpoint would notice of the model that it declares.
    public func plan(_ resources: [Resource], by grant: Grant) async throws -> [ResourceChange] {
        var changes = try await applying.plan(resources, by: grant)
        for (i, resource) in resources.enumerated() where resource.kind == EndpointSpec.kind && changes[i].kind == .changed {
            guard let spec = try? EndpointSpec(resource: resource), let uri = spec.model, spec.before.isEmpty, spec.after.isEmpty,
                // Who may not read the model is told nothing of it.
                let bundle = try? await releasing.draft(of: uri, by: grant.caller)
            else { continue }
            if let code = await releasing.code(of: bundle, uri, in: grant.workspace) { changes[i].effects.append(code) }
            let noticed = try await deployments.noticeable(bundle.signature, at: spec)
            changes[i].effects += noticed.map { "callers would notice: \($0)" }
            if !noticed.isEmpty, spec.signature == .compatible { changes[i].effects.append("so it is refused unless the spec says signature: any") }
        }
        return changes
    }

    /// The version that an endpoint declares; a model of another server is registered under the endpoint's name first.
    private func registered(_ spec: EndpointSpec, _ endpoint: ResourceRef, by caller: Caller) async throws -> String? {
        guard let remote = spec.remote else { return spec.model }
        // No gate judges it, and who may not deploy it shall not have its server asked.
        try await releasing.requireDeploy(endpoint, force: spec.gate == .required, caller)
        do { return try await remotes.register(remote, as: endpoint.name, by: caller) } catch let error as KeelError {
            throw error.path?.hasPrefix("spec.") == true ? error.at(endpoint.subject) : error
        }
    }

    /// - Returns: whether the endpoint was declared now.
    private func declare(_ endpoint: ResourceRef, _ features: String?, gate: EndpointSpec.GateRule, _ caller: Caller) async throws -> Bool {
        let deploying = try Grant.check(caller, may: .releasesDeploy, on: endpoint)
        if let spec = try? await deployments.spec(endpoint: endpoint, deploying) {
            guard features == nil || spec.features == features else {
                throw KeelError.invalid(
                    "the endpoint '\(endpoint.qualifiedName)' reads \(spec.features.map { "feature service '\($0)'" } ?? "no features")",
                    hint: "change spec.features of \(endpoint.subject) with keel apply", path: "features")
            }
            return false
        }
        var spec: JSON = .object([])
        if let features { spec["features"] = .string(features) }
        if gate == .optional { spec["gate"] = .string(gate.rawValue) }
        let environment = endpoint.environment == .production ? nil : endpoint.environment?.rawValue
        _ = try await applying.apply(
            [Resource(kind: EndpointSpec.kind, name: endpoint.name, environment: environment, spec: spec)],
            by: try Grant.check(caller, may: .resourcesApply, on: endpoint))
        return true
    }

    private func withdraw(_ endpoint: ResourceRef, _ caller: Caller) async throws {
        let environment = endpoint.environment == .production ? nil : endpoint.environment?.rawValue
        _ = try await applying.delete(
            EndpointSpec.kind, endpoint.name, environment: environment, cascade: false, data: false, isRehearsal: false,
            by: try Grant.check(caller, may: .resourcesApply, on: endpoint))
    }
}
