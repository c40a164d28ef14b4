import Contracts

/// A thing as imports carry it: JSON that holds all of it, in one form, so that the same thing has the same digest wherever it is read.
public protocol ImportRecord: Sendable {
    /// What the foreign store calls it.
    var importID: String { get }
    var record: JSON { get }
    /// - Throws: `invalidArgument` naming the field that is wrong.
    init(record: JSON) throws(KeelError)
}

extension ImportRecord {
    /// The name of its whole content.
    public var digest: Digest { Digest(of: record.canonical) }
}
