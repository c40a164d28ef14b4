import Contracts
import Serving
import Statistics

/// What an endpoint answered in one calendar month, beside what was true.
struct MonthOfPredictions: Sendable {
    /// Of labels that are 0 or 1 and scores that are probabilities.
    private var scores: [Double] = []
    private var labels: [Double] = []
    private var classes = 0
    private var right = 0
    private var predictions = 0
    private var labelled = 0
    private var unusable = 0
    private var note: String?

    mutating func add(_ outcome: PredictionOutcome, _ signature: Signature?) {
        predictions += 1
        guard let label = outcome.label else { return }
        let outputs = outcome.outputs.flatMap { try? $0.values() } ?? []
        let isRight = signature?.answeredClass(outputs).flatMap(label.equals)
        if let isRight {
            classes += 1
            if isRight { right += 1 }
        }
        if let number = label.number, number == 0 || number == 1, let score = outcome.score, (0...1).contains(score) {
            scores.append(score)
            labels.append(number)
            labelled += 1
        } else if isRight != nil {
            labelled += 1
        } else {
            unusable += 1
            if note == nil { note = MonthOfPredictions.problem(label, outcome.score) }
        }
    }

    private static func problem(_ label: Label, _ score: Double?) -> String {
        guard label.number == 0 || label.number == 1 else { return "the label \(label) is neither 0 nor 1" }
        return score.map { "the score \($0) is not in 0…1" } ?? "the model gave neither a number nor a class"
    }

    func json(_ name: String) throws(KeelError) -> JSON {
        var row: JSON = ["month": .string(name), "predictions": .int(Int64(predictions)), "labels": .int(Int64(labelled))]
        if let note {
            row["unusable"] = .int(Int64(unusable))
            row["note"] = .string("\(note); \(unusable) predictions with a label are left out of the metrics")
        }
        if classes > 0 { row["accuracy"] = .double(Double(right) / Double(classes)) }
        guard !labels.isEmpty else { return row }
        let metrics = try BinaryMetrics(scores: scores, labels: labels)
        if classes == 0 { row["accuracy"] = .double(metrics.accuracy) }
        row["auc"] = metrics.auc.map(JSON.double) ?? .null
        row["logloss"] = .double(metrics.logLoss)
        row["calibration"] = .double(metrics.calibration.expectedError)
        row["mean_score"] = .double(scores.reduce(0, +) / Double(scores.count))
        row["mean_label"] = .double(labels.reduce(0, +) / Double(labels.count))
        return row
    }
}
