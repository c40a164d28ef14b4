import Contracts
import SearchLanguage
import Tracking

/// A column of the table of runs: `metrics.loss`, `params.depth`, `tags.team`, or one of every run.
struct RunColumn: Hashable {
    enum Source: String { case metrics, params, tags }
    let source: Source
    let key: String

    init(_ source: Source, _ key: String) {
        self.source = source
        self.key = key
    }

    /// - Returns: nil for what is no column.
    init?(_ text: String) {
        guard let dot = text.firstIndex(of: "."), let source = Source(rawValue: String(text[..<dot])), dot < text.index(before: text.endIndex) else { return nil }
        self.init(source, String(text[text.index(after: dot)...]))
    }

    var text: String { "\(source.rawValue).\(key)" }

    /// As the language of searches writes it. A key with both quotes cannot be written; the table does not sort by it.
    var searched: String? {
        if !key.contains("`") { return "\(source.rawValue).`\(key)`" }
        return key.contains("\"") ? nil : "\(source.rawValue).\"\(key)\""
    }

    func value(_ run: Run) -> View {
        switch source {
        case .metrics:
            guard let metric = run.metrics.first(where: { $0.key == key }) else { return ["isNumber": true, "text": ""] }
            return ["isNumber": true, "text": Shown.number(metric.value), "title": "\(metric.value) at step \(metric.step)"]
        case .params: return cell(run.params)
        case .tags: return cell(run.tags)
        }
    }

    private func cell(_ values: [KeyValue]) -> View {
        guard let value = values.first(where: { $0.key == key })?.value else { return ["isNumber": false, "text": ""] }
        var view = Shown.text(value)
        view["isNumber"] = Double(value) != nil
        return view
    }
}

/// The runs of one experiment as a table: its columns, filter and order are in the address.
struct RunsTablePage {
    private static let standardColumns = 5
    private static let choicesMax = 200

    let asked: PageRequest
    let experiment: Experiment

    static func page(_ asked: PageRequest) async throws -> Page {
        let experiment = try await asked.platform.tracking.experiment(id: asked.name("id"), asked.grant)
        return try await RunsTablePage(asked: asked, experiment: experiment).page()
    }

    private func page() async throws -> Page {
        var problem: KeelError?
        var runs: [Run] = []
        var next: String?
        do {
            let found = try await asked.platform.tracking.searchRuns(try search(), asked.grant)
            runs = found.items
            next = found.nextToken
        } catch let error as KeelError where error.code == .invalidArgument { problem = error }
        let columns = columns(of: runs)
        var view: View = [
            "experiment": Shown.text(experiment.name), "id": experiment.id, "isDeletedExperiment": experiment.lifecycle == .deleted,
            "tags": RunViews.tags(experiment.tags), "filter": asked.query["filter"] ?? "", "order": asked.query["order"] ?? "", "path": asked.query.path,
            "isDeleted": isDeleted, "hasFilter": asked.query["filter"] != nil, "hasRuns": !runs.isEmpty, "standing": standing, "problem": false, "first": false,
            "next": false, "saved": SavedLayout.view(experiment, .runs, asked),
        ]
        if let problem { view["problem"] = ["message": problem.message, "hint": problem.hint ?? false] as View }
        if asked.query["page"] != nil { view["first"] = asked.query.with(["page": nil]) }
        if let next { view["next"] = asked.query.with(["page": next]) }
        view["columns"] = columns.map { heading($0.key, sorted: $0.searched, isNumber: $0.source == .metrics, note: $0.source.rawValue) }
        view["choices"] = choices(of: runs, chosen: columns)
        view["runs"] = rows(runs, columns)
        return Page(experiment.name, in: .experiments, below: [Page.Link("Experiments", "/console/experiments")], template: "runs-table", view)
    }

    private func rows(_ runs: [Run], _ columns: [RunColumn]) -> [View] {
        let now = asked.now
        return runs.map { run in
            [
                "id": run.id, "name": Shown.text(RunViews.name(run), path: RunViews.path(run)), "status": ChartData.badge(run.status.rawValue),
                "started": Shown.time(run.startedAt), "duration": RunViews.duration(run, now: now), "user": Shown.text(run.userID),
                "cells": columns.map { $0.value(run) },
            ]
        }
    }

    /// What the menu of columns offers: what the runs of this page have.
    private func choices(of runs: [Run], chosen: [RunColumn]) -> [View] {
        let all = RunsTablePage.columns(in: runs)
        let sources: [(RunColumn.Source, String)] = [(.metrics, "Metrics"), (.params, "Params"), (.tags, "Tags")]
        return sources.map { source, title in
            let own = all.filter { $0.source == source }.prefix(RunsTablePage.choicesMax)
            let columns: [View] = own.map { ["text": $0.text, "name": Shown.text($0.key), "isChosen": chosen.contains($0)] }
            return ["title": title, "columns": columns]
        }
    }

    private var isDeleted: Bool { asked.query["state"] == "deleted" }

    private func search() throws(KeelError) -> RunSearch {
        try RunSearch(
            experimentIDs: [experiment.id], filter: asked.query["filter"], view: isDeleted ? .deletedOnly : .activeOnly,
            orderBy: asked.query["order"].map { [$0] } ?? [], pageSize: try asked.query.limit(), pageToken: asked.query["page"])
    }

    /// The columns that every run has, before those that are chosen.
    private var standing: [View] {
        [
            heading("Run", sorted: "attributes.run_name", isNumber: false), heading("Status", sorted: "attributes.status", isNumber: false),
            heading("Started", sorted: "attributes.start_time", isNumber: false), heading("Duration", sorted: nil, isNumber: true),
            heading("User", sorted: nil, isNumber: false),
        ]
    }

    /// A heading sorts by its column: the greatest first, then the least first, then as before.
    private func heading(_ title: String, sorted: String?, isNumber: Bool, note: String = "") -> View {
        var view = Shown.text(title)
        view["isNumber"] = isNumber
        view["note"] = note.isEmpty ? false : note
        guard let sorted else {
            view["path"] = false
            view["sort"] = false
            return view
        }
        let (down, up) = ("\(sorted) DESC", "\(sorted) ASC")
        let now = asked.query["order"]
        view["path"] = asked.query.with(["order": now == down ? up : now == up ? nil : down, "page": nil])
        view["sort"] = now == down ? "descending" : now == up ? "ascending" : false
        return view
    }

    /// Those of the address; else metrics and parameters that tell the runs of this page apart.
    private func columns(of runs: [Run]) -> [RunColumn] {
        let chosen = asked.query.all("column").compactMap(RunColumn.init)
        guard chosen.isEmpty else { return Array(chosen.prefix(40)) }
        let metrics = RunsTablePage.columns(in: runs).filter { $0.source == .metrics }.prefix(RunsTablePage.standardColumns)
        var values: [String: Set<String>] = [:]
        for run in runs { for param in run.params { values[param.key, default: []].insert(String(param.value.prefix(200))) } }
        let differing = values.filter { $0.value.count > 1 }.keys.sorted()
        let alike = values.filter { $0.value.count == 1 }.keys.sorted()
        return metrics + (differing + alike).prefix(RunsTablePage.standardColumns).map { RunColumn(.params, $0) }
    }

    /// All that the runs of this page have.
    private static func columns(in runs: [Run]) -> [RunColumn] {
        var seen: Set<RunColumn> = []
        for run in runs {
            for metric in run.metrics { seen.insert(RunColumn(.metrics, metric.key)) }
            for param in run.params { seen.insert(RunColumn(.params, param.key)) }
            for tag in run.tags where !tag.key.hasPrefix("mlflow.") { seen.insert(RunColumn(.tags, tag.key)) }
        }
        return seen.sorted { $0.text < $1.text }
    }
}
