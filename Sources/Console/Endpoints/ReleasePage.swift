import Contracts
import Registry
import Serving
import Storage

/// One release: what it is made of, the evidence that it was released on, and what became of it.
func addReleasePage(to pages: ConsoleRoutes) {
    pages.page("/endpoints/:name/releases/:number", .releasesRead, on: .placed(EndpointSpec.kind)) { asked in
        let ref = try asked.thing(EndpointSpec.kind)
        guard let number = Int(try asked.name("number")) else {
            throw KeelError.invalid("a release is named by its number", path: "number")
        }
        let record = try await asked.platform.deployments.record(endpoint: ref, release: number, asked.grant)
        let release = record.release
        var view: View = [
            "number": number, "base": ConsolePath.endpoint(ref), "endpoint": ref.qualifiedName,
            "model": "\(release.model)/\(release.modelVersion)",
            "modelPath": ConsolePath.version(release.model, release.modelVersion), "features": release.featureService ?? false,
            "createdAt": Shown.time(release.createdAt), "createdBy": release.createdBy, "gate": release.gate.text,
            "gateLevel": release.gate == .passed ? "ok" : "warn", "bundle": release.bundle.hex, "digest": release.digest.hex,
            "from": release.promotedFrom?.name ?? false, "parts": release.parts.map { ["text": $0] as View },
            "hasParts": !release.parts.isEmpty,
            "deployedAt": Shown.time(record.deployedAt), "predictions": Shown.count(record.predictions),
            "labels": Shown.count(record.labels),
            "promotion": decision(record.promotion), "takenBack": decision(record.takenBack),
        ]
        view["evidence"] = try await evidence(of: release, asked) ?? false
        return Page(
            "Release \(number)", in: .endpoints,
            below: [.init("Endpoints", "/console/endpoints"), .init(ref.qualifiedName, ConsolePath.endpoint(ref))], template: "release",
            view)
    }
}

/// What was decided, by whom, why, and the numbers that it was decided by.
private func decision(_ event: LedgerEvent?) -> Any {
    guard let event else { return false }
    let numbers = (event.data["numbers"]?.members ?? []).map { member -> View in
        ["name": member.key, "value": member.value.number.map(Shown.number) ?? member.value.text]
    }
    return [
        "by": LedgerRows.who(event), "at": Shown.time(event.at), "reason": event.data["reason"]?.string ?? "", "event": event.seq,
        "eventPath": ConsolePath.event(event.seq), "numbers": numbers, "hasNumbers": !numbers.isEmpty,
    ] as View
}

private func evidence(of release: Release, _ asked: PageRequest) async throws -> View? {
    guard let grant = asked.grant(.registryRead, on: "Model/\(release.model)"), let number = Int(release.modelVersion) else { return nil }
    do {
        let version = try await asked.platform.registry.version(model: release.model, version: number, grant)
        return try await asked.platform.registry.evidence(of: version, grant).map(EvidenceView.view)
    } catch let error as KeelError where error.code == .notFound { return nil }
}

/// What Keel saw of a version.
enum EvidenceView {
    static func view(_ evidence: VersionEvidence) -> View {
        let items =
            [evidence.training, evidence.evaluation, evidence.gate, evidence.bundle].compactMap { $0 } + evidence.approvals
            + evidence.signatures
        return ["items": items.map(item)]
    }

    private static func item(_ evidence: Evidence) -> View {
        let facts = flattened(evidence.data).prefix(60).map { ["name": $0.name, "value": $0.value] as View }
        return [
            "kind": evidence.kind.rawValue, "by": evidence.by, "at": Shown.time(evidence.at), "verdict": evidence.verdict ?? false,
            "level": evidence.verdict.map { $0 == Evidence.passed ? "ok" : "bad" } ?? "info",
            "origin": evidence.origin.map { "\($0.run), step \($0.step)" } ?? false,
            "facts": Array(facts), "hasFacts": !facts.isEmpty,
        ]
    }

    /// The leaves of a document, by their paths.
    static func flattened(_ json: JSON, path: String = "") -> [(name: String, value: String)] {
        switch json {
        case .object(let members): return members.flatMap { flattened($0.value, path: path.isEmpty ? $0.key : "\(path).\($0.key)") }
        case .array(let items) where !items.allSatisfy({ $0.members == nil && $0.array == nil }):
            return items.enumerated().flatMap { flattened($1, path: "\(path)[\($0)]") }
        case .array(let items):
            return items.isEmpty ? [] : [(path, String(items.map { $0.string ?? $0.text }.joined(separator: ", ").prefix(500)))]
        case .null: return []
        case .double(let value): return [(path, Shown.number(value))]
        default: return [(path, String((json.string ?? json.text).visible().prefix(500)))]
        }
    }
}
