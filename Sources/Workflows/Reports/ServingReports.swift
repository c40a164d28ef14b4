import Contracts
import Monitoring
import Registry
import Serving
import Statistics

/// How endpoints, releases and monitors do, for the API.
public struct ServingReports: Sendable {
    private let runtime: ServingRuntime
    private let deployments: DeploymentService
    private let monitoring: MonitoringService
    private let queries: PredictionQueries
    private let signature: @Sendable (_ endpoint: ResourceRef, _ release: Int) async -> Signature?

    /// - Parameter signature: that of a release; nil when it cannot be read.
    package init(
        runtime: ServingRuntime, deployments: DeploymentService, monitoring: MonitoringService, queries: PredictionQueries,
        signature: @escaping @Sendable (_ endpoint: ResourceRef, _ release: Int) async -> Signature?
    ) {
        self.signature = signature
        self.runtime = runtime
        self.deployments = deployments
        self.monitoring = monitoring
        self.queries = queries
    }

    /// The release that answers an endpoint's requests; nil when none does.
    static func stableRelease(_ endpoint: ResourceRef, _ deployments: DeploymentService) async throws -> Release? {
        let grant = try Grant.check(.system("releases", in: endpoint.workspace), may: .releasesRead, on: endpoint)
        let state = try await deployments.state(endpoint: endpoint, grant)
        return try await deployments.releases(endpoint: endpoint, grant).first { $0.number == state.stable }
    }

    /// What serves of what the grant covers, how much traffic each release has, and how it does.
    public func endpoints(_ asking: Grant) async throws -> [JSON] {
        try asking.requireSome(.releasesRead)
        let grant = try Grant.check(.system("releases", in: asking.workspace), may: .monitorsRead)
        var out: [JSON] = []
        for status in runtime.status() where asking.covers(status.ref) {
            let drift = try await monitoring.latest(endpoint: status.ref, by: grant)
            let progress = await deployments.progress(endpoint: status.ref)
            var releases: [JSON] = []
            for (role, release) in [("stable", status.stable), (status.phase, status.candidate)] {
                guard let release else { continue }
                let failures = release.errors.values.reduce(0, +)
                releases.append([
                    "number": .int(Int64(release.release)), "role": .string(role),
                    "model": .string("\(release.model)/\(release.modelVersion)"),
                    "share": .string("\(Int(saturating: (release.share * 100).rounded()))%"), "requests": .int(Int64(release.requests)),
                    "p50_us": release.p50.map { .double($0 * 1e6) } ?? .null, "p99_us": release.p99.map { .double($0 * 1e6) } ?? .null,
                    "errors": .string(ServingReports.percent(failures, of: release.requests + failures)),
                    "drift": drift.flatMap { $0.release == release.release ? $0.psi : nil }.map(JSON.double) ?? .null,
                    "drift_rows": drift.flatMap { $0.release == release.release ? .int(Int64($0.rows)) : nil } ?? .null,
                    "step": role == "stable" ? .null : progress.map(JSON.string) ?? .null,
                    "parts": .array(
                        release.parts.map { part in
                            [
                                "model": .string(part.name), "runs": .int(Int64(part.runs)),
                                "mean_us": part.runs == 0 ? .null : .double(Double(part.nanoseconds / part.runs) / 1e3),
                            ]
                        }),
                ])
            }
            out.append([
                "name": .string(status.ref.name), "environment": status.ref.environment.map { .string($0.rawValue) } ?? .null, "phase": .string(status.phase),
                "releases": .array(releases),
            ])
        }
        return out
    }

    /// Every release of an endpoint with its place in the rollout.
    public func releases(_ endpoint: ResourceRef, _ grant: Grant) async throws -> [JSON] {
        let state = try await deployments.state(endpoint: endpoint, grant)
        return try await deployments.releases(endpoint: endpoint, grant).map { release in
            let place =
                release.number == state.stable
                ? "stable" : release.number == state.candidate ? "candidate" : release.number == state.previous ? "previous" : "-"
            return [
                "number": .int(Int64(release.number)), "model": .string("models:/\(release.model)/\(release.modelVersion)"),
                "gate": .string(release.gate.text),
                "state": .string(place), "created": .string(release.createdAt.description), "by": .string(release.createdBy),
                "digest": .string(release.digest.hex), "promoted_from": release.promotedFrom?.json ?? .null,
            ]
        }
    }

    /// AUC, log loss, calibration and accuracy of what an endpoint answered, by calendar month of event time, over predictions whose label is known.
    ///
    /// All but accuracy are of labels that are 0 or 1 (or false and true) and scores that are probabilities; accuracy is also of classes. Labels that fit
    /// neither are left out, counted as `unusable`, and the first is named in `note`; posting the right label for the same id repairs the month.
    public func performance(ofEndpoint endpoint: ResourceRef, from: Timestamp?, until: Timestamp?, _ grant: Grant) async throws -> [JSON] {
        try await runtime.flush()
        let reading = try Grant.check(.system("releases", in: endpoint.workspace), may: .releasesRead, on: endpoint)
        var signatures: [Int: Signature] = [:]
        for release in try await deployments.releases(endpoint: endpoint, reading) {
            signatures[release.number] = await signature(endpoint, release.number)
        }
        let known = signatures
        let months = try await queries.reduce(
            endpoint: endpoint, from: from ?? .distantPast, until: until ?? .distantFuture, into: [String: MonthOfPredictions](), grant
        ) { months, outcome in
            guard !outcome.shadow else { return }
            months[String(outcome.eventTime.description.prefix(7)), default: MonthOfPredictions()].add(outcome, known[outcome.release])
        }
        return try months.sorted { $0.key < $1.key }.map { name, month in try month.json(name) }
    }

    public func windows(ofMonitor monitor: ResourceRef, limit: Int, _ grant: Grant) async throws -> [JSON] {
        try await monitoring.windows(monitor, limit: limit, by: grant).map(\.json)
    }

    /// `0.25%`; `-` of nothing.
    static func percent(_ part: Int, of whole: Int) -> String {
        guard whole > 0 else { return "-" }
        let hundredths = Int(saturating: (Double(part) / Double(whole) * 10_000).rounded())
        return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)%"
    }
}
