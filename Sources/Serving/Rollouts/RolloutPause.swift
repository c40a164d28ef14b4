import Contracts

/// That somebody stopped a rollout from moving on, and why.
public struct RolloutPause: Sendable, Hashable {
    public let at: Timestamp
    public let by: String
    public let reason: String

    public var json: JSON { ["at": .string(at.description), "by": .string(by), "reason": .string(reason)] }
}
