import Contracts

/// What the registry asks about models that were logged but not registered.
public protocol LoggedModelLookup: Sendable {
    /// Where the files of a logged model (`m-…`) are and which run made it; nil when there is none.
    func loggedModel(_ id: String) async throws -> (artifactURI: String, runID: String?)?
}

/// What the registry asks before a version is deleted.
public protocol VersionUsage: Sendable {
    /// What uses a version now, in words such as `release delay/7`; empty when nothing does.
    func uses(ofModel name: String, version: Int) async throws -> [String]
}
