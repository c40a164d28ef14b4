import Contracts
import Hummingbird
import Monitoring
import Platform
import Serving

/// Endpoints, releases, labels and monitors.
func addServingRoutes(to router: some RouterMethods<KeelContext>, _ platform: Platform) {
    router.get("/endpoints") { _, context -> Response in
        _ = try await context.authorize(.releasesRead)
        return Response(["endpoints": .array(try await platform.endpointSummaries())])
    }
    router.get("/endpoints/:name/releases") { _, context -> Response in
        let name = try context.name()
        let grant = try await context.authorize(.releasesRead, on: "Endpoint/\(name)")
        return Response(["releases": .array(try await platform.releaseSummaries(name, grant))])
    }
    router.post("/endpoints/:name/releases") { request, context -> Response in
        let name = try context.name()
        let grant = try await context.authorize(.releasesDeploy, on: "Endpoint/\(name)")
        let reader = try FieldReader(try await request.json(), path: "")
        let (model, force, reason) = (
            try reader.string("model"), try reader.optionalBool("force") ?? false, try reader.optionalString("reason")
        )
        try reader.finish()
        if force { _ = try await context.authorize(.releasesForce, on: "Endpoint/\(name)") }
        let release = try await platform.releasing.release(
            model, to: name, force: force, reason: reason ?? "asked by \(grant.caller.name)", by: grant.caller)
        return Response(release.json)
    }
    router.post("/endpoints/:name/rollback") { request, context -> Response in
        let name = try context.name()
        let grant = try await context.authorize(.releasesDeploy, on: "Endpoint/\(name)")
        let reader = try FieldReader(try await request.json(), path: "")
        let (to, reason) = (try reader.optionalInt("to"), try reader.optionalString("reason"))
        try reader.finish()
        return Response(try await platform.deployments.rollback(endpoint: name, to: to, reason: reason ?? "by hand", grant).json)
    }
    router.post("/endpoints/:name/promote") { _, context -> Response in
        let name = try context.name()
        let grant = try await context.authorize(.releasesDeploy, on: "Endpoint/\(name)")
        return Response(try await platform.deployments.promote(endpoint: name, grant).json)
    }
    router.get("/endpoints/:name/performance") { request, context -> Response in
        let name = try context.name()
        let grant = try await context.authorize(.predictionsRead, on: "Endpoint/\(name)")
        let months = try await platform.performanceByMonth(
            endpoint: name, from: try request.instant("from"), until: try request.instant("until"), grant)
        return Response(["months": .array(months)])
    }
    router.post("/labels") { request, context -> Response in
        let grant = try await context.authorize(.labelsWrite)
        let reader = try FieldReader(try await request.json(), path: "")
        var labels: [LabelInput] = []
        _ = try reader.required("labels")
        for item in try reader.objects("labels") {
            let id = try item.string("id")
            guard let value = try item.optionalDouble("value") else { throw item.failure("value", "'value' is missing") }
            let at = try item.optionalString("at")
            try item.finish()
            if let at, Timestamp(at) == nil { throw item.failure("at", "'\(at.prefix(60))' is not an instant") }
            labels.append(LabelInput(id: id, value: value, at: at.flatMap { Timestamp($0) }))
        }
        try reader.finish()
        let counts = try await platform.runtime.label(labels, grant)
        return Response([
            "accepted": .int(Int64(labels.count)), "joined": .int(Int64(counts.joined)), "unknown": .int(Int64(counts.unknown)),
        ])
    }
    router.get("/monitors/:name/windows") { request, context -> Response in
        let name = try context.name()
        let grant = try await context.authorize(.monitorsRead, on: "Monitor/\(name)")
        return Response(["windows": .array(try await platform.monitorWindows(name, limit: try request.limit(standard: 200), grant))])
    }
}
