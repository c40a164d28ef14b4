import Contracts
import Statistics

extension Platform {
    /// Counters and gauges in Prometheus' text format.
    /// - Parameters:
    ///   - connections: how many are open.
    ///   - connectionsMax: how many may be.
    ///   - grant: what other workspaces name is left out for callers that may not be told.
    public func metrics(connections: Int, connectionsMax: Int, _ grant: Grant) async throws -> String {
        let isSeen = { @Sendable (workspace: WorkspaceID) in grant.seesAllWorkspaces || workspace == grant.workspace }
        var text = MetricsText()
        text.inference(runtime.status().filter { isSeen($0.ref.workspace) })
        let isolation = try await stepIsolation.value()
        text.gauge(
            "keel_steps_isolated", "Whether programs of steps are kept apart from the server", isolation.labels,
            isolation.exposesSecrets ? 0 : 1)
        for protection in (try? await models.protections()) ?? [] {
            text.gauge(
                "keel_python_protected", "Whether this keeps code of models apart from the server here",
                ["protection": protection.name, "how": protection.text], protection.holds ? 1 : 0)
        }
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
        if let traces = traces?.counters {
            text.counter("keel_traces_exported_total", "Traces of requests that the collector took", [:], Double(traces.exported))
            for (reason, count) in [("queue_full", traces.overflowed), ("not_taken", traces.failed)] {
                text.counter("keel_traces_dropped_total", "Traces of requests that were left out", ["reason": reason], Double(count))
            }
            text.gauge("keel_traces_queued", "Traces of requests on their way to the collector", [:], Double(traces.queued))
        }
        for (workspace, store) in features.all where isSeen(workspace) {
            for view in store.statistics() {
                let labels = Platform.labels(["view": view.view], in: workspace)
                text.gauge("keel_feature_keys", "Entity keys in memory", labels, Double(view.keys))
                text.counter(
                    "keel_feature_inexact_reads_total", "Reads as of a time before the newest event of their key", labels,
                    Double(view.inexactReads))
            }
        }
        for one in featureCheckpoints.statistics() where isSeen(one.dataset.workspace) {
            let labels = Platform.labels(["dataset": one.dataset.name], in: one.dataset.workspace)
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
        for subject in Set(damage.all.filter { isSeen($0.workspace) }.map(\.fullSubject)).sorted() {
            text.gauge("keel_damaged", "Stored things that are damaged, and disabled where they must be", ["subject": subject], 1)
        }
        text.gauge("keel_ledger_events", "Events in the ledger", [:], Double(try await database.read { try $0.ledgerHead() }))
        return text.text
    }

    /// The labels of something in a workspace. Those of `default` are as they were before there were others.
    private static func labels(_ labels: [String: String], in workspace: WorkspaceID) -> [String: String] {
        workspace == .default ? labels : labels.merging(["workspace": workspace.name]) { $1 }
    }
}
