import Contracts

/// Decides which logins become ledger events, without I/O: the first of each caller from each address in a day.
///
/// At most `kindsMax` pairs are told apart in a day, so that is also how many events there are. Requests without a token come from the machine itself by
/// the thousand and are the owner's: they count as one.
struct LoginJournal: Sendable {
    static let window = TimeSpan.days(1)
    static let kindsMax = 1000

    private struct Key: Hashable {
        let name: String
        let actors: [String]
        let workspace: WorkspaceID
        let client: String
    }
    private var start: Timestamp?
    private var seen: Set<Key> = []

    mutating func isNew(_ caller: Caller, _ client: String, at now: Timestamp) -> Bool {
        if let start, now < start + LoginJournal.window, now >= start {
        } else {
            seen = []
            start = now
        }
        guard seen.count < LoginJournal.kindsMax else { return false }
        return seen.insert(Key(name: caller.name, actors: caller.actors, workspace: caller.workspace, client: client)).inserted
    }
}
