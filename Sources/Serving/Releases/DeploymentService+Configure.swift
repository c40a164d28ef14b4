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
    /// Until one of the two is called, no release is deployed in the workspace and none of its rollouts moves; requests are answered as before.
    /// - Parameter features: the feature store as it will be when the draft is in force.
    /// - Throws: when a release that serves could not read its features any more.
    public func prepare(
        _ specs: [EndpointSpec], in workspace: WorkspaceID, reading features: (any OnlineFeatures)?
    ) async throws -> EndpointDraft {
        var draft = EndpointDraft(in: workspace, features: features)
        let whole = turn(of: workspace)
        await whole.take()
        draft.turns.append(whole)
        do {
            // Loading takes its time, and nothing waits for it.
            var restored: [ResourceRef: Restored] = [:]
            for spec in specs where needsRestoring(spec.ref) { restored[spec.ref] = try await self.restored(spec, features) }
            let refs = Set(endpoints.keys.filter { $0.workspace == workspace }).union(specs.map(\.ref))
            for ref in refs.sorted(by: { $0.description < $1.description }) {
                let turn = turn(of: ref)
                await turn.take()
                draft.turns.append(turn)
            }
            for spec in specs { try await prepare(spec, restored[spec.ref], &draft) }
            held.insert(workspace)
            return draft
        } catch {
            draft.giveTurns()
            throw error
        }
    }

    /// An endpoint whose stored release was loaded, or could not be.
    struct Restored {
        var live: Live
        var problem: KeelError?
    }

    /// Whether an endpoint is new, or has a release that could not be loaded and is tried again.
    private func needsRestoring(_ endpoint: ResourceRef) -> Bool {
        guard let live = endpoints[endpoint] else { return true }
        return !live.isStarting && live.state.stable != nil && live.stable == nil
    }

    func prepare(_ spec: EndpointSpec, _ restored: Restored?, _ draft: inout EndpointDraft) async throws {
        // What is being loaded already is not loaded again: its reads are planned when it is there.
        if var starting = endpoints[spec.ref], starting.isStarting {
            starting.spec = spec
            draft.endpoints[spec.ref] = starting
            return
        }
        guard !needsRestoring(spec.ref), var live = endpoints[spec.ref] else {
            var found: Restored
            // What was decided while it was loaded is not what was loaded.
            if let restored, endpoints[spec.ref].map({ $0.state == restored.live.state }) ?? true { found = restored } else {
                found = try await self.restored(spec, draft.features)
            }
            if let known = endpoints[spec.ref] { found.live.decision = known.decision }
            draft.endpoints[spec.ref] = found.live
            draft.problems[spec.ref] = found.problem
            return
        }
        live.stable = try live.stable.map { try planned($0, spec, draft.features) }
        live.candidate = try live.candidate.map { try planned($0, spec, draft.features) }
        try requireScores(spec)
        if spec.rollout != live.spec.rollout, let rollout = live.rollout {
            live.rollout = Rollout(plan: spec.rollout, phase: rollout.phase, phaseRequests: rollout.phaseRequests)
            live.rollout?.isPaused = rollout.isPaused
            for observation in try await storedEvidence(live.state) { live.rollout?.observe(observation) }
        }
        live.spec = spec
        draft.endpoints[spec.ref] = live
    }

    /// Puts a draft in force. Cannot fail.
    public func activate(_ draft: EndpointDraft) async {
        defer { giveUp(draft) }
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
    public func discard(_ draft: EndpointDraft) { giveUp(draft) }

    private func giveUp(_ draft: EndpointDraft) {
        held.remove(draft.workspace)
        draft.giveTurns()
    }

    private func restored(_ spec: EndpointSpec, _ features: (any OnlineFeatures)?) async throws -> Restored {
        let ref = spec.ref
        let state = try await database.read(in: ref.workspace) { reader in try ReleaseStore.state(ref, in: reader) }
        var live = Live(spec: spec, state: state, load: EndpointLoad())
        // What has processes of its own to start, or another server to ask, is loaded when it is in force.
        for number in [state.stable, state.candidate].compactMap({ $0 }) {
            guard let release = try? await database.read(in: ref.workspace, { try ReleaseStore.find(ref, number, in: $0) }),
                let bundle = try? await ModelBundle.read(release.bundle, from: models.objects)
            else { continue }
            if bundle.runsCode || bundle.asksServers { live.isStarting = true }
        }
        if live.isStarting { return Restored(live: live) }
        return try await loaded(live, features)
    }

    /// Loads an endpoint's releases without holding up other deployments, then lets it serve, unless it was changed meanwhile.
    private func finishStarting(_ ref: ResourceRef) async {
        guard let waiting = endpoints[ref], waiting.isStarting else { return }
        let outcome: Result<Restored, any Error>
        do { outcome = .success(try await loaded(waiting, features)) } catch { outcome = .failure(error) }
        try? await exclusively(ref) {
            guard var live = endpoints[ref], live.isStarting else { return }
            let hasFailed: Bool
            if case .success(let found) = outcome, found.problem == nil { hasFailed = false } else { hasFailed = true }
            // What was declared or decided when it began could not be put in force; what is now may be.
            if live.state != waiting.state || (hasFailed && live.spec != waiting.spec) {
                Task { await finishStarting(ref) }
                return
            }
            live.isStarting = false
            do {
                let found = try outcome.get()
                for served in [found.live.stable, found.live.candidate].compactMap({ $0 }) {
                    try await models.requireAccepted(served.model.bundle, in: ref.workspace)
                }
                live.stable = try found.live.stable.map { try planned($0, live.spec, features) }
                live.candidate = try found.live.candidate.map { try planned($0, live.spec, features) }
                live.rollout = found.live.rollout
                live.baseline = found.live.baseline
                publish(live)
                if let problem = found.problem { fail(ref, problem) }
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
    private func loaded(_ given: Live, _ features: (any OnlineFeatures)?) async throws -> Restored {
        var live = given
        let (ref, spec, state) = (live.spec.ref, live.spec, live.state)
        do {
            if let stable = state.stable { live.stable = try await load(ref, stable, spec, features) }
        } catch { return Restored(live: live, problem: KeelError.wrapping(error)) }
        guard let candidate = state.candidate else { return Restored(live: live) }
        do {
            live.candidate = try await load(ref, candidate, spec, features)
        } catch { return Restored(live: live, problem: KeelError.wrapping(error)) }
        let phase: Rollout.Phase = if case .canary(let step) = state.phase { .canary(step: step) } else { .shadow }
        var rollout = Rollout(plan: spec.rollout, phase: phase, phaseRequests: state.phaseRequests)
        rollout.isPaused = state.pause != nil
        for observation in try await storedEvidence(state) { rollout.observe(observation) }
        live.rollout = rollout
        live.baseline = RolloutBaseline(requests: state.requests, errors: state.errors)
        return Restored(live: live)
    }

    func storedEvidence(_ state: EndpointState) async throws -> [Rollout.Observation] {
        try await database.read(in: state.endpoint.workspace) { reader in try ReleaseStore.evidence(state, in: reader) }
    }

    // MARK: Policies

    /// Which models each workspace takes.
    public nonisolated var policies: ModelPolicies { models.policies }

    /// The releases of these endpoints that serve, start, or are under way, and that a policy does not take.
    public func releases(in refs: Set<ResourceRef>, refusedBy policy: ModelPolicySpec) async throws -> [String] {
        var out: [String] = []
        for live in endpoints.values where refs.contains(live.spec.ref) {
            let ref = live.spec.ref
            for number in [live.state.stable, live.state.candidate].compactMap({ $0 }) {
                var bundle = [live.stable, live.candidate].compactMap { $0 }.first { $0.release.number == number }?.model.bundle
                if bundle == nil {
                    let release = try await database.read(in: ref.workspace) { try ReleaseStore.find(ref, number, in: $0) }
                    // What cannot be read does not serve.
                    bundle = try? await ModelBundle.read(release.bundle, from: models.objects)
                }
                guard let bundle else { continue }
                do { try await models.requireAccepted(bundle, by: policy, in: ref.workspace) } catch let error as KeelError where error.code == .permissionDenied {
                    out.append("\(ref.qualifiedName)/\(number)")
                }
            }
        }
        return out.sorted()
    }

    /// Whose signatures a release serves by; empty where none are asked for.
    public func signers(of bundle: Digest, in workspace: WorkspaceID) async throws -> [String] {
        try await models.requireAccepted(try await ModelBundle.read(bundle, from: models.objects), in: workspace)
    }

    // MARK: Loading

    /// A release that served before the server was started anew.
    private func load(_ endpoint: ResourceRef, _ number: Int, _ spec: EndpointSpec, _ features: (any OnlineFeatures)?) async throws -> ServedRelease {
        let release = try await database.read(in: endpoint.workspace) { reader in try ReleaseStore.find(endpoint, number, in: reader) }
        let model = try await models.load(release.bundle, in: endpoint.workspace, isRestart: true)
        return ServedRelease(release: release, model: model, plan: try plan(release, model, spec, features))
    }

    /// What was loaded outside of the endpoint's turn, as it may serve now.
    /// - Throws: when what was declared meanwhile does not take it.
    func ready(_ release: Release, _ model: LoadedModel, _ live: Live) async throws -> ServedRelease {
        try await models.requireAccepted(model.bundle, in: release.endpoint.workspace)
        try requireScores(of: model, release, live.spec)
        return ServedRelease(release: release, model: model, plan: try plan(release, model, live.spec, features))
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
