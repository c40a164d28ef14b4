import Contracts

/// What Keel itself saw of the version: which gate said what about which bundle, on which data, and who approved it.
extension ModelCard {
    /// A gate may have hundreds of conditions; the evidence has all.
    private static let checksMax = 100

    /// What the gate of the pipeline said; nil for a version that another client registered.
    var gate: String? { evidence?.bundle.verdict }

    var evidenceRows: [[String]] {
        guard let evidence else { return [] }
        let bundle = evidence.bundle
        var rows = [["bundle", "\(bundle.subject.hex), bound \(bundle.at) by \(bundle.by)\(place(bundle))"]]
        if bundle.data["carried_from"]?.string == "tags" {
            rows.append(["carried over", "from tags of an earlier version of Keel, which anybody could edit"])
        } else if let source = bundle.data["carried_from"]?.string {
            rows.append(["carried over", "from the evidence \(source), by \(bundle.data["carried_by"]?.string ?? "")"])
        }
        if let training = evidence.training {
            rows.append([
                "trained",
                "bundle \(training.subject.short) on \(span(training.data["data"]?["train"], until: training))\(place(training))",
            ])
        }
        if let evaluation = evidence.evaluation {
            let baseline = evaluation.data["baseline"]
            rows.append([
                "evaluated", "bundle \(evaluation.subject.short) on \(span(evaluation.data["data"], until: nil))\(place(evaluation))",
            ])
            rows.append(["compared with", baseline?["missing"]?.string ?? baseline?["version"]?.string ?? "-"])
        }
        if let gate = evidence.gate {
            let by = gate.data["measured_by"]?.string ?? "keel"
            rows.append(["judged", "bundle \(gate.subject.short), \(gate.at), numbers measured by \(by)\(place(gate))"])
        }
        for signature in evidence.signatures {
            rows.append(["signed", "files \(signature.subject.short) with the key \(signature.data["key"]?.string ?? ""), \(signature.at) by \(signature.by)"])
        }
        return rows
    }

    var checkRows: [[String]] {
        (evidence?.gate?.data["checks"]?.array ?? []).prefix(ModelCard.checksMax).map {
            [$0["condition"]?.string ?? "", $0["result"]?.string ?? "", $0["values"]?.string ?? ""]
        }
    }

    var approvalRows: [[String]] {
        (evidence?.approvals ?? []).map { [$0.at.description, $0.by, $0.subject.short, $0.data["reason"]?.string ?? ""] }
    }

    private func place(_ evidence: Evidence) -> String {
        evidence.origin.map { "; step \($0.step) of pipeline run \($0.run)" } ?? ""
    }

    private func span(_ data: JSON?, until training: Evidence?) -> String {
        let rows = data?["rows"]?.integer.map { "\($0) rows" } ?? "rows"
        let end = training?.data["until"]?.string ?? data?["until"]?.string
        return rows + (end.map { " until \($0)" } ?? "")
    }
}
