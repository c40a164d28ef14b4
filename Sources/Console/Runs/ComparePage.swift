import Contracts
import Tracking

/// Several runs side by side: where their parameters differ, their curves together, parallel coordinates and a scatter plot.
struct ComparePage {
    static let runsMax = 50
    private static let rowsMax = 200
    private static let chartsMax = 20
    /// Points of all curves of one chart together.
    private static let pointsMax = 10_000
    private static let axesMax = 12

    let asked: PageRequest
    let runs: [Run]

    private init(_ asked: PageRequest) async throws {
        let ids = asked.query.all("run")
        guard !ids.isEmpty else { throw KeelError.invalid("no run is chosen", hint: "choose two or more in the table of an experiment", path: "run") }
        guard ids.count <= ComparePage.runsMax else {
            throw KeelError.invalid("\(ids.count) runs are more than can be compared at once", hint: "at most \(ComparePage.runsMax)", path: "run")
        }
        var runs: [Run] = []
        var seen: Set<String> = []
        for id in ids where seen.insert(id).inserted { runs.append(try await asked.platform.tracking.run(id: id, asked.grant)) }
        self.asked = asked
        self.runs = runs
    }

    static func page(_ asked: PageRequest) async throws -> Page {
        let compared = try await ComparePage(asked)
        var page = try compared.page()
        page.view["saved"] = try await compared.saved() ?? false
        return page
    }

    /// The layouts of the experiment that all runs are of; nil when they are of several.
    private func saved() async throws -> View? {
        guard let id = runs.first?.experimentID, runs.allSatisfy({ $0.experimentID == id }) else { return nil }
        return SavedLayout.view(try await asked.platform.tracking.experiment(id: id, asked.grant), .compare, asked)
    }

    private func page() throws -> Page {
        let metrics = Set(runs.flatMap { $0.metrics.map(\.key) }).sorted()
        let params = Set(runs.flatMap { $0.params.map(\.key) }).sorted()
        let isAll = asked.query["all"] == "1"
        let rows = params.map { ($0, values(of: $0)) }.filter { isAll || Set($0.1).count > 1 }
        let chosen = asked.query.all("metric").isEmpty ? Array(metrics.prefix(8)) : asked.query.all("metric")
        let numbers = metrics.map { "metrics.\($0)" } + params.filter { key in values(of: key).contains { Double($0 ?? "") != nil } }.map { "params.\($0)" }
        let x = asked.query["across"] ?? numbers.first { $0.hasPrefix("params.") } ?? numbers.first ?? ""
        let y = asked.query["up"] ?? numbers.first ?? ""
        let group = asked.query["group"]
        return Page(
            "Compare \(runs.count) runs", in: .experiments, below: trail, template: "compare",
            [
                "count": runs.count, "ids": runs.map { ["id": $0.id] as View }, "isAll": isAll, "chosen": chosen.map { ["text": $0] as View },
                "runs": runs.enumerated().map { at, run in
                    [
                        "name": Shown.text(RunViews.name(run), path: RunViews.path(run)), "status": ChartData.badge(run.status.rawValue), "swatch": at % 8 + 1,
                        "started": Shown.time(run.startedAt), "duration": RunViews.duration(run, now: asked.now),
                    ] as View
                },
                "params": rows.prefix(ComparePage.rowsMax).map { key, values in
                    [
                        "key": Shown.text(key), "isDifferent": Set(values).count > 1,
                        "cells": values.map { value in value.map { Shown.text($0) } ?? ["text": "–", "title": false, "path": false] },
                    ] as View
                },
                "alike": Shown.count(params.count - rows.count), "hasAlike": params.count > rows.count, "hasParams": !rows.isEmpty,
                "toggle": asked.query.with(["all": isAll ? nil : "1"]),
                "metrics": metrics.prefix(ComparePage.rowsMax).map { key in
                    let values = runs.map { run in run.metrics.first { $0.key == key }?.value }
                    let best = values.compactMap(\.self).filter(\.isFinite)
                    let isSpread = best.count > 1 && best.min() != best.max()
                    return [
                        "key": Shown.text(key),
                        "cells": values.map { value in
                            ["text": value.map(Shown.number) ?? "–", "isHighest": isSpread && value == best.max(), "isLowest": isSpread && value == best.min()] as View
                        },
                    ] as View
                },
                "hasMetrics": !metrics.isEmpty,
                "choices": metrics.prefix(ComparePage.rowsMax).map { ["text": $0, "name": Shown.text($0), "isChosen": chosen.contains($0)] as View },
                "groups": params.prefix(ComparePage.rowsMax).map { ["text": $0, "name": Shown.cut($0), "isChosen": $0 == group] as View }, "group": group ?? "",
                "figures": chosen.prefix(ComparePage.chartsMax).map { key in
                    let grouped = group.map { "&group=\(pathComponent($0))" } ?? ""
                    return ["key": Shown.text(key), "source": "/console/compare/curves.json?key=\(pathComponent(key))\(grouped)"] as View
                },
                "scatter": "/console/compare/scatter.json?across=\(pathComponent(x))&up=\(pathComponent(y))",
                "across": numbers.prefix(ComparePage.rowsMax).map { ["text": $0, "name": Shown.cut($0), "isChosen": $0 == x] as View },
                "up": numbers.prefix(ComparePage.rowsMax).map { ["text": $0, "name": Shown.cut($0), "isChosen": $0 == y] as View }, "hasNumbers": numbers.count > 1,
            ])
    }

    private var trail: [Page.Link] {
        let all = Page.Link("Experiments", "/console/experiments")
        let ids = Set(runs.map(\.experimentID))
        guard let id = ids.first, ids.count == 1 else { return [all] }
        return [all, Page.Link("Experiment \(id)", "/console/experiments/\(pathComponent(id))")]
    }

    private func values(of param: String) -> [String?] { runs.map { run in run.params.first { $0.key == param }?.value } }

    // MARK: Charts

    /// One metric of all runs; with `group` one curve for each value of a parameter, the mean of its runs between the least and the greatest of them.
    static func curves(_ asked: PageRequest) async throws -> JSON {
        let page = try await ComparePage(asked)
        guard let key = asked.query["key"] else { throw KeelError.invalid("'key' is missing", hint: "the metric's name", path: "key") }
        let logged = page.runs.filter { run in run.metrics.contains { $0.key == key } }
        let axis = try CurveAxis(asked.query["x"])
        if let group = asked.query["group"] { return try await page.grouped(logged, key, by: group) }
        let size = min(1000, max(100, pointsMax / max(1, logged.count)))
        let outlines = try await page.outlines(of: logged, key, size: size)
        let series: [JSON] = zip(logged, outlines).map { run, outline in
            ["name": .string(RunViews.name(run)), "data": .array(axis.points(outline.points)), "href": .string(RunViews.path(run))]
        }
        return ChartData.lines(x: axis.name, series)
    }

    /// The curves of all runs, read side by side as far as the database has readers.
    private func outlines(of logged: [Run], _ key: String, size: Int) async throws -> [MetricOutline] {
        let tracking = asked.platform.tracking
        let grant = asked.grant
        return try await withThrowingTaskGroup(of: (Int, MetricOutline).self) { group in
            for (at, run) in logged.enumerated() {
                group.addTask { (at, try await tracking.metricOutline(runID: run.id, key: key, size: size, grant)) }
            }
            var read: [Int: MetricOutline] = [:]
            for try await (at, outline) in group { read[at] = outline }
            return logged.indices.compactMap { read[$0] }
        }
    }

    private func grouped(_ logged: [Run], _ key: String, by param: String) async throws -> JSON {
        let groups = Dictionary(grouping: logged) { run in run.params.first { $0.key == param }?.value ?? "none" }
        let samples = try await asked.platform.tracking.metricSamples(runIDs: logged.map(\.id), key: key, size: 200, asked.grant)
        let points = Dictionary(grouping: samples, by: \.run).mapValues { $0.map(\.metric) }
        var series: [JSON] = []
        for (value, members) in groups.sorted(by: { $0.key < $1.key }).prefix(20) {
            let spread = Spread(members.compactMap { points[$0.id] })
            series.append([
                "name": .string("\(param) = \(value)"), "data": .array(spread.points.map { ChartData.point(.int($0.step), $0.mean) }),
                "band": .array(spread.points.map { .array([.int($0.step), ChartData.number($0.least), ChartData.number($0.greatest)]) }),
            ])
        }
        return ChartData.lines(x: "step", series)
    }

    /// Parameters that differ, then the last value of metrics: one axis each, one line for each run.
    static func parallel(_ asked: PageRequest) async throws -> JSON {
        let page = try await ComparePage(asked)
        let params = Set(page.runs.flatMap { $0.params.map(\.key) }).sorted().filter { Set(page.values(of: $0)).count > 1 }
        let metrics = Set(page.runs.flatMap { $0.metrics.map(\.key) }).sorted()
        let ofMetrics = max(2, axesMax - params.count)
        var axes: [JSON] = []
        var columns: [[JSON]] = []
        for key in params.prefix(axesMax - min(ofMetrics, metrics.count)) {
            let values = page.values(of: key)
            let numbers = values.map { $0.flatMap(Double.init) }
            let isNumber = !numbers.contains { $0 == nil }
            let names = Set(values.map { $0 ?? "–" }).sorted()
            axes.append(isNumber ? ["name": .string(key)] : ["name": .string(key), "categories": .array(names.map { .string(Shown.cut($0)) })])
            columns.append(zip(values, numbers).map { text, number in isNumber ? ChartData.number(number ?? .nan) : .string(Shown.cut(text ?? "–")) })
        }
        for key in metrics.prefix(ofMetrics) {
            axes.append(["name": .string(key)])
            columns.append(page.runs.map { run in run.metrics.first { $0.key == key }.map { ChartData.number($0.value) } ?? "NaN" })
        }
        let series: [JSON] = page.runs.enumerated().map { at, run in
            ["name": .string(RunViews.name(run)), "href": .string(RunViews.path(run)), "data": .array(columns.map { $0[at] })]
        }
        return ["axes": .array(axes), "series": .array(axes.count < 2 ? [] : series)]
    }

    static func scatter(_ asked: PageRequest) async throws -> JSON {
        let page = try await ComparePage(asked)
        guard let x = asked.query["across"].flatMap(RunColumn.init), let y = asked.query["up"].flatMap(RunColumn.init) else {
            throw KeelError.invalid("give what is along each axis", hint: "across=params.depth&up=metrics.auc", path: "across")
        }
        let points: [JSON] = page.runs.compactMap { run in
            guard let across = x.number(run), let up = y.number(run) else { return nil }
            return .array([ChartData.number(across), ChartData.number(up), .string(RunViews.name(run)), .string(RunViews.path(run))])
        }
        return ["labels": [.string(x.key), .string(y.key)], "series": .array(points.isEmpty ? [] : [["name": "runs", "data": .array(points)]])]
    }
}

extension RunColumn {
    /// A run's value in this column, when it is a number.
    func number(_ run: Run) -> Double? {
        switch source {
        case .metrics: run.metrics.first { $0.key == key }?.value
        case .params: run.params.first { $0.key == key }.flatMap { Double($0.value) }
        case .tags: run.tags.first { $0.key == key }.flatMap { Double($0.value) }
        }
    }
}

/// Several curves as one: at each step the mean of those that have a value there or before it, between the least and the greatest.
struct Spread {
    struct Point: Equatable {
        let step: Int64
        let mean: Double
        let least: Double
        let greatest: Double
    }
    let points: [Point]

    init(_ curves: [[Metric]]) {
        let curves = curves.map { $0.filter { $0.value.isFinite }.sorted { $0.step < $1.step } }.filter { !$0.isEmpty }
        let steps = Set(curves.flatMap { $0.map(\.step) }).sorted()
        var places = Array(repeating: -1, count: curves.count)
        var out: [Point] = []
        for step in steps {
            var values: [Double] = []
            for (i, curve) in curves.enumerated() {
                while places[i] + 1 < curve.count, curve[places[i] + 1].step <= step { places[i] += 1 }
                // A curve that has ended counts no more.
                if places[i] >= 0, let last = curve.last, step <= last.step { values.append(curve[places[i]].value) }
            }
            guard let least = values.min(), let greatest = values.max() else { continue }
            out.append(Point(step: step, mean: values.reduce(0) { $0 + $1 / Double(values.count) }, least: least, greatest: greatest))
        }
        points = out
    }
}
