import Contracts
import Hummingbird
import SearchLanguage
import Tracking
import WebAPI

/// Experiments and logged models.
package func addTrackingRoutes(to routes: APIRoutes, _ tracking: TrackingService) {
    routes.get("/experiments", .trackingRead) { request, _, grant in
        let page = try await tracking.searchExperiments(
            ExperimentSearch(
                filter: request.query("filter"), view: try request.view(), orderBy: request.order(),
                pageSize: try request.limit(standard: 100), pageToken: request.query("page")), grant)
        return Response(["experiments": .array(page.items.map(TrackingJSON.experiment)), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    routes.post("/experiments", .trackingWrite) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let (name, artifacts, tags) = (
            try reader.string("name"), try reader.optionalString("artifacts"), try TrackingJSON.texts(reader, "tags")
        )
        try reader.finish()
        let id = try await tracking.createExperiment(name: name, artifactLocation: artifacts, tags: tags, grant)
        return Response(["id": .string(id)], status: .created)
    }
    routes.get("/experiments/:id", .trackingRead) { _, context, grant in
        return Response(TrackingJSON.experiment(try await tracking.experiment(id: try context.parameters.require("id"), grant)))
    }
    routes.patch("/experiments/:id", .trackingWrite) { request, context, grant in
        let id = try context.parameters.require("id")
        let reader = try FieldReader(try await request.json(), path: "")
        let (name, tags) = (try reader.optionalString("name"), try TrackingJSON.texts(reader, "tags"))
        try reader.finish()
        try await tracking.updateExperiment(id: id, name: name, tags: tags, grant)
        return Response([:])
    }
    routes.delete("/experiments/:id", .trackingWrite) { _, context, grant in
        try await tracking.deleteExperiment(id: try context.parameters.require("id"), grant)
        return Response([:])
    }
    routes.post("/experiments/:id/restore", .trackingWrite) { _, context, grant in
        try await tracking.restoreExperiment(id: try context.parameters.require("id"), grant)
        return Response([:])
    }
    routes.get("/tracking/models", .trackingRead) { request, _, grant in
        let page = try await tracking.searchLoggedModels(
            LoggedModelSearch(
                experimentIDs: try request.experiments(), filter: request.query("filter"),
                orderBy: request.order().map { LoggedModelOrderText($0) },
                pageSize: try request.limit(standard: 100), pageToken: request.query("page")), grant)
        return Response(["models": .array(page.items.map(TrackingJSON.loggedModel)), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    routes.get("/tracking/models/:id", .trackingRead) { _, context, grant in
        return Response(TrackingJSON.loggedModel(try await tracking.loggedModel(id: try context.parameters.require("id"), grant)))
    }
}

/// Tracked runs, under `/tracking/runs`: `/runs` are those of pipelines.
package func addRunRoutes(to routes: APIRoutes, _ tracking: TrackingService) {
    routes.get("/tracking/runs", .trackingRead) { request, _, grant in
        let page = try await tracking.searchRuns(
            RunSearch(
                experimentIDs: try request.experiments(), filter: request.query("filter"), view: try request.view(),
                orderBy: request.order(),
                pageSize: try request.limit(standard: 100), pageToken: request.query("page")), grant)
        return Response(["runs": .array(page.items.map(TrackingJSON.run)), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    routes.post("/tracking/runs", .trackingWrite) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let (experiment, name, tags) = (
            try reader.string("experiment"), try reader.optionalString("name"), try TrackingJSON.texts(reader, "tags")
        )
        let started = try reader.optionalInstant("started_at")
        try reader.finish()
        let run = try await tracking.createRun(
            experimentID: experiment, name: name, userID: grant.caller.name, startedAt: started, tags: tags, grant)
        return Response(TrackingJSON.run(run), status: .created)
    }
    routes.get("/tracking/runs/:id", .trackingRead) { _, context, grant in
        return Response(TrackingJSON.run(try await tracking.run(id: try context.parameters.require("id"), grant)))
    }
    routes.patch("/tracking/runs/:id", .trackingWrite) { request, context, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let status = try reader.optionalString("status") == nil ? nil : try reader.word("status") as RunStatus
        let name = try reader.optionalString("name")
        let ended = try reader.optionalInstant("ended_at")
        try reader.finish()
        let run = try await tracking.updateRun(id: try context.parameters.require("id"), status: status, endedAt: ended, name: name, grant)
        return Response(TrackingJSON.run(run))
    }
    routes.delete("/tracking/runs/:id", .trackingWrite) { _, context, grant in
        try await tracking.deleteRun(id: try context.parameters.require("id"), grant)
        return Response([:])
    }
    routes.post("/tracking/runs/:id/restore", .trackingWrite) { _, context, grant in
        try await tracking.restoreRun(id: try context.parameters.require("id"), grant)
        return Response([:])
    }
    routes.post("/tracking/runs/:id/log", .trackingWrite) { request, context, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let (params, tags) = (try TrackingJSON.texts(reader, "params"), try TrackingJSON.texts(reader, "tags"))
        let now = tracking.clock.now()
        let metrics = try reader.objects("metrics").map { item throws(KeelError) in try TrackingJSON.metric(item, now: now) }
        try reader.finish()
        try await tracking.logBatch(runID: try context.parameters.require("id"), metrics: metrics, params: params, tags: tags, grant)
        return Response([:])
    }
    // A chart's worth of one metric: the lowest and highest value of each part of its history.
    routes.get("/tracking/runs/:id/metrics", .trackingRead) { request, context, grant in
        let id = try context.parameters.require("id")
        guard let key = request.query("key"), !key.isEmpty else {
            throw KeelError.invalid("'key' is missing", hint: "the metric's name", path: "key")
        }
        guard let size = Int(request.query("points") ?? "1000"), (2...10_000).contains(size) else {
            throw KeelError.invalid("must be 2 to 10000", path: "points")
        }
        let outline = try await tracking.metricOutline(runID: id, key: key, size: size, grant)
        return Response([
            "key": .string(key), "count": .int(Int64(outline.count)), "points": .array(outline.points.map(TrackingJSON.point)),
        ])
    }
    routes.get("/tracking/runs/:id/history", .trackingRead) { request, context, grant in
        guard let key = request.query("key"), !key.isEmpty else {
            throw KeelError.invalid("'key' is missing", hint: "the metric's name", path: "key")
        }
        let page = try await tracking.metricHistory(
            runID: try context.parameters.require("id"), key: key, pageSize: try request.limit(standard: 1000, max: 25_000),
            pageToken: request.query("page"), grant)
        return Response(["points": .array(page.items.map(TrackingJSON.point)), "next": page.nextToken.map(JSON.string) ?? .null])
    }
}

extension Request {
    fileprivate func order() -> [String] { queries("order") }

    fileprivate func experiments() throws(KeelError) -> [String] {
        let ids = queries("experiment")
        guard !ids.isEmpty else {
            throw .invalid("'experiment' is missing", hint: "give the id of one or more experiments", path: "experiment")
        }
        return ids
    }

    fileprivate func view() throws(KeelError) -> ViewType {
        switch query("state") {
        case nil, "active": return .activeOnly
        case "deleted": return .deletedOnly
        case "all": return .all
        case let other?: throw .invalid("'\(other.prefix(40))' is not a state", hint: "active, deleted or all", path: "state")
        }
    }
}
