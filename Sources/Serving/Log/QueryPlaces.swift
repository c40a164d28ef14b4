import Contracts

/// Who may run a query now: a few run at a time on the whole server, and neither one caller nor one workspace takes all of their places.
package struct QueryPlaces: Sendable {
    package static let total = 4
    package static let perCaller = 2
    package static let perWorkspace = 3

    private struct Owner: Hashable, Sendable {
        let workspace: WorkspaceID
        let name: String

        init(_ caller: Caller) {
            workspace = caller.workspace
            name = caller.name
        }
    }
    private var running: [Owner: Int] = [:]

    package init() {}

    /// Takes a place, which must be given back. The last one goes to a caller that runs nothing.
    /// - Throws: `tooManyRequests`, which says whose share is used up.
    package mutating func take(for caller: Caller) throws(KeelError) {
        func refused(_ what: String) -> KeelError { KeelError(.tooManyRequests, what, hint: "try again in a moment") }
        let owner = Owner(caller)
        let own = running[owner] ?? 0
        let all = running.values.reduce(0, +)
        // The same person in several workspaces is one.
        let ofCaller = running.filter { $0.key.name == caller.name }.values.reduce(0, +)
        let ofWorkspace = running.filter { $0.key.workspace == caller.workspace }.values.reduce(0, +)
        guard ofCaller < QueryPlaces.perCaller else { throw refused("\(ofCaller) queries of '\(caller.name)' are running already") }
        guard ofWorkspace < QueryPlaces.perWorkspace else { throw refused("\(ofWorkspace) queries of this workspace are running already") }
        guard all < (ofCaller == 0 ? QueryPlaces.total : QueryPlaces.total - 1) else { throw refused("\(all) queries are running already") }
        running[owner] = own + 1
    }

    package mutating func give(of caller: Caller) {
        let owner = Owner(caller)
        let left = (running[owner] ?? 0) - 1
        running[owner] = left > 0 ? left : nil
    }
}
