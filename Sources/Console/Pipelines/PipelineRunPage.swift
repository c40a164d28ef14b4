import Contracts
import Hummingbird
import Pipelines
import Storage

/// One run of a pipeline: its steps as a graph and over time, why each was run or taken from the cache, their logs.
struct PipelineRunPage {
    private static let logLines = 400

    let asked: PageRequest
    let run: PipelineRun

    private init(_ asked: PageRequest) async throws {
        let id = try await asked.platform.pipelines.id(beginning: asked.name("id"), grant: asked.grant)
        self.asked = asked
        run = try await asked.platform.pipelines.run(id, grant: asked.grant)
    }

    static func page(_ asked: PageRequest) async throws -> Page { try await PipelineRunPage(asked).page() }

    private var path: String { PipelineViews.path(run: run.id) }

    private func page() async throws -> Page {
        let isRunning = run.state == .running
        var view = PipelineViews.row(run, now: asked.now)
        view["id"] = run.id
        view["here"] = asked.query.with([:])
        view["isRunning"] = isRunning
        view["now"] = Shown.time(run.now)
        view["mayRun"] = asked.grant(.pipelinesRun, on: "Pipeline/\(run.pipeline)") != nil
        view["lineage"] = "/console/lineage?of=\(pathComponent("PipelineRun/" + run.id))"
        view["graph"] = "\(path)/graph.json"
        view["gantt"] = "\(path)/gantt.json"
        view["parameters"] = (run.parameters.members ?? []).map { member in
            ["name": member.key, "value": Shown.text(member.value.string ?? member.value.text)] as View
        }
        view["steps"] = run.steps.map(row)
        view["log"] = try await log() ?? false
        return Page(
            "Run \(run.id.prefix(8)) of \(run.pipeline)", in: .pipelines,
            below: [Page.Link("Pipelines", "/console/pipelines"), Page.Link(run.pipeline, PipelineViews.path(pipeline: run.pipeline))],
            template: "pipeline-run", view)
    }

    private func row(_ step: StepRun) -> View {
        let end = step.finishedAt ?? asked.now
        return [
            "name": Shown.text(step.name, path: "\(path)?step=\(pathComponent(step.name))#log"), "uses": step.uses, "state": ChartData.badge(step.state.rawValue),
            "attempts": step.attempts, "cache": step.cache.map { Shown.text($0) } ?? false, "error": step.error.map { Shown.text($0) } ?? false,
            "started": Shown.time(step.startedAt), "duration": step.startedAt.map { RunViews.span(seconds: max(0, (end - $0).seconds)) } ?? "–",
            "message": step.message.map { Shown.text($0) } ?? false,
            "percent": step.progress.map { "\(Int(saturating: ($0 * 100).rounded()))" } ?? false, "outputs": outputs(of: step),
        ]
    }

    /// The single values that a step gave, with links to what the console has a page of.
    private func outputs(of step: StepRun) -> [View] {
        (step.outputs?.members ?? []).filter { $0.value.members == nil && $0.value.array == nil }.prefix(8).map { member in
            let value = member.value.string ?? member.value.number.map(Shown.number) ?? member.value.text
            let isRun = member.key == "run" && value.count == 32
            return ["key": member.key, "value": Shown.text(value, path: isRun ? "/console/runs/\(pathComponent(value))" : nil)] as View
        }
    }

    private func log() async throws -> View? {
        guard let step = asked.query["step"] else { return nil }
        let page = try await asked.platform.pipelines.log(run.id, step: step, from: 0, tail: PipelineRunPage.logLines, grant: asked.grant)
        return [
            "step": step, "lines": page.lines.joined(separator: "\n").visible(keepingLines: true), "isEmpty": page.lines.isEmpty,
            "isCut": page.lines.count >= PipelineRunPage.logLines || page.leftOut > 0, "size": Shown.bytes(page.size),
        ]
    }

    // MARK: Charts

    /// The graph that the run began with; when its pipeline was changed since, steps that are gone stand alone.
    static func graph(_ asked: PageRequest) async throws -> JSON {
        let page = try await PipelineRunPage(asked)
        func node(_ step: StepRun) -> JSON {
            let long = step.startedAt.map { RunViews.span(seconds: max(0, ((step.finishedAt ?? asked.now) - $0).seconds)) }
            return [
                "id": .string(step.name), "label": .string(step.name), "kind": .string(step.uses), "tone": .string(ChartData.tone(step.state.rawValue)),
                "note": .string([step.state.rawValue, long].compactMap(\.self).joined(separator: " ")),
                "href": .string("\(page.path)?step=\(pathComponent(step.name))#log"),
            ]
        }
        let steps = Dictionary(page.run.steps.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let declared = try await PipelineViews.specs(asked).first { $0.name == page.run.pipeline }
        guard let declared, Set(declared.steps.map(\.name)).isSuperset(of: steps.keys) else {
            return ["nodes": .array(page.run.steps.map(node)), "edges": []]
        }
        return PipelineGraph(declared).json { step in
            steps[step.name].map(node) ?? ["id": .string(step.name), "label": .string(step.name), "kind": .string(step.uses), "note": "not in this run"]
        }
    }

    static func gantt(_ asked: PageRequest) async throws -> JSON {
        let page = try await PipelineRunPage(asked)
        let bars: [JSON] = page.run.steps.prefix(400).compactMap { step in
            guard let started = step.startedAt else { return nil }
            return [
                "name": .string(step.name), "from": ChartData.instant(started), "until": ChartData.instant(step.finishedAt ?? asked.now),
                "tone": .string(ChartData.tone(step.state.rawValue)), "note": .string(step.state.rawValue),
                "href": .string("\(page.path)?step=\(pathComponent(step.name))#log"),
            ]
        }
        return ["bars": .array(bars)]
    }

    /// What happens in the run, told as it happens.
    static func events(_ asked: PageRequest) async throws -> Response {
        let page = try await PipelineRunPage(asked)
        let events = try await asked.platform.pipelines.events(page.run.id, grant: asked.grant)
        return EventStreamResponse.response { write in
            try await write("retry: 2000\n\n")
            var last = ContinuousClock.now - .seconds(10)
            for await event in events {
                if case .runFinished(let state, _) = event { return try await write("event: ended\ndata: \(state.rawValue)\n\n") }
                // Lines come by the thousand: a page asks again at most twice a second.
                let isStep = if case .stepLog = event { false } else { true }
                guard isStep || ContinuousClock.now - last > .milliseconds(500) else { continue }
                last = .now
                try await write("event: changed\ndata: step\n\n")
            }
        }
    }
}
