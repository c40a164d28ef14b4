import Contracts
import Hummingbird
import Platform
import Tracking

/// What Keel says of experiments and runs beyond MLflow's protocol.
func addTrackingRoutes(to router: some RouterMethods<KeelContext>, _ platform: Platform) {
    // A chart's worth of one metric: {"run_id", "key", "count", "points": [{"step", "timestamp" (ms), "value"}]}.
    router.get("/tracking/runs/:id/metrics") { request, context -> Response in
        let grant = try await context.authorize(.trackingRead)
        let id = try context.parameters.require("id")
        guard let key = request.query("key"), !key.isEmpty else { throw KeelError.invalid("which metric?", hint: "add ?key=NAME", path: "key") }
        let text = request.query("points") ?? "1000"
        guard let size = Int(text), (2...10_000).contains(size) else { throw KeelError.invalid("must be 2 to 10000", path: "points") }
        let outline = try await platform.tracking.metricOutline(runID: id, key: key, size: size, grant)
        let points = outline.points.map { point -> JSON in
            [
                "step": .int(point.step), "timestamp": .int(point.at.milliseconds),
                "value": point.value.isNaN ? "NaN" : .double(point.value),
            ]
        }
        return Response(["run_id": .string(id), "key": .string(key), "count": .int(Int64(outline.count)), "points": .array(points)])
    }
}
