import Contracts
import Governance
import Pipelines
import Storage

extension ConsoleSection {
    static let pipelines = ConsoleSection(title: "Pipelines", path: "/console/pipelines", action: .pipelinesRead)
}

/// Paths and parts of views of pipelines.
enum PipelineViews {
    static func path(run id: String) -> String { "/console/pipeline-runs/\(pathComponent(id))" }
    static func path(pipeline name: String) -> String { "/console/pipelines/\(pathComponent(name))" }

    static func row(_ run: PipelineRun, now: Timestamp) -> View {
        [
            "id": String(run.id.prefix(8)), "path": path(run: run.id), "pipeline": Shown.text(run.pipeline, path: path(pipeline: run.pipeline)),
            "state": ChartData.badge(run.state.rawValue), "reason": Shown.text(run.reason), "started": Shown.time(run.startedAt),
            "duration": RunViews.span(seconds: max(0, ((run.finishedAt ?? now) - run.startedAt).seconds)), "error": run.error.map { Shown.text($0) } ?? false,
        ]
    }

    /// The address of the next page of runs; false on the last.
    static func next(_ runs: [PipelineRun], _ limit: Int, _ query: PageQuery) -> Any {
        guard runs.count == limit, let last = runs.last else { return false }
        return query.with(["before": last.id])
    }

    /// The declared pipelines that the caller may see.
    static func specs(_ asked: PageRequest) async throws -> [PipelineSpec] {
        // What starts a run is asked for by a grant to run.
        guard let reading = asked.grant(.pipelinesRead) else { return [] }
        return try await asked.platform.resources.get("Pipeline", by: reading).compactMap { try? PipelineSpec(resource: $0.resource) }
    }
}

/// The pipelines of a workspace, and the runs of all of them.
func pipelinesPage(_ asked: PageRequest) async throws -> Page {
    let specs = try await PipelineViews.specs(asked)
    let limit = try asked.query.limit()
    let runs = try await asked.platform.pipelines.runs(before: asked.query["before"], limit: limit, grant: asked.grant)
    var pipelines: [View] = []
    for spec in specs {
        let last = try await asked.platform.pipelines.runs(pipeline: spec.name, limit: 8, grant: asked.grant)
        pipelines.append([
            "name": Shown.text(spec.name, path: PipelineViews.path(pipeline: spec.name)), "steps": spec.steps.count,
            "last": last.reversed().map { run in
                ["path": PipelineViews.path(run: run.id), "tone": ChartData.tone(run.state.rawValue), "word": "\(run.state.rawValue) \(run.startedAt.description.prefix(16))"]
                    as View
            },
            "newest": Shown.time(last.first?.startedAt), "hasRuns": !last.isEmpty,
        ])
    }
    return Page(
        "Pipelines", in: .pipelines, template: "pipelines",
        [
            "pipelines": pipelines, "hasPipelines": !pipelines.isEmpty, "runs": runs.map { PipelineViews.row($0, now: asked.now) }, "hasRuns": !runs.isEmpty,
            "here": asked.query.with([:]), "first": asked.query["before"] == nil ? false : asked.query.with(["before": nil]),
            "next": PipelineViews.next(runs, limit, asked.query),
        ])
}

/// One pipeline: what its steps are, how to start it, its runs.
func pipelinePage(_ asked: PageRequest) async throws -> Page {
    let name = try asked.name("name")
    guard let spec = try await PipelineViews.specs(asked).first(where: { $0.name == name }) else {
        throw KeelError.notFound("there is no pipeline '\(name.prefix(140))'")
    }
    let limit = try asked.query.limit()
    let runs = try await asked.platform.pipelines.runs(pipeline: name, before: asked.query["before"], limit: limit, grant: asked.grant)
    let path = PipelineViews.path(pipeline: name)
    return Page(
        name, in: .pipelines, below: [Page.Link("Pipelines", "/console/pipelines")], template: "pipeline",
        [
            "name": Shown.text(name), "path": path, "graph": "\(path)/graph.json", "lineage": "/console/lineage?of=\(pathComponent("Pipeline/" + name))",
            "mayRun": asked.grant(.pipelinesRun, on: "Pipeline/\(name)") != nil,
            "parameters": spec.parameters.map { parameter in
                ["name": parameter.name, "standard": parameter.standard.isNull ? "" : parameter.standard.string ?? parameter.standard.text, "isRequired": parameter.standard.isNull] as View
            },
            "runs": runs.map { PipelineViews.row($0, now: asked.now) }, "hasRuns": !runs.isEmpty, "here": asked.query.with([:]),
            "first": asked.query["before"] == nil ? false : asked.query.with(["before": nil]),
            "next": PipelineViews.next(runs, limit, asked.query),
        ])
}

/// The steps of a pipeline as it is declared now.
func pipelineGraph(_ asked: PageRequest) async throws -> JSON {
    let name = try asked.name("name")
    guard let spec = try await PipelineViews.specs(asked).first(where: { $0.name == name }) else {
        throw KeelError.notFound("there is no pipeline '\(name.prefix(140))'")
    }
    return PipelineGraph(spec).json { step in ["id": .string(step.name), "label": .string(step.name), "kind": .string(step.uses)] }
}

/// The steps of a pipeline and what each comes after.
struct PipelineGraph {
    private static let stepsMax = 400
    private let steps: [PipelineSpec.Step]

    init(_ spec: PipelineSpec) { steps = Array(spec.steps.prefix(PipelineGraph.stepsMax)) }

    func json(_ node: (PipelineSpec.Step) -> JSON) -> JSON {
        let names = Set(steps.map(\.name))
        let edges = steps.flatMap { step in
            PipelineGraph.needs(of: step, among: names).map { JSON.array([.string($0), .string(step.name)]) }
        }
        return ["nodes": .array(steps.map(node)), "edges": .array(edges)]
    }

    /// Steps that are named by `needs`, and those whose outputs `with` refers to.
    private static func needs(of step: PipelineSpec.Step, among names: Set<String>) -> [String] {
        var found = Set(step.needs)
        collect(step.with, &found)
        found.formUnion(step.dependencies)
        return found.filter { names.contains($0) && $0 != step.name }.sorted()
    }

    private static func collect(_ json: JSON, _ found: inout Set<String>) {
        switch json {
        case .string(let text):
            for part in text.split(separator: "$", omittingEmptySubsequences: false).dropFirst() {
                found.insert(String(part.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" }))
            }
        case .array(let items): for item in items { collect(item, &found) }
        case .object(let members): for member in members { collect(member.value, &found) }
        default: break
        }
    }
}
