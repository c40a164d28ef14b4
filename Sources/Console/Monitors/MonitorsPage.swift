import Contracts
import Monitoring
import Serving
import Statistics
import Storage

extension ConsoleSection {
    static let monitors = ConsoleSection(title: "Monitors", path: "/console/monitors", action: .monitorsRead)
}

/// The monitors of a workspace with how each stands.
func monitorsPage(_ asked: PageRequest) async throws -> Page {
    let specs = try await MonitorPage.specs(asked)
    var monitors: [View] = []
    for spec in specs {
        let last = try await MonitorPage.windows(of: spec, asked, count: 30)
        let alerts = last.filter(\.alerted)
        let newest = last.last
        monitors.append([
            "name": Shown.text(spec.ref.qualifiedName, path: "/console/monitors/\(pathComponent(spec.ref.qualifiedName))"),
            "endpoint": Shown.text(spec.endpoint.qualifiedName, path: "/console/endpoints/\(pathComponent(spec.endpoint.qualifiedName))"),
            "environment": spec.ref.environment?.rawValue ?? "", "window": "\(spec.window)",
            "state": newest.map { $0.alerted ? ["word": "alert", "tone": "bad", "isMoving": false] : ["word": "quiet", "tone": "ok", "isMoving": false] }
                ?? (["word": "no window yet", "tone": "", "isMoving": false] as View),
            "value": newest?.value.map(Shown.number) ?? "–", "worst": newest?.columns.max { $0.psi < $1.psi }.map { Shown.text($0.name) } ?? false,
            "alerts": alerts.count, "until": Shown.time(newest?.until),
        ])
    }
    return Page("Monitors", in: .monitors, template: "monitors", ["monitors": monitors, "hasMonitors": !monitors.isEmpty])
}

/// One monitor: drift of every column over time, reference and present side by side, performance as labels arrive, its alerts.
struct MonitorPage {
    private static let windowsMax = 200
    private static let columnsMax = 8

    let asked: PageRequest
    let spec: MonitorSpec
    let windows: [WindowMeasurement]

    /// The declared monitors that the caller may see.
    static func specs(_ asked: PageRequest) async throws -> [MonitorSpec] {
        try await asked.platform.resources.get(MonitorSpec.kind, by: asked.grant).compactMap { stored in
            var resource = stored.resource
            resource.workspace = asked.grant.workspace
            // One that cannot be read any more is reported by `keel doctor`; the others are shown.
            return try? MonitorSpec(resource: resource)
        }
    }

    /// The newest windows, oldest first.
    static func windows(of spec: MonitorSpec, _ asked: PageRequest, count: Int) async throws -> [WindowMeasurement] {
        let grant = try Grant.check(asked.grant.caller, may: .monitorsRead, on: spec.ref)
        return try await asked.platform.monitoring.newestWindows(spec.ref, count: count, by: grant)
    }

    private init(_ asked: PageRequest) async throws {
        let ref = try asked.thing(MonitorSpec.kind)
        guard let spec = try await MonitorPage.specs(asked).first(where: { $0.ref == ref }) else {
            throw KeelError.notFound("there is no monitor '\(ref.qualifiedName.prefix(140))'")
        }
        self.asked = asked
        self.spec = spec
        windows = try await MonitorPage.windows(of: spec, asked, count: MonitorPage.windowsMax)
    }

    static func page(_ asked: PageRequest) async throws -> Page { try await MonitorPage(asked).page() }

    private var drift: [WindowMeasurement] { windows.filter { $0.kind == .drift } }
    private var performance: [WindowMeasurement] { windows.filter { $0.kind == .performance } }

    /// The window that is looked at: the one of the address, or the newest.
    private func chosen() throws -> WindowMeasurement? {
        guard let until = try asked.query.instant("until") else { return drift.last }
        guard let window = drift.first(where: { $0.until == until }) else { throw KeelError.notFound("there is no window that ends at \(until)") }
        return window
    }

    private func page() async throws -> Page {
        let path = "/console/monitors/\(pathComponent(spec.ref.qualifiedName))"
        let window = try chosen()
        let columns = (window?.columns ?? []).sorted { $0.psi > $1.psi }
        let shown = asked.query.all("column").isEmpty ? columns.prefix(4).map(\.name) : asked.query.all("column")
        let until = window.map { "&until=\(pathComponent($0.until.description))" } ?? ""
        return Page(
            spec.ref.qualifiedName, in: .monitors, below: [Page.Link("Monitors", "/console/monitors")], template: "monitor",
            [
                "name": Shown.text(spec.ref.qualifiedName), "path": path, "lineage": "/console/lineage?of=\(pathComponent(spec.ref.subject))",
                "endpoint": Shown.text(spec.endpoint.qualifiedName, path: "/console/endpoints/\(pathComponent(spec.endpoint.qualifiedName))"),
                "window": "\(spec.window)", "lateness": "\(spec.lateness)", "threshold": spec.drift.map { "\($0.threshold)" } ?? false,
                "hasDrift": spec.drift != nil, "hasPerformance": spec.performance != nil, "metric": spec.performance?.metric.rawValue ?? "",
                "within": spec.performance.map { "\($0.within)" } ?? "", "condition": spec.performance?.alertWhen.map { "\($0)" } ?? false,
                "hasWindows": !windows.isEmpty,
                "chosen": window.map { window in
                    [
                        "from": Shown.time(window.from), "until": Shown.time(window.until), "rows": Shown.count(window.rows), "release": window.release,
                        "notes": window.notes.map { ["text": $0] as View }, "isNewest": window == drift.last,
                    ] as View
                } ?? false,
                "columns": columns.map { column in
                    [
                        "name": Shown.text(column.name), "psi": Shown.number(column.psi), "chance": Shown.number(column.calibratedThreshold), "word": column.name,
                        "state": column.drifted ? ["word": "drifted", "tone": "bad", "isMoving": false] : ["word": "as trained", "tone": "ok", "isMoving": false] as View,
                        "isShown": shown.contains(column.name),
                    ] as View
                },
                "figures": shown.prefix(MonitorPage.columnsMax).map { name in
                    ["name": Shown.text(name), "source": "\(path)/histogram.json?column=\(pathComponent(name))\(until)"] as View
                },
                "alerts": windows.filter(\.alerted).reversed().prefix(50).map { alert in
                    [
                        "until": Shown.time(alert.until), "kind": alert.kind.rawValue, "value": alert.value.map(Shown.number) ?? "–", "release": alert.release,
                        "rows": Shown.count(alert.rows), "href": alert.kind == .drift ? "\(path)?until=\(pathComponent(alert.until.description))" : false,
                        "columns": alert.columns.filter(\.drifted).prefix(6).map { Shown.text($0.name) },
                    ] as View
                },
                "hasAlerts": windows.contains(where: \.alerted),
                "drift": "\(path)/drift.json", "performance": "\(path)/performance.json",
            ])
    }

    // MARK: Charts

    /// The PSI of the columns that were farthest from the reference in any window, with what happened marked.
    static func drift(_ asked: PageRequest) async throws -> JSON {
        let page = try await MonitorPage(asked)
        var worst: [String: Double] = [:]
        for window in page.drift { for column in window.columns { worst[column.name] = max(worst[column.name] ?? 0, column.psi) } }
        let names = worst.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.prefix(columnsMax).map(\.key)
        let series: [JSON] = names.map { name in
            let points = page.drift.compactMap { window in
                window.columns.first { $0.name == name }.map { ChartData.point(ChartData.instant(window.until), $0.psi) }
            }
            return ["name": .string(name), "data": .array(points)]
        }
        let limits: [JSON] = page.spec.drift.map { [["at": .double($0.threshold), "label": "threshold"]] } ?? []
        return ChartData.lines(x: "time", series, marks: try await page.marks(page.drift), limits: limits)
    }

    /// The metric of each window as its labels arrived, beside what the release was evaluated with.
    static func performance(_ asked: PageRequest) async throws -> JSON {
        let page = try await MonitorPage(asked)
        let name = page.spec.performance?.metric.rawValue ?? "auc"
        let measured = page.performance.compactMap { window in
            (window.metrics[name] ?? nil).map { ChartData.point(ChartData.instant(window.until), $0) }
        }
        let expected = page.performance.compactMap { window in window.reference[name].map { ChartData.point(ChartData.instant(window.until), $0) } }
        var series: [JSON] = measured.isEmpty ? [] : [["name": .string("measured \(name)"), "data": .array(measured)]]
        if !expected.isEmpty { series.append(["name": "at its evaluation", "data": .array(expected)]) }
        return ChartData.lines(x: "time", series, marks: try await page.marks(page.performance))
    }

    /// Alerts, releases that took over, and pipelines that triggers started: all in event time.
    private func marks(_ windows: [WindowMeasurement]) async throws -> [JSON] {
        var marks: [JSON] = []
        var release: Int?
        var wasAlerted = false
        let path = "/console/endpoints/\(pathComponent(spec.endpoint.qualifiedName))"
        for window in windows {
            if let before = release, before != window.release {
                marks.append(ChartData.mark(window.from, "release \(window.release)", tone: "ok", href: path))
            }
            release = window.release
            // The first of several in a row: the chart itself shows how long it went on.
            if window.alerted, !wasAlerted { marks.append(ChartData.mark(window.until, "alert", tone: "bad")) }
            wasAlerted = window.alerted
        }
        guard asked.grant(.ledgerRead) != nil, let first = windows.first, let last = windows.last else { return marks }
        let fired = try await asked.platform.database.read(in: asked.grant.workspace) {
            try $0.ledgerEvents(newestFirst: true, kind: "trigger.fired", limit: 100)
        }
        for event in fired where event.data["reason"]?.string?.contains("monitor/\(spec.ref.qualifiedName) ") == true {
            guard let text = event.data["eventTime"]?.string, let time = Timestamp(text), (first.from...last.until).contains(time) else { continue }
            let run = event.data["run"]?.string.map { "/console/pipeline-runs/\(pathComponent($0))" }
            marks.append(ChartData.mark(time, "\(event.data["pipeline"]?.string ?? "pipeline") started", tone: "info", href: run))
        }
        return marks
    }

    /// The shares of a column's bins: in the training data and in the window.
    static func histogram(_ asked: PageRequest) async throws -> JSON {
        let page = try await MonitorPage(asked)
        let name = asked.query["column"] ?? ""
        guard let window = try page.chosen(), let column = window.columns.first(where: { $0.name == name }) else {
            throw KeelError.notFound("the window has no column '\(name.prefix(140))'")
        }
        let total = Double(column.counts.reduce(0, +))
        let labels = try await page.labels(of: column, release: window.release)
        return [
            "x": .array(labels.map(JSON.string)), "unit": "share",
            "series": [
                ["name": "reference", "data": .array(column.reference.map(ChartData.number))],
                ["name": "this window", "data": .array(column.counts.map { ChartData.number(total > 0 ? Double($0) / total : 0) })],
            ],
        ]
    }

    /// What each bin holds, as the release's reference says; numbers when it is gone, and for those who may not read releases.
    private func labels(of column: WindowMeasurement.Column, release: Int) async throws -> [String] {
        let numbered = column.counts.indices.map { $0 == column.counts.count - 1 ? "missing" : "bin \($0 + 1)" }
        guard let reading = asked.grant(.releasesRead, on: spec.endpoint.subject),
            let found = try? await asked.platform.deployments.releases(endpoint: spec.endpoint, reading).first(where: { $0.number == release }),
            let bundle = try? await ModelBundle.read(found.bundle, from: asked.platform.objects)
        else { return numbered }
        let bins = column.name == "score" ? bundle.reference.score : bundle.reference.inputs[column.name]
        guard let bins, bins.binCount == column.counts.count else { return numbered }
        guard let edges = bins.edges, let first = edges.first, let last = edges.last else { return bins.labels }
        return ["≤ \(Shown.number(first))"] + edges.dropFirst().map { "to \(Shown.number($0))" } + ["> \(Shown.number(last))", "missing"]
    }
}

func addMonitorPages(to pages: ConsoleRoutes) {
    pages.page("/monitors", .monitorsRead, on: .each) { try await monitorsPage($0) }
    pages.page("/monitors/:name", .monitorsRead, on: .placed(MonitorSpec.kind)) { try await MonitorPage.page($0) }
    pages.data("/monitors/:name/drift.json", .monitorsRead, on: .placed(MonitorSpec.kind)) { try await MonitorPage.drift($0) }
    pages.data("/monitors/:name/performance.json", .monitorsRead, on: .placed(MonitorSpec.kind)) { try await MonitorPage.performance($0) }
    pages.data("/monitors/:name/histogram.json", .monitorsRead, on: .placed(MonitorSpec.kind)) { try await MonitorPage.histogram($0) }
}
