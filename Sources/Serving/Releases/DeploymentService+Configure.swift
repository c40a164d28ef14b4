import Contracts
import Storage

/// Endpoints as they are declared.
extension DeploymentService {
    /// Takes the endpoints of a workspace as declared now. New ones are restored from the tables, with their rollout under way; known ones read features by the
    /// new plan; those that are gone serve no more.
    ///
    /// - Returns: endpoints whose stored release cannot be loaded, and why; they exist and answer that they have no release.
    /// - Throws: when a release that serves cannot read its features any more; then nothing is changed.
    @discardableResult
    public func configure(_ specs: [EndpointSpec], in workspace: WorkspaceID = .default) async throws -> [ResourceRef: KeelError] {
        let draft = try await prepare(specs, in: workspace, reading: features)
        await activate(draft)
        return draft.problems
    }

    /// Loads the models and plans the reads of these endpoints, which are all of a workspace. Nothing changes until `activate`; a draft that is given up
    /// goes to `discard`.
    ///
    /// Until one of the two is called, no release is deployed and no rollout moves; requests are answered as before.
    /// - Parameter features: the feature store as it will be when the draft is in force.
    /// - Throws: when a release that serves could not read its features any more.
    public func prepare(
        _ specs: [EndpointSpec], in workspace: WorkspaceID, reading features: (any OnlineFeatures)?
    ) async throws -> EndpointDraft {
        await turn.take()
        do {
            var draft = EndpointDraft(in: workspace, features: features)
            for spec in specs { try await prepare(spec, &draft) }
            return draft
        } catch {
            turn.give()
            throw error
        }
    }

    func prepare(_ spec: EndpointSpec, _ draft: inout EndpointDraft) async throws {
        // What is being loaded already is not loaded again: its reads are planned when it is there.
        if var starting = endpoints[spec.ref], starting.isStarting {
            starting.spec = spec
            draft.endpoints[spec.ref] = starting
            return
        }
        // One whose release could not be loaded is tried again.
        guard var live = endpoints[spec.ref], live.state.stable == nil || live.stable != nil else {
            let (live, problem) = try await restored(spec, draft.features)
            draft.endpoints[spec.ref] = live
            draft.problems[spec.ref] = problem
            return
        }
        live.stable = try live.stable.map { try planned($0, spec, draft.features) }
        live.candidate = try live.candidate.map { try planned($0, spec, draft.features) }
        try requireScores(spec)
        if spec.rollout != live.spec.rollout, let rollout = live.rollout {
            live.rollout = Rollout(plan: spec.rollout, phase: rollout.phase, phaseRequests: rollout.phaseRequests)
            for observation in try await storedEvidence(live.state) { live.rollout?.observe(observation) }
        }
        live.spec = spec
        draft.endpoints[spec.ref] = live
    }

    /// Puts a draft in force. Cannot fail.
    public func activate(_ draft: EndpointDraft) async {
        defer { turn.give() }
        let known = endpoints.filter { $0.key.workspace == draft.workspace }
        for ref in known.keys where draft.endpoints[ref] == nil {
            endpoints[ref] = nil
            runtime.swap(ref, to: nil)
            inbox.forget(ref)
        }
        runtime.log.setLabelHorizons(draft.endpoints.compactMapValues { $0.spec.label?.within }, in: draft.workspace)
        for (ref, live) in draft.endpoints {
            publish(live)
            if live.isStarting, known[ref]?.isStarting != true { Task { await finishStarting(ref) } }
            if known[ref] == nil, let stable = live.stable { await restored(stable.release) }
        }
    }

    /// Tells again of a promotion that the process may have ended behind.
    private func restored(_ release: Release) async {
        let promotion = try? await database.read(in: release.endpoint.workspace) { try DeploymentService.fate(of: release, in: $0).promotion }
        if let promotion { await onPromoted(release, promotion.seq) }
    }

    /// Gives a draft up: what was in force stays.
    public func discard(_ draft: EndpointDraft) { turn.give() }

    func restored(_ spec: EndpointSpec, _ features: (any OnlineFeatures)?) async throws -> (Live, KeelError?) {
        let ref = spec.ref
        let state = try await database.read(in: ref.workspace) { reader in try ReleaseStore.state(ref, in: reader) }
        var live = Live(spec: spec, state: state, load: EndpointLoad())
        if await startsSlowly(state) {
            live.isStarting = true
            return (live, nil)
        }
        return try await loaded(live, features)
    }

    /// Whether a release of the endpoint has processes of its own to start, or another server to ask.
    private func startsSlowly(_ state: EndpointState) async -> Bool {
        for number in [state.stable, state.candidate].compactMap({ $0 }) {
            guard let release = try? await database.read(in: state.endpoint.workspace, { try ReleaseStore.find(state.endpoint, number, in: $0) }),
                let bundle = try? await ModelBundle.read(release.bundle, from: models.objects)
            else { continue }
            if bundle.runsCode || bundle.asksServers { return true }
        }
        return false
    }

    /// Loads an endpoint's releases without holding up other deployments, then lets it serve, unless it was changed meanwhile.
    private func finishStarting(_ ref: ResourceRef) async {
        guard let waiting = endpoints[ref], waiting.isStarting else { return }
        let outcome: Result<(Live, KeelError?), any Error>
        do { outcome = .success(try await loaded(waiting, features)) } catch { outcome = .failure(error) }
        try? await exclusively {
            guard var live = endpoints[ref], live.isStarting, live.state == waiting.state else { return }
            let hasFailed: Bool
            if case .success((_, nil)) = outcome { hasFailed = false } else { hasFailed = true }
            // What was declared when it began could not be put in force; what is declared now may be.
            if hasFailed, live.spec != waiting.spec {
                Task { await finishStarting(ref) }
                return
            }
            live.isStarting = false
            do {
                let (found, problem) = try outcome.get()
                live.stable = try found.stable.map { try planned($0, live.spec, features) }
                live.candidate = try found.candidate.map { try planned($0, live.spec, features) }
                live.rollout = found.rollout
                live.baseline = found.baseline
                publish(live)
                if let problem { fail(ref, problem) }
                if let stable = live.stable { await restored(stable.release) }
            } catch {
                publish(live)
                fail(ref, KeelError.wrapping(error))
            }
        }
    }

    /// Requests are told why while nothing else serves the endpoint.
    private func fail(_ ref: ResourceRef, _ problem: KeelError) {
        runtime.disable(ref, problem)
        onFailed(ref, problem)
    }

    /// An endpoint with its releases loaded, and what kept one of them from it.
    private func loaded(_ given: Live, _ features: (any OnlineFeatures)?) async throws -> (Live, KeelError?) {
        var live = given
        let (ref, spec, state) = (live.spec.ref, live.spec, live.state)
        do {
            if let stable = state.stable { live.stable = try await load(ref, stable, spec, features, isRestart: true) }
        } catch { return (live, KeelError.wrapping(error)) }
        guard let candidate = state.candidate else { return (live, nil) }
        do {
            live.candidate = try await load(ref, candidate, spec, features, isRestart: true)
        } catch { return (live, KeelError.wrapping(error)) }
        let phase: Rollout.Phase = if case .canary(let step) = state.phase { .canary(step: step) } else { .shadow }
        var rollout = Rollout(plan: spec.rollout, phase: phase, phaseRequests: state.phaseRequests)
        for observation in try await storedEvidence(state) { rollout.observe(observation) }
        live.rollout = rollout
        live.baseline = RolloutBaseline(requests: state.requests, errors: state.errors)
        return (live, nil)
    }

    func storedEvidence(_ state: EndpointState) async throws -> [Rollout.Observation] {
        try await database.read(in: state.endpoint.workspace) { reader in try ReleaseStore.evidence(state, in: reader) }
    }

    // MARK: Policies

    /// Which models each workspace takes.
    public nonisolated var policies: ModelPolicies { models.policies }

    /// The releases of a workspace that serve, or are under way, and run code of their models' own.
    public func releasesWithCode(in refs: Set<ResourceRef>) -> [String] {
        endpoints.filter { refs.contains($0.key) }.values.flatMap { [$0.stable, $0.candidate] }.compactMap { $0 }
            .filter { $0.model.bundle.runsCode }.map(\.release.name).sorted()
    }

    // MARK: Loading

    func load(
        _ endpoint: ResourceRef, _ number: Int, _ spec: EndpointSpec, _ features: (any OnlineFeatures)?, isRestart: Bool = false
    ) async throws -> ServedRelease {
        let release = try await database.read(in: endpoint.workspace) { reader in try ReleaseStore.find(endpoint, number, in: reader) }
        return try await load(release, spec, features, isRestart: isRestart)
    }

    func load(
        _ release: Release, _ spec: EndpointSpec, _ features: (any OnlineFeatures)?, isRestart: Bool = false
    ) async throws -> ServedRelease {
        let model = try await models.load(release.bundle, in: release.endpoint.workspace, isRestart: isRestart)
        return ServedRelease(release: release, model: model, plan: try plan(release, model, spec, features))
    }

    func planned(_ served: ServedRelease, _ spec: EndpointSpec, _ features: (any OnlineFeatures)?) throws -> ServedRelease {
        ServedRelease(served, plan: try plan(served.release, served.model, spec, features))
    }

    /// - Throws: `failedPrecondition` when a changed declaration has a condition about scores, and a release that serves the endpoint gives none.
    public func requireScores(_ spec: EndpointSpec) throws(KeelError) {
        guard let live = endpoints[spec.ref], live.spec.rollout != spec.rollout else { return }
        for served in [live.stable, live.candidate] {
            if let served { try requireScores(of: served.model, served.release, spec) }
        }
    }

    /// - Throws: `failedPrecondition` when a condition of the endpoint's rollout is about scores and the model gives none: it could never hold.
    func requireScores(of model: LoadedModel, _ release: Release, _ spec: EndpointSpec) throws(KeelError) {
        guard model.primaryOutput == nil else { return }
        for (i, condition) in spec.rollout.rollbackWhen.enumerated() {
            guard let name = condition.names.first(where: RolloutEvidence.isOfScores) else { continue }
            throw KeelError(
                .failedPrecondition,
                "'\(condition.text)' can never hold: \(release.model)/\(release.modelVersion) has no output that is a number a row, so there is no \(name)",
                hint: "take a condition on errors or latency.p99, or declare the model's primary output in its signature",
                path: "\(spec.ref.subject).spec.rollout.rollbackWhen[\(i)]")
        }
    }

    func plan(
        _ release: Release, _ model: LoadedModel, _ spec: EndpointSpec, _ features: (any OnlineFeatures)?
    ) throws(KeelError) -> any FeaturePlan {
        let inputs = model.bundle.signature.inputs
        guard let service = spec.features else { return RequestPlan(inputs: inputs) }
        if let trained = release.featureService, trained != service {
            throw KeelError(
                .failedPrecondition,
                "release \(release.name) was trained on feature service '\(trained)', the endpoint declares '\(service)'",
                hint: "set spec.features of \(spec.ref.subject) to \(trained), or train on \(service)")
        }
        guard let features else { throw KeelError(.failedPrecondition, "there is no online feature store to read '\(service)' from") }
        do throws(KeelError) { return try features.plan(service: service, of: spec.ref.workspace, inputs: inputs) } catch {
            throw KeelError(
                error.code, "release \(release.name) cannot read its features: \(error.message)", hint: error.hint, path: error.path)
        }
    }
}
