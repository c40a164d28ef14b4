import Contracts

/// Why somebody may do something, or may not.
public struct AccessExplanation: Sendable, Hashable {
    public let who: String
    public let action: Action
    /// `Kind/name`, or `*` for everything in the workspace.
    public let subject: String
    public let workspace: WorkspaceID
    public let isAllowed: Bool
    /// The role, role binding or limit that decides.
    public let because: String
    /// Roles that would allow it, when it is not allowed.
    public let roles: [String]

    public var json: JSON {
        [
            "who": .string(who), "action": .string(action.rawValue), "subject": .string(subject), "workspace": .string(workspace.name),
            "allowed": .bool(isAllowed), "because": .string(because), "roles": .array(roles.map(JSON.string)),
        ]
    }
}

extension AccessPolicy {
    /// Explains what a token, or a person of an identity provider with these groups, may do in the workspace of the grant.
    /// - Parameters:
    ///   - who: the name of a token, or `issuer:subject`.
    ///   - subject: `Kind/name`, or `*`.
    /// - Throws: `notFound` for a token that is not there, or is no longer good.
    public func explain(
        _ who: String, groups: [String] = [], may action: Action, on subject: String, tokens: TokenService, by grant: Grant
    ) async throws -> AccessExplanation {
        let thing = subject == "*" ? nil : ResourceRef(subject: subject, in: grant.workspace)
        guard subject == "*" || thing != nil else {
            throw KeelError.invalid("'\(subject.prefix(80))' names no thing", hint: "write Kind/name, Kind/name@environment or *", path: "what")
        }
        let (isAllowed, because) = try subjectOf(who, groups, tokens, grant).explanation(of: action, on: thing)
        let roles = RoleSpec.builtIn.filter { Permissions.actions(of: $0).contains(action) }.map(\.rawValue)
        return AccessExplanation(
            who: who, action: action, subject: subject, workspace: grant.workspace, isAllowed: isAllowed, because: because,
            roles: isAllowed ? [] : roles)
    }
    /// Whom an explanation is about, as a caller in the workspace of the grant.
    private func subjectOf(_ who: String, _ groups: [String], _ tokens: TokenService, _ grant: Grant) throws -> Caller {
        // Everybody may ask about themselves, as they are now.
        if who == grant.caller.name { return grant.caller }
        try grant.require(.accessManage)
        if who.contains(":") { return try caller(Principal(name: who, persona: .member, groups: groups), in: grant.workspace) }
        // A token that has no role here is not said to be elsewhere.
        guard let principal = tokens.principal(named: who), let caller = try? caller(principal, in: grant.workspace) else {
            throw KeelError.notFound(
                "there is no token '\(who.prefix(80))' that is good", hint: "people of an identity provider are named ISSUER:SUBJECT")
        }
        return caller
    }
}
