import Contracts
import Storage

/// The verbs.
extension DeploymentService {
    /// Makes a numbered release of a stored bundle. Its model is loaded and tried first. Asking again for what the newest release already is
    /// returns that one.
    /// - Parameters:
    ///   - source: where it was promoted from. The same release of the same source is promoted once, whatever is known of it meanwhile.
    ///   - key: names the request, such as a pipeline run and its step. A second call with the same key has no effect: it returns the release that
    ///     the first one made, whatever was released since.
    /// - Throws: `corrupted`, `contractViolation`, `engineMissing`, and what the server of a remote model says, when the model is not fit to serve; then there is no
    ///   release.
    public func createRelease(
        endpoint: ResourceRef, model: String, version: String, bundle digest: Digest, gate: GateResult, from source: PromotedFrom? = nil,
        key: String? = nil, _ grant: Grant
    ) async throws -> Release {
        if case .forced = gate { try grant.require(.releasesForce, on: endpoint) } else { try grant.require(.releasesDeploy, .releasesForce, on: endpoint) }
        let live = try self.live(endpoint)
        if let key, let made = try await database.read(in: endpoint.workspace, { try ReleaseStore.find(endpoint, requestedBy: key, in: $0) }) { return made }
        let loaded = try await models.load(digest, in: endpoint.workspace)
        let service = loaded.bundle.featureService
        let trial = Release(
            endpoint: endpoint, number: 0, model: model, modelVersion: version, bundle: digest, featureService: service,
            createdAt: database.clock.now(), createdBy: grant.caller.name, gate: gate, promotedFrom: source, parts: loaded.bundle.parts.map(\.name))
        _ = try plan(trial, loaded, live.spec, features)
        try requireScores(of: loaded, trial, live.spec)
        return try await database.write(in: endpoint.workspace) { [versions] transaction in
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
        if case .canary(let step) = rollout.phase { return "step \(step + 1) of \(rollout.plan.shares.count), \(count)" }
        return "shadow, \(count)"
    }

    /// Deploys a release: the first of an endpoint serves at once, a later one enters the rollout and replaces the candidate that is under way.
    /// - Parameter once: leave a release alone that was deployed before, even if it was taken back since: for steps that may be repeated.
    /// - Returns: what was done; nil when `once` held it back.
    @discardableResult
    public func deploy(endpoint: ResourceRef, release number: Int, once: Bool = false, _ grant: Grant) async throws -> Deployment? {
        try grant.require(.releasesDeploy, .releasesForce, on: endpoint)
        return try await exclusively {
            var live = try self.live(endpoint)
            let release = try await self.database.read(in: endpoint.workspace) { try ReleaseStore.find(endpoint, number, in: $0) }
            try await self.requireDeploy(grant, release)
            if once, try await self.database.read(in: endpoint.workspace, { try ReleaseStore.wasDeployed(release, in: $0) }) { return nil }
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
                    .failedPrecondition, "the stable release of '\(endpoint.qualifiedName)' cannot be loaded",
                    hint: "keel rollback \(endpoint.qualifiedName) --to a release that can")
            }
            if live.state.candidate == number { return .rollout(served.release, superseded: nil) }
            let superseded = live.state.candidate
            try await self.start(served, &live, grant)
            return .rollout(served.release, superseded: superseded)
        }
    }

    /// Ends a rollout in the candidate's favour.
    public func promote(endpoint: ResourceRef, _ grant: Grant) async throws -> Release {
        try grant.require(.releasesDeploy, .releasesForce, on: endpoint)
        return try await exclusively {
            var live = try self.live(endpoint)
            guard let candidate = live.candidate else { throw KeelError(.failedPrecondition, "no rollout is under way on '\(endpoint.qualifiedName)'") }
            try await self.makeStable(candidate, &live, "release.promoted", ["reason": "by hand"], grant)
            return candidate.release
        }
    }

    /// Ends a rollout; the stable release keeps serving.
    public func abort(endpoint: ResourceRef, reason: String, _ grant: Grant) async throws {
        try grant.require(.releasesDeploy, .releasesForce, on: endpoint)
        try await exclusively {
            var live = try self.live(endpoint)
            guard live.state.candidate != nil else { throw KeelError(.failedPrecondition, "no rollout is under way on '\(endpoint.qualifiedName)'") }
            try await self.withdraw(&live, "rollout.aborted", ["reason": .string(reason)], grant)
        }
    }

    /// Goes back: a candidate under way is taken back; else the release `to`, or the one that was stable before, serves again at once.
    /// - Returns: the release that serves now.
    @discardableResult
    public func rollback(endpoint: ResourceRef, to number: Int? = nil, reason: String, _ grant: Grant) async throws -> Release {
        try grant.require(.releasesDeploy, .releasesForce, on: endpoint)
        return try await exclusively {
            var live = try self.live(endpoint)
            if number == nil, live.state.candidate != nil, let stable = live.stable {
                try await self.withdraw(
                    &live, "release.rolledback", ["to": .int(Int64(stable.release.number)), "reason": .string(reason)], grant)
                return stable.release
            }
            guard let target = number ?? live.state.previous else {
                throw KeelError(.failedPrecondition, "'\(endpoint.qualifiedName)' has no earlier release", hint: "name one with --to")
            }
            let served = try await self.load(endpoint, target, live.spec, self.features)
            try await self.requireDeploy(grant, served.release)
            let from: JSON = live.state.stable.map { .int(Int64($0)) } ?? .null
            try await self.makeStable(
                served, &live, "release.rolledback", ["from": from, "to": .int(Int64(target)), "reason": .string(reason)], grant)
            return served.release
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
