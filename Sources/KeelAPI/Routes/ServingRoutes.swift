import Contracts
import Hummingbird
import Monitoring
import Platform
import Serving
import WebAPI
import Workflows

/// Endpoints, releases, labels and monitors.
func addServingRoutes(to routes: APIRoutes, _ platform: Platform) {
    routes.get("/endpoints", .releasesRead, on: .each) { _, _, grant in
        return Response(["endpoints": .array(try await platform.reports.endpoints(grant))])
    }
    routes.get("/endpoints/:name/releases", .releasesRead, on: .placed(EndpointSpec.kind)) { _, context, grant in
        let endpoint = try context.thing(EndpointSpec.kind)
        return Response(["releases": .array(try await platform.reports.releases(endpoint, grant))])
    }
    routes.post("/endpoints/:name/releases", .releasesDeploy, on: .placed(EndpointSpec.kind)) { request, context, grant in
        let endpoint = try context.thing(EndpointSpec.kind)
        let reader = try FieldReader(try await request.json(), path: "")
        // One of the two: a registered model, or what serves in another environment.
        let model = try reader.optionalString("model")
        let source = try reader.optionalString("from").map { (name) throws(KeelError) in
            try ResourceRef(EndpointSpec.kind, qualifiedName: name, in: grant.workspace, path: "from")
        }
        let number = try reader.optionalInt("release")
        let force = try reader.optionalBool("force") ?? false
        let reason = try reader.optionalString("reason")
        let signature = try signatureRule(reader)
        try reader.finish()
        if force { _ = try await context.authorize(.releasesForce, on: endpoint.subject) }
        let release: Release
        switch (model, source) {
        case (let model?, nil):
            guard number == nil else { throw KeelError.invalid("is of the endpoint that 'from' names", path: "release") }
            release = try await platform.releasing.release(
                model, to: endpoint, force: force, reason: reason ?? "asked by \(grant.caller.name)", signature: signature, by: grant.caller)
        case (nil, let source?):
            release = try await platform.releasing.promote(from: source, release: number, to: endpoint, force: force, signature: signature, by: grant.caller)
        default: throw KeelError.invalid("give either 'model' or 'from'", hint: "model: models:/NAME/VERSION; from: \(endpoint.name)@staging")
        }
        return Response(release.json)
    }
    routes.post("/endpoints/:name/deploy", .releasesDeploy, on: .placed(EndpointSpec.kind)) { request, context, grant in
        let endpoint = try context.thing(EndpointSpec.kind)
        let reader = try FieldReader(try await request.json(), path: "")
        let model = try reader.string("model")
        let features = try reader.optionalString("features")
        let runner: ModelBinding.Runner? = try reader.optional("runner") == nil ? nil : reader.word("runner")
        let reason = try reader.optionalString("reason")
        let signature = try signatureRule(reader)
        try reader.finish()
        return Response(
            try await platform.deploying.deploy(
                model, to: endpoint, features: features, runner: runner, reason: reason, signature: signature, by: grant.caller))
    }
    routes.post("/endpoints/:name/rollback", .releasesDeploy, on: .placed(EndpointSpec.kind)) { request, context, grant in
        let endpoint = try context.thing(EndpointSpec.kind)
        let reader = try FieldReader(try await request.json(), path: "")
        let to = try reader.optionalInt("to")
        let (reason, expecting) = try decision(reader)
        try reader.finish()
        return Response(
            try await platform.deployments.rollback(endpoint: endpoint, to: to, reason: reason ?? "by hand", expecting: expecting, grant).json)
    }
    routes.post("/endpoints/:name/promote", .releasesDeploy, on: .placed(EndpointSpec.kind)) { request, context, grant in
        let endpoint = try context.thing(EndpointSpec.kind)
        let reader = try FieldReader(try await request.json(), path: "")
        let (reason, expecting) = try decision(reader)
        try reader.finish()
        return Response(try await platform.deployments.promote(endpoint: endpoint, reason: reason ?? "by hand", expecting: expecting, grant).json)
    }
    routes.post("/endpoints/:name/rollout/pause", .releasesDeploy, on: .placed(EndpointSpec.kind)) { request, context, grant in
        let endpoint = try context.thing(EndpointSpec.kind)
        let reader = try FieldReader(try await request.json(), path: "")
        let (reason, expecting) = try decision(reader)
        try reader.finish()
        return Response(try await platform.deployments.pause(endpoint: endpoint, reason: reason ?? "by hand", expecting: expecting, grant).rolloutJSON)
    }
    routes.post("/endpoints/:name/rollout/resume", .releasesDeploy, on: .placed(EndpointSpec.kind)) { request, context, grant in
        let endpoint = try context.thing(EndpointSpec.kind)
        let reader = try FieldReader(try await request.json(), path: "")
        let (reason, expecting) = try decision(reader)
        try reader.finish()
        return Response(try await platform.deployments.resume(endpoint: endpoint, reason: reason ?? "by hand", expecting: expecting, grant).rolloutJSON)
    }
    routes.get("/endpoints/:name/performance", .predictionsRead, on: .placed(EndpointSpec.kind)) { request, context, grant in
        let endpoint = try context.thing(EndpointSpec.kind)
        let months = try await platform.reports.performance(
            ofEndpoint: endpoint, from: try request.instant("from"), until: try request.instant("until"), grant)
        return Response(["months": .array(months)])
    }
    routes.post("/query", .predictionsRead, on: .each) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let sql = try reader.string("sql")
        var limits = QueryLimits()
        limits.rowsMax = try bounded(reader, "rows", 1...100_000) ?? limits.rowsMax
        limits.seconds = try bounded(reader, "seconds", 1...300) ?? limits.seconds
        try reader.finish()
        let asked = limits
        guard let connection = HTTPConnection.current else { return Response(try await platform.predictionSQL.query(sql, limits: asked, grant)) }
        return Response(try await connection.whileConnected { try await platform.predictionSQL.query(sql, limits: asked, grant) })
    }
    routes.post("/labels", .labelsWrite) { request, _, grant in
        return Response(try await label(request, of: nil, grant, platform))
    }
    routes.post("/endpoints/:name/labels", .labelsWrite, on: .placed(EndpointSpec.kind)) { request, context, grant in
        return Response(try await label(request, of: try context.thing(EndpointSpec.kind), grant, platform))
    }
    routes.get("/monitors/:name/windows", .monitorsRead, on: .placed(MonitorSpec.kind)) { request, context, grant in
        let monitor = try context.thing(MonitorSpec.kind)
        return Response([
            "windows": .array(try await platform.reports.windows(ofMonitor: monitor, limit: try request.limit(standard: 200), grant))
        ])
    }
}

/// Why somebody steers a rollout, and what they saw serving when they decided to.
private func decision(_ reader: FieldReader) throws(KeelError) -> (reason: String?, expecting: ServingExpectation?) {
    let reason = try reader.optionalString("reason")
    guard let seen = try reader.optionalObject("expecting") else { return (reason, nil) }
    let expecting = ServingExpectation(stable: try seen.optionalInt("stable"), candidate: try seen.optionalInt("candidate"))
    try seen.finish()
    return (reason, expecting)
}

/// Whether callers of the endpoint may notice that another model answers; nil is as the endpoint says.
private func signatureRule(_ reader: FieldReader) throws(KeelError) -> EndpointSpec.SignatureRule? {
    try reader.optional("signature") == nil ? nil : reader.word("signature")
}

private func bounded(_ reader: FieldReader, _ name: String, _ range: ClosedRange<Int>) throws(KeelError) -> Int? {
    guard let value = try reader.optionalInt(name) else { return nil }
    guard range.contains(value) else { throw reader.failure(name, "must be from \(range.lowerBound) to \(range.upperBound)") }
    return value
}

private func label(_ request: Request, of endpoint: ResourceRef?, _ grant: Grant, _ platform: Platform) async throws -> JSON {
    let reader = try FieldReader(try await request.json(), path: "")
    var labels: [LabelInput] = []
    _ = try reader.required("labels")
    for item in try reader.objects("labels") {
        let id = try item.string("id")
        let value: Label
        let given = try item.required("value")
        do throws(KeelError) { value = try Label(given) } catch { throw item.failure("value", error.message) }
        let at = try item.optionalInstant("at")
        try item.finish()
        labels.append(LabelInput(id: id, value: value, at: at))
    }
    try reader.finish()
    let counts = try await platform.runtime.label(labels, of: endpoint, grant)
    return [
        "accepted": .int(Int64(labels.count - counts.rejected.count)), "joined": .int(Int64(counts.joined)),
        "unknown": .int(Int64(counts.unknown)),
        "unknown_kept_days": .int(LabelCounts.unknownKept.microseconds / TimeSpan.days(1).microseconds),
        "rejected": .array(counts.rejected.map { ["index": .int(Int64($0.index)), "reason": .string($0.reason)] }),
    ]
}
