import Contracts

/// All entities, views and services, checked against the datasets' contracts: nothing unknown, every type fits.
public struct FeatureCatalog: Sendable {
    /// Views over datasets, by name.
    let views: [String: DatasetView]
    /// Views over the request, by name.
    let requestViews: [String: FeatureViewSpec]
    let datasets: [String: Schema]
    private(set) var services: [String: ResolvedService] = [:]

    /// The catalogue without anything in it.
    public init() { (views, requestViews, datasets) = ([:], [:], [:]) }

    /// - Parameter datasets: the contract of each dataset, by name.
    /// - Throws: `invalidArgument` that names the resource, the field and the nearest known name.
    public init(
        entities: [EntitySpec], views specs: [FeatureViewSpec], services serviceSpecs: [FeatureServiceSpec], datasets: [String: Schema]
    ) throws(KeelError) {
        var (views, requestViews): ([String: DatasetView], [String: FeatureViewSpec]) = ([:], [:])
        var errors: [KeelError] = []
        for spec in specs {
            do throws(KeelError) {
                switch spec.source {
                case .request:
                    for feature in spec.features {
                        guard case .request = feature.definition else {
                            throw .invalid(
                                "feature '\(feature.name)' of a view with from: request needs an expression", path: "spec.features")
                        }
                    }
                    requestViews[spec.name] = spec
                case .dataset(let dataset, let entityName):
                    guard let entity = entities.first(where: { $0.name == entityName }) else {
                        throw FeatureCatalog.unknown("entity", entityName, entities.map(\.name), at: "spec.entity")
                    }
                    guard let schema = datasets[dataset] else {
                        throw FeatureCatalog.unknown("dataset", dataset, datasets.keys.sorted(), at: "spec.source")
                    }
                    views[spec.name] = try DatasetView(spec, dataset: dataset, entity: entity, schema: schema)
                }
            } catch { errors.append(error.at("FeatureView/\(spec.name)")) }
        }
        // Services of views that are wrong would only say so again.
        if let error = KeelError.joined(errors) { throw error }
        (self.views, self.requestViews, self.datasets) = (views, requestViews, datasets)
        for spec in serviceSpecs {
            do throws(KeelError) {
                var resolver = ServiceResolver(catalog: self, spec: spec)
                services[spec.name] = try resolver.resolve()
            } catch { errors.append(error.at("FeatureService/\(spec.name)")) }
        }
        if let error = KeelError.joined(errors) { throw error }
    }

    public var serviceNames: [String] { services.keys.sorted() }
    public var viewNames: [String] { (Array(views.keys) + Array(requestViews.keys)).sorted() }

    /// What a request to the service has to carry: entity keys, the columns that request expressions use, and the time column if the service names one.
    public func requestFields(_ service: String) throws(KeelError) -> [Field] { try resolved(service).requestFields }

    /// The features of a service in order, with their types: what a training set has and a model takes.
    public func features(_ service: String) throws(KeelError) -> [Field] {
        try resolved(service).outputs.map { Field($0.name, $0.type, nullable: true) }
    }

    /// The contract of a dataset that the catalogue knows.
    public func schema(_ dataset: String) -> Schema? { datasets[dataset] }

    /// The dataset of a view; nil for one over the request.
    public func source(ofView view: String) -> String? { views[view]?.dataset }

    /// The datasets that a service's features are computed from, sorted.
    public func sources(_ service: String) throws(KeelError) -> [String] { Set(try resolved(service).uses.map(\.view.dataset)).sorted() }

    /// The request column that says as of when a service's features are read.
    public func time(ofService service: String) throws(KeelError) -> String? { try resolved(service).spec.time }

    /// Checks a request without its data: every name, every type, and that no two columns of the result have one name.
    public func check(_ request: TrainingSetRequest) throws(KeelError) { _ = try TrainingSetPlan(request, self) }

    /// The resources that a service is made of, as `Kind/name`: what its features depend on, and nothing else.
    public func resources(_ service: String) throws(KeelError) -> [String] {
        let resolved = try resolved(service)
        var out: Set<String> = ["\(FeatureServiceSpec.kind)/\(service)"]
        for view in resolved.views { out.insert("\(FeatureViewSpec.kind)/\(view)") }
        for use in resolved.uses {
            out.insert("\(EntitySpec.kind)/\(use.view.identity.entity.name)")
            out.insert("Dataset/\(use.view.dataset)")
        }
        return out.sorted()
    }

    func resolved(_ service: String) throws(KeelError) -> ResolvedService {
        if let found = services[service] { return found }
        throw .notFound(
            "there is no feature service '\(service)'",
            hint: nearest(service, in: serviceNames).map { "did you mean '\($0)'?" } ?? "services: \(serviceNames.joined(separator: ", "))")
    }

    static func unknown(_ what: String, _ name: String, _ known: [String], at place: String) -> KeelError {
        .invalid(
            "there is no \(what) '\(name)'",
            hint: nearest(name, in: known).map { "did you mean '\($0)'?" }
                ?? (known.isEmpty ? nil : "known: \(known.joined(separator: ", "))"),
            path: place)
    }
}
