import Contracts

/// Gives a role to tokens, people and groups: in the workspace in which it is applied, for everything or for some things in it.
///
///     kind: RoleBinding
///     metadata: { name: fraud-deployers }
///     spec:
///       role: ml-engineer
///       groups: ["people:fraud-team"]
///       environments: [staging]
///       names: ["fraud-*"]
public struct RoleBindingSpec: Sendable, Hashable {
    public let name: String
    public let role: String
    /// Names of tokens, and people as `issuer:subject`.
    public let principals: Set<String>
    /// As `issuer:group`.
    public let groups: Set<String>
    /// Without what labels select.
    public let scope: PermissionScope
    /// Only resources that carry all of these.
    public let labels: [String: String]

    public static let principalsMax = 1000

    /// Decodes a `RoleBinding` resource strictly.
    public init(resource: Resource) throws(KeelError) {
        name = resource.name
        let reader = try FieldReader(resource.spec, path: "spec")
        role = try reader.string("role")
        let tokens = try reader.strings("tokens") ?? []
        for (i, token) in tokens.enumerated() { try Identifier.check(name: token, path: "spec.tokens[\(i)]") }
        let users = try reader.strings("users") ?? []
        let groups = try reader.strings("groups") ?? []
        for (field, texts) in [("users", users), ("groups", groups)] {
            for (i, text) in texts.enumerated() {
                let colon = text.firstIndex(of: ":")
                guard let colon, colon != text.startIndex, text.index(after: colon) != text.endIndex, text.utf8.count <= 512 else {
                    throw .invalid(
                        "'\(text.prefix(80))' does not name its issuer", hint: "write ISSUER:NAME, with the issuer's name in the settings",
                        path: "spec.\(field)[\(i)]")
                }
            }
        }
        guard !(tokens + users + groups).isEmpty else {
            throw .invalid("it gives the role to nobody", hint: "name tokens, users or groups", path: "spec")
        }
        guard tokens.count + users.count + groups.count <= RoleBindingSpec.principalsMax else {
            throw .invalid("it names more than \(RoleBindingSpec.principalsMax)", hint: "give the role to a group", path: "spec")
        }
        principals = Set(tokens + users)
        self.groups = Set(groups)
        var labels: [String: String] = [:]
        if let inner = try reader.optionalObject("labels") {
            for key in inner.keys { labels[key] = try inner.string(key) }
        }
        self.labels = labels
        scope = try PermissionScope(reader)
        try reader.finish()
    }

    public static let schema = KindSchema(
        "RoleBinding", "Gives a role to tokens, people and groups, in the workspace in which it is applied.",
        [
            FieldSchema(
                "role", .text, required: true,
                "A built-in role (\(RoleSpec.builtIn.map(\.rawValue).joined(separator: ", "))) or the name of a `Role`."),
            FieldSchema("tokens", .texts, "Names of tokens."),
            FieldSchema("users", .texts, "People and jobs, as `issuer:subject`; the issuer by its name in the settings."),
            FieldSchema("groups", .texts, "Groups of an issuer, as `issuer:group`."),
            FieldSchema(
                "environments", .list(.word(EnvironmentName.allCases.map(\.rawValue))), default: "all",
                "Only for what lives in one of these environments."),
            FieldSchema("kinds", .texts, default: "all", "Only for things of these kinds: `Endpoint`, `Model`, `Dataset`."),
            FieldSchema("names", .texts, default: "all", "Only for things with these names; `*` stands for any characters."),
            FieldSchema("labels", .map(.text), default: "all", "Only for resources that carry all of these labels."),
        ])
}

/// The roles and role bindings of one workspace.
public struct AccessDeclarations: Sendable {
    public let roles: [RoleSpec]
    public let bindings: [RoleBindingSpec]

    public init(roles: [RoleSpec], bindings: [RoleBindingSpec]) {
        self.roles = roles
        self.bindings = bindings
    }

    /// What a role allows; nil when there is none of this name.
    public func actions(of role: String) -> Set<Action>? {
        if let persona = RoleSpec.builtIn.first(where: { $0.rawValue == role }) { return Permissions.actions(of: persona) }
        return roles.first { $0.name == role }?.actions
    }

    /// What is wrong with the bindings beside what is there.
    /// - Parameters:
    ///   - resources: everything declared in the workspace, with its labels.
    ///   - others: names of things of a kind that is not declared; nil for a kind that there is not.
    public func mistakes(
        among resources: [ResourceRef: [String: String]], others: (_ kind: String) -> [String]?
    ) -> [KeelError] {
        var errors: [KeelError] = []
        for binding in bindings {
            let place = "RoleBinding/\(binding.name).spec"
            if actions(of: binding.role) == nil {
                let known = RoleSpec.builtIn.map(\.rawValue) + roles.map(\.name)
                errors.append(
                    .invalid(
                        "there is no role '\(binding.role)'",
                        hint: nearest(binding.role, in: known).map { "did you mean '\($0)'?" } ?? "roles: \(known.joined(separator: ", "))",
                        path: "\(place).role"))
            }
            errors += binding.mistakes(among: resources, others: others).map { $0.at(place) }
        }
        return errors
    }

    /// What the bindings give to whom.
    /// - Parameter resources: everything declared in the workspace, with its labels.
    public func content(in workspace: WorkspaceID, among resources: [ResourceRef: [String: String]]) -> AccessPolicy.Workspace {
        var out = AccessPolicy.Workspace()
        for binding in bindings {
            guard let actions = actions(of: binding.role) else { continue }
            var scope = binding.scope
            if !binding.labels.isEmpty { scope.resources = Set(resources.filter { binding.selects($0.value) }.keys) }
            let permission = Permission(actions, in: scope, from: "RoleBinding/\(binding.name)")
            for principal in binding.principals { out.principals[principal, default: []].append(permission) }
            for group in binding.groups { out.groups[group, default: []].append(permission) }
        }
        return out
    }
}

extension RoleBindingSpec {
    fileprivate func selects(_ labels: [String: String]) -> Bool { self.labels.allSatisfy { labels[$0.key] == $0.value } }

    /// A part of the scope that selects nothing is a mistake: whoever wrote it believes that it gives something.
    fileprivate func mistakes(among resources: [ResourceRef: [String: String]], others: (String) -> [String]?) -> [KeelError] {
        var errors: [KeelError] = []
        let declared = Set(resources.keys.map(\.kind))
        for kind in (scope.kinds ?? []).sorted() where !declared.contains(kind) && others(kind) == nil {
            errors.append(.invalid("there is nothing of the kind '\(kind.prefix(60))'", path: "kinds"))
        }
        guard errors.isEmpty else { return errors }
        let kinds = scope.kinds ?? declared
        let names = resources.keys.filter { kinds.contains($0.kind) }.map(\.name) + kinds.flatMap { others($0) ?? [] }
        for pattern in scope.names ?? [] where !names.contains(where: pattern.matches) {
            errors.append(
                .invalid(
                    "'\(pattern)' matches nothing", hint: nearest(pattern.description, in: names).map { "did you mean '\($0)'?" }, path: "names")
            )
        }
        if !labels.isEmpty, !resources.contains(where: { kinds.contains($0.key.kind) && selects($0.value) }) {
            errors.append(.invalid("no resource carries these labels", path: "labels"))
        }
        return errors
    }
}
