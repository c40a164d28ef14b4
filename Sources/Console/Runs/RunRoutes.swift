import Contracts
import Tracking

/// Experiments, runs, and runs side by side.
func addRunPages(to pages: ConsoleRoutes) {
    pages.page("/experiments", .trackingRead) { try await experimentsPage($0) }
    pages.page("/experiments/:id", .trackingRead) { try await RunsTablePage.page($0) }
    pages.form("/experiments/:id/layouts", .trackingWrite) { try await SavedLayout.save($0, $1) }
    pages.form("/experiments/:id/layouts/remove", .trackingWrite) { try await SavedLayout.remove($0, $1) }
    pages.page("/runs/:id", .trackingRead) { try await RunPage.page($0) }
    pages.data("/runs/:id/curve.json", .trackingRead) { try await RunPage.curve($0) }
    pages.get("/runs/:id/file", .trackingRead) { try await RunArtifacts.file($0) }
    pages.get("/runs/:id/events", .trackingRead) { try await RunStream.open($0) }
    pages.form("/runs/:id/note", .trackingWrite) { asked, form in
        let id = try asked.name("id")
        try await asked.platform.tracking.setTag(runID: id, KeyValue(RunPage.noteTag, form["note"] ?? ""), asked.grant)
        return "/console/runs/\(pathComponent(id))"
    }
    pages.form("/runs/:id/delete", .trackingWrite) { asked, _ in
        let id = try asked.name("id")
        try await asked.platform.tracking.deleteRun(id: id, asked.grant)
        return "/console/runs/\(pathComponent(id))"
    }
    pages.form("/runs/:id/restore", .trackingWrite) { asked, _ in
        let id = try asked.name("id")
        try await asked.platform.tracking.restoreRun(id: id, asked.grant)
        return "/console/runs/\(pathComponent(id))"
    }
    pages.page("/compare", .trackingRead) { try await ComparePage.page($0) }
    pages.data("/compare/curves.json", .trackingRead) { try await ComparePage.curves($0) }
    pages.data("/compare/parallel.json", .trackingRead) { try await ComparePage.parallel($0) }
    pages.data("/compare/scatter.json", .trackingRead) { try await ComparePage.scatter($0) }
}
