/// What a caller may do besides what its persona gives, and to which things.
public struct Permission: Sendable, Hashable {
    public let actions: Set<Action>
    public let scope: PermissionScope
    /// Where it comes from, for explanations: `RoleBinding/fraud-deployers`, `Token/ci`.
    public let source: String

    public init(_ actions: Set<Action>, in scope: PermissionScope = .everything, from source: String) {
        self.actions = actions
        self.scope = scope
        self.source = source
    }

    /// Whether it allows this for a thing; for everything, when none is named.
    func gives(_ action: Action, on subject: ResourceRef?) -> Bool {
        actions.contains(action) && (scope.isEverything || subject.map(scope.covers) == true)
    }
}
