/// The full name of a thing: its kind and name, the workspace, and the environment for kinds that live in one.
public struct ResourceRef: Sendable, Hashable, CustomStringConvertible {
    public let workspace: WorkspaceID
    public let kind: String
    public let name: String
    /// Nil for kinds that live in no environment.
    public let environment: EnvironmentName?

    /// - Parameter environment: production where a kind lives in one and none is named; of no meaning for other kinds.
    public init(_ kind: String, _ name: String, environment: EnvironmentName? = nil, in workspace: WorkspaceID = .default) {
        self.workspace = workspace
        self.kind = kind
        self.name = name
        self.environment = ResourceRef.kindsInEnvironments.contains(kind) ? environment ?? .production : nil
    }

    /// Reads `Kind/name` or `Kind/name@environment`, as `subject` writes it; nil for a text without a kind.
    public init?(subject: String, in workspace: WorkspaceID) {
        guard let slash = subject.firstIndex(of: "/") else { return nil }
        self.init(String(subject[..<slash]), stored: String(subject[subject.index(after: slash)...]), in: workspace)
    }

    /// Reads a name as `qualifiedName` writes it, without checking it: what is not an environment is part of the name, which then nothing has.
    public init(_ kind: String, stored qualifiedName: String, in workspace: WorkspaceID) {
        if qualifiedName.utf8.contains(UInt8(ascii: "@")), ResourceRef.kindsInEnvironments.contains(kind), let at = qualifiedName.lastIndex(of: "@"),
            let environment = EnvironmentName(rawValue: String(qualifiedName[qualifiedName.index(after: at)...]))
        {
            self.init(kind, String(qualifiedName[..<at]), environment: environment, in: workspace)
        } else {
            self.init(kind, qualifiedName, in: workspace)
        }
    }

    /// Reads a name as a path, a field or the command line has it: `delay`, `delay@staging`.
    /// - Throws: `invalidArgument` for what cannot be a name, and for an environment that there is not.
    public init(_ kind: String, qualifiedName text: String, in workspace: WorkspaceID, path: String = "name") throws(KeelError) {
        var name = text
        var environment: EnvironmentName?
        if ResourceRef.kindsInEnvironments.contains(kind), let at = text.lastIndex(of: "@") {
            name = String(text[..<at])
            environment = try EnvironmentName(String(text[text.index(after: at)...]), path: path)
        }
        try Identifier.check(name: name, path: path)
        self.init(kind, name, environment: environment, in: workspace)
    }

    /// Names tell nearly all things apart, and each part costs every request that looks one up.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(environment)
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

    /// The name with its workspace, as the journal of predictions has it: `delay`, `delay@staging`, `fraud:delay@staging`. A colon is in no name.
    public var fullName: String {
        var bytes: [UInt8] = []
        writeFullName(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends `fullName` without making a text of it.
    public func writeFullName(to out: inout [UInt8]) {
        if workspace != .default {
            out.append(contentsOf: workspace.name.utf8)
            out.append(0x3a)
        }
        out.append(contentsOf: name.utf8)
        if let environment, environment != .production {
            out.append(0x40)
            out.append(contentsOf: environment.rawValue.utf8)
        }
    }

    /// Reads a name as `fullName` writes it.
    public init(_ kind: String, fullName: String) {
        if let colon = fullName.firstIndex(of: ":") {
            let workspace = WorkspaceID(stored: String(fullName[..<colon]))
            self.init(kind, stored: String(fullName[fullName.index(after: colon)...]), in: workspace)
        } else {
            self.init(kind, stored: fullName, in: .default)
        }
    }

    /// Kinds whose names are unique inside an environment, which is production where none is named.
    public static let kindsInEnvironments: Set<String> = ["Endpoint", "Monitor"]
}
