import Contracts
import Tracking

/// One run: what it was given and measured, its curves, its artifacts.
struct RunPage {
    enum Tab: String, CaseIterable {
        case overview, charts, artifacts

        var title: String {
            switch self {
            case .overview: "Overview"
            case .charts: "Charts"
            case .artifacts: "Artifacts"
            }
        }
    }

    /// Rows of a table of keys and values, and charts, that are shown at once.
    static let rowsMax = 200
    static let chartsMax = 24
    static let noteTag = "mlflow.note.content"

    let asked: PageRequest
    let run: Run
    let tab: Tab

    static func page(_ asked: PageRequest) async throws -> Page {
        let run = try await asked.platform.tracking.run(id: asked.name("id"), asked.grant)
        let tab = asked.query["tab"].flatMap(Tab.init) ?? .overview
        return try await RunPage(asked: asked, run: run, tab: tab).page()
    }

    private func page() async throws -> Page {
        let experiment = try await asked.platform.tracking.experiment(id: run.experimentID, asked.grant)
        let path = RunViews.path(run)
        var view: View = [
            "id": run.id, "path": path, "here": asked.query.with([:]), "name": Shown.text(RunViews.name(run)), "status": ChartData.badge(run.status.rawValue),
            "isDeleted": run.lifecycle == .deleted, "isLive": run.status == .running && run.lifecycle == .active, "tabs": tabs(path),
            "mayWrite": asked.grant(.trackingWrite) != nil, "lineage": "/console/lineage?of=Run%2F\(pathComponent(run.id))",
            "overview": false, "charts": false, "artifacts": false,
        ]
        switch tab {
        case .overview: view["overview"] = overview()
        case .charts: view["charts"] = charts()
        case .artifacts: view["artifacts"] = try await RunArtifacts(asked: asked, run: run).view()
        }
        return Page(
            RunViews.name(run), in: .experiments,
            below: [
                Page.Link("Experiments", "/console/experiments"), Page.Link(Shown.cut(experiment.name), "/console/experiments/\(pathComponent(experiment.id))"),
            ], template: "run", view, policy: ["frame-src 'self'"])
    }

    private func tabs(_ path: String) -> [View] {
        Tab.allCases.map { each in
            ["title": each.title, "path": each == .overview ? path : "\(path)?tab=\(each.rawValue)", "isCurrent": each == tab] as View
        }
    }

    // MARK: Overview

    private func overview() -> View {
        let note = run.tags.first { $0.key == RunPage.noteTag }?.value
        let words = asked.query["q"]
        let params = part(run.params.map { ($0.key, $0.value) }, words: words, after: asked.query["params"])
        let metrics = part(run.metrics.map { ($0.key, $0) }, words: words, after: asked.query["metrics"])
        let tags = part(run.tags.filter { $0.key != RunPage.noteTag }.map { ($0.key, $0.value) }, words: words, after: asked.query["tags"])
        return [
            "facts": facts, "words": words ?? "", "note": note ?? "", "hasNote": note != nil, "blocks": note.map(Markdown.blocks) ?? [],
            "params": params.rows.map(pair), "paramCount": Shown.count(run.params.count), "hasParams": !run.params.isEmpty,
            "moreParams": params.next.map { asked.query.with(["params": $0]) } ?? false,
            "metrics": metrics.rows.map { key, metric in
                [
                    "key": Shown.text(key), "value": Shown.number(metric.value), "exact": "\(metric.value)", "step": Shown.count(Int(metric.step)),
                    "at": Shown.time(metric.at),
                ] as View
            },
            "metricCount": Shown.count(run.metrics.count), "hasMetrics": !run.metrics.isEmpty,
            "moreMetrics": metrics.next.map { asked.query.with(["metrics": $0]) } ?? false,
            "tags": tags.rows.map(pair), "tagCount": Shown.count(run.tags.count), "hasTags": !run.tags.isEmpty,
            "moreTags": tags.next.map { asked.query.with(["tags": $0]) } ?? false,
            "datasets": run.datasets.prefix(50).map { ["name": Shown.text($0.name), "digest": $0.digest, "source": Shown.text($0.sourceType)] as View },
            "hasDatasets": !run.datasets.isEmpty,
            "models": (run.modelOutputs + run.modelInputs).prefix(50).map { ["id": $0.modelID] as View }, "hasModels": !(run.modelOutputs + run.modelInputs).isEmpty,
        ]
    }

    private func pair(_ key: String, _ value: String) -> View { ["key": Shown.text(key), "value": Shown.text(value)] }

    private var facts: [View] {
        func tag(_ key: String) -> String? { run.tags.first { $0.key == key }?.value }
        var facts: [(String, View)] = [("Run id", ["text": run.id, "isCode": true])]
        facts.append(("Started", ["time": Shown.time(run.startedAt)]))
        facts.append(("Duration", ["text": RunViews.duration(run, now: asked.now)]))
        facts.append(("User", ["words": Shown.text(run.userID.isEmpty ? "–" : run.userID)]))
        if let source = tag("mlflow.source.name") { facts.append(("Source", ["words": Shown.text(source)])) }
        if let commit = tag("mlflow.source.git.commit") { facts.append(("Commit", ["text": String(commit.prefix(12)).visible(), "isCode": true])) }
        if let parent = tag("mlflow.parentRunId") { facts.append(("Parent run", ["words": Shown.text(parent, path: "/console/runs/\(pathComponent(parent))")])) }
        if let origin = tag(RunOrigin.tag) {
            let id = String(origin.prefix { $0 != "/" })
            facts.append(("Pipeline run", ["words": Shown.text(origin, path: "/console/pipeline-runs/\(pathComponent(id))")]))
        }
        return facts.map { name, view in
            var view = view
            view["name"] = name
            for key in ["text", "time", "words", "isCode"] where view[key] == nil { view[key] = false }
            return view
        }
    }

    /// A page of named things, by their names; those that contain the words.
    private func part<Value>(_ items: [(String, Value)], words: String?, after: String?) -> (rows: [(String, Value)], next: String?) {
        let sorted = items.sorted { $0.0 < $1.0 }.filter { item in
            (words.map { item.0.lowercased().contains($0.lowercased()) } ?? true) && (after.map { item.0 > $0 } ?? true)
        }
        let rows = Array(sorted.prefix(RunPage.rowsMax))
        return (rows, sorted.count > rows.count ? rows.last?.0 : nil)
    }

    // MARK: Charts

    private func charts() -> View {
        let words = asked.query["q"]
        let metrics = part(run.metrics.map { ($0.key, $0) }, words: words, after: asked.query["metrics"])
        let shown = metrics.rows.prefix(RunPage.chartsMax)
        let next = metrics.rows.count > shown.count ? shown.last?.0 : metrics.next
        return [
            "words": words ?? "", "hasMetrics": !run.metrics.isEmpty, "x": asked.query["x"] ?? "",
            "figures": shown.map { key, _ in
                ["key": Shown.text(key), "source": "\(RunViews.path(run))/curve.json?key=\(pathComponent(key))"] as View
            },
            "more": next.map { asked.query.with(["metrics": $0]) } ?? false,
        ]
    }

    /// The curve of one metric with at most about a thousand points.
    static func curve(_ asked: PageRequest) async throws -> JSON {
        let id = try asked.name("id")
        guard let key = asked.query["key"] else { throw KeelError.invalid("'key' is missing", hint: "the metric's name", path: "key") }
        let outline = try await asked.platform.tracking.metricOutline(runID: id, key: key, size: 1000, asked.grant)
        let axis = try CurveAxis(asked.query["x"])
        return ChartData.lines(x: axis.name, [["name": .string(key), "data": .array(axis.points(outline.points))]])
    }
}

/// What is along the x axis of curves.
enum CurveAxis: String {
    case step, time, relative

    init(_ text: String?) throws(KeelError) {
        guard let text else {
            self = .step
            return
        }
        guard let axis = CurveAxis(rawValue: text) else { throw .invalid("'\(text.prefix(40))' is no axis", hint: "step, time or relative", path: "x") }
        self = axis
    }

    /// As charts.js names it: `relative` counts seconds.
    var name: String {
        switch self {
        case .step: "step"
        case .time: "time"
        case .relative: "seconds"
        }
    }

    func points(_ metrics: [Metric]) -> [JSON] {
        let start = metrics.map(\.at).min() ?? Timestamp(microseconds: 0)
        // Along time a run that logs by step is in order as well; along steps it is as it was read.
        let ordered = self == .step ? metrics : metrics.sorted { $0.at < $1.at }
        return ordered.map { metric in
            switch self {
            case .step: ChartData.point(.int(metric.step), metric.value)
            case .time: ChartData.point(ChartData.instant(metric.at), metric.value)
            case .relative: ChartData.point(.double((metric.at - start).seconds), metric.value)
            }
        }
    }
}

extension Shown {
    /// A text cut for display.
    static func cut(_ text: String) -> String { Shown.text(text)["text"] as? String ?? "" }

    /// `12.4 kB`.
    static func bytes(_ bytes: Int64) -> String {
        var size = Double(bytes)
        for unit in ["B", "kB", "MB", "GB"] {
            if size < 1000 { return unit == "B" ? "\(bytes) B" : "\(size.decimals(1)) \(unit)" }
            size /= 1000
        }
        return "\(size.decimals(1)) TB"
    }
}
