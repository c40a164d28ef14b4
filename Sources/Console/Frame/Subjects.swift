import Contracts
import WebAPI

extension APIRoutes.Subject {
    /// A thing of a kind that lives in environments, as the path names it: `delay`, `delay@staging`.
    static func placed(_ kind: String) -> Self { Self { try $0.thing(kind).subject } }
    /// The registered model that the path names.
    static let model = Self { context in "Model/\(percentDecoded(try context.parameters.require("name")))" }
}

extension PageRequest {
    /// The endpoint or another thing that the path names.
    public func thing(_ kind: String) throws -> ResourceRef { try context.thing(kind) }
}

/// The pages of things, for links from other pages.
public enum ConsolePath {
    public static func endpoint(_ ref: ResourceRef) -> String { "/console/endpoints/\(percentEncoded(ref.qualifiedName))" }
    public static func release(_ ref: ResourceRef, _ number: Int) -> String { "\(endpoint(ref))/releases/\(number)" }
    public static func prediction(_ ref: ResourceRef, _ id: String) -> String { "\(endpoint(ref))/predictions/\(percentEncoded(id))" }
    public static func model(_ name: String) -> String { "/console/models/\(percentEncoded(name))" }
    public static func version(_ name: String, _ version: String) -> String { "\(model(name))/versions/\(percentEncoded(version))" }
    public static func event(_ seq: Int64) -> String { "/console/ledger/\(seq)" }
    public static func pipelineRun(_ id: String) -> String { "/console/pipeline-runs/\(percentEncoded(id))" }
    public static func run(_ experiment: String, _ id: String) -> String { "/console/runs/\(percentEncoded(id))" }

    /// The page of what an event is about, by `Kind/name`; nil for kinds without a page.
    public static func subject(_ subject: String, in workspace: WorkspaceID) -> String? {
        guard let ref = ResourceRef(subject: subject, in: workspace) else { return nil }
        return pages[ref.kind]?(ref)
    }

    /// By kind. A page family adds the kinds that it shows.
    private static let pages: [String: @Sendable (ResourceRef) -> String] = [
        "Endpoint": { endpoint($0) },
        "Model": { model($0.name) },
        "Dataset": { DataViews.path(dataset: $0.name) },
        "FeatureView": { DataViews.path(view: $0.name) },
        "FeatureService": { DataViews.path(service: $0.name) },
        "Pipeline": { PipelineViews.path(pipeline: $0.name) },
        "Trigger": { _ in "/console/triggers" },
        "Monitor": { "/console/monitors/\(percentEncoded($0.qualifiedName))" },
        "Run": { run("", $0.name) },
        "Experiment": { "/console/experiments/\(percentEncoded($0.name))" },
    ]
}
