/// The full name of a thing: its kind and name, the workspace, and the environment for kinds that live in one.
public struct ResourceRef: Sendable, Hashable, CustomStringConvertible {
    public let workspace: WorkspaceID
    public let kind: String
    public let name: String
    /// Nil for kinds that live in no environment.
    public let environment: EnvironmentName?

    /// - Parameter environment: production where a kind lives in one and none is named.
    public init(_ kind: String, _ name: String, environment: EnvironmentName? = nil, in workspace: WorkspaceID = .default) {
        self.workspace = workspace
        self.kind = kind
        self.name = name
        self.environment = environment ?? (ResourceRef.kindsInEnvironments.contains(kind) ? .production : nil)
    }

    /// Reads `Kind/name` or `Kind/name@environment`, as `subject` writes it; nil for a text without a kind.
    public init?(subject: String, in workspace: WorkspaceID) {
        guard let slash = subject.firstIndex(of: "/") else { return nil }
        let kind = String(subject[..<slash])
        var name = subject[subject.index(after: slash)...]
        var environment: EnvironmentName?
        if ResourceRef.kindsInEnvironments.contains(kind) {
            if let at = name.lastIndex(of: "@"), let named = EnvironmentName(rawValue: String(name[name.index(after: at)...])) {
                environment = named
                name = name[..<at]
            }
        }
        self.init(kind, String(name), environment: environment, in: workspace)
    }

    /// How the ledger and messages name it inside its workspace: `Model/churn`, `Endpoint/delay`, `Endpoint/delay@staging`. What serves in production
    /// needs no more than its name.
    public var subject: String { "\(kind)/\(qualifiedName)" }

    /// The name as a path and the command line have it: `delay`, `delay@staging`.
    public var qualifiedName: String {
        guard let environment, environment != .production else { return name }
        return "\(name)@\(environment.rawValue)"
    }

    public var description: String { workspace == .default ? subject : "\(workspace.name):\(subject)" }

    /// Kinds whose names are unique inside an environment, which is production where none is named.
    public static let kindsInEnvironments: Set<String> = ["Endpoint", "Monitor"]
}
