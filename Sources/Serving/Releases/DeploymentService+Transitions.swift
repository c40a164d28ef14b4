import Contracts
import Storage

/// What changes which release serves: first in the tables and the ledger, then in the routes.
extension DeploymentService {
    /// The candidate, or an earlier release, becomes stable.
    func makeStable(_ served: ServedRelease, _ live: inout Live, _ event: String, _ data: JSON, _ grant: Grant) async throws {
        var state = EndpointState(endpoint: live.spec.ref)
        state.stable = served.release.number
        state.previous = live.state.stable == served.release.number ? live.state.previous : live.state.stable
        try await commit(state, live, event, served.release, data, grant)
        live.state = state
        live.stable = served
        live.candidate = nil
        live.rollout = nil
        live.isStarting = false
        publish(live)
        await onPromoted(served.release, nil)
    }

    func start(_ served: ServedRelease, _ live: inout Live, _ grant: Grant) async throws {
        let rollout = Rollout(plan: live.spec.rollout)
        var state = live.state
        state.candidate = served.release.number
        state.phase = if case .canary(let step) = rollout.phase { .canary(step: step) } else { .shadow }
        state.phaseRequests = 0
        state.requests = 0
        state.errors = 0
        state.pause = nil
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

    func withdraw(_ live: inout Live, _ event: String, _ data: JSON, _ grant: Grant) async throws {
        var state = EndpointState(endpoint: live.spec.ref)
        state.stable = live.state.stable
        state.previous = live.state.previous
        var release = live.candidate?.release
        // Of an endpoint that still starts only the number is known.
        if release == nil, let number = live.state.candidate {
            let endpoint = live.spec.ref
            release = try await database.read(in: endpoint.workspace) { try ReleaseStore.find(endpoint, number, in: $0) }
        }
        try await commit(state, live, event, release, data, grant)
        live.state = state
        live.candidate = nil
        live.rollout = nil
        publish(live)
    }

    /// Writes the state and its event. Returns the transaction's instant.
    @discardableResult
    func commit(_ next: EndpointState, _ live: Live, _ event: String, _ release: Release?, _ data: JSON, _ grant: Grant)
        async throws -> Timestamp
    {
        let before = live.state
        var members: JSON = ["release": release.map { .int(Int64($0.number)) } ?? .null]
        if let release {
            members["model"] = .string(release.model)
            members["version"] = .string(release.modelVersion)
        }
        members["eventTime"] = inbox.eventTime(live.spec.ref).map { .string($0.description) } ?? .null
        for member in data.members ?? [] { members[member.key] = member.value }
        let payload = members
        return try await database.write(in: next.endpoint.workspace) { transaction in
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
            try transaction.record(event, on: next.endpoint.subject, payload, by: grant)
            return next.startedAt ?? now
        }
    }

    /// Makes the route what `live` says.
    func publish(_ live: Live) {
        endpoints[live.spec.ref] = live
        if let candidate = live.candidate, let stable = live.stable {
            inbox.watch(live.spec.ref, candidate: candidate.release.number, incumbent: stable.release.number)
        } else {
            inbox.forget(live.spec.ref)
        }
        runtime.swap(
            live.spec.ref,
            to: EndpointRoute(
                spec: live.spec, stable: live.stable, candidate: live.candidate, share: live.rollout?.share ?? 0, isStarting: live.isStarting,
                load: live.load))
    }
}
