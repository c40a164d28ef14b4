import Contracts

/// The list of features that a model takes, in its order.
public struct FeatureServiceSpec: Sendable, Hashable {
    public static let kind = "FeatureService"

    public var name: String
    /// `view` for all features of a view, `view.feature` for one.
    public var features: [String]
    /// The request column that says as of when features are read; nil = now.
    public var time: String?

    public init(name: String, features: [String], time: String? = nil) {
        self.name = name
        self.features = features
        self.time = time
    }

    public init(resource: Resource) throws(KeelError) {
        name = resource.name
        let reader = try FieldReader(resource.spec, path: "spec")
        time = try reader.optionalString("at")
        guard let listed = try reader.strings("features"), !listed.isEmpty else {
            throw reader.failure("features", "a service needs at least one feature", hint: "list views, or features as view.feature")
        }
        features = listed
        try reader.finish()
    }
}
