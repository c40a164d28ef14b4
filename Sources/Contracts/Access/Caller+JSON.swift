/// How what a caller may do is stored: beside a token, and beside work that goes on in the caller's name after a restart.
extension PermissionScope {
    public var json: JSON {
        func list(_ texts: [String]) -> JSON { .array(texts.sorted().map(JSON.string)) }
        var out: JSON = [:]
        if let environments { out["environments"] = list(environments.map(\.rawValue)) }
        if let kinds { out["kinds"] = list(Array(kinds)) }
        if let names { out["names"] = list(names.map(\.description)) }
        if let resources { out["resources"] = list(resources.map(\.subject)) }
        return out
    }

    /// Reads the fields that people write: environments, kinds and names. The reader is not finished: it may hold others.
    /// - Throws: `invalidArgument` with the path of the field.
    public init(_ reader: FieldReader) throws(KeelError) {
        self.init()
        if let texts = try reader.strings("environments") {
            environments = []
            for text in texts { environments?.insert(try EnvironmentName(text, path: reader.place("environments"))) }
        }
        if let texts = try reader.strings("kinds") { kinds = Set(texts) }
        if let texts = try reader.strings("names") {
            names = []
            for text in texts { names?.append(try NamePattern(text, path: reader.place("names"))) }
        }
    }
}

extension Permission {
    public var json: JSON {
        ["actions": .array(actions.map(\.rawValue).sorted().map(JSON.string)), "scope": scope.json, "source": .string(source)]
    }

    /// - Throws: `invalidArgument` for what `json` does not write. An action of another version of Keel is left out: it gives nothing.
    public init(json: JSON, in workspace: WorkspaceID) throws(KeelError) {
        let reader = try FieldReader(json, path: "")
        let actions = try reader.strings("actions") ?? []
        let fields = try reader.object("scope")
        var scope = try PermissionScope(fields)
        scope.resources = try fields.strings("resources").map { Set($0.compactMap { ResourceRef(subject: $0, in: workspace) }) }
        self.init(Set(actions.compactMap(Action.init(rawValue:))), in: scope, from: try reader.string("source"))
        try fields.finish()
        try reader.finish()
    }
}

extension Caller {
    public var json: JSON {
        var out: JSON = [
            "name": .string(name), "persona": .string(persona.rawValue), "workspace": .string(workspace.name), "request_id": .string(requestID),
        ]
        if !actors.isEmpty { out["actors"] = .array(actors.map(JSON.string)) }
        if !groups.isEmpty { out["groups"] = .array(groups.map(JSON.string)) }
        if !permissions.isEmpty { out["permissions"] = .array(permissions.map(\.json)) }
        if !ceilings.isEmpty { out["ceilings"] = .array(ceilings.map(\.json)) }
        return out
    }

    /// - Throws: `invalidArgument` for what `json` does not write.
    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "")
        let workspace = WorkspaceID(stored: try reader.string("workspace"))
        var permissions: [Permission] = []
        for json in reader.optional("permissions")?.array ?? [] { permissions.append(try Permission(json: json, in: workspace)) }
        var ceilings: [Permission] = []
        for json in reader.optional("ceilings")?.array ?? reader.optional("ceiling").map({ [$0] }) ?? [] { ceilings.append(try Permission(json: json, in: workspace)) }
        self.init(
            name: try reader.string("name"), persona: try reader.word("persona"), workspace: workspace,
            requestID: try reader.string("request_id"), actors: try reader.strings("actors") ?? [], groups: try reader.strings("groups") ?? [],
            permissions: permissions, ceilings: ceilings)
        try reader.finish()
    }
}
