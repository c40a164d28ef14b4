import Contracts
import Storage

/// The rollouts under way.
extension DeploymentService {
    /// Executes the rollouts' decisions until the task is cancelled.
    /// - Parameter onFailure: told of a decision that could not be executed (a full disk); it is tried again at the next tick.
    public func run(every interval: TimeSpan = .milliseconds(100), onFailure: @Sendable (KeelError) -> Void = { _ in }) async {
        while !Task.isCancelled {
            do { try await tick() } catch { onFailure(KeelError.wrapping(error)) }
            try? await Task.sleep(for: .microseconds(interval.microseconds))
        }
    }

    /// Observes every rollout once and executes what it decides. One that fails holds no other up.
    /// - Throws: the first failure, when all were tried.
    public func tick() async throws {
        var failure: (any Error)?
        for ref in endpoints.filter({ $0.value.rollout != nil }).keys.sorted(by: { $0.description < $1.description }) {
            // What is being declared anew is looked at again when that is done.
            guard !held.contains(ref.workspace) else { continue }
            do { try await exclusively(ref) { try await self.advance(ref) } } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
    }

    func advance(_ ref: ResourceRef) async throws {
        guard var live = endpoints[ref], live.rollout != nil else { return }
        let grant = try Grant.check(.system("rollout", in: ref.workspace), may: .releasesDeploy, on: ref)
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
        endpoints[ref] = live
        guard let action = decided else {
            try await noteProgress(&live)
            return
        }
        switch action {
        case .canary(let step, let share):
            var state = live.state
            state.phase = .canary(step: step)
            state.phaseRequests = 0
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

    func observe(_ live: inout Live) {
        guard let candidate = live.candidate, let stable = live.stable, var rollout = live.rollout else { return }
        for observation in inbox.take(live.spec.ref) { rollout.observe(observation) }
        for observation in live.baseline.observations(candidate: candidate.meter, incumbent: stable.meter, phase: rollout.phase) {
            rollout.observe(observation)
        }
        live.rollout = rollout
        live.state.phaseRequests = rollout.phaseRequests
        live.state.requests = live.baseline.candidate.requests
        live.state.errors = live.baseline.candidate.errors
    }

    /// Stores the counters now and then, so that a crash costs a rollout at most a second of counted requests.
    func noteProgress(_ live: inout Live) async throws {
        guard live.baseline.isDue() else { return }
        let state = live.state
        try await database.write(in: state.endpoint.workspace) { transaction in try ReleaseStore.save(state, in: transaction) }
        endpoints[live.spec.ref] = live
    }

    func numbers(_ live: Live) -> JSON {
        .object((live.rollout?.numbers ?? [:]).sorted { $0.key < $1.key }.map { JSON.Member($0.key, JSON(.double($0.value))) })
    }
}
