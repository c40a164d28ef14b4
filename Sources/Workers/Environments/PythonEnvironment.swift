/// A Python with the packages of a model, ready for workers.
public struct PythonEnvironment: Sendable, Hashable {
    /// The interpreter's absolute path.
    public let python: String
    /// `3.11.7`
    public let version: String
    /// What a worker must be able to read to run it; absolute paths.
    public let folders: [String]
    /// What is not quite as the model asks for it, for plan and card.
    public let warnings: [String]

    package init(python: String, version: String, folders: [String], warnings: [String] = []) {
        self.python = python
        self.version = version
        self.folders = folders
        self.warnings = warnings
    }
}
