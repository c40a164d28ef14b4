import Contracts
import Datasets
import FeatureStore
import Governance
import Monitoring
import Pipelines
import Registry
import Serving

/// Every kind of resource that there is.
public enum ResourceKinds {
    /// What others refer to comes first: resources are read in this order.
    package static let all: [any ResourceKind.Type] = [
        DatasetSpec.self,
        EntitySpec.self,
        FeatureViewSpec.self,
        FeatureServiceSpec.self,
        PipelineSpec.self,
        ModelPolicySpec.self,
        EndpointSpec.self,
        MonitorSpec.self,
        TriggerSpec.self,
        ModelCardSpec.self,
        RoleSpec.self,
        RoleBindingSpec.self,
    ]

    /// Endpoints come last: from when they are prepared until the change is in force nothing can be deployed, and monitors may take long to be made ready.
    package static let inOrderOfPreparation = all.filter { $0 != EndpointSpec.self } + [EndpointSpec.self]

    public static let schemas: [KindSchema] = all.map { $0.schema }
    public static let names: [String] = schemas.map(\.name)

    private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.schema.name, $0) })

    /// - Throws: `invalidArgument` that names the nearest kind.
    package static func kind(_ name: String) throws(KeelError) -> any ResourceKind.Type {
        if let kind = byName[name] { return kind }
        throw .invalid(
            "'\(name)' is not a kind",
            hint: nearest(name, in: names).map { "did you mean '\($0)'?" } ?? "kinds: \(names.joined(separator: ", "))", path: "kind")
    }
}
