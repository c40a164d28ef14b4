/// A tenant and permission boundary: every stored row belongs to one, and names are unique inside it.
public struct WorkspaceID: Sendable, Hashable, CustomStringConvertible {
    public let name: String

    /// The workspace that every home has.
    public static let `default` = WorkspaceID(stored: "default")

    /// Checks the rules that MLflow has for names of workspaces: 2 to 63 of `a–z 0–9 -`, with a letter or digit at both ends. A name is so always
    /// safe in a path, a URL and a header.
    public init(_ name: String, path: String = "workspace") throws(KeelError) {
        let bytes = Array(name.utf8)
        func isAlphanumeric(_ byte: UInt8) -> Bool { (byte >= 48 && byte <= 57) || (byte >= 97 && byte <= 122) }
        guard (2...63).contains(bytes.count), isAlphanumeric(bytes[0]), isAlphanumeric(bytes[bytes.count - 1]),
            bytes.allSatisfy({ isAlphanumeric($0) || $0 == 45 })
        else {
            throw .invalid(
                "'\(name.prefix(80))' is not a valid name of a workspace",
                hint: "use 2 to 63 lower-case letters, digits or '-', beginning and ending with a letter or digit", path: path)
        }
        guard !WorkspaceID.reserved.contains(name) else {
            throw .invalid("'\(name)' is reserved and cannot name a workspace", hint: "choose another name", path: path)
        }
        self.name = name
    }

    /// A name that was checked when it was stored.
    public init(stored name: String) { self.name = name }

    public var description: String { name }

    /// Parts of the paths of MLflow's API.
    private static let reserved: Set<String> = ["workspaces", "api", "ajax-api", "static-files"]
}
