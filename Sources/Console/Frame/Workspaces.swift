import Contracts
import Governance

/// The workspaces in which the caller has a role. Opening one is a link that names it, which the browser remembers.
func addWorkspacePage(to pages: ConsoleRoutes) {
    pages.pageForEveryCaller("/workspaces") { asked in
        var listed: [Workspace] = []
        if let grant = asked.grant(.workspacesRead) { listed = try await asked.platform.workspaces.list(by: grant) }
        return Page(
            "Workspaces", in: nil, template: "workspaces",
            [
                "workspaces": listed.map { workspace in
                    [
                        "name": workspace.id.name, "path": "/console?workspace=\(percentEncoded(workspace.id.name))",
                        "description": Shown.text(workspace.description), "isCurrent": workspace.id == asked.caller.workspace,
                    ] as View
                }, "hasNone": listed.isEmpty,
            ])
    }
}
