import Contracts
import Storage

/// What a deployment did at once.
public enum Deployment: Sendable, Hashable {
    /// The release answers all requests.
    case stable(Release)
    /// A rollout began; `superseded` is the candidate that it replaced.
    case rollout(Release, superseded: Int?)
}

/// Endpoints that are ready and not in force yet. See `DeploymentService.prepare`.
public struct EndpointDraft: Sendable {
    var endpoints: [String: DeploymentService.Live] = [:]
    /// Endpoints whose stored release cannot be loaded, and why. In force, they exist and answer that they have no release.
    public internal(set) var problems: [String: KeelError] = [:]
    /// What the releases read their features from.
    let features: (any OnlineFeatures)?

    init(features: (any OnlineFeatures)?) { self.features = features }
}

/// Decides which release serves: creates releases, moves traffic to them by the endpoint's rollout, and takes them back.
///
/// Each verb loads and warms first, then changes the tables and the ledger in one transaction, then swaps the route. A crash between leaves the
/// tables right, and `configure` goes on from them.
public actor DeploymentService {
    /// One endpoint as it is now. Everything that can fail was done before this is changed.
    struct Live {
        var spec: EndpointSpec
        var state: EndpointState
        var stable: ServedRelease?
        var candidate: ServedRelease?
        let load: EndpointLoad
        var rollout: Rollout?
        /// Counters at the beginning: totals of the candidate as last stored; the incumbent's rows before the rollout.
        var baseline = RolloutBaseline()
    }

    let database: Database
    let objects: any ObjectStore
    let runtime: ServingRuntime
    let inbox = RolloutInbox()
    private let features: (any OnlineFeatures)?
    private let versions: (any ReleasableVersions)?
    private let denied: @Sendable (Caller, Action, _ subject: String) async throws -> Void
    private let onPromoted: @Sendable (Release) async -> Void
    private var endpoints: [String: Live] = [:]
    private let turn = Turn()

    /// - Parameters:
    ///   - versions: tells whether a model version that is to be released still exists.
    ///   - denied: records that a caller was refused besides what the API checks.
    ///   - onPromoted: called after a release became an endpoint's stable one, and again after each start; must be repeatable.
    public init(
        database: Database, objects: any ObjectStore, runtime: ServingRuntime, features: (any OnlineFeatures)?,
        versions: (any ReleasableVersions)? = nil,
        denied: @escaping @Sendable (Caller, Action, _ subject: String) async throws -> Void = { _, _, _ in },
        onPromoted: @escaping @Sendable (Release) async -> Void = { _ in }
    ) {
        self.database = database
        self.objects = objects
        self.runtime = runtime
        self.features = features
        self.versions = versions
        self.denied = denied
        self.onPromoted = onPromoted
        runtime.log.observe(inbox)
    }

    // MARK: Configuration

    /// Takes the endpoints as declared now. New ones are restored from the tables, with their rollout under way; known ones read features by the
    /// new plan; those that are gone serve no more.
    ///
    /// - Returns: endpoints whose stored release cannot be loaded, and why; they exist and answer that they have no release.
    /// - Throws: when a release that serves cannot read its features any more; then nothing is changed.
    @discardableResult
    public func configure(_ specs: [EndpointSpec]) async throws -> [String: KeelError] {
        let draft = try await prepare(specs, reading: features)
        await activate(draft)
        return draft.problems
    }

    /// Loads the models and plans the reads of these endpoints. Nothing changes until `activate`; a draft that is given up goes to `discard`.
    ///
    /// Until one of the two is called, no release is deployed and no rollout moves; requests are answered as before.
    /// - Parameter features: the feature store as it will be when the draft is in force.
    /// - Throws: when a release that serves could not read its features any more.
    public func prepare(_ specs: [EndpointSpec], reading features: (any OnlineFeatures)?) async throws -> EndpointDraft {
        await turn.take()
        do {
            var draft = EndpointDraft(features: features)
            for spec in specs { try await prepare(spec, &draft) }
            return draft
        } catch {
            turn.give()
            throw error
        }
    }

    private func prepare(_ spec: EndpointSpec, _ draft: inout EndpointDraft) async throws {
        // One whose release could not be loaded is tried again.
        guard var live = endpoints[spec.name], live.state.stable == nil || live.stable != nil else {
            let (live, problem) = try await restored(spec, draft.features)
            draft.endpoints[spec.name] = live
            draft.problems[spec.name] = problem
            return
        }
        live.stable = try live.stable.map { try planned($0, spec, draft.features) }
        live.candidate = try live.candidate.map { try planned($0, spec, draft.features) }
        if spec.rollout != live.spec.rollout, let rollout = live.rollout {
            live.rollout = Rollout(plan: spec.rollout, phase: rollout.phase, phaseRequests: rollout.phaseRequests)
            for observation in try await storedEvidence(live.state) { live.rollout?.observe(observation) }
        }
        live.spec = spec
        draft.endpoints[spec.name] = live
    }

    /// Puts a draft in force. Cannot fail.
    public func activate(_ draft: EndpointDraft) async {
        defer { turn.give() }
        let known = endpoints
        endpoints = draft.endpoints
        for name in known.keys where draft.endpoints[name] == nil {
            runtime.swap(name, to: nil)
            inbox.forget(name)
        }
        for (name, live) in draft.endpoints {
            publish(live)
            if known[name] == nil, let stable = live.stable { await onPromoted(stable.release) }
        }
    }

    /// Gives a draft up: what was in force stays.
    public func discard(_ draft: EndpointDraft) { turn.give() }

    private func restored(_ spec: EndpointSpec, _ features: (any OnlineFeatures)?) async throws -> (Live, KeelError?) {
        let name = spec.name
        let state = try await database.read { reader in try ReleaseStore.state(name, in: reader) }
        var live = Live(spec: spec, state: state, load: EndpointLoad())
        do {
            if let stable = state.stable { live.stable = try await load(name, stable, spec, features) }
        } catch { return (live, KeelError.wrapping(error)) }
        guard let candidate = state.candidate else { return (live, nil) }
        do {
            live.candidate = try await load(name, candidate, spec, features)
        } catch { return (live, KeelError.wrapping(error)) }
        let phase: Rollout.Phase = if case .canary(let step) = state.phase { .canary(step: step) } else { .shadow }
        var rollout = Rollout(plan: spec.rollout, phase: phase, phaseRequests: state.phaseRequests)
        for observation in try await storedEvidence(state) { rollout.observe(observation) }
        live.rollout = rollout
        live.baseline = RolloutBaseline(requests: state.requests, errors: state.errors)
        return (live, nil)
    }

    private func storedEvidence(_ state: EndpointState) async throws -> [Rollout.Observation] {
        try await database.read { reader in try ReleaseStore.evidence(state, in: reader) }
    }

    // MARK: Loading

    private func load(
        _ endpoint: String, _ number: Int, _ spec: EndpointSpec, _ features: (any OnlineFeatures)?
    ) async throws -> ServedRelease {
        try await load(try await database.read { reader in try ReleaseStore.find(endpoint, number, in: reader) }, spec, features)
    }

    private func load(_ release: Release, _ spec: EndpointSpec, _ features: (any OnlineFeatures)?) async throws -> ServedRelease {
        let model = try await LoadedModel.load(release.bundle, from: objects)
        return ServedRelease(release: release, model: model, plan: try plan(release, model, spec, features))
    }

    private func planned(_ served: ServedRelease, _ spec: EndpointSpec, _ features: (any OnlineFeatures)?) throws -> ServedRelease {
        ServedRelease(
            release: served.release, model: served.model, plan: try plan(served.release, served.model, spec, features), meter: served.meter)
    }

    private func plan(
        _ release: Release, _ model: LoadedModel, _ spec: EndpointSpec, _ features: (any OnlineFeatures)?
    ) throws(KeelError) -> any FeaturePlan {
        let inputs = model.bundle.signature.inputs
        guard let service = spec.features else { return RequestPlan(inputs: inputs) }
        if let trained = release.featureService, trained != service {
            throw KeelError(
                .failedPrecondition,
                "release \(release.name) was trained on feature service '\(trained)', the endpoint declares '\(service)'",
                hint: "set spec.features of Endpoint/\(spec.name) to \(trained), or train on \(service)")
        }
        guard let features else { throw KeelError(.failedPrecondition, "there is no online feature store to read '\(service)' from") }
        do throws(KeelError) { return try features.plan(service: service, inputs: inputs) } catch {
            throw KeelError(
                error.code, "release \(release.name) cannot read its features: \(error.message)", hint: error.hint, path: error.path)
        }
    }

    // MARK: Releases

    /// Makes a numbered release of a stored bundle. Its model is loaded and tried first. Asking again for what the newest release already is
    /// returns that one.
    /// - Parameter key: names the request, such as a pipeline run and its step. A second call with the same key has no effect: it returns the
    ///   release that the first one made, whatever was released since.
    /// - Throws: `corrupted`, `contractViolation`, `engineMissing` when the model is not fit to serve; then there is no release.
    public func createRelease(
        endpoint: String, model: String, version: String, bundle digest: Digest, gate: GateResult, key: String? = nil, _ grant: Grant
    ) async throws -> Release {
        if case .forced = gate { try grant.require(.releasesForce) } else { try grant.require(.releasesDeploy, .releasesForce) }
        let live = try self.live(endpoint)
        if let key, let made = try await database.read({ try ReleaseStore.find(endpoint, requestedBy: key, in: $0) }) { return made }
        let loaded = try await LoadedModel.load(digest, from: objects)
        let service = loaded.bundle.featureService
        let trial = Release(
            endpoint: endpoint, number: 0, model: model, modelVersion: version, bundle: digest, featureService: service,
            createdAt: database.clock.now(),
            createdBy: grant.caller.name, gate: gate)
        _ = try plan(trial, loaded, live.spec, features)
        return try await database.write(in: grant.workspace) { [versions] transaction in
            // The version may have been deleted since the caller read it. While a release names it, it cannot be.
            try versions?.require(transaction, model: model, version: version)
            if let key, let made = try ReleaseStore.find(endpoint, requestedBy: key, in: transaction) { return made }
            let newest = try ReleaseStore.newest(endpoint, in: transaction)
            if let newest, newest.digest == trial.digest { return newest }
            let release = Release(
                endpoint: endpoint, number: (newest?.number ?? 0) + 1, model: model, modelVersion: version, bundle: digest,
                featureService: service,
                createdAt: transaction.now, createdBy: grant.caller.name, gate: gate)
            let seq = try transaction.record("release.created", on: live.spec.subject, release.json, by: grant)
            try ReleaseStore.insert(release, event: seq, requestedBy: key, in: transaction)
            return release
        }
    }

    /// What an endpoint asks of a version before it is released there.
    public func approval(endpoint: String, _ grant: Grant) throws -> EndpointSpec.Approval {
        try grant.require(.releasesRead, .releasesDeploy, .releasesForce)
        return try live(endpoint).spec.approval
    }

    public func releases(endpoint: String, _ grant: Grant) async throws -> [Release] {
        try grant.require(.releasesRead, .releasesDeploy, .releasesForce)
        return try await database.read { reader in try ReleaseStore.releases(endpoint, in: reader) }
    }

    /// What serves each endpoint, and how far its rollout is.
    public func state(endpoint: String, _ grant: Grant) throws -> EndpointState {
        try grant.require(.releasesRead, .releasesDeploy, .releasesForce)
        return try live(endpoint).state
    }

    /// A rollout under way in words: `step 2 of 3, 640 of 1000 requests`; nil when there is none.
    public func progress(endpoint: String) -> String? {
        guard let rollout = endpoints[endpoint]?.rollout else { return nil }
        let count = "\(min(rollout.phaseRequests, rollout.phaseTarget)) of \(rollout.phaseTarget) requests"
        if case .canary(let step) = rollout.phase { return "step \(step + 1) of \(rollout.plan.shares.count), \(count)" }
        return "shadow, \(count)"
    }

    /// Deploys a release: the first of an endpoint serves at once, a later one enters the rollout and replaces the candidate that is under way.
    /// - Parameter once: leave a release alone that was deployed before, even if it was taken back since: for steps that may be repeated.
    /// - Returns: what was done; nil when `once` held it back.
    @discardableResult
    public func deploy(endpoint: String, release number: Int, once: Bool = false, _ grant: Grant) async throws -> Deployment? {
        try await exclusively {
            var live = try self.live(endpoint)
            let release = try await self.database.read { try ReleaseStore.find(endpoint, number, in: $0) }
            try await self.requireDeploy(grant, release.gate)
            if once, try await self.database.read({ try ReleaseStore.wasDeployed(release, in: $0) }) { return nil }
            let served = try await self.load(release, live.spec, self.features)
            guard live.state.stable != nil else {
                try await self.makeStable(served, &live, "release.promoted", ["reason": "first release of the endpoint"], grant)
                return .stable(served.release)
            }
            guard live.state.stable != number else {
                throw KeelError(.failedPrecondition, "release \(served.release.name) already serves")
            }
            guard live.stable != nil else {
                throw KeelError(
                    .failedPrecondition, "the stable release of '\(endpoint)' cannot be loaded",
                    hint: "keel rollback \(endpoint) --to a release that can")
            }
            if live.state.candidate == number { return .rollout(served.release, superseded: nil) }
            let superseded = live.state.candidate
            try await self.start(served, &live, grant)
            return .rollout(served.release, superseded: superseded)
        }
    }

    /// Ends a rollout in the candidate's favour.
    public func promote(endpoint: String, _ grant: Grant) async throws -> Release {
        try grant.require(.releasesDeploy, .releasesForce)
        return try await exclusively {
            var live = try self.live(endpoint)
            guard let candidate = live.candidate else { throw KeelError(.failedPrecondition, "no rollout is under way on '\(endpoint)'") }
            try await self.makeStable(candidate, &live, "release.promoted", ["reason": "by hand"], grant)
            return candidate.release
        }
    }

    /// Ends a rollout; the stable release keeps serving.
    public func abort(endpoint: String, reason: String, _ grant: Grant) async throws {
        try grant.require(.releasesDeploy, .releasesForce)
        try await exclusively {
            var live = try self.live(endpoint)
            guard live.state.candidate != nil else { throw KeelError(.failedPrecondition, "no rollout is under way on '\(endpoint)'") }
            try await self.withdraw(&live, "rollout.aborted", ["reason": .string(reason)], grant)
        }
    }

    /// Goes back: a candidate under way is taken back; else the release `to`, or the one that was stable before, serves again at once.
    /// - Returns: the release that serves now.
    @discardableResult
    public func rollback(endpoint: String, to number: Int? = nil, reason: String, _ grant: Grant) async throws -> Release {
        try grant.require(.releasesDeploy, .releasesForce)
        return try await exclusively {
            var live = try self.live(endpoint)
            if number == nil, live.state.candidate != nil, let stable = live.stable {
                try await self.withdraw(
                    &live, "release.rolledback", ["to": .int(Int64(stable.release.number)), "reason": .string(reason)], grant)
                return stable.release
            }
            guard let target = number ?? live.state.previous else {
                throw KeelError(.failedPrecondition, "'\(endpoint)' has no earlier release", hint: "name one with --to")
            }
            let served = try await self.load(endpoint, target, live.spec, self.features)
            try await self.requireDeploy(grant, served.release.gate)
            let from: JSON = live.state.stable.map { .int(Int64($0)) } ?? .null
            try await self.makeStable(
                served, &live, "release.rolledback", ["from": from, "to": .int(Int64(target)), "reason": .string(reason)], grant)
            return served.release
        }
    }

    /// A release whose gate did not pass takes the permission to force, also when it is rolled back to.
    private func requireDeploy(_ grant: Grant, _ gate: GateResult) async throws {
        try grant.require(.releasesDeploy, .releasesForce)
        guard case .forced = gate, grant.action != .releasesForce else { return }
        do throws(KeelError) { _ = try Grant.check(grant.caller, may: .releasesForce, on: grant.subject) } catch {
            try await denied(grant.caller, .releasesForce, grant.subject)
            throw error
        }
    }

    private func live(_ endpoint: String) throws(KeelError) -> Live {
        if let live = endpoints[endpoint] { return live }
        throw .notFound(
            "there is no endpoint '\(endpoint.prefix(128))'",
            hint: nearest(endpoint, in: endpoints.keys).map { "did you mean '\($0)'?" } ?? "declare an Endpoint and apply it")
    }

    // MARK: Transitions

    /// The candidate, or an earlier release, becomes stable.
    private func makeStable(_ served: ServedRelease, _ live: inout Live, _ event: String, _ data: JSON, _ grant: Grant) async throws {
        var state = EndpointState(endpoint: live.spec.name)
        state.stable = served.release.number
        state.previous = live.state.stable == served.release.number ? live.state.previous : live.state.stable
        try await commit(state, live, event, served.release, data, grant)
        live.state = state
        (live.stable, live.candidate, live.rollout) = (served, nil, nil)
        publish(live)
        await onPromoted(served.release)
    }

    private func start(_ served: ServedRelease, _ live: inout Live, _ grant: Grant) async throws {
        let rollout = Rollout(plan: live.spec.rollout)
        var state = live.state
        state.candidate = served.release.number
        state.phase = if case .canary(let step) = rollout.phase { .canary(step: step) } else { .shadow }
        (state.phaseRequests, state.requests, state.errors) = (0, 0, 0)
        let superseded: JSON = live.state.candidate.map { .int(Int64($0)) } ?? .null
        let data: JSON = [
            "superseded": superseded, "share": .double(rollout.share), "phase": .string(rollout.share > 0 ? "canary" : "shadow"),
        ]
        state.startedAt = try await commit(state, live, "rollout.started", served.release, data, grant)
        live.state = state
        live.candidate = served
        live.rollout = rollout
        live.baseline = RolloutBaseline(incumbent: live.stable?.meter)
        publish(live)
    }

    private func withdraw(_ live: inout Live, _ event: String, _ data: JSON, _ grant: Grant) async throws {
        var state = EndpointState(endpoint: live.spec.name)
        (state.stable, state.previous) = (live.state.stable, live.state.previous)
        try await commit(state, live, event, live.candidate?.release, data, grant)
        live.state = state
        (live.candidate, live.rollout) = (nil, nil)
        publish(live)
    }

    /// Writes the state and its event. Returns the transaction's instant.
    @discardableResult
    private func commit(_ next: EndpointState, _ live: Live, _ event: String, _ release: Release?, _ data: JSON, _ grant: Grant)
        async throws -> Timestamp
    {
        let before = live.state
        var members: JSON = ["release": release.map { .int(Int64($0.number)) } ?? .null]
        if let release {
            members["model"] = .string(release.model)
            members["version"] = .string(release.modelVersion)
        }
        members["eventTime"] = inbox.eventTime(live.spec.name).map { .string($0.description) } ?? .null
        for member in data.members ?? [] { members[member.key] = member.value }
        let (subject, payload) = (live.spec.subject, members)
        return try await database.write { transaction in
            let stored = try ReleaseStore.state(next.endpoint, in: transaction)
            guard stored.stable == before.stable, stored.candidate == before.candidate, stored.phase == before.phase else {
                throw KeelError(.failedPrecondition, "the endpoint was changed meanwhile", hint: "try again")
            }
            var next = next
            let now = transaction.now
            if next.candidate != nil, next.startedAt == nil || next.candidate != before.candidate { next.startedAt = now }
            try ReleaseStore.save(next, in: transaction)
            for number in [next.stable, next.candidate] {
                if let number { try ReleaseStore.noteDeployed(next.endpoint, number, in: transaction) }
            }
            try transaction.record(event, on: subject, payload, by: grant)
            return next.startedAt ?? now
        }
    }

    /// Makes the route what `live` says.
    private func publish(_ live: Live) {
        endpoints[live.spec.name] = live
        if let candidate = live.candidate, let stable = live.stable {
            inbox.watch(live.spec.name, candidate: candidate.release.number, incumbent: stable.release.number)
        } else {
            inbox.forget(live.spec.name)
        }
        runtime.swap(
            live.spec.name,
            to: EndpointRoute(
                spec: live.spec, stable: live.stable, candidate: live.candidate, share: live.rollout?.share ?? 0, load: live.load))
    }

    // MARK: The loop

    /// Executes the rollouts' decisions until the task is cancelled.
    /// - Parameter onFailure: told of a decision that could not be executed (a full disk); it is tried again at the next tick.
    public func run(every interval: TimeSpan = .milliseconds(100), onFailure: @Sendable (KeelError) -> Void = { _ in }) async {
        while !Task.isCancelled {
            do { try await tick() } catch { onFailure(KeelError.wrapping(error)) }
            try? await Task.sleep(for: .microseconds(interval.microseconds))
        }
    }

    /// Observes every rollout once and executes what it decides.
    public func tick() async throws {
        for name in endpoints.filter({ $0.value.rollout != nil }).keys.sorted() {
            try await exclusively { try await self.advance(name) }
        }
    }

    private func advance(_ name: String) async throws {
        guard var live = endpoints[name], live.rollout != nil else { return }
        let grant = try Grant.check(.system("rollout"), may: .releasesDeploy, on: live.spec.subject)
        observe(&live)
        var decided = live.rollout?.decide().first
        switch decided {
        case .canary, .promote:
            // Before traffic moves on, everything that was answered so far is scored, logged and observed.
            try await runtime.flush()
            observe(&live)
            decided = live.rollout?.decide().first
        case .rollBack, nil: break
        }
        endpoints[name] = live
        guard let action = decided else {
            try await noteProgress(&live)
            return
        }
        switch action {
        case .canary(let step, let share):
            var state = live.state
            (state.phase, state.phaseRequests) = (.canary(step: step), 0)
            try await commit(
                state, live, "rollout.step", live.candidate?.release,
                ["step": .int(Int64(step + 1)), "share": .double(share), "numbers": numbers(live)], grant)
            live.state = state
            live.rollout?.apply(action)
            publish(live)
        case .promote:
            guard let candidate = live.candidate else { return }
            try await makeStable(
                candidate, &live, "release.promoted", ["reason": "the rollout is complete", "numbers": numbers(live)], grant)
        case .rollBack(let condition, _):
            try await withdraw(
                &live, "release.rolledback",
                ["to": live.state.stable.map { .int(Int64($0)) } ?? .null, "reason": .string(condition), "numbers": numbers(live)], grant)
        }
    }

    private func observe(_ live: inout Live) {
        guard let candidate = live.candidate, let stable = live.stable, var rollout = live.rollout else { return }
        for observation in inbox.take(live.spec.name) { rollout.observe(observation) }
        for observation in live.baseline.observations(candidate: candidate.meter, incumbent: stable.meter, phase: rollout.phase) {
            rollout.observe(observation)
        }
        live.rollout = rollout
        (live.state.phaseRequests, live.state.requests, live.state.errors) = (
            rollout.phaseRequests, live.baseline.candidate.requests, live.baseline.candidate.errors
        )
    }

    /// Stores the counters now and then, so that a crash costs a rollout at most a second of counted requests.
    private func noteProgress(_ live: inout Live) async throws {
        guard live.baseline.isDue() else { return }
        let state = live.state
        try await database.write { transaction in try ReleaseStore.save(state, in: transaction) }
        endpoints[live.spec.name] = live
    }

    private func numbers(_ live: Live) -> JSON {
        .object((live.rollout?.numbers ?? [:]).sorted { $0.key < $1.key }.map { JSON.Member($0.key, JSON(.double($0.value))) })
    }

    // MARK: One at a time

    /// Runs verbs one after another: an actor lets others in at every await.
    private func exclusively<T>(_ body: () async throws -> T) async throws -> T { try await turn.run(body) }
}
