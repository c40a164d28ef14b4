import Contracts
import FeatureStore
import Pipelines

/// One resource that names another.
struct ResourceReference: Hashable {
    /// `Kind/name` of the one that names.
    let from: String
    /// Where in it: `spec.features`.
    let field: String
    let kind: String
    let name: String
    /// Whether a set of resources without the named one is refused.
    let isRequired: Bool

    var to: String { "\(kind)/\(name)" }
    /// The kind in the words of a message: `feature service`.
    var word: String {
        kind.reduce(into: "") { $0 += $1.isUppercase && !$0.isEmpty ? " \($1.lowercased())" : $1.lowercased() }
    }
}

extension Declarations {
    /// Every name of another resource in every resource: what must be there, and what would lose its meaning when it goes.
    ///
    /// The catalog of features checks what views and services name by itself, and a step of a pipeline fails when it runs.
    var references: [ResourceReference] {
        var out: [ResourceReference] = []
        func add(_ from: String, _ field: String, _ kind: String, _ name: String?, required: Bool = false) {
            guard let name else { return }
            out.append(ResourceReference(from: from, field: field, kind: kind, name: name, isRequired: required))
        }
        for view in views {
            guard case .dataset(let dataset, let entity) = view.source else { continue }
            add("FeatureView/\(view.name)", "spec.source", "Dataset", dataset)
            add("FeatureView/\(view.name)", "spec.entity", "Entity", entity)
        }
        for service in services {
            for (i, feature) in service.features.enumerated() {
                let view = String(feature.prefix { $0 != "." })
                add("FeatureService/\(service.name)", "spec.features[\(i)]", "FeatureView", view)
            }
        }
        for endpoint in endpoints {
            add("Endpoint/\(endpoint.name)", "spec.features", "FeatureService", endpoint.features, required: true)
        }
        for monitor in monitors { add("Monitor/\(monitor.name)", "spec.endpoint", "Endpoint", monitor.endpoint, required: true) }
        for trigger in triggers {
            add("Trigger/\(trigger.name)", "spec.run", "Pipeline", trigger.run, required: true)
            for (i, condition) in trigger.when.enumerated() {
                switch condition {
                case .monitor(let name): add("Trigger/\(trigger.name)", "spec.when[\(i)]", "Monitor", name, required: true)
                case .snapshot(let name): add("Trigger/\(trigger.name)", "spec.when[\(i)]", "Dataset", name, required: true)
                case .schedule: break
                }
            }
        }
        for pipeline in pipelines {
            for (i, step) in pipeline.steps.enumerated() {
                for (field, kind) in Declarations.stepReferences[step.uses] ?? [:] {
                    add("Pipeline/\(pipeline.name)", "spec.steps[\(i)].with.\(field)", kind, pipeline.text(step.with[field]))
                }
            }
        }
        return out.sorted { ($0.from, $0.field) < ($1.from, $1.field) }
    }

    /// Fields of steps that name a resource.
    private static let stepReferences: [String: [String: String]] = [
        "training-set": ["labels": "Dataset", "features": "FeatureService"], "release": ["endpoint": "Endpoint"],
    ]
}

extension PipelineSpec {
    /// The text of a step's field as it is, or the default of the parameter that it refers to.
    fileprivate func text(_ field: JSON?) -> String? {
        guard let text = field?.string, text.hasPrefix("$") else { return field?.string }
        return parameters.first { "$" + $0.name == text }?.standard.string
    }
}
