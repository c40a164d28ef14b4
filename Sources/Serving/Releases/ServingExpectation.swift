import Contracts

/// What somebody saw serving an endpoint when they decided what to do with it. Of two who steer one rollout the second is told what the first did.
public struct ServingExpectation: Sendable, Hashable {
    public let stable: Int?
    public let candidate: Int?

    public init(stable: Int?, candidate: Int?) {
        self.stable = stable
        self.candidate = candidate
    }

    /// - Throws: `failedPrecondition` when something else serves by now.
    func require(_ live: DeploymentService.Live) throws(KeelError) {
        guard live.state.stable != stable || live.state.candidate != candidate else { return }
        func text(_ stable: Int?, _ candidate: Int?) -> String {
            let first = stable.map { "release \($0)" } ?? "no release"
            return candidate.map { "\(first) with \($0) as its candidate" } ?? first
        }
        throw KeelError(
            .failedPrecondition,
            "'\(live.spec.ref.qualifiedName)' has changed since you looked: \(text(stable, candidate)) served then, \(text(live.state.stable, live.state.candidate)) serves now",
            hint: "look at it again and decide anew")
    }
}
