import Contracts

/// What is to be removed for good of what was put into the bin: all that is old enough, or only what is named.
public struct PurgeRequest: Sendable {
    /// How long ago it must have been put into the bin.
    public var olderThan: TimeSpan?
    public var runIDs: [String]?
    public var experimentIDs: [String]?
    public var loggedModelIDs: [String]?

    public init(olderThan: TimeSpan? = nil, runIDs: [String]? = nil, experimentIDs: [String]? = nil, loggedModelIDs: [String]? = nil) {
        (self.olderThan, self.runIDs, self.experimentIDs, self.loggedModelIDs) = (olderThan, runIDs, experimentIDs, loggedModelIDs)
    }

    /// Whether things are named; then nothing else is removed.
    var isNamed: Bool { runIDs != nil || experimentIDs != nil || loggedModelIDs != nil }
}

/// One run, logged model or experiment that goes, or stays because somebody needs its artifacts.
public struct PurgeItem: Sendable, Hashable {
    public enum Kind: String, Sendable {
        case run
        case loggedModel = "logged model"
        case experiment
    }

    public let kind: Kind
    public let id: String
    public let name: String
    public let deletedAt: Timestamp
    /// Its artifacts.
    public let files: Int
    public let bytes: Int64
    /// Who needs it; nil when it goes.
    public let keptFor: String?
    /// Where its artifacts lie when not here: those are left alone.
    public let elsewhere: String?
    let root: ArtifactPath?
}
