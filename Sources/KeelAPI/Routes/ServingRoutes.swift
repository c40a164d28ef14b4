import Contracts
import Hummingbird
import Monitoring
import Platform
import Serving
import WebAPI

/// Endpoints, releases, labels and monitors.
func addServingRoutes(to routes: APIRoutes, _ platform: Platform) {
    routes.get("/endpoints", .releasesRead) { _, _, _ in
        return Response(["endpoints": .array(try await platform.reports.endpoints())])
    }
    routes.get("/endpoints/:name/releases", .releasesRead, on: .named("Endpoint")) { _, context, grant in
        let name = try context.name()
        return Response(["releases": .array(try await platform.reports.releases(name, grant))])
    }
    routes.post("/endpoints/:name/releases", .releasesDeploy, on: .named("Endpoint")) { request, context, grant in
        let name = try context.name()
        let reader = try FieldReader(try await request.json(), path: "")
        let model = try reader.string("model")
        let force = try reader.optionalBool("force") ?? false
        let reason = try reader.optionalString("reason")
        try reader.finish()
        if force { _ = try await context.authorize(.releasesForce, on: "Endpoint/\(name)") }
        let release = try await platform.releasing.release(
            model, to: name, force: force, reason: reason ?? "asked by \(grant.caller.name)", by: grant.caller)
        return Response(release.json)
    }
    routes.post("/endpoints/:name/rollback", .releasesDeploy, on: .named("Endpoint")) { request, context, grant in
        let name = try context.name()
        let reader = try FieldReader(try await request.json(), path: "")
        let to = try reader.optionalInt("to")
        let reason = try reader.optionalString("reason")
        try reader.finish()
        return Response(try await platform.deployments.rollback(endpoint: name, to: to, reason: reason ?? "by hand", grant).json)
    }
    routes.post("/endpoints/:name/promote", .releasesDeploy, on: .named("Endpoint")) { _, context, grant in
        let name = try context.name()
        return Response(try await platform.deployments.promote(endpoint: name, grant).json)
    }
    routes.get("/endpoints/:name/performance", .predictionsRead, on: .named("Endpoint")) { request, context, grant in
        let name = try context.name()
        let months = try await platform.reports.performance(
            ofEndpoint: name, from: try request.instant("from"), until: try request.instant("until"), grant)
        return Response(["months": .array(months)])
    }
    routes.post("/labels", .labelsWrite) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        var labels: [LabelInput] = []
        _ = try reader.required("labels")
        for item in try reader.objects("labels") {
            let id = try item.string("id")
            guard let value = try item.optionalDouble("value") else { throw item.failure("value", "'value' is missing") }
            let at = try item.optionalInstant("at")
            try item.finish()
            labels.append(LabelInput(id: id, value: value, at: at))
        }
        try reader.finish()
        let counts = try await platform.runtime.label(labels, grant)
        return Response([
            "accepted": .int(Int64(labels.count - counts.rejected.count)), "joined": .int(Int64(counts.joined)),
            "unknown": .int(Int64(counts.unknown)),
            "unknown_kept_days": .int(LabelCounts.unknownKept.microseconds / TimeSpan.days(1).microseconds),
            "rejected": .array(counts.rejected.map { ["index": .int(Int64($0.index)), "reason": .string($0.reason)] }),
        ])
    }
    routes.get("/monitors/:name/windows", .monitorsRead, on: .named("Monitor")) { request, context, grant in
        let name = try context.name()
        return Response([
            "windows": .array(try await platform.reports.windows(ofMonitor: name, limit: try request.limit(standard: 200), grant))
        ])
    }
}
