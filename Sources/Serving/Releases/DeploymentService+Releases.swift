import Contracts
import Storage

/// The verbs.
extension DeploymentService {
    /// Makes a numbered release of a stored bundle. Its model is loaded and tried first. Asking again for what the newest release already is
    /// returns that one.
    /// - Parameters:
    ///   - source: where it was promoted from. The same release of the same source is promoted once, whatever is known of it meanwhile.
    ///   - signature: whether callers may notice that it answers in place of the release that does; nil is as the endpoint says.
    ///   - key: names the request, such as a pipeline run and its step. A second call with the same key has no effect: it returns the release that
    ///     the first one made, whatever was released since.
    /// - Throws: `corrupted`, `contractViolation`, `engineMissing`, and what the server of a remote model says, when the model is not fit to serve; then there is no
    ///   release.
    public func createRelease(
        endpoint: ResourceRef, model: String, version: String, bundle digest: Digest, gate: GateResult, from source: PromotedFrom? = nil,
        signature: EndpointSpec.SignatureRule? = nil, key: String? = nil, _ grant: Grant
    ) async throws -> Release {
        try await loadedRelease(
            endpoint: endpoint, model: model, version: version, bundle: digest, gate: gate, from: source, signature: signature, key: key, grant
        ).release
    }

    /// As `createRelease`, with the model that was tried, for who deploys the release next; nil for a release that was there already.
    public func loadedRelease(
        endpoint: ResourceRef, model: String, version: String, bundle digest: Digest, gate: GateResult, from source: PromotedFrom? = nil,
        signature: EndpointSpec.SignatureRule? = nil, key: String? = nil, _ grant: Grant
    ) async throws -> (release: Release, model: LoadedModel?) {
        if case .forced = gate { try grant.require(.releasesForce, on: endpoint) } else { try grant.require(.releasesDeploy, .releasesForce, on: endpoint) }
        let live = try self.live(endpoint)
        if let key, let made = try await database.read(in: endpoint.workspace, { try ReleaseStore.find(endpoint, requestedBy: key, in: $0) }) {
            return (made, nil)
        }
        let loaded = try await models.load(digest, in: endpoint.workspace)
        let service = loaded.bundle.featureService
        let trial = Release(
            endpoint: endpoint, number: 0, model: model, modelVersion: version, bundle: digest, featureService: service,
            createdAt: database.clock.now(), createdBy: grant.caller.name, gate: gate, promotedFrom: source, parts: loaded.bundle.parts.map(\.name))
        try requireCompatible(trial, loaded, try plan(trial, loaded, live.spec, features), live, signature)
        try requireScores(of: loaded, trial, live.spec)
        let made = try await database.write(in: endpoint.workspace) { [versions] transaction in
            // The version may have been deleted since the caller read it. While a release names it, it cannot be.
            try versions?.require(transaction, model: model, version: version)
            for part in trial.parts {
                guard let named = ReleaseStore.version(of: part) else { continue }
                try versions?.require(transaction, model: named.model, version: named.version)
            }
            if let key, let made = try ReleaseStore.find(endpoint, requestedBy: key, in: transaction) { return made }
            let newest = try ReleaseStore.newest(endpoint, in: transaction)
            if let newest, newest.isSame(as: trial) { return newest }
            let release = Release(
                endpoint: endpoint, number: (newest?.number ?? 0) + 1, model: model, modelVersion: version, bundle: digest,
                featureService: service, createdAt: transaction.now, createdBy: grant.caller.name, gate: gate, promotedFrom: source,
                parts: trial.parts)
            let seq = try transaction.record("release.created", on: endpoint.subject, release.json, by: grant)
            try ReleaseStore.insert(release, event: seq, requestedBy: key, in: transaction)
            return release
        }
        return (made, made.bundle == digest ? loaded : nil)
    }

    /// An endpoint as it is declared.
    public func spec(endpoint: ResourceRef, _ grant: Grant) throws -> EndpointSpec {
        try grant.require(.releasesRead, .releasesDeploy, .releasesForce, on: endpoint)
        return try live(endpoint).spec
    }

    public func releases(endpoint: ResourceRef, _ grant: Grant) async throws -> [Release] {
        try grant.require(.releasesRead, .releasesDeploy, .releasesForce, on: endpoint)
        return try await database.read(in: endpoint.workspace) { reader in try ReleaseStore.releases(endpoint, in: reader) }
    }

    /// What serves each endpoint, and how far its rollout is.
    public func state(endpoint: ResourceRef, _ grant: Grant) throws -> EndpointState {
        try grant.require(.releasesRead, .releasesDeploy, .releasesForce, on: endpoint)
        return try live(endpoint).state
    }

    /// A rollout under way in words: `step 2 of 3, 640 of 1000 requests`; nil when there is none.
    public func progress(endpoint: ResourceRef) -> String? {
        guard let rollout = endpoints[endpoint]?.rollout else { return nil }
        let count = "\(min(rollout.phaseRequests, rollout.phaseTarget)) of \(rollout.phaseTarget) requests"
        let paused = rollout.isPaused ? ", paused" : ""
        if case .canary(let step) = rollout.phase { return "step \(step + 1) of \(rollout.plan.shares.count), \(count)\(paused)" }
        return "shadow, \(count)\(paused)"
    }

    /// Deploys a release: the first of an endpoint serves at once, a later one enters the rollout and replaces the candidate that is under way.
    ///
    /// The model is loaded first, which may take minutes; other verbs of the endpoint are done meanwhile. What somebody decided in that time about what
    /// serves stands: then this deployment is refused. What the rollout did by itself does not hold it up.
    /// - Parameters:
    ///   - once: leave a release alone that was deployed before, even if it was taken back since: for steps that may be repeated.
    ///   - loaded: the release's model, when the caller has it already.
    ///   - signature: as in `createRelease`.
    ///   - decision: what was decided last when the caller began, by `decision`; nil is now.
    ///   - recheck: asked when the model is loaded, just before it serves, with the endpoint as it is declared then. It throws when what the caller decided
    ///     by is not so any more.
    /// - Returns: what was done; nil when `once` held it back.
    @discardableResult
    public func deploy(
        endpoint: ResourceRef, release number: Int, loaded: LoadedModel? = nil, once: Bool = false, signature: EndpointSpec.SignatureRule? = nil,
        since decision: String? = nil, recheck: @Sendable (EndpointSpec) async throws -> Void = { _ in }, _ grant: Grant
    ) async throws -> Deployment? {
        try grant.require(.releasesDeploy, .releasesForce, on: endpoint)
        let began = try live(endpoint)
        let release = try await database.read(in: endpoint.workspace) { try ReleaseStore.find(endpoint, number, in: $0) }
        try await requireDeploy(grant, release)
        if once, try await wasDeployed(release) { return nil }
        if let done = try deployed(release, began) { return done }
        guard decision == nil || decision == began.decision.id else { throw DeploymentService.overtaken(release, began) }
        try DeploymentService.requireIncumbent(began)
        let model: LoadedModel
        if let loaded { model = loaded } else { model = try await models.load(release.bundle, in: endpoint.workspace) }
        return try await exclusively(endpoint) {
            guard var live = endpoints[endpoint] else {
                throw KeelError(.failedPrecondition, "the endpoint '\(endpoint.qualifiedName)' was deleted while release \(release.name) was loaded")
            }
            if once, try await wasDeployed(release) { return nil }
            if let done = try deployed(release, live) { return done }
            guard live.decision.id == began.decision.id else { throw DeploymentService.overtaken(release, live) }
            try await recheck(live.spec)
            let served = try await ready(release, model, live)
            try requireCompatible(release, model, served.plan, live, signature)
            live.decision = Decision(text: "release \(release.name) was deployed")
            guard live.state.stable != nil else {
                try await makeStable(served, &live, "release.promoted", ["reason": "first release of the endpoint"], grant)
                return .stable(served.release)
            }
            try DeploymentService.requireIncumbent(live)
            let superseded = live.state.candidate
            try await start(served, &live, grant)
            return .rollout(served.release, superseded: superseded)
        }
    }

    /// Names what was last decided about what serves an endpoint: a deployment that takes long is held against it at its end. Nil when there is none.
    public func decision(endpoint: ResourceRef) -> String? { endpoints[endpoint]?.decision.id }

    private static func overtaken(_ release: Release, _ live: Live) -> KeelError {
        KeelError(
            .failedPrecondition, "release \(release.name) does not serve: while its model was loaded, \(live.decision.text)",
            hint: "ask for it again if it shall serve all the same")
    }

    /// - Throws: when a release serves, by the tables, and is not there to go on serving beside a candidate.
    private static func requireIncumbent(_ live: Live) throws(KeelError) {
        guard live.state.stable != nil, live.stable == nil else { return }
        let name = live.spec.ref.qualifiedName
        if live.isStarting {
            throw KeelError(.unavailable, "the stable release of '\(name)' is still being loaded", hint: "try again when it serves")
        }
        throw KeelError(
            .failedPrecondition, "the stable release of '\(name)' cannot be loaded", hint: "keel rollback \(name) --to a release that can")
    }

    private func wasDeployed(_ release: Release) async throws -> Bool {
        try await database.read(in: release.endpoint.workspace) { try ReleaseStore.wasDeployed(release, in: $0) }
    }

    /// What was done already of a deployment; nil when it is still to be done.
    /// - Throws: when the release answers all requests.
    private func deployed(_ release: Release, _ live: Live) throws(KeelError) -> Deployment? {
        guard live.state.stable != release.number else { throw KeelError(.failedPrecondition, "release \(release.name) already serves") }
        return live.state.candidate == release.number ? .rollout(release, superseded: nil) : nil
    }

    /// A rollout under way with its plan and the numbers that its conditions are judged by; nil when there is none.
    public func rollout(endpoint: ResourceRef, _ grant: Grant) throws -> Rollout? {
        try grant.require(.releasesRead, .releasesDeploy, .releasesForce, on: endpoint)
        return try live(endpoint).rollout
    }

    /// Ends a rollout in the candidate's favour.
    /// - Parameters:
    ///   - reason: for the ledger.
    ///   - expecting: what the caller saw serving; when something else does by now, nothing is changed.
    public func promote(
        endpoint: ResourceRef, reason: String = "by hand", expecting: ServingExpectation? = nil, _ grant: Grant
    ) async throws -> Release {
        try grant.require(.releasesDeploy, .releasesForce, on: endpoint)
        _ = try live(endpoint)
        return try await exclusively(endpoint) {
            var live = try self.live(endpoint)
            try expecting?.require(live)
            guard let candidate = live.candidate else { throw DeploymentService.noRollout(live) }
            live.decision = Decision(text: "release \(candidate.release.name) was promoted")
            try await self.makeStable(candidate, &live, "release.promoted", ["reason": .string(reason)], grant)
            return candidate.release
        }
    }

    /// Ends a rollout; the stable release keeps serving.
    public func abort(endpoint: ResourceRef, reason: String, _ grant: Grant) async throws {
        try grant.require(.releasesDeploy, .releasesForce, on: endpoint)
        _ = try live(endpoint)
        try await exclusively(endpoint) {
            var live = try self.live(endpoint)
            guard live.state.candidate != nil else { throw DeploymentService.noRollout(live) }
            live.decision = Decision(text: "the rollout that was under way was ended")
            try await self.withdraw(&live, "rollout.aborted", ["reason": .string(reason)], grant)
        }
    }

    /// Keeps a rollout in the phase that it is in until it is resumed, over restarts too. Requests are answered and counted as before, and a condition that
    /// becomes true still takes the candidate back. A rollout that replaces it is not paused.
    /// - Parameter expecting: as in `promote`.
    /// - Throws: `failedPrecondition` when there is no rollout, and when it is paused already.
    @discardableResult
    public func pause(endpoint: ResourceRef, reason: String, expecting: ServingExpectation? = nil, _ grant: Grant) async throws -> EndpointState {
        try await setPause(endpoint, reason, isPaused: true, expecting, grant)
    }

    /// Lets a paused rollout move on: at once, when its phase has seen the requests that it takes.
    /// - Parameter expecting: as in `promote`.
    /// - Throws: `failedPrecondition` when there is no rollout, and when it is not paused.
    @discardableResult
    public func resume(endpoint: ResourceRef, reason: String, expecting: ServingExpectation? = nil, _ grant: Grant) async throws -> EndpointState {
        try await setPause(endpoint, reason, isPaused: false, expecting, grant)
    }

    private func setPause(
        _ endpoint: ResourceRef, _ reason: String, isPaused: Bool, _ expecting: ServingExpectation?, _ grant: Grant
    ) async throws -> EndpointState {
        try grant.require(.releasesDeploy, .releasesForce, on: endpoint)
        _ = try live(endpoint)
        return try await exclusively(endpoint) {
            var live = try self.live(endpoint)
            try expecting?.require(live)
            guard let candidate = live.candidate, live.rollout != nil else { throw DeploymentService.noRollout(live) }
            if isPaused, let pause = live.state.pause {
                throw KeelError(
                    .failedPrecondition, "the rollout of release \(candidate.release.name) is paused already, by \(pause.by) at \(pause.at): \(pause.reason)")
            }
            guard isPaused || live.state.pause != nil else {
                throw KeelError(.failedPrecondition, "the rollout of release \(candidate.release.name) is not paused")
            }
            observe(&live)
            var state = live.state
            state.pause = isPaused ? RolloutPause(at: max(database.clock.now(), state.startedAt ?? .distantPast), by: grant.caller.name, reason: reason) : nil
            try await commit(state, live, isPaused ? "rollout.paused" : "rollout.resumed", candidate.release, ["reason": .string(reason)], grant)
            live.state = state
            live.rollout?.isPaused = isPaused
            live.decision = Decision(text: "the rollout of release \(candidate.release.name) was \(isPaused ? "paused" : "resumed")")
            publish(live)
            return state
        }
    }

    private static func noRollout(_ live: Live) -> KeelError {
        let name = live.spec.ref.qualifiedName
        guard live.isStarting, live.state.candidate != nil else { return KeelError(.failedPrecondition, "no rollout is under way on '\(name)'") }
        return KeelError(.failedPrecondition, "the releases of '\(name)' are still being loaded", hint: "try again when it serves")
    }

    /// Goes back: a candidate under way is taken back; else the release `to`, or the one that was stable before, serves again at once.
    /// - Parameter expecting: as in `promote`.
    /// - Returns: the release that serves now.
    @discardableResult
    public func rollback(
        endpoint: ResourceRef, to number: Int? = nil, reason: String, expecting: ServingExpectation? = nil, _ grant: Grant
    ) async throws -> Release {
        try grant.require(.releasesDeploy, .releasesForce, on: endpoint)
        try expecting?.require(try live(endpoint))
        if number == nil, let stable = try await takenBack(endpoint, reason, expecting, grant) { return stable }
        let began = try live(endpoint)
        guard began.state.stable != nil else {
            throw KeelError(
                .failedPrecondition, "no release serves '\(endpoint.qualifiedName)' that could be rolled back",
                hint: "keel release \(endpoint.qualifiedName) models:/NAME/VERSION")
        }
        guard let target = number ?? began.state.previous else {
            throw KeelError(.failedPrecondition, "'\(endpoint.qualifiedName)' has no earlier release", hint: "name one with --to")
        }
        let release = try await database.read(in: endpoint.workspace) { try ReleaseStore.find(endpoint, target, in: $0) }
        try await requireDeploy(grant, release)
        let model = try await models.load(release.bundle, in: endpoint.workspace)
        return try await exclusively(endpoint) {
            var live = try self.live(endpoint)
            // Somebody else was as fast.
            if live.state.stable == target, live.stable != nil, began.state.stable != target, live.state.candidate == nil { return release }
            // What was there before is not what was meant any more. A candidate that came meanwhile is ended with the release it was to replace.
            guard number != nil || live.state.stable == began.state.stable else { throw DeploymentService.overtaken(release, live) }
            try expecting?.require(live)
            let served = try await ready(release, model, live)
            let from: JSON = live.state.stable.map { .int(Int64($0)) } ?? .null
            live.decision = Decision(text: "the endpoint was rolled back to release \(release.name)")
            try await makeStable(
                served, &live, "release.rolledback", ["from": from, "to": .int(Int64(target)), "reason": .string(reason)], grant)
            return release
        }
    }

    /// Takes a candidate back that is under way.
    /// - Returns: the release that answers all requests now; nil when there was no candidate.
    private func takenBack(_ endpoint: ResourceRef, _ reason: String, _ expecting: ServingExpectation?, _ grant: Grant) async throws -> Release? {
        try await exclusively(endpoint) {
            var live = try self.live(endpoint)
            try expecting?.require(live)
            guard let candidate = live.state.candidate, let stable = live.state.stable else { return nil }
            let release = try await database.read(in: endpoint.workspace) { try ReleaseStore.find(endpoint, stable, in: $0) }
            live.decision = Decision(text: "release \(endpoint.qualifiedName)/\(candidate) was rolled back")
            try await withdraw(&live, "release.rolledback", ["to": .int(Int64(stable)), "reason": .string(reason)], grant)
            return release
        }
    }

    /// A release whose gate did not pass takes the permission to force, also when it is rolled back to.
    func requireDeploy(_ grant: Grant, _ release: Release) async throws {
        guard case .forced = release.gate, grant.action != .releasesForce else { return }
        do throws(KeelError) { _ = try Grant.check(grant.caller, may: .releasesForce, on: release.endpoint) } catch {
            try await denied(grant.caller, .releasesForce, release.endpoint.subject)
            throw error
        }
    }
}
