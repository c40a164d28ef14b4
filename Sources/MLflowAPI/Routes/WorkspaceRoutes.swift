import Contracts
import Governance
import Hummingbird

/// Workspaces of MLflow 3.17, on top of Keel's.
func addWorkspaceRoutes(_ routes: MLflowRoutes, _ workspaces: WorkspaceService) {
    routes.get("workspaces", .workspacesRead) { _, grant in
        ["workspaces": .array(try await workspaces.list(by: grant).map(\.wire))]
    }
    routes.add(.post, "workspaces", .workspacesManage, status: .created) { request, grant in
        let name = try request.text("name")
        try refuseLocations(request)
        let made = try await workspaces.create(name, description: try request.optionalText("description") ?? "", by: grant)
        return ["workspace": made.wire]
    }
    routes.get("workspaces/:workspace_name", .workspacesRead) { request, grant in
        ["workspace": try await workspaces.workspace(try request.text("workspace_name"), by: grant).wire]
    }
    routes.patch("workspaces/:workspace_name", .workspacesManage) { request, grant in
        try refuseLocations(request)
        guard let description = try request.optionalText("description") else {
            throw KeelError.invalid("Workspace update must have at least one key")
        }
        return ["workspace": try await workspaces.update(try request.text("workspace_name"), description: description, by: grant).wire]
    }
    routes.add(.delete, "workspaces/:workspace_name", .workspacesManage, status: .noContent) { request, grant in
        let mode = try request.optionalText("mode") ?? "RESTRICT"
        guard mode == "RESTRICT" else {
            throw KeelError(
                .notImplemented, "Workspace deletion in the mode '\(mode.prefix(40))' is not supported", hint: "remove what it holds first")
        }
        try await workspaces.delete(try request.text("workspace_name"), by: grant)
        return [:]
    }
}

/// Artifacts lie in the server's store, and traces are not archived: what would be passed over is refused.
private func refuseLocations(_ request: MLflowRequest) throws(KeelError) {
    for field in ["default_artifact_root", "trace_archival_config"] {
        let value = request.fields[field] ?? .null
        let isEmpty = value.isNull || value.string == "" || (value.members ?? []).allSatisfy { $0.value.isNull } && value.members != nil
        guard isEmpty else {
            throw KeelError(.notImplemented, "A workspace has no '\(field)' of its own here", hint: "leave it out", path: field)
        }
    }
}

extension Workspace {
    fileprivate var wire: JSON {
        var out: JSON = ["name": .string(id.name)]
        if !description.isEmpty { out["description"] = .string(description) }
        return out
    }
}
