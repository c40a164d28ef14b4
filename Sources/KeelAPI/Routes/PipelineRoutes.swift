import Contracts
import Hummingbird
import Pipelines
import Platform
import WebAPI

/// Pipelines and their runs.
func addPipelineRoutes(to routes: APIRoutes, _ platform: Platform) {
    routes.post("/pipelines/:name/runs", .pipelinesRun, on: .named("Pipeline")) { request, context, grant in
        let name = try context.name()
        let reader = try FieldReader(try await request.json(), path: "")
        let parameters = reader.optional("parameters") ?? [:]
        let usesCache = try reader.optionalBool("cache") ?? true
        let nowText = try reader.optionalString("now")
        try reader.finish()
        let now = try nowText.map { text throws(KeelError) in
            guard let time = Timestamp(text) else { throw KeelError.invalid("'\(text.prefix(60))' is not an instant", path: "now") }
            return time
        }
        let id = try await platform.pipelines.start(
            pipeline: name, parameters: parameters, reason: "asked by \(grant.caller.name)", now: now ?? platform.database.clock.now(),
            useCache: usesCache,
            grant: grant)
        return Response(["run": .string(id)], status: .accepted)
    }
    routes.get("/runs", .pipelinesRead) { request, _, grant in
        let state = try request.query("state").map { text throws(KeelError) in
            guard let state = PipelineRun.State(rawValue: text) else {
                throw KeelError.invalid(
                    "'\(text.prefix(40))' is not a state",
                    hint: "one of \(PipelineRun.State.allCases.map(\.rawValue).joined(separator: ", "))", path: "state")
            }
            return state
        }
        let runs = try await platform.pipelines.runs(
            pipeline: request.query("pipeline"), before: request.query("before"), limit: try request.limit(standard: 50), grant: grant)
        return Response(["runs": .array(runs.filter { state == nil || $0.state == state }.map(\.json))])
    }
    routes.get("/runs/:id", .pipelinesRead) { _, context, grant in
        return Response(try await platform.pipelines.run(try await run(context, platform, grant), grant: grant).json)
    }
    routes.post("/runs/:id/cancel", .pipelinesRun) { _, context, grant in
        return Response(try await platform.pipelines.cancel(try await run(context, platform, grant), grant: grant).json)
    }
    routes.get("/runs/:id/steps/:step/log", .pipelinesRead) { request, context, grant in
        let id = try await run(context, platform, grant)
        let step = try context.name("step")
        let from = Int64(try request.count("from") ?? 0)
        let tail = try request.count("tail").map { min($0, 10_000) }
        return Response(try await platform.pipelines.log(id, step: step, from: from, tail: tail, grant: grant).json)
    }
}

/// Triggers, as they stand.
func addTriggerRoutes(to routes: APIRoutes, _ platform: Platform) {
    routes.get("/triggers", .pipelinesRead) { _, _, grant in
        return Response(["triggers": .array(try await platform.triggers.list(grant: grant).map(\.json))])
    }
    routes.post("/triggers/:name/pause", .pipelinesRun, on: .named("Trigger")) { _, context, grant in
        return Response(try await platform.triggers.pause(try context.name(), grant: grant).json)
    }
    routes.post("/triggers/:name/resume", .pipelinesRun, on: .named("Trigger")) { _, context, grant in
        return Response(try await platform.triggers.resume(try context.name(), grant: grant).json)
    }
}

/// The run that a path names by its id or the beginning of it.
private func run(_ context: KeelContext, _ platform: Platform, _ grant: Grant) async throws -> String {
    try await platform.pipelines.id(beginning: try context.name("id"), grant: grant)
}
