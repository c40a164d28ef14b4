/// The proof that a caller may do an action to a thing. Services and stores demand one, so that a forgotten check does not compile.
///
/// Only `Grant.check` makes one: the initializer is private to this file.
public struct Grant: Sendable {
    public let caller: Caller
    public let action: Action
    /// What it is for, as `Kind/name` or `*`.
    public let subject: String

    private init(caller: Caller, action: Action, subject: String) {
        self.caller = caller
        self.action = action
        self.subject = subject
    }

    /// Checks the permission table.
    /// - Throws: `permissionDenied`. The API that asked records the denial in the ledger.
    public static func check(_ caller: Caller, may action: Action, on subject: String = "*") throws(KeelError) -> Grant {
        guard Permissions.actions(of: caller.persona).contains(action) else {
            let able = Persona.allCases.filter { $0 != .system && Permissions.actions(of: $0).contains(action) }.map(\.rawValue)
            throw KeelError(
                .permissionDenied, "\(caller.name) (\(caller.persona.rawValue)) may not \(action.rawValue) on \(subject)",
                hint: "this takes one of: \(able.joined(separator: ", "))")
        }
        return Grant(caller: caller, action: action, subject: subject)
    }

    /// Asserts that this grant is for one of `actions`; a service calls it first in every verb.
    /// - Throws: `internal`: an API passed the grant of another action, which is a bug of Keel.
    public func require(_ actions: Action...) throws(KeelError) {
        guard actions.contains(action) else {
            throw KeelError(
                .internal, "a grant for \(action.rawValue) was used where \(actions.map(\.rawValue).joined(separator: " or ")) is needed")
        }
    }
}
