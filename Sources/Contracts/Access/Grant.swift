/// The proof that a caller may do an action to a thing. Services and stores demand one, so that a forgotten check does not compile.
///
/// Only `Grant.check` makes one: the initializer is private to this file. A grant for `*` whose caller may do the action to some things only proves
/// nothing by itself: a verb that takes it names its subject, or looks at each thing (`covers`). A verb that does neither refuses such a caller.
public struct Grant: Sendable {
    public let caller: Caller
    public let action: Action
    /// What it is for, as `Kind/name`, or `*`.
    public let subject: String
    /// Whether the caller may do the action to everything in the workspace.
    private let isWhole: Bool

    private init(caller: Caller, action: Action, subject: String, isWhole: Bool) {
        self.caller = caller
        self.action = action
        self.subject = subject
        self.isWhole = isWhole
    }

    public var workspace: WorkspaceID { caller.workspace }

    /// Checks the permission table and what role bindings give.
    /// - Throws: `permissionDenied`. The API that asked records the denial in the ledger.
    public static func check(_ caller: Caller, may action: Action, on subject: String = "*") throws(KeelError) -> Grant {
        if caller.may(action, on: nil) { return Grant(caller: caller, action: action, subject: subject, isWhole: true) }
        let isAllowed =
            subject == "*"
            ? caller.maySomewhere(action) : ResourceRef(subject: subject, in: caller.workspace).map { caller.may(action, on: $0) } ?? false
        guard isAllowed else { throw refusal(caller, action, subject) }
        return Grant(caller: caller, action: action, subject: subject, isWhole: false)
    }

    /// The same for a thing that is named whole.
    /// - Throws: `permissionDenied`; `internal` for a thing of another workspace than the caller's.
    public static func check(_ caller: Caller, may action: Action, on thing: ResourceRef) throws(KeelError) -> Grant {
        guard thing.workspace == caller.workspace else {
            throw KeelError(.internal, "a caller in the workspace \(caller.workspace) asked for a grant on \(thing)")
        }
        return try check(caller, may: action, on: thing.subject)
    }

    private static func refusal(_ caller: Caller, _ action: Action, _ subject: String) -> KeelError {
        let able = Persona.allCases.filter { $0 != .system && Permissions.actions(of: $0).contains(action) }.map(\.rawValue)
        return KeelError(
            .permissionDenied, "\(caller.name) (\(caller.persona.rawValue)) may not \(action.rawValue) on \(subject)",
            hint: "this takes one of: \(able.joined(separator: ", ")), or a role binding")
    }

    /// Asserts that this grant is for one of `actions`; a service calls it first in every verb that names no subject of its own.
    /// - Throws: `internal`: an API passed the grant of another action, which is a bug of Keel; `permissionDenied` for a grant on `*` whose caller may do
    ///   this to some things only.
    public func require(_ actions: Action...) throws(KeelError) {
        try requireAction(actions)
        guard isWhole || subject != "*" else { throw Grant.refusal(caller, action, subject) }
    }

    /// Asserts that the caller may do the action to everything in its workspace, for an answer that does not look at each thing.
    public func requireWhole() throws(KeelError) {
        guard isWhole else { throw Grant.refusal(caller, action, subject) }
    }

    /// Asserts that this grant is for one of `actions`, for a verb that looks at each thing with `covers`.
    public func requireSome(_ actions: Action...) throws(KeelError) { try requireAction(actions) }

    /// Asserts that the caller asks from the workspace `default`, from which the server as a whole is managed.
    public func requireServer() throws(KeelError) {
        guard isWhole, workspace == .default else {
            throw KeelError(
                .permissionDenied, "this concerns all workspaces and is asked for from the workspace 'default', not from '\(workspace)'",
                hint: "leave out the name of the workspace")
        }
    }

    /// Whether the caller may be told names of every workspace: it asks from `default`, and may read there what happened in all.
    public var seesAllWorkspaces: Bool { isWhole && workspace == .default && caller.may(.ledgerAudit, on: nil) }

    /// Asserts that this grant is for one of `actions` and for this thing.
    /// - Throws: `internal`: an API passed the grant of another action or another thing; `permissionDenied` when the caller may not do it to this one.
    public func require(_ actions: Action..., on thing: ResourceRef) throws(KeelError) {
        try requireAction(actions)
        guard thing.workspace == caller.workspace else {
            throw KeelError(.internal, "a grant in the workspace \(caller.workspace) was used on \(thing)")
        }
        guard subject == "*" || subject == thing.subject else {
            throw KeelError(.internal, "a grant for \(subject) was used on \(thing.subject)")
        }
        guard covers(thing) else { throw Grant.refusal(caller, action, thing.subject) }
    }

    /// Whether the caller may do the grant's action to this thing; a list shows what it covers.
    public func covers(_ thing: ResourceRef) -> Bool {
        thing.workspace == caller.workspace && (isWhole || caller.may(action, on: thing))
    }

    private func requireAction(_ actions: [Action]) throws(KeelError) {
        guard actions.contains(action) else {
            throw KeelError(
                .internal, "a grant for \(action.rawValue) was used where \(actions.map(\.rawValue).joined(separator: " or ")) is needed")
        }
    }
}
