import Contracts
import Foundation

/// Where artifacts of the foreign store lie, and where they go in Keel.
struct ArtifactPlaces: Sendable {
    /// The folder of the artifacts, absolute; nil when none was named.
    let root: String?

    init(root: String?) throws(KeelError) {
        guard let root else {
            self.root = nil
            return
        }
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: root, isDirectory: &isFolder), isFolder.boolValue else {
            throw .notFound(
                "there is no folder '\(root)'", hint: "--artifacts names the folder that holds the artifacts of the MLflow server")
        }
        self.root = ArtifactPlaces.absolute(root, from: FileManager.default.currentDirectoryPath)
    }

    /// The path of a URI below the folder of the artifacts; nil when it lies elsewhere.
    func relative(_ uri: String) -> String? {
        if uri.hasPrefix("mlflow-artifacts:") {
            var rest = uri.dropFirst("mlflow-artifacts:".count)
            // mlflow-artifacts://host/path names a server too.
            if rest.hasPrefix("//") { rest = rest.dropFirst(2).drop { $0 != "/" } }
            return ArtifactPlaces.safe(String(rest.drop { $0 == "/" }))
        }
        guard let root, let path = localPath(uri, root), path.hasPrefix(root + "/") else { return nil }
        return ArtifactPlaces.safe(String(path.dropFirst(root.count + 1)))
    }

    private func localPath(_ uri: String, _ root: String) -> String? {
        if uri.hasPrefix("file:") {
            let rest = uri.dropFirst("file:".count)
            let path = rest.hasPrefix("//") ? String(rest.dropFirst(2)) : String(rest)
            return path.removingPercentEncoding.map { ArtifactPlaces.absolute($0, from: "/") }
        }
        guard !uri.contains("://"), uri.prefix(while: { $0 != "/" }).contains(":") == false else { return nil }
        guard !uri.hasPrefix("/") else { return ArtifactPlaces.absolute(uri, from: "/") }
        // A relative path is meant from the folder that the server ran in; most often that is where `mlruns` lies.
        let name = (root as NSString).lastPathComponent
        let parts = uri.split(separator: "/").filter { $0 != "." }
        let base =
            parts.first.map(String.init) == name ? (root as NSString).deletingLastPathComponent : FileManager.default.currentDirectoryPath
        return ArtifactPlaces.absolute(uri, from: base)
    }

    /// Without `.` and `..`, links followed as far as the path exists.
    private static func absolute(_ path: String, from base: String) -> String {
        let joined = path.hasPrefix("/") ? path : base + "/" + path
        return URL(fileURLWithPath: joined).standardizedFileURL.resolvingSymlinksInPath().path
    }

    /// A foreign store may say anything: only a path that stays below the folder is one.
    private static func safe(_ path: String) -> String? {
        let parts = path.split(separator: "/")
        return parts.isEmpty || parts.contains("..") || parts.contains(".") ? nil : parts.joined(separator: "/")
    }

    /// Where the artifacts of a run or model are found in Keel: its own place for what it can hold, the old one for all else.
    func keelURI(_ uri: String, own: String) -> String { relative(uri) == nil ? uri : own }

    static func runURI(_ experiment: String, _ run: String) -> String { "mlflow-artifacts:/\(experiment)/\(run)/artifacts" }
    static func modelURI(_ experiment: String, _ model: String) -> String { "mlflow-artifacts:/\(experiment)/models/\(model)/artifacts" }
}
