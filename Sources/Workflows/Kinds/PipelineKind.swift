import Contracts
import Datasets
import FeatureStore
import Foundation
import Pipelines
import Serving

extension PipelineSpec: ResourceKind {
    /// Fields of steps that name a resource. A step whose resource is missing fails when it runs.
    private static let stepReferences: [String: [String: String]] = [
        TrainingSetStep.kind: ["labels": DatasetSpec.schema.name, "features": FeatureServiceSpec.schema.name],
        "release": ["endpoint": EndpointSpec.schema.name],
    ]

    package var references: [ResourceReference.Target] {
        steps.enumerated().flatMap { i, step in
            (PipelineSpec.stepReferences[step.uses] ?? [:]).compactMap { field, kind in
                text(step.with[field]).map { ResourceReference.Target("spec.steps[\(i)].with.\(field)", kind, $0) }
            }
        }
    }

    /// The text of a step's field as it is, or the default of the parameter that it refers to.
    private func text(_ field: JSON?) -> String? {
        guard let text = field?.string, text.hasPrefix("$") else { return field?.string }
        return parameters.first { "$" + $0.name == text }?.standard.string
    }

    /// Whoever starts a pipeline runs its programs.
    package func permissions(replacing current: Resource?, _ modules: Modules) -> [Action] { modules.pipelines.runsPrograms(self) ? [.pipelinesRun] : [] }

    package static func mistakes(_ scrutiny: Scrutiny) -> [KeelError] {
        let pipelines = scrutiny.declared.all(PipelineSpec.self)
        var errors: [KeelError] = []
        do throws(KeelError) { _ = try scrutiny.modules.pipelines.prepare(pipelines, in: scrutiny.declared.workspace) } catch { errors.append(error) }
        guard let given = scrutiny.given else { return errors }
        for pipeline in pipelines where given.contains("\(schema.name)/\(pipeline.name)") {
            let found =
                GateConditions.mistakes(in: pipeline) + missingScripts(of: pipeline, in: scrutiny.modules.project)
                + scrutiny.modules.pipelines.unknownOutputs(in: pipeline)
            errors += found.map { $0.at("\(schema.name)/\(pipeline.name)") }
        }
        return errors + wrongTrainingSets(pipelines, scrutiny.declared)
    }

    /// What a training set asks for can only be checked when every feature could be read.
    private static func wrongTrainingSets(_ pipelines: [PipelineSpec], _ declared: Declarations) -> [KeelError] {
        guard declared.isWhole(Declarations.featureKinds), let catalog = try? declared.catalog() else { return [] }
        var errors: [KeelError] = []
        for pipeline in pipelines {
            for (i, step) in pipeline.steps.enumerated() where step.uses == TrainingSetStep.kind {
                do throws(KeelError) { try TrainingSetStep.check(step.with, in: catalog) } catch {
                    errors.append(error.at("\(schema.name)/\(pipeline.name).spec.steps[\(i)]"))
                }
            }
        }
        return errors
    }

    /// Scripts of python steps that are not there. Paths out of the project's folder are left to the run: a plan must not tell what lies elsewhere.
    private static func missingScripts(of pipeline: PipelineSpec, in folder: String) -> [KeelError] {
        var errors: [KeelError] = []
        for (i, step) in pipeline.steps.enumerated() where step.uses == "python" {
            guard let script = step.with["script"]?.string, !script.contains("$"), !script.hasPrefix("/"), !script.contains("..") else {
                continue
            }
            guard !FileManager.default.fileExists(atPath: "\(folder)/\(script)") else { continue }
            errors.append(
                .invalid(
                    "there is no script '\(script)'", hint: "its path begins at the folder in which the server was started",
                    path: "spec.steps[\(i)].with.script"))
        }
        return errors
    }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let pipelines = preparation.modules.pipelines
        let draft = try pipelines.prepare(preparation.declared.all(PipelineSpec.self), in: preparation.workspace)
        preparation.add(PreparedPipelines(pipelines: pipelines, draft: draft))
    }

    package static func status(of resource: Resource, _ modules: Modules, for caller: Caller) async throws -> [ResourceStatus] {
        guard let grant = try? Grant.check(caller, may: .pipelinesRead, on: resource.id) else { return [] }
        let last = try await modules.pipelines.runs(pipeline: resource.name, limit: 1, grant: grant).first
        return [ResourceStatus("last run", last.map { "\($0.id) \($0.state.rawValue), \($0.startedAt)" } ?? "none")]
    }

    package static func holdings(of resource: Resource, in workspace: WorkspaceID, _ modules: Modules) async throws -> ResourceHoldings {
        let grant = try Grant.check(.system("delete", in: workspace), may: .pipelinesRead, on: resource.id)
        let open = try await modules.pipelines.runs(pipeline: resource.name, grant: grant).filter { $0.finishedAt == nil }
        guard !open.isEmpty else { return ResourceHoldings() }
        return ResourceHoldings(inUse: "\(open.count == 1 ? "a run is" : "\(open.count) runs are") under way")
    }

    package static func remains(removingData removesData: Bool) -> String? { "finished runs and what they made" }
}

private struct PreparedPipelines: Prepared {
    let pipelines: PipelineService
    let draft: PipelineDraft

    func activate() { pipelines.activate(draft) }
}
