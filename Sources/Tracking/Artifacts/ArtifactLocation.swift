import Contracts

/// Where an experiment's artifacts lie: a URI or a path. What belongs to one run lies in a folder of its own below it.
enum ArtifactLocation {
    static let charactersMax = 2048

    /// The location of an experiment that was given none.
    static func own(of experiment: Int64, in workspace: WorkspaceID) -> String {
        workspace == .default ? "mlflow-artifacts:/\(experiment)" : "mlflow-artifacts:/\(ArtifactPath.workspaces)/\(workspace)/\(experiment)"
    }

    /// Whether it is what an experiment gets that was given none, in whatever workspace.
    static func isOwn(_ location: String, of experiment: String) -> Bool {
        let parts = location.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.first == "mlflow-artifacts:", parts.last.map(String.init) == experiment else { return false }
        return parts.count == 2 || parts.count == 4 && parts[1] == ArtifactPath.workspaces
    }

    /// The location as an experiment keeps it: a relative path becomes an absolute one.
    /// - Parameter folder: where relative paths begin.
    /// - Throws: `invalidArgument` in MLflow's words for one that is too long or climbs.
    static func absolute(_ location: String, in folder: String) throws(KeelError) -> String {
        guard location.unicodeScalars.count <= charactersMax else {
            throw .invalid(
                "Invalid artifact path length. The length of the artifact path cannot be greater than \(charactersMax) characters.")
        }
        let parts = Parts(location)
        guard !climbs(parts.query) else { throw .invalid("Invalid query string") }
        switch parts.scheme?.lowercased() {
        case nil: return location.hasPrefix("/") ? location : join(folder, relative(location))
        case "file" where !parts.path.hasPrefix("/"):
            return "file://\(join(folder, relative(parts.path)))\(parts.query)"
        case "mlflow-artifacts":
            // Here for the path's own rules: nothing could ever be stored below one that breaks them.
            _ = try TrackingService.artifactPath(of: appending("x", to: location)).map { path throws(KeelError) in try ArtifactPath(path) }
            return location
        default: return location
        }
    }

    /// Checks where something that is imported says that its artifacts lie. What can be no path is nobody's: no artifact is ever found there.
    /// - Throws: `invalidArgument` for a place in another workspace.
    static func check(imported uri: String, in workspace: WorkspaceID) throws(KeelError) {
        guard let path = TrackingService.artifactPath(of: uri), (try? ArtifactPath(path)) != nil, ArtifactPath(behind: uri, in: workspace) == nil
        else { return }
        throw .invalid("'\(uri.prefix(200))' is no place for artifacts in the workspace '\(workspace)'", path: "artifact_uri")
    }

    /// The URI of what lies at a relative path below a location: the path goes before a query, after one slash.
    static func appending(_ path: String, to location: String) -> String {
        let parts = Parts(location)
        guard let scheme = parts.scheme else { return join(location, path) }
        // The store has no host of its own: `mlflow-artifacts:`, `mlflow-artifacts:/` and `mlflow-artifacts:///` are its root.
        let isOwn = scheme.lowercased() == "mlflow-artifacts" && (!parts.path.hasPrefix("//") || parts.path.hasPrefix("///"))
        let root = isOwn ? "/" + parts.path.drop { $0 == "/" } : parts.path
        return "\(scheme):\(join(root, path))\(parts.query)"
    }

    private static func join(_ folder: String, _ path: String) -> String { folder.hasSuffix("/") ? folder + path : "\(folder)/\(path)" }

    private static func relative(_ path: String) -> String {
        path.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    }

    /// A query that climbs could become part of a path.
    private static func climbs(_ query: String) -> Bool {
        var query = query
        for _ in 0..<10 where query.contains("%") { query = percentDecoded(query) }
        return query.contains("..")
    }

    private struct Parts {
        var scheme: String?
        /// Between the scheme and the query, with the host.
        var path: String
        /// With its `?`; empty when there is none.
        var query = ""

        init(_ location: String) {
            path = location
            guard let colon = location.firstIndex(of: ":") else { return }
            let word = location[..<colon]
            let isScheme =
                word.first?.isLetter == true
                && word.utf8.allSatisfy { ($0 | 0x20) &- 97 < 26 || $0 &- 48 < 10 || $0 == 43 || $0 == 45 || $0 == 46 }
            guard isScheme else { return }
            scheme = String(word)
            let rest = location[location.index(after: colon)...]
            let mark = rest.firstIndex { $0 == "?" || $0 == "#" } ?? rest.endIndex
            path = String(rest[..<mark])
            query = String(rest[mark...])
        }
    }
}
