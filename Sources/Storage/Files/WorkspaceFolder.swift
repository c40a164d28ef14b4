import Contracts

/// Where the files of each workspace lie below a folder that all share.
///
/// Those of `default` lie in the folder itself, where they lay before there were other workspaces. Those of another lie in `@NAME`, which can be the name
/// of no thing.
public enum WorkspaceFolder {
    /// What paths below a shared folder begin with: nothing for `default`, `@fraud/` for the workspace `fraud`.
    public static func prefix(_ workspace: WorkspaceID) -> String { workspace == .default ? "" : "@\(workspace.name)/" }

    /// Everything that lies in a shared folder, with the workspace that it is of.
    /// - Throws: when a folder cannot be listed; one that is not there holds nothing.
    public static func entries(of folder: String) throws(KeelError) -> [(workspace: WorkspaceID, name: String)] {
        var out: [(workspace: WorkspaceID, name: String)] = []
        for name in try names(folder) {
            guard name.hasPrefix("@") else {
                out.append((.default, name))
                continue
            }
            let workspace = WorkspaceID(stored: String(name.dropFirst()))
            for name in try names("\(folder)/\(name)") { out.append((workspace, name)) }
        }
        return out
    }

    private static func names(_ folder: String) throws(KeelError) -> [String] {
        do throws(KeelError) { return try Folder.names(folder) } catch {
            if error.code == .notFound { return [] }
            throw error
        }
    }
}
