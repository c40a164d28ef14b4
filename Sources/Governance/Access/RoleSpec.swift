import Contracts

/// A set of actions under a name, besides the built-in roles.
///
///     kind: Role
///     metadata: { name: model-reviewer }
///     spec: { actions: [registry.read, models.approve] }
public struct RoleSpec: Sendable, Hashable {
    public let name: String
    public let actions: Set<Action>

    /// The personas are the built-in roles; none can be declared anew.
    public static let builtIn = Persona.allCases.filter { $0 != .system && $0 != .member }

    /// Decodes a `Role` resource strictly.
    public init(resource: Resource) throws(KeelError) {
        guard !Persona.allCases.map(\.rawValue).contains(resource.name) else {
            throw .invalid("'\(resource.name)' is a built-in role", hint: "choose another name", path: "metadata.name")
        }
        name = resource.name
        let reader = try FieldReader(resource.spec, path: "spec")
        actions = try Set(Action.list(reader, "actions"))
        guard !actions.isEmpty else { throw reader.failure("actions", "a role without actions allows nothing") }
        try reader.finish()
    }

    public static let schema = KindSchema(
        "Role", "A set of actions under a name, for role bindings. The personas are built-in roles.",
        [
            FieldSchema(
                "actions", .list(.word(Action.allCases.map(\.rawValue))), required: true,
                "What it allows; [permissions](permissions.md) lists the actions.")
        ])
}

extension Action {
    /// The actions of a field that lists some.
    static func list(_ reader: FieldReader, _ field: String) throws(KeelError) -> [Action] {
        var actions: [Action] = []
        for word in try reader.strings(field) ?? [] {
            guard let action = Action(rawValue: word) else {
                throw reader.failure(
                    field, "'\(word.prefix(60))' is not an action",
                    hint: nearest(word, in: Action.allCases.map(\.rawValue)).map { "did you mean '\($0)'?" }
                        ?? "docs/reference/permissions.md lists them")
            }
            actions.append(action)
        }
        return actions
    }
}
