import Contracts
import Hummingbird
import Platform
import Tracking
import WebAPI

/// What is kept: removing what nobody needs.
func addStorageRoutes(to routes: APIRoutes, _ platform: Platform) {
    routes.post("/gc", .storageCollect) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let asked = PurgeRequest(
            olderThan: try reader.optionalSpan("older_than"), runIDs: try reader.strings("run_ids"),
            experimentIDs: try reader.strings("experiment_ids"),
            loggedModelIDs: try reader.strings("logged_model_ids"))
        let dryRun = try reader.optionalBool("dry_run") ?? false
        try reader.finish()
        return Response(try await platform.collecting.collect(asked, dryRun: dryRun, grant).json)
    }
    routes.post("/verify", .serverRead) { _, _, grant in
        try grant.requireServer()
        return Response.progress { report in try await platform.verifying.stored(grant, progress: report) }
    }
    routes.get("/damage", .serverRead) { _, _, grant in
        var found = grant.seesAllWorkspaces ? platform.damage.all : platform.damage.all(in: grant.workspace)
        // What concerns the server is seen from `default`.
        if grant.workspace == .default { found += platform.openID.problems }
        return Response(["damage": .array(found.map(\.json))])
    }
    routes.get("/backup", .storageBackup) { _, _, grant in
        let backup = try await platform.backups.backup(grant)
        return Response(
            status: .ok, headers: [.contentType: "application/x-tar"],
            body: ResponseBody { writer in
                try await backup.write { try await writer.write(ByteBuffer(bytes: $0)) }
                try await writer.finish(nil)
            })
    }
}
