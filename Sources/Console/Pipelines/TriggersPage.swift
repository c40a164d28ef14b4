import Contracts
import Pipelines
import Storage

/// The triggers, with when each fires next and what it decided.
func triggersPage(_ asked: PageRequest) async throws -> Page {
    let triggers = try await asked.platform.triggers.list(grant: asked.grant)
    var decisions: [LedgerEvent] = []
    if asked.grant(.ledgerRead) != nil {
        decisions = try await asked.platform.database.read(in: asked.grant.workspace) { try $0.ledgerEvents(newestFirst: true, kind: "trigger.", limit: 100) }
    }
    let known = Set(triggers.map(\.spec.name))
    return Page(
        "Triggers", in: .pipelines, below: [Page.Link("Pipelines", "/console/pipelines")], template: "triggers",
        [
            "triggers": triggers.map { trigger in
                let next = trigger.spec.when.compactMap { condition in
                    if case .schedule(let cron) = condition { cron.next(after: asked.now) } else { nil }
                }.min()
                let isPaused = trigger.pausedAt != nil
                return [
                    "name": Shown.text(trigger.spec.name), "state": ChartData.badge(isPaused ? "paused" : "active"), "isPaused": isPaused,
                    "when": trigger.spec.when.map { ["text": "\($0)"] as View }, "pipeline": Shown.text(trigger.spec.run, path: PipelineViews.path(pipeline: trigger.spec.run)),
                    "fired": Shown.time(trigger.firedAt), "next": isPaused ? false : Shown.time(next), "author": Shown.text(trigger.author),
                    "cooldown": trigger.spec.cooldown.map { "\($0)" } ?? false, "path": "/console/triggers/\(pathComponent(trigger.spec.name))",
                    "mayRun": asked.grant(.pipelinesRun, on: "Trigger/\(trigger.spec.name)") != nil,
                    "lineage": "/console/lineage?of=\(pathComponent("Trigger/" + trigger.spec.name))",
                ] as View
            },
            "hasTriggers": !triggers.isEmpty,
            "decisions": decisions.filter { known.contains(String($0.subject.dropFirst("Trigger/".count))) }.map { event in
                let word = String(event.kind.dropFirst("trigger.".count))
                return [
                    "at": Shown.time(event.at), "trigger": Shown.text(String(event.subject.dropFirst("Trigger/".count))), "reason": Shown.text(event.data["reason"]?.string ?? ""),
                    "state": ["word": word, "tone": word == "fired" ? "ok" : word == "skipped" ? "warn" : "info", "isMoving": false] as View,
                    "run": event.data["run"]?.string.map { ["path": PipelineViews.path(run: $0), "text": String($0.prefix(8)), "title": false] as View } ?? false,
                    "event": "/console/ledger/\(event.seq)",
                ] as View
            },
            "hasDecisions": !decisions.isEmpty,
        ])
}

func addPipelinePages(to pages: ConsoleRoutes) {
    pages.page("/pipelines", .pipelinesRead) { try await pipelinesPage($0) }
    pages.page("/pipelines/:name", .pipelinesRead) { try await pipelinePage($0) }
    pages.data("/pipelines/:name/graph.json", .pipelinesRead) { try await pipelineGraph($0) }
    pages.form("/pipelines/:name/runs", .pipelinesRun, on: .placed("Pipeline")) { asked, form in
        let name = try asked.name("name")
        let declared = try await PipelineViews.specs(asked).first { $0.name == name }
        var parameters: [JSON.Member] = []
        for parameter in declared?.parameters ?? [] {
            guard let text = form["parameter.\(parameter.name)"] else { continue }
            // As YAML would read it: a number is a number, all else a text, unless the default says that it is one.
            let isText = parameter.standard.string != nil
            parameters.append(JSON.Member(parameter.name, isText ? .string(text) : (try? JSON.parse(text)) ?? .string(text)))
        }
        let id = try await asked.platform.pipelines.start(
            pipeline: name, parameters: .object(parameters), reason: "asked by \(asked.grant.caller.name)", now: form.query.instant("now") ?? asked.now,
            useCache: form["anew"] == nil, grant: asked.grant)
        return PipelineViews.path(run: id)
    }
    pages.page("/pipeline-runs/:id", .pipelinesRead) { try await PipelineRunPage.page($0) }
    pages.data("/pipeline-runs/:id/graph.json", .pipelinesRead) { try await PipelineRunPage.graph($0) }
    pages.data("/pipeline-runs/:id/gantt.json", .pipelinesRead) { try await PipelineRunPage.gantt($0) }
    pages.get("/pipeline-runs/:id/events", .pipelinesRead) { try await PipelineRunPage.events($0) }
    pages.form("/pipeline-runs/:id/cancel", .pipelinesRun) { asked, _ in
        let id = try await asked.platform.pipelines.id(beginning: asked.name("id"), grant: asked.grant)
        _ = try await asked.platform.pipelines.cancel(id, grant: asked.grant)
        return PipelineViews.path(run: id)
    }
    // The same pipeline with the same parameters and the same now; steps that are cached are not run again, unless asked for.
    pages.form("/pipeline-runs/:id/rerun", .pipelinesRun) { asked, form in
        let id = try await asked.platform.pipelines.id(beginning: asked.name("id"), grant: asked.grant)
        let run = try await asked.platform.pipelines.run(id, grant: asked.grant)
        let again = try await asked.platform.pipelines.start(
            pipeline: run.pipeline, parameters: run.parameters, reason: "rerun of \(id.prefix(8)), asked by \(asked.grant.caller.name)", now: run.now,
            useCache: form["anew"] == nil, grant: asked.grant)
        return PipelineViews.path(run: again)
    }
    pages.page("/triggers", .pipelinesRead, on: .each) { try await triggersPage($0) }
    for (word, isPause) in [("pause", true), ("resume", false)] {
        pages.form("/triggers/:name/\(word)", .pipelinesRun, on: .placed("Trigger")) { asked, _ in
            let name = try asked.name("name")
            let triggers = asked.platform.triggers
            _ = isPause ? try await triggers.pause(name, grant: asked.grant) : try await triggers.resume(name, grant: asked.grant)
            return "/console/triggers"
        }
    }
}
