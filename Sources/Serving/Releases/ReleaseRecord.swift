import Contracts
import Storage

/// What is known of a release where it is: the evidence that it takes along when it is promoted to another environment.
public struct ReleaseRecord: Sendable {
    public let release: Release
    /// When it first entered a rollout, or answered all requests.
    public let deployedAt: Timestamp?
    /// The requests it answered that are logged, and how many of them have a label.
    public let predictions: Int
    public let labels: Int
    /// The last event that made it answer all requests: `release.promoted`, or `release.rolledback` to it.
    public let promotion: LedgerEvent?
    /// The last event that took it back: `release.rolledback` from it. Nil when it was promoted since.
    public let takenBack: LedgerEvent?

    /// Whether it answered requests there, or could have: an endpoint may log none.
    public var hasServed: Bool { predictions > 0 || promotion != nil }

    public var json: JSON {
        var out: JSON = [
            "created_by": .string(release.createdBy), "created_at": .string(release.createdAt.description),
            "deployed_at": deployedAt.map { .string($0.description) } ?? .null, "predictions": .int(Int64(predictions)), "labels": .int(Int64(labels)),
        ]
        if let promotion {
            out["promoted_by"] = .string(promotion.caller)
            out["promoted_at"] = .string(promotion.at.description)
            out["reason"] = promotion.data["reason"] ?? .null
            if let numbers = promotion.data["numbers"] { out["numbers"] = numbers }
        }
        if let takenBack {
            out["taken_back_by"] = .string(takenBack.caller)
            out["taken_back_at"] = .string(takenBack.at.description)
            out["taken_back_reason"] = takenBack.data["reason"] ?? .null
            if let numbers = takenBack.data["numbers"] { out["taken_back_numbers"] = numbers }
        }
        return out
    }
}

extension DeploymentService {
    /// What is known of a release of an endpoint: of the one that answers its requests when none is named.
    public func record(endpoint: ResourceRef, release number: Int?, _ grant: Grant) async throws -> ReleaseRecord {
        try grant.require(.releasesRead, on: endpoint)
        guard let number = try number ?? live(endpoint).state.stable else {
            throw KeelError(.failedPrecondition, "no release serves '\(endpoint.qualifiedName)'", hint: "name one that did")
        }
        // What was answered a moment ago counts.
        try await runtime.flush()
        return try await database.read(in: endpoint.workspace) { db in
            let release = try ReleaseStore.find(endpoint, number, in: db)
            let counts = try db.row(
                """
                SELECT count(*) AS n, count(label) AS labels FROM predictions
                WHERE workspace = ? AND endpoint = ? AND release_number = ? AND shadow = 0
                """, ReleaseStore.key(endpoint) + [.int(Int64(number))])
            let (promotion, takenBack) = try DeploymentService.fate(of: release, in: db)
            return ReleaseRecord(
                release: release, deployedAt: try ReleaseStore.deployedAt(release, in: db), predictions: Int(counts?.int("n") ?? 0),
                labels: Int(counts?.int("labels") ?? 0), promotion: promotion,
                takenBack: takenBack)
        }
    }

    /// The last event that made a release answer all requests, and the one that took it back since.
    static func fate(of release: Release, in db: some Querying) throws -> (promotion: LedgerEvent?, takenBack: LedgerEvent?) {
        let number = JSON.int(Int64(release.number))
        // Nothing was decided about a release before the event that made it.
        let first = try ReleaseStore.createdSeq(release, in: db) - 1
        var subjects: [(subject: String, before: Int64)] = [(release.endpoint.subject, .max)]
        if let old = try oldSubject(of: release.endpoint, in: db) { subjects.append((old.subject, old.until + 1)) }
        func last(_ kinds: [String], where isWanted: (LedgerEvent) -> Bool) throws -> LedgerEvent? {
            for place in subjects {
                let found = try kinds.flatMap {
                    try decisions(db, $0, on: place.subject, after: first, before: place.before, atLeast: 1, where: isWanted)
                }
                if let last = found.max(by: { $0.seq < $1.seq }) { return last }
            }
            return nil
        }
        let promotion = try last(["release.promoted", "release.rolledback"]) { event in
            event.data["release"] == number && (event.kind == "release.promoted" || event.data["to"] == number)
        }
        // A candidate is taken back to the stable one, a stable one to an earlier one.
        let takenBack = try last(["release.rolledback"]) { event in
            event.data["to"] != number && (event.data["release"] == number || event.data["from"] == number)
        }
        return (promotion, takenBack.flatMap { $0.seq > promotion?.seq ?? 0 ? $0 : nil })
    }
}
