import Contracts
import Synchronization

/// What is in force of workspaces, roles and role bindings: turns a principal into the caller of a request.
///
/// It is read for every request and replaced as a whole by `apply`, so a request sees all of a change or nothing of it.
public final class AccessPolicy: Sendable {
    /// What one workspace gives to whom.
    public struct Workspace: Sendable, Hashable {
        /// By the name of a token or person.
        public var principals: [String: [Permission]] = [:]
        public var groups: [String: [Permission]] = [:]

        public init() {}
    }

    private let workspaces: Mutex<[WorkspaceID: Workspace]>

    public init() { workspaces = Mutex([.default: Workspace()]) }

    public func replace(_ workspace: WorkspaceID, with content: Workspace) { workspaces.withLock { $0[workspace] = content } }
    public func remove(_ workspace: WorkspaceID) { workspaces.withLock { $0[workspace] = nil } }

    /// The caller that a principal is in a workspace; its own when none is asked for.
    /// - Throws: `permissionDenied` where it has no role. Whether there is such a workspace it does not learn.
    public func caller(_ principal: Principal, in asked: WorkspaceID? = nil) throws(KeelError) -> Caller {
        let workspace = asked ?? principal.workspace
        let content = workspaces.withLock { $0[workspace] }
        let isHome = workspace == principal.workspace
        // The owner of the default workspace is whoever set the server up.
        let isServerOwner = principal.persona == .owner && principal.workspace == .default
        let persona = isHome || isServerOwner ? principal.persona : .member
        var permissions = content?.principals[principal.name] ?? []
        for group in principal.groups { permissions += content?.groups[group] ?? [] }
        guard content != nil, isHome || isServerOwner || !permissions.isEmpty else {
            throw KeelError(
                .permissionDenied, "there is no workspace '\(workspace)' in which \(principal.name) has a role",
                hint: "ask whoever manages it for a role binding")
        }
        return Caller(
            name: principal.name, persona: persona, workspace: workspace, actors: principal.actors, groups: principal.groups,
            permissions: permissions, ceilings: principal.ceilings)
    }

    /// What role bindings of a workspace give to a name.
    func permissions(of name: String, in workspace: WorkspaceID) -> [Permission] {
        workspaces.withLock { $0[workspace]?.principals[name] ?? [] }
    }

    /// Whether a role binding of another workspace names it.
    func isNamed(_ name: String, besides workspace: WorkspaceID) -> Bool {
        workspaces.withLock { $0.contains { $0.key != workspace && $0.value.principals[name] != nil } }
    }

    func isKnown(_ workspace: WorkspaceID) -> Bool { workspaces.withLock { $0[workspace] != nil } }

    /// The workspaces besides a caller's own in which a role binding names it or one of its groups.
    func others(of caller: Caller) -> Set<WorkspaceID> {
        workspaces.withLock { workspaces in
            Set(
                workspaces.filter { _, content in
                    content.principals[caller.name] != nil || caller.groups.contains { content.groups[$0] != nil }
                }.keys)
        }
    }
}
