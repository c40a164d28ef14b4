/// Where in a workspace something serves: what is tried out, what is tested, and what people rely on.
public enum EnvironmentName: String, Sendable, CaseIterable {
    case development, staging, production

    /// - Throws: `invalidArgument` with the environments there are.
    public init(_ text: String, path: String = "metadata.environment") throws(KeelError) {
        guard let name = EnvironmentName(rawValue: text) else {
            throw .invalid(
                "'\(text.prefix(60))' is not an environment",
                hint: "one of: \(EnvironmentName.allCases.map(\.rawValue).joined(separator: ", "))", path: path)
        }
        self = name
    }
}
