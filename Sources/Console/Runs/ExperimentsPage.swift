import Contracts
import Tracking

extension ConsoleSection {
    static let experiments = ConsoleSection(title: "Experiments", path: "/console/experiments", action: .trackingRead)
}

/// The list of experiments.
func experimentsPage(_ asked: PageRequest) async throws -> Page {
    let state = asked.query["state"] ?? "active"
    var search = try ExperimentSearch(view: state == "deleted" ? .deletedOnly : .activeOnly, pageSize: 50, pageToken: asked.query["page"])
    if let words = asked.query["q"] { search.clauses = [SearchClause(.attribute, "name", .ilike, .text("%\(words)%"))] }
    let found = try await asked.platform.tracking.searchExperiments(search, asked.grant)
    return Page(
        "Experiments", in: .experiments, template: "experiments",
        [
            "words": asked.query["q"] ?? "", "hasExperiments": !found.items.isEmpty, "isDeleted": state == "deleted", "hasWords": asked.query["q"] != nil,
            "experiments": found.items.map { experiment in
                [
                    "name": Shown.text(experiment.name, path: "/console/experiments/\(pathComponent(experiment.id))"), "id": experiment.id,
                    "created": Shown.time(experiment.createdAt), "updated": Shown.time(experiment.updatedAt),
                    "tags": RunViews.tags(experiment.tags),
                ] as View
            },
            "first": asked.query["page"] == nil ? false : asked.query.with(["page": nil]),
            "next": found.nextToken.map { asked.query.with(["page": $0]) } ?? false,
        ])
}

/// Parts of views that several pages of runs have.
enum RunViews {
    /// Tags that people set, not those by which clients note where a run came from.
    static func tags(_ tags: [KeyValue]) -> [View] {
        tags.filter { !$0.key.hasPrefix("mlflow.") && !$0.key.hasPrefix(ReservedTags.prefix) }.prefix(12).map { Shown.text("\($0.key): \($0.value)") }
    }

    static func path(_ run: Run) -> String { "/console/runs/\(pathComponent(run.id))" }

    static func name(_ run: Run) -> String { run.name.isEmpty ? String(run.id.prefix(8)) : run.name }

    /// `4 min 10 s`; of a run that lasts still, up to now.
    static func duration(_ run: Run, now: Timestamp) -> String {
        let seconds = max(0, ((run.endedAt ?? now) - run.startedAt).seconds)
        return span(seconds: seconds)
    }

    static func span(seconds: Double) -> String {
        if seconds < 60 { return seconds < 10 ? "\(seconds.decimals(1)) s" : "\(Int(saturating: seconds)) s" }
        let minutes = Int(saturating: seconds / 60)
        if minutes < 60 { return "\(minutes) min \(Int(saturating: seconds) % 60) s" }
        if minutes < 48 * 60 { return "\(minutes / 60) h \(minutes % 60) min" }
        return "\(minutes / 1440) d \(minutes / 60 % 24) h"
    }
}
