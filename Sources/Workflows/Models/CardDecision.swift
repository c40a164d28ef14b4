import Contracts
import Registry
import Storage

/// What an event of the ledger decided about a version, in words.
enum CardDecision {
    /// Nil for an event that decided nothing.
    static func read(_ event: LedgerEvent) -> ModelCard.Decision? {
        guard let text = event.subject.hasPrefix("Model/") ? version(event) : release(event) else { return nil }
        return ModelCard.Decision(at: event.at, by: event.caller, text: text)
    }

    /// Of the changes of a version those that decide something: tags and descriptions may be many.
    static let versionKinds: Set = [
        "model.alias.set", "model.alias.removed", "model.version.stage", "model.version.created", "model.aliases.imported",
        "model.version.imported", "model.version.bundle", "model.version.approval", "model.version.accepted", "model.version.signature",
    ]

    private static func version(_ event: LedgerEvent) -> String? {
        let (alias, before, after) = (event.data["alias"]?.string ?? "", event.data["before"] ?? .null, event.data["after"] ?? .null)
        switch event.kind {
        case "model.alias.set":
            return "alias \(alias) \(before.isNull ? "set" : "moved from version \(before.text)") to version \(after.text)"
        case "model.alias.removed": return "alias \(alias) removed"
        case "model.version.stage": return "stage \(before.string ?? "") to \(after.string ?? "")"
        case "model.version.created": return "registered"
        case "model.version.bundle":
            return "bound to bundle \(event.data["subject"]?.string?.prefix(12) ?? ""), gate \(event.data["verdict"]?.string ?? "")"
        case "model.version.approval": return "approved: \(event.data["reason"]?.string ?? "")"
        case "model.version.signature": return "its files \(event.data["subject"]?.string?.prefix(12) ?? "") signed"
        case "model.aliases.imported": return "aliases imported from \(event.data["from"]?.string ?? "")"
        case "model.version.accepted": return "taken over from the workspace \(event.data["from"]?.string ?? ""), where it is \(event.data["source"]?.string ?? "")"
        case "model.version.imported": return "imported from \(event.data["from"]?.string ?? "")"
        default: return nil
        }
    }

    /// What was known of a release in the environment that it was promoted from.
    private static func seen(_ evidence: JSON) -> String {
        var parts: [String] = []
        if let count = evidence["predictions"]?.integer { parts.append("\(count) predictions") }
        if let by = evidence["created_by"]?.string { parts.append("released there by \(by)") }
        return parts.isEmpty ? "" : " (\(parts.joined(separator: ", ")))"
    }

    private static func release(_ event: LedgerEvent) -> String? {
        let number = event.data["release"]?.integer ?? 0
        let endpoint = ResourceRef(subject: event.subject, in: .default)?.qualifiedName ?? event.subject
        let release = "release \(endpoint)/\(number)"
        let reason = event.data["reason"]?.string.map { ": \($0)" } ?? ""
        switch event.kind {
        case "release.created":
            let source = event.data["promoted_from"].map { source in
                ", promoted from \(source["endpoint"]?.string ?? "")/\(source["release"]?.integer ?? 0)\(seen(source["evidence"] ?? .null))"
            }
            return "\(release) made, gate \(event.data["gate"]?.string ?? "")\(source ?? "")"
        case "rollout.started": return "\(release) entered the rollout"
        case "rollout.aborted": return "\(release) taken out of the rollout\(reason)"
        case "release.promoted": return "\(release) promoted\(reason)"
        case "release.rolledback":
            let to = event.data["to"]?.integer ?? 0
            return to == number ? "\(release) brought back\(reason)" : "\(release) rolled back to \(to)\(reason)"
        default: return nil
        }
    }
}
