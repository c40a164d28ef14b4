import Contracts
import Hummingbird
import Pipelines
import Platform

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
            pipeline: name, parameters: parameters, reason: "asked by \(grant.caller.name)", now: now ?? .systemNow(), useCache: usesCache,
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
        return Response(try await platform.pipelines.run(try context.name("id"), grant: grant).json)
    }
    routes.post("/runs/:id/cancel", .pipelinesRun) { _, context, grant in
        return Response(try await platform.pipelines.cancel(try context.name("id"), grant: grant).json)
    }
}
