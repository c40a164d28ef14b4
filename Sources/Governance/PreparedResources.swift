import Storage

/// A complete set of resources that was found valid and made ready, and is not in force yet: models are loaded, states are built.
///
/// After it was made, exactly one of `activate` and `discard` is called.
public protocol PreparedResources: Sendable {
    /// Writes what belongs to the set, in the transaction that makes it the current one. May be called again when that transaction is tried again.
    func store(_ tx: Transaction) throws
    /// Puts the set in force, after the transaction was committed. Cannot fail.
    func activate() async
    /// Gives the set up: what was in force stays.
    func discard() async
}
