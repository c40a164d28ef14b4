import Contracts
import Foundation

/// What Keel shows servers that ask for a key: a folder with a file for each, as a secret is mounted in a container.
///
/// A file is JSON: `{"url": "https://vllm.internal:8000/team", "token": "…"}`. The secret goes to that server alone, and there to what lies below the path:
/// whoever may declare an endpoint may name any secret, and must not be able to have it sent elsewhere. A file is read when it is used, so a changed key needs
/// no restart.
package struct RemoteSecrets: Sendable {
    let folder: String?
    private static let bytesMax = 64 << 10

    package init(folder: String?) { self.folder = folder }

    package struct Secret {
        /// `Authorization`, unless the file names another one.
        package let header: String
        package let value: String
        /// What no message may hold.
        let token: String
    }

    /// - Parameters:
    ///   - origin: of the server that it is to be shown to.
    ///   - path: below which the server is asked.
    /// - Throws: `failedPrecondition` for a secret that is not there, or not for this server or workspace. Nothing says what it is.
    package func secret(_ name: String, for origin: String, path: String, in workspace: WorkspaceID) throws(KeelError) -> Secret {
        func refused(_ what: String, _ hint: String? = nil) -> KeelError { KeelError(.failedPrecondition, "the secret '\(name)' \(what)", hint: hint) }
        guard let folder else { throw refused("is not there: the server has no folder of secrets", "the setting serving.remote.secrets names it") }
        guard let bytes = FileManager.default.contents(atPath: "\(folder)/\(name)") else {
            throw refused("is not there", "a file of this name in the folder that serving.remote.secrets names, which the server can read")
        }
        let form = "a file of JSON with url, token and, if wanted, header and workspaces"
        guard bytes.count <= RemoteSecrets.bytesMax, let json = try? JSON.parse(Array(bytes)), json.members != nil else { throw refused("cannot be read", form) }
        let url: String
        let token: String
        let header: String?
        let workspaces: [String]?
        do throws(KeelError) {
            let reader = try FieldReader(json, path: "")
            url = try reader.string("url")
            token = try reader.string("token")
            header = try reader.optionalString("header")
            workspaces = try reader.strings("workspaces")
            try reader.finish()
        } catch {
            // A message of the reader's may quote what stands in the file.
            throw refused("cannot be read", form)
        }
        guard Self.isHeader(token), header.map(Self.isHeader) ?? true, !token.isEmpty else { throw refused("holds what cannot be sent in a header") }
        guard Self.origin(url) == origin else { throw refused("is for another server than \(origin)", "its url says which") }
        guard Self.path(of: url).map({ Self.lies(path, below: $0) }) == true else {
            throw refused("is for another path of \(origin) than '\(path.prefix(200))'", "its url says which; without a path it is for all")
        }
        if let workspaces, !workspaces.contains(workspace.name) { throw refused("is for other workspaces than '\(workspace.name)'") }
        return Secret(header: header ?? "Authorization", value: header == nil ? "Bearer \(token)" : token, token: token)
    }

    private static func path(of url: String) -> String? { URLComponents(string: url)?.percentEncodedPath }

    /// Whether a path begins with all parts of another one. Parts are compared as they are written, so none may be what a server could read in another way.
    static func lies(_ path: String, below prefix: String) -> Bool {
        func parts(_ path: String) -> [Substring]? {
            var all = path.split(separator: "/", omittingEmptySubsequences: false)
            if all.first?.isEmpty == true { all.removeFirst() }
            if all.last?.isEmpty == true { all.removeLast() }
            let isPlain = all.allSatisfy { part in
                guard let text = String(part).removingPercentEncoding else { return false }
                return !text.isEmpty && text != "." && text != ".." && !text.contains { "/\\;\0".contains($0) }
            }
            return isPlain ? all : nil
        }
        guard let inner = parts(path), let outer = parts(prefix) else { return false }
        return inner.starts(with: outer)
    }

    private static func isHeader(_ text: String) -> Bool { text.utf8.allSatisfy { $0 > 31 && $0 < 127 } }

    /// The scheme, host and port of a URL, in lower case.
    private static func origin(_ url: String) -> String? {
        guard let parts = URLComponents(string: url), let scheme = parts.scheme?.lowercased(), let host = parts.host?.lowercased() else { return nil }
        return "\(scheme)://\(host):\(parts.port ?? (scheme == "https" ? 443 : 80))"
    }
}
