import Contracts
import Serving

extension MetricsText {
    /// What endpoints and their releases did, in Keel's names and in those of Triton Inference Server. Only releases that serve now are there, so that
    /// there are no more series than endpoints have releases.
    mutating func inference(_ endpoints: [EndpointStatus]) {
        for endpoint in endpoints {
            let labels = [
                "endpoint": endpoint.ref.name, "environment": endpoint.ref.environment?.rawValue ?? "", "workspace": endpoint.ref.workspace.name,
            ]
            gauge("keel_inference_in_flight", "Inference requests that are worked on", labels, Double(endpoint.inFlight))
            for (reason, count) in endpoint.refused.sorted(by: { $0.key < $1.key }) {
                counter(
                    "keel_inference_failed_requests_total", "Inference requests that were answered with an error",
                    labels.merging(["reason": reason]) { $1 }, Double(count))
            }
            for (role, release) in [("stable", endpoint.stable), ("candidate", endpoint.candidate)] {
                guard let release else { continue }
                keel(release, labels.merging(["release": String(release.release), "role": role]) { $1 })
            }
        }
        for endpoint in endpoints { triton(endpoint) }
    }

    private mutating func keel(_ release: ReleaseStatus, _ labels: [String: String]) {
        counter("keel_inference_requests_total", "Answered inference requests", labels, Double(release.requests))
        counter("keel_inference_rows_total", "Predicted rows", labels, Double(release.rows))
        counter("keel_inference_shadow_rows_total", "Rows predicted in shadow", labels, Double(release.shadowRows))
        for (reason, count) in release.errors.sorted(by: { $0.key < $1.key }) {
            counter("keel_inference_errors_total", "Failed inference requests", labels.merging(["reason": reason]) { $1 }, Double(count))
        }
        gauge("keel_inference_latency_p50_seconds", "Median time to read features and run the model", labels, release.p50 ?? .nan)
        gauge("keel_inference_latency_p99_seconds", "99th percentile of that time", labels, release.p99 ?? .nan)
        gauge("keel_rollout_share", "Share of the endpoint's traffic", labels, release.share)
        histogram("keel_inference_duration_seconds", "How long answered requests took, from their arrival as a whole", labels, release.durations)
        for stage in RequestStage.allCases {
            // A release whose requests never wait has no series for it.
            guard let durations = release.stages[stage], durations.count > 0 else { continue }
            histogram(
                "keel_inference_stage_duration_seconds", "How long each stage of answered requests took",
                labels.merging(["stage": stage.rawValue]) { $1 }, durations)
        }
    }

    /// As Triton documents its metrics ("Inference Request Metrics" of its user guide): cumulative, in microseconds, by model and version. The model is
    /// the endpoint, as in the protocol's addresses. Two releases of one version are one there.
    private mutating func triton(_ endpoint: EndpointStatus) {
        let serving = [endpoint.stable, endpoint.candidate].compactMap { $0 }
        for (i, release) in serving.enumerated() where !serving[..<i].contains(where: { $0.modelVersion == release.modelVersion }) {
            let releases = serving.filter { $0.modelVersion == release.modelVersion }
            var labels = ["model": endpoint.ref.qualifiedName, "version": release.modelVersion]
            if endpoint.ref.workspace != .default { labels["workspace"] = endpoint.ref.workspace.name }
            func total(_ number: (ReleaseStatus) -> Int) -> Double { Double(releases.map(number).reduce(0, +)) }
            counter("nv_inference_request_success", "Number of successful inference requests", labels, total { $0.requests })
            counter("nv_inference_request_failure", "Number of failed inference requests", labels, total { $0.totals.failedRequests })
            counter("nv_inference_count", "Number of inferences: each row is one", labels, total { $0.rows })
            counter("nv_inference_exec_count", "Number of times that the model was run", labels, total { $0.totals.runs })
            for (part, help, time) in MetricsText.tritonTimes {
                counter("nv_inference_\(part)_duration_us", "Cumulative \(help) time in microseconds", labels, total { $0.totals[keyPath: time] } / 1e3)
            }
        }
    }

    private static var tritonTimes: [(part: String, help: String, time: KeyPath<ReleaseTotals, Int>)] {
        [
            ("request", "request", \.answered), ("queue", "queue", \.queue), ("compute_input", "input", \.input), ("compute_infer", "inference", \.model),
            ("compute_output", "output", \.output),
        ]
    }
}
