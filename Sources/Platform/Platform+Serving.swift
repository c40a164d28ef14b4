import Contracts
import Monitoring
import Registry
import Serving

extension Platform {
    var queries: PredictionQueries { PredictionQueries(database: database) }

    func stableRelease(_ endpoint: String) async throws -> Release? {
        let grant = try Grant.check(.system("releases"), may: .releasesRead, on: "Endpoint/\(endpoint)")
        let state = try await deployments.state(endpoint: endpoint, grant)
        return try await deployments.releases(endpoint: endpoint, grant).first { $0.number == state.stable }
    }

    /// What serves, how much traffic each release has, and how it does.
    public func endpointSummaries() async throws -> [JSON] {
        let grant = try Grant.check(.system("releases"), may: .monitorsRead)
        var out: [JSON] = []
        for status in runtime.status() {
            let drift = try await monitoring.latest(endpoint: status.name, by: grant)
            let progress = await deployments.progress(endpoint: status.name)
            var releases: [JSON] = []
            for (role, release) in [("stable", status.stable), (status.phase, status.candidate)] {
                guard let release else { continue }
                let failures = release.errors.values.reduce(0, +)
                releases.append([
                    "number": .int(Int64(release.release)), "role": .string(role),
                    "model": .string("\(release.model)/\(release.modelVersion)"),
                    "share": .string("\(Int(saturating: (release.share * 100).rounded()))%"), "requests": .int(Int64(release.requests)),
                    "p50_us": release.p50.map { .double($0 * 1e6) } ?? .null, "p99_us": release.p99.map { .double($0 * 1e6) } ?? .null,
                    "errors": .string(percent(failures, of: release.requests + failures)),
                    "drift": drift.flatMap { $0.release == release.release ? $0.psi : nil }.map(JSON.double) ?? .null,
                    "drift_rows": drift.flatMap { $0.release == release.release ? .int(Int64($0.rows)) : nil } ?? .null,
                    "step": role == "stable" ? .null : progress.map(JSON.string) ?? .null,
                ])
            }
            out.append([
                "name": .string(status.name), "environment": .string(status.environment), "phase": .string(status.phase),
                "releases": .array(releases),
            ])
        }
        return out
    }

    /// Every release of an endpoint with its place in the rollout.
    public func releaseSummaries(_ endpoint: String, _ grant: Grant) async throws -> [JSON] {
        let state = try await deployments.state(endpoint: endpoint, grant)
        return try await deployments.releases(endpoint: endpoint, grant).map { release in
            let place =
                release.number == state.stable
                ? "stable" : release.number == state.candidate ? "candidate" : release.number == state.previous ? "previous" : "-"
            return [
                "number": .int(Int64(release.number)), "model": .string("models:/\(release.model)/\(release.modelVersion)"),
                "gate": .string(release.gate.text),
                "state": .string(place), "created": .string(release.createdAt.description), "by": .string(release.createdBy),
                "digest": .string(release.digest.hex),
            ]
        }
    }

    /// AUC, log loss and calibration of what an endpoint answered, by calendar month of event time, over predictions whose label is known.
    ///
    /// Labels other than 0 and 1, and scores that are no probabilities, have no place in these metrics. They are left out, counted as `unusable`,
    /// and the first is named in `note`; posting the right label for the same id repairs the month.
    public func performanceByMonth(endpoint: String, from: Timestamp?, until: Timestamp?, _ grant: Grant) async throws -> [JSON] {
        struct Month: Sendable {
            var scores: [Double] = []
            var labels: [Double] = []
            var predictions = 0
            var unusable = 0
            var note: String?

            mutating func add(label: Double, score: Double) {
                let isLabel = label == 0 || label == 1
                guard isLabel, (0...1).contains(score) else {
                    unusable += 1
                    if note == nil { note = isLabel ? "the score \(score) is not in 0…1" : "the label \(label) is neither 0 nor 1" }
                    return
                }
                scores.append(score)
                labels.append(label)
            }
        }
        try await runtime.flush()
        let months = try await queries.reduce(
            endpoint: endpoint, from: from ?? .distantPast, until: until ?? .distantFuture, into: [String: Month](), grant
        ) { months, outcome in
            guard !outcome.shadow else { return }
            let name = String(outcome.eventTime.description.prefix(7))
            months[name, default: Month()].predictions += 1
            if let label = outcome.label { months[name, default: Month()].add(label: label, score: outcome.score) }
        }
        return try months.sorted { $0.key < $1.key }.map { name, month in
            var row: JSON = [
                "month": .string(name), "predictions": .int(Int64(month.predictions)), "labels": .int(Int64(month.labels.count)),
            ]
            if let note = month.note {
                row["unusable"] = .int(Int64(month.unusable))
                row["note"] = .string("\(note); \(month.unusable) predictions with a label are left out of the metrics")
            }
            guard !month.labels.isEmpty else { return row }
            let metrics = try BinaryMetrics(scores: month.scores, labels: month.labels)
            row["auc"] = metrics.auc.map(JSON.double) ?? .null
            row["logloss"] = .double(metrics.logLoss)
            row["calibration"] = .double(metrics.calibration.expectedError)
            row["mean_score"] = .double(month.scores.reduce(0, +) / Double(month.scores.count))
            row["mean_label"] = .double(month.labels.reduce(0, +) / Double(month.labels.count))
            return row
        }
    }

    public func monitorWindows(_ monitor: String, limit: Int, _ grant: Grant) async throws -> [JSON] {
        try await monitoring.windows(monitor, limit: limit, by: grant).map(\.json)
    }

    private func percent(_ part: Int, of whole: Int) -> String {
        guard whole > 0 else { return "-" }
        let hundredths = Int(saturating: (Double(part) / Double(whole) * 10_000).rounded())
        return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)%"
    }

    /// Counters and gauges in Prometheus' text format.
    /// - Parameters:
    ///   - connections: how many are open.
    ///   - connectionsMax: how many may be.
    public func metrics(connections: Int, connectionsMax: Int) async throws -> String {
        var text = MetricsText()
        for endpoint in runtime.status() {
            for (role, release) in [("stable", endpoint.stable), ("candidate", endpoint.candidate)] {
                guard let release else { continue }
                let labels = ["endpoint": endpoint.name, "release": String(release.release), "role": role]
                text.counter("keel_inference_requests_total", "Answered inference requests", labels, Double(release.requests))
                text.counter("keel_inference_rows_total", "Predicted rows", labels, Double(release.rows))
                text.counter("keel_inference_shadow_rows_total", "Rows predicted in shadow", labels, Double(release.shadowRows))
                for (reason, count) in release.errors.sorted(by: { $0.key < $1.key }) {
                    text.counter(
                        "keel_inference_errors_total", "Failed inference requests", labels.merging(["reason": reason]) { $1 }, Double(count)
                    )
                }
                text.gauge("keel_inference_latency_p50_seconds", "Median latency", labels, release.p50 ?? .nan)
                text.gauge("keel_inference_latency_p99_seconds", "99th percentile of latency", labels, release.p99 ?? .nan)
                text.gauge("keel_rollout_share", "Share of the endpoint's traffic", labels, release.share)
            }
        }
        let isolation = try await stepIsolation.value()
        text.gauge(
            "keel_steps_isolated", "Whether programs of steps are kept apart from the server", isolation.labels,
            isolation.exposesSecrets ? 0 : 1)
        let log = runtime.log.counters
        text.counter("keel_predictions_logged_total", "Predictions in the log", [:], Double(log.written))
        text.counter("keel_predictions_dropped_total", "Predictions that the log's policy left out", [:], Double(log.dropped + log.sampled))
        text.counter("keel_predictions_unsampled_total", "Predictions outside the share that the endpoint logs", [:], Double(log.unsampled))
        text.counter("keel_predictions_repeated_total", "Predictions whose id was logged already", [:], Double(log.repeated))
        text.counter("keel_predictions_refused_total", "Requests refused because the log was full", [:], Double(log.refused))
        text.counter("keel_predictions_recovered_total", "Predictions that a start found in the journal", [:], Double(log.recovered))
        text.counter("keel_predictions_log_failures_total", "Failed attempts to write the log", [:], Double(log.failures))
        text.counter(
            "keel_shadow_rows_dropped_total", "Rows that the other release of a rollout could not keep up with", [:],
            Double(runtime.shadowRowsDropped))
        text.counter("keel_labels_unknown_total", "Labels of ids that are not logged", [:], Double(log.labelsUnknown))
        text.gauge("keel_predictions_queued", "Predictions on their way to the log", [:], Double(log.queued))
        text.counter("keel_labels_joined_total", "Labels that found their prediction", [:], Double(log.labelsJoined))
        for view in features.statistics() {
            text.gauge("keel_feature_keys", "Entity keys in memory", ["view": view.view], Double(view.keys))
            text.counter(
                "keel_feature_inexact_reads_total", "Reads as of a time before the newest event of their key", ["view": view.view],
                Double(view.inexactReads))
        }
        for one in featureCheckpoints.statistics() {
            let labels = ["dataset": one.dataset]
            text.counter(
                "keel_feature_history_rows_total", "Rows of history that were read to make online features", labels, Double(one.rowsRead))
            text.gauge("keel_feature_checkpoint_bytes", "Size of the file that online features start from", labels, Double(one.bytes))
            text.gauge(
                "keel_feature_checkpoint_behind_bytes", "Events that a start would read besides that file", labels, Double(one.behind))
        }
        text.counter("keel_monitor_missed_batches_total", "Batches that monitoring was too slow for", [:], Double(feed.missedCount))
        for part in MemoryBudget.Part.allCases {
            let labels = ["part": "\(part)"]
            text.gauge("keel_memory_budget_bytes", "What each kind of work may hold in memory", labels, Double(memory.capacity(of: part)))
            // What queries and models hold their engines know alone.
            guard part != .analytics, part != .models else { continue }
            text.gauge("keel_memory_used_bytes", "What each kind of work holds in memory now", labels, Double(memory.used(by: part)))
        }
        text.gauge("keel_connections", "Open connections", [:], Double(connections))
        text.gauge("keel_connections_max", "Connections that may be open at a time", [:], Double(connectionsMax))
        for problem in openID.problems {
            text.gauge("keel_issuer_failing", "Identity providers whose keys cannot be fetched", ["subject": problem.subject], 1)
        }
        for subject in Set(damage.all.map(\.subject)).sorted() {
            text.gauge("keel_damaged", "Stored things that are damaged, and disabled where they must be", ["subject": subject], 1)
        }
        text.gauge("keel_ledger_events", "Events in the ledger", [:], Double(try await database.read { try $0.ledgerHead() }))
        return text.text
    }
}

/// Prometheus' text exposition format 0.0.4; each metric's help and type once.
struct MetricsText {
    private var families: [(name: String, lines: [String])] = []

    mutating func counter(_ name: String, _ help: String, _ labels: [String: String], _ value: Double) {
        add(name, help, "counter", labels, value)
    }
    mutating func gauge(_ name: String, _ help: String, _ labels: [String: String], _ value: Double) {
        add(name, help, "gauge", labels, value)
    }

    private mutating func add(_ name: String, _ help: String, _ type: String, _ labels: [String: String], _ value: Double) {
        func escaped(_ text: String) -> String {
            text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
        }
        let list = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(escaped($0.value))\"" }.joined(separator: ",")
        let line = name + (list.isEmpty ? "" : "{\(list)}") + " " + (value.isNaN ? "NaN" : "\(value)")
        if let i = families.firstIndex(where: { $0.name == name }) {
            families[i].lines.append(line)
        } else {
            families.append((name, ["# HELP \(name) \(help)", "# TYPE \(name) \(type)", line]))
        }
    }

    var text: String { families.flatMap(\.lines).joined(separator: "\n") + "\n" }
}
