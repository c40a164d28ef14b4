import Contracts

/// Where an artifact lies below the root of all artifacts, in normal form: no empty parts, no `.`, no `..`, never absolute.
struct ArtifactPath: Hashable, CustomStringConvertible {
    static let bytesMax = 2048
    static let partBytesMax = 255
    /// The folder in which those of other workspaces than `default` lie, each in a folder of its name, as MLflow has them.
    static let workspaces = "workspaces"

    /// In this folder of a workspace lie the files of model versions that it took over from another one; nobody puts others there.
    static let offers = "@offers"

    /// Empty for the root.
    let text: String
    var description: String { text }

    /// - Throws: `invalidArgument` for a path that would leave the root, or has a part that no file system could hold.
    init(_ path: String) throws(KeelError) {
        let parts = path.split(separator: "/").filter { $0 != "." }
        let hostile = path.hasPrefix("/") || path.utf8.contains(0) || path.utf8.contains(UInt8(ascii: "\\")) || parts.contains("..")
        guard !hostile else {
            // MLflow's whole text: public clients match it.
            throw .invalid("Invalid path")
        }
        guard path.utf8.count <= ArtifactPath.bytesMax, parts.allSatisfy({ $0.utf8.count <= ArtifactPath.partBytesMax }) else {
            throw .invalid(
                "Invalid path",
                hint: "an artifact path has at most \(ArtifactPath.bytesMax) bytes, each part at most \(ArtifactPath.partBytesMax)")
        }
        text = parts.joined(separator: "/")
    }

    /// A path in a workspace: what does not begin with the folder of workspaces begins at the workspace's own root.
    /// - Throws: `notFound` for that of another one.
    init(_ path: String, in workspace: WorkspaceID) throws(KeelError) {
        let given = try ArtifactPath(path)
        let isWhole = workspace == .default || given.text == ArtifactPath.workspaces || given.text.hasPrefix(ArtifactPath.workspaces + "/")
        self = isWhole ? given : try ArtifactPath("\(ArtifactPath.workspaces)/\(workspace)/\(path)")
        guard self.workspace == workspace else { throw .notFound("No such artifact: '\(given)'") }
    }

    /// The place behind a URI that something in the workspace is stored with; nil for one that Keel does not keep, that cannot be read, or that lies
    /// in another workspace.
    init?(behind uri: String, in workspace: WorkspaceID) {
        guard let path = TrackingService.artifactPath(of: uri), let place = try? ArtifactPath(path, in: workspace) else { return nil }
        self = place
    }

    /// Whether all artifacts of its workspace lie below it.
    var isRoot: Bool { text.isEmpty || text == "\(ArtifactPath.workspaces)/\(workspace)" }

    /// The workspace that it lies in.
    var workspace: WorkspaceID {
        let parts = text.split(separator: "/", maxSplits: 2)
        guard parts.first.map(String.init) == ArtifactPath.workspaces else { return .default }
        // What lies in no workspace is nobody's.
        return WorkspaceID(stored: parts.count > 1 ? String(parts[1]) : "")
    }

    /// The path of a file that is to be put in a workspace.
    init(file path: String, in workspace: WorkspaceID) throws(KeelError) {
        try self.init(path, in: workspace)
        guard !text.isEmpty, !path.hasSuffix("/") else {
            throw .invalid("Invalid path", hint: "Artifact path must include a filename (cannot end with '/').")
        }
        let isReserved = try isWithin(ArtifactPath(ArtifactPath.offers, in: workspace))
        guard !isReserved else { throw .invalid("Invalid path", hint: "what lies below '\(ArtifactPath.offers)' came with model versions") }
    }

    private init(unchecked text: String) { self.text = text }

    /// The folder it lies in; nil for the root.
    var folder: ArtifactPath? {
        guard !text.isEmpty else { return nil }
        return ArtifactPath(unchecked: text.lastIndex(of: "/").map { String(text[..<$0]) } ?? "")
    }

    var name: String { text.lastIndex(of: "/").map { String(text[text.index(after: $0)...]) } ?? text }

    /// Whether it is `other` or lies below it.
    func isWithin(_ other: ArtifactPath) -> Bool { other.text.isEmpty || text == other.text || text.hasPrefix(other.text + "/") }
}
