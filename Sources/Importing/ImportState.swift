import Contracts

/// What stands between a thing in a foreign store and its copy in Keel.
public enum ImportState: String, Sendable, CaseIterable {
    /// Keel holds it as the foreign store does.
    case same
    /// Keel does not hold it yet.
    case new
    /// The foreign store changed it since it was imported.
    case changed
    /// It is as it was when it was imported, and Keel's copy was changed or deleted since: Keel's is kept.
    case changedHere = "changed-here"
    /// Keel holds another thing of this name that was not imported from there: Keel's is kept.
    case conflict

    /// - Parameters:
    ///   - foreign: the digest of the foreign thing.
    ///   - own: the digest of Keel's; nil when there is none.
    ///   - imported: the digest of the foreign thing when it was last imported; nil when it never was.
    ///   - claims: whether a thing of the same name is the same thing even when it was not imported: names that are random are.
    public init(foreign: Digest, own: Digest?, imported: Digest?, claims: Bool) {
        if own == foreign {
            self = .same
        } else if let imported {
            self = imported == foreign ? .changedHere : .changed
        } else if own == nil {
            self = .new
        } else {
            self = claims ? .changed : .conflict
        }
    }
}
