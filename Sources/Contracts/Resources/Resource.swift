/// Something declared in YAML: what a user writes, reviews and applies.
public struct Resource: Sendable, Hashable {
    public static let apiVersion = "keel/v1"

    public var kind: String
    public var name: String
    /// Only for kinds that live in one, such as `Endpoint`.
    public var environment: String?
    /// Where it is meant to be applied, when the author says so, and where it is, when it is decoded among others. It is not part of the declaration:
    /// what is stored belongs to the workspace in which it was applied.
    public var workspace: WorkspaceID?
    public var owner: String?
    public var labels: [String: String]
    /// The spec as written; the kind's own type decodes it strictly.
    public var spec: JSON

    public init(
        kind: String, name: String, environment: String? = nil, owner: String? = nil, labels: [String: String] = [:], spec: JSON
    ) {
        self.kind = kind
        self.name = name
        self.environment = environment
        self.owner = owner
        self.labels = labels
        self.spec = spec
    }

    /// `Kind/name`, how ledger and messages name it.
    public var id: String { "\(kind)/\(name)" }

    /// Its full name in a workspace. An environment that there is not is none: nobody may do anything to what lives there.
    public func ref(in workspace: WorkspaceID) -> ResourceRef {
        ResourceRef(kind, name, environment: environment.flatMap { EnvironmentName(rawValue: $0) }, in: workspace)
    }

    /// Decodes the envelope strictly; the spec is kept as it is.
    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "")
        let version = try reader.string("apiVersion")
        guard version == Resource.apiVersion else {
            throw .invalid("'\(version)' is not a version of this API", hint: "use apiVersion: \(Resource.apiVersion)", path: "apiVersion")
        }
        kind = try reader.string("kind")
        let metadata = try reader.object("metadata")
        name = try metadata.string("name")
        try Identifier.check(name: name)
        environment = try metadata.optionalString("environment")
        workspace = try metadata.optionalString("workspace").map { (name) throws(KeelError) in
            try WorkspaceID(name, path: "metadata.workspace")
        }
        owner = try metadata.optionalString("owner")
        labels = [:]
        if let reader = try metadata.optionalObject("labels") {
            for key in reader.keys { labels[key] = try reader.string(key) }
        }
        try metadata.finish()
        spec = try reader.required("spec")
        guard case .object = spec else { throw .invalid("must be an object, not \(spec.kind)", path: "spec") }
        try reader.finish()
    }

    public var json: JSON {
        var metadata: JSON = ["name": .string(name)]
        if let environment { metadata["environment"] = .string(environment) }
        if let owner { metadata["owner"] = .string(owner) }
        if !labels.isEmpty {
            metadata["labels"] = .object(labels.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .string($0.value)) })
        }
        return ["apiVersion": .string(Resource.apiVersion), "kind": .string(kind), "metadata": metadata, "spec": spec]
    }

    /// Equal for equal declarations, whatever the order of their fields.
    public var digest: Digest { Digest(of: json.canonical) }
}
