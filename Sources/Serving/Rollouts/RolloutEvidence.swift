import Contracts
import Statistics

/// What is known of a candidate beside its incumbent.
///
/// Scores and labels are compared **paired**: only requests that both releases scored count (one answered, the other scored in shadow), so that
/// neither drift nor the choice of requests is mistaken for a difference of the models. The latest 10,000 requests are kept.
///
/// - `errors`, `incumbent.errors`: the share of requests that failed for the release's own fault, 0…1.
/// - `latency.p99`, `incumbent.latency.p99`: seconds to read features and run the model, answers and shadow scores together.
/// - `score.psi`: the population stability index of the candidate's scores against the incumbent's, over the deciles of the incumbent's.
/// - `score.mean`, `logloss`, `auc` and `incumbent.…`: over paired requests; log loss and AUC over those with a label of 0 or 1.
/// - `requests`, `labels`: the candidate's requests; paired requests with a label.
public struct RolloutEvidence: Sendable {
    public static let names = [
        "errors", "latency.p99", "score.psi", "score.mean", "logloss", "auc", "incumbent.errors", "incumbent.latency.p99",
        "incumbent.score.mean",
        "incumbent.logloss", "incumbent.auc", "requests", "labels",
    ]
    static let pairsMax = 10_000

    /// Whether a number is made of scores: there is none for a model whose primary output is no number.
    static func isOfScores(_ name: String) -> Bool { name.hasSuffix("logloss") || name.hasSuffix("auc") || name.contains("score.") || name == "labels" }

    struct Pair: Sendable {
        var candidate: Double?
        var incumbent: Double?
        var label: Double?
    }

    var candidate = (requests: 0, errors: 0)
    var incumbent = (requests: 0, errors: 0)
    var latencies: (candidate: Double?, incumbent: Double?) = (nil, nil)
    private var pairs: [String: Pair] = [:]
    /// Ids in order of arrival; `oldest` is the place of the next to forget.
    private var order: [String] = []
    private var oldest = 0

    public init() {}

    mutating func score(_ id: String, candidate: Double? = nil, incumbent: Double? = nil, label: Double? = nil) {
        if pairs[id] == nil {
            if order.count < RolloutEvidence.pairsMax {
                order.append(id)
            } else {
                pairs[order[oldest]] = nil
                order[oldest] = id
                oldest = (oldest + 1) % RolloutEvidence.pairsMax
            }
        }
        var pair = pairs[id] ?? Pair()
        if let candidate { pair.candidate = candidate }
        if let incumbent { pair.incumbent = incumbent }
        if let label { pair.label = label }
        pairs[id] = pair
    }

    /// The numbers that `wanted` names and that there is enough evidence for.
    func numbers(_ wanted: Set<String>, minimumRequests: Int, minimumLabels: Int) -> [String: Double] {
        var out: [String: Double] = ["requests": Double(candidate.requests)]
        func rate(_ name: String, _ counts: (requests: Int, errors: Int)) {
            guard counts.requests >= minimumRequests, counts.requests > 0 else { return }
            out[name] = Double(counts.errors) / Double(counts.requests)
        }
        rate("errors", candidate)
        rate("incumbent.errors", incumbent)
        if candidate.requests >= minimumRequests { out["latency.p99"] = latencies.candidate }
        if incumbent.requests >= minimumRequests { out["incumbent.latency.p99"] = latencies.incumbent }
        guard wanted.contains(where: RolloutEvidence.isOfScores) else { return out }
        let complete = pairs.values.compactMap { pair -> (Double, Double, Double?)? in
            guard let candidate = pair.candidate, let incumbent = pair.incumbent else { return nil }
            return (candidate, incumbent, pair.label)
        }
        if complete.count >= minimumRequests, !complete.isEmpty {
            out["score.mean"] = complete.reduce(0) { $0 + $1.0 } / Double(complete.count)
            out["incumbent.score.mean"] = complete.reduce(0) { $0 + $1.1 } / Double(complete.count)
            let bins = ReferenceBins(numbers: complete.map(\.1))
            out["score.psi"] = populationStability(reference: bins.counts, current: bins.count(complete.map(\.0)))
        }
        let labelled = complete.filter { $0.2 == 0 || $0.2 == 1 }
        out["labels"] = Double(labelled.count)
        if labelled.count >= minimumLabels, !labelled.isEmpty {
            let labels = labelled.map { $0.2 ?? 0 }
            for (prefix, scores) in [("", labelled.map(\.0)), ("incumbent.", labelled.map(\.1))] {
                // Scores that are no probabilities have no log loss; the number stays null.
                out[prefix + "logloss"] = try? BinaryMetrics.logLoss(scores: scores, labels: labels)
                if let auc = try? BinaryMetrics.rocAUC(scores: scores, labels: labels) { out[prefix + "auc"] = auc }
            }
        }
        return out
    }
}
