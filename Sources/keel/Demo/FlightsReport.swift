import ArgumentParser
import Contracts
import Foundation
import KeelClient

/// Prints what happened, from the ledger and the prediction log, and fails when the loop did not close.
struct FlightsReport {
    let client: KeelClient

    private struct Month {
        let name: String
        let labels: Int64
        let auc: Double
        let logloss: Double
        let calibration: Double
    }

    /// - Throws: exit code 1 when the loop did not close.
    func show() async throws {
        let events = try await client.json(.GET, "/api/v1/ledger?limit=10000")["events"]?.array ?? []
        Terminal.print(lines: "Timeline (event time; from the ledger)\n")
        var count: [String: Int] = [:]
        for event in events {
            guard let (at, text) = line(event) else { continue }
            count[event["kind"]?.string ?? "", default: 0] += 1
            Terminal.print(lines: "  \(at)  \(text)")
        }
        let ours = try await months("delay", client)
        let frozen = try await months("delay-frozen@staging", client)
        let (won, table) = compare(ours, frozen)
        Terminal.print(lines: "\nBy month: the endpoint that retrains itself, beside the model frozen in March\n\n\(table)")
        Terminal.print(lines: "  (ECE is the expected calibration error over ten bins; * the better AUC)")

        Terminal.print(lines: "\nParity: logged online reads, replayed through the offline join\n")
        var differences: Int64 = 0
        for endpoint in ["delay", "delay-frozen@staging"] {
            let parity = try await client.json(.POST, "/api/v1/features/verify", ["endpoint": .string(endpoint), "sample": 5000])
            differences += parity["differences"]?.integer ?? 1
            Terminal.print(lines: 
                "  \(endpoint): \(parity["rows"]?.integer ?? 0) reads, \(parity["compared"]?.integer ?? 0) values, \(parity["differences"]?.integer ?? 0) differences"
            )
            for example in (parity["examples"]?.array ?? []).prefix(5) { Terminal.print(lines: "    \(example.text)") }
        }
        let ledger = try await client.json(.GET, "/api/v1/ledger/verify")
        Terminal.print(lines: "\nLedger: \(ledger["events"]?.integer ?? 0) events, \(ledger["problem"]?.string ?? "unbroken")")
        try judge(count, won: won, of: ours.filter { $0.name >= "2013-05" }.count, differences: differences, ledger: ledger)
    }

    /// The loop as the example promises it; every part that is missing is named.
    private func judge(_ count: [String: Int], won: Int, of months: Int, differences: Int64, ledger: JSON) throws {
        var missing: [String] = []
        if count["monitor.alert", default: 0] == 0 { missing.append("no alert was raised") }
        if count["trigger.fired", default: 0] == 0 { missing.append("no retraining started by itself") }
        if count["release.promoted", default: 0] < 3 { missing.append("no retrained release was promoted") }
        if count["release.rolledback", default: 0] == 0 { missing.append("the forced release was not rolled back") }
        if count["pipeline.run.failed", default: 0] == 0 { missing.append("the gate refused nothing") }
        if won * 2 <= months { missing.append("the frozen model was beaten in only \(won) of \(months) months since May") }
        if differences != 0 { missing.append("online and offline features differ in \(differences) values") }
        if ledger["problem"]?.string != nil { missing.append("the ledger is broken") }
        guard missing.isEmpty else {
            Terminal.print(lines: "\nTHE LOOP DID NOT CLOSE: \(missing.joined(separator: "; "))")
            throw ExitCode(1)
        }
        Terminal.print(lines: 
            "\nThe loop closed: alerts, retrainings and rollouts by themselves; the frozen model beaten in \(won) of \(months) months since May."
        )
    }

    private func months(_ endpoint: String, _ client: KeelClient) async throws -> [Month] {
        (try await client.json(.GET, "/api/v1/endpoints/\(endpoint)/performance")["months"]?.array ?? []).compactMap { row in
            guard let auc = row["auc"]?.number else { return nil }
            return Month(
                name: row["month"]?.string ?? "", labels: row["labels"]?.integer ?? 0, auc: auc, logloss: row["logloss"]?.number ?? .nan,
                calibration: row["calibration"]?.number ?? .nan)
        }
    }

    private func compare(_ ours: [Month], _ frozen: [Month]) -> (won: Int, table: String) {
        var (won, lines) = (0, ["  MONTH     LABELS    AUC    FROZEN  DIFFERENCE   LOGLOSS  FROZEN     ECE   FROZEN"])
        for month in ours {
            guard let other = frozen.first(where: { $0.name == month.name }) else { continue }
            let better = month.auc > other.auc
            if better, month.name >= "2013-05" { won += 1 }
            let difference = abs(month.auc - other.auc).decimals(4)
            lines.append(
                "  \(month.name)  \(pad(String(month.labels), 7))  \(month.auc.decimals(4))\(better ? "*" : " ") \(other.auc.decimals(4))\(better ? " " : "*")     \(month.auc < other.auc ? "-" : "+")\(difference)    \(month.logloss.decimals(4))  \(other.logloss.decimals(4))   \(month.calibration.decimals(4))  \(other.calibration.decimals(4))"
            )
        }
        return (won, lines.joined(separator: "\n"))
    }

    /// A line of the timeline, for the events that tell the story.
    private func line(_ event: JSON) -> (at: String, text: String)? {
        let (kind, data) = (event["kind"]?.string ?? "", event["data"] ?? .null)
        let subject = event["subject"]?.string ?? ""
        let at = String((data["eventTime"]?.string ?? data["now"]?.string ?? "").prefix(16)).replacing("T", with: " ")
        let when = at + String(repeating: " ", count: max(0, 16 - at.count))
        switch kind {
        case "monitor.alert":
            let columns = (data["columns"]?.array ?? []).sorted { ($0["psi"]?.number ?? 0) > ($1["psi"]?.number ?? 0) }
            let worst = columns.prefix(2).map { "\($0["name"]?.string ?? "") PSI \(($0["psi"]?.number ?? .nan).decimals(2))" }
            let metric =
                "auc \((data["metrics"]?["auc"]?.number ?? .nan).decimals(3)), reference \((data["reference"]?["auc"]?.number ?? .nan).decimals(3))"
            return (when, "alert       \(data["kind"]?.string ?? ""): \(columns.isEmpty ? metric : worst.joined(separator: ", "))")
        case "trigger.fired": return (when, "retrain     \(data["reason"]?.string ?? subject)")
        case "pipeline.run.failed": return (when, "refused     \(data["error"]?.string ?? "")")
        case "rollout.started": return (when, "rollout     \(name(subject, data)) begins in shadow")
        case "rollout.step": return (when, "canary      \(name(subject, data)) takes \(share(data))")
        case "release.promoted": return (when, "promoted    \(name(subject, data)) (\(data["reason"]?.string ?? "every step held"))")
        case "release.rolledback": return (when, "ROLLED BACK \(name(subject, data)): \(data["reason"]?.string ?? "")")
        default: return nil
        }
    }

    private func name(_ subject: String, _ data: JSON) -> String {
        "\(subject.split(separator: "/").last.map(String.init) ?? subject)/\(data["release"]?.integer ?? data["from"]?.integer ?? 0)"
    }
    private func share(_ data: JSON) -> String {
        data["share"]?.number.map { "\(Int(saturating: ($0 * 100).rounded())) %" } ?? "the next share"
    }
    private func pad(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
}
