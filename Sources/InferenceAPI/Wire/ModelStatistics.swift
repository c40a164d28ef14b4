import Contracts
import Serving

/// Triton's statistics extension, from the counters of the releases that serve: since this process loaded each of them.
enum ModelStatistics {
    /// One entry for each model version of the endpoint, or for one of them.
    static func json(_ status: EndpointStatus, version: String? = nil) -> [JSON] {
        [status.stable, status.candidate].compactMap { $0 }.filter { version == nil || $0.modelVersion == version }.map { entry(status.ref, $0) }
    }

    private static func entry(_ endpoint: ResourceRef, _ release: ReleaseStatus) -> JSON {
        let totals = release.totals
        func duration(_ count: Int, _ nanoseconds: Int) -> JSON { ["count": .int(Int64(count)), "ns": .int(Int64(nanoseconds))] }
        return [
            "name": .string(endpoint.qualifiedName), "version": .string(release.modelVersion),
            "last_inference": .int(totals.lastAnswer.map { $0.milliseconds } ?? 0),
            "inference_count": .int(Int64(release.rows)), "execution_count": .int(Int64(totals.runs)),
            "inference_stats": [
                "success": duration(release.requests, totals.answered), "fail": duration(totals.failedRequests, totals.failed),
                "queue": duration(release.requests, totals.queue), "compute_input": duration(release.requests, totals.input),
                "compute_infer": duration(release.requests, totals.model), "compute_output": duration(release.requests, totals.output),
                "cache_hit": duration(0, 0), "cache_miss": duration(0, 0),
            ],
            "response_stats": [:], "batch_stats": [], "memory_usage": [],
        ]
    }
}
