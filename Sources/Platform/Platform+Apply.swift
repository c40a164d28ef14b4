import Contracts
import DataEstate
import FeatureStore
import Governance
import Monitoring
import Pipelines
import Registry
import Serving

/// Every resource of the server, decoded; making one checks all that can be checked before anything changes.
public struct Declarations {
    var datasets: [DatasetSpec] = []
    var catalog = FeatureCatalog()
    var pipelines: [PipelineSpec] = []
    var endpoints: [EndpointSpec] = []
    var monitors: [MonitorSpec] = []
    var triggers: [TriggerSpec] = []
    var modelCards: [ModelCardSpec] = []

    public static let kinds = [
        "Dataset", "Entity", "FeatureView", "FeatureService", "Pipeline", "Endpoint", "Monitor", "Trigger", ModelCardSpec.kind,
    ]

    /// - Throws: an error whose path begins with the resource.
    init(_ resources: [Resource]) throws(KeelError) {
        var (entities, views, services): ([EntitySpec], [FeatureViewSpec], [FeatureServiceSpec]) = ([], [], [])
        for resource in resources {
            do throws(KeelError) {
                switch resource.kind {
                case "Dataset": datasets.append(try DatasetSpec(resource: resource))
                case "Entity": entities.append(try EntitySpec(resource: resource))
                case "FeatureView": views.append(try FeatureViewSpec(resource: resource))
                case "FeatureService": services.append(try FeatureServiceSpec(resource: resource))
                case "Pipeline": pipelines.append(try PipelineSpec(resource: resource))
                case "Endpoint": endpoints.append(try EndpointSpec(resource: resource))
                case "Monitor": monitors.append(try MonitorSpec(resource: resource))
                case "Trigger": triggers.append(try TriggerSpec(resource: resource))
                case ModelCardSpec.kind: modelCards.append(try ModelCardSpec(resource: resource))
                default:
                    let kinds = Declarations.kinds
                    throw .invalid(
                        "'\(resource.kind)' is not a kind",
                        hint: nearest(resource.kind, in: kinds).map { "did you mean '\($0)'?" }
                            ?? "kinds: \(kinds.joined(separator: ", "))", path: "kind")
                }
            } catch { throw error.path?.hasPrefix(resource.id) == true ? error : error.at(resource.id) }
        }
        catalog = try FeatureCatalog(
            entities: entities, views: views, services: services, datasets: Dictionary(datasets.map { ($0.name, $0.schema) }) { $1 })
        try checkReferences()
    }

    private func checkReferences() throws(KeelError) {
        func known(_ name: String, _ names: [String], _ what: String, _ place: String) throws(KeelError) {
            guard !names.contains(name) else { return }
            throw .invalid("there is no \(what) '\(name)'", hint: nearest(name, in: names).map { "did you mean '\($0)'?" }, path: place)
        }
        for endpoint in endpoints {
            if let service = endpoint.features {
                try known(service, catalog.serviceNames, "feature service", "Endpoint/\(endpoint.name).spec.features")
            }
        }
        for monitor in monitors { try known(monitor.endpoint, endpoints.map(\.name), "endpoint", "Monitor/\(monitor.name).spec.endpoint") }
        for trigger in triggers { try known(trigger.run, pipelines.map(\.name), "pipeline", "Trigger/\(trigger.name).spec.run") }
        for (i, card) in modelCards.enumerated() {
            guard let other = modelCards[..<i].first(where: { $0.model == card.model }) else { continue }
            throw .invalid(
                "the model '\(card.model)' has a card already", hint: "it is ModelCard/\(other.name)",
                path: "ModelCard/\(card.name).spec.model")
        }
    }
}

extension Platform {
    public func plan(_ resources: [Resource], by grant: Grant) async throws -> [ResourceChange] {
        let system = try Grant.check(.system("plan"), may: .resourcesRead)
        let given = Set(resources.map { "\($0.environment ?? "")/\($0.id)" })
        let stored = try await self.resources.all(by: system).map(\.resource)
        let declared = try await check(stored.filter { !given.contains("\($0.environment ?? "")/\($0.id)") } + resources)
        var changes = try await self.resources.plan(resources, by: grant)
        for i in changes.indices where changes[i].kind == .changed { changes[i].effects = try await effects(of: changes[i], declared) }
        return changes
    }

    /// What a change does to data: to the rows that are stored, and to the features that are read.
    private func effects(of change: ResourceChange, _ declared: Declarations) async throws -> [String] {
        let remade = features.draft(declared.catalog).viewNames
        let views = remade.filter { view in
            change.id == "FeatureView/\(view)" || declared.catalog.source(ofView: view).map { change.id == "Dataset/\($0)" } == true
        }
        var out: [String] = []
        if let new = declared.datasets.first(where: { change.id == "Dataset/\($0.name)" }), let old = try? data.spec(new.name) {
            out = new.effects(after: old, rows: try await data.snapshot(new.name)?.rowCount ?? 0)
        }
        return out + views.map { "the online features of view '\($0)' are made anew; until then the old ones answer" }
    }

    /// Stores the resources and puts them in force; when anything is wrong with any of them, nothing changes.
    public func apply(_ resources: [Resource], by grant: Grant) async throws -> ApplyResult {
        let result = try await self.resources.apply(resources, by: grant) { [self] candidate in try await check(candidate) }
        if result.changes.contains(where: { $0.kind != .unchanged }) { try await configure() }
        return result
    }

    public func restore(_ kind: String, _ name: String, revision: Int64, by grant: Grant) async throws -> ApplyResult {
        let result = try await resources.restore(kind: kind, name: name, revision: revision, by: grant) { [self] candidate in
            try await check(candidate)
        }
        try await configure()
        return result
    }

    @discardableResult
    private func check(_ candidate: [Resource]) async throws -> Declarations {
        let declared = try Declarations(candidate)
        try pipelines.validate(declared.pipelines)
        for pipeline in declared.pipelines {
            for (i, step) in pipeline.steps.enumerated() where step.uses == TrainingSetStep.kind {
                do throws(KeelError) { try TrainingSetStep.check(step.with, in: declared.catalog) } catch {
                    throw error.at("Pipeline/\(pipeline.name).spec.steps[\(i)]")
                }
            }
        }
        return declared
    }

    /// The declarations that can be in force: a resource that is refused is logged and left out, with those that need it.
    private func declarations(from stored: [Resource]) throws -> Declarations {
        var left = stored
        while true {
            do throws(KeelError) { return try Declarations(left) } catch {
                guard let refused = left.firstIndex(where: { error.path == $0.id || error.path?.hasPrefix($0.id + ".") == true }) else {
                    throw error
                }
                logger.error("\(left[refused].id) is not in force: \(error)")
                left.remove(at: refused)
            }
        }
    }

    /// Puts what is stored in force. Rooms keep what did not change: state of features, routes, windows.
    func configure() async throws {
        // Two applies may end in any order; each puts in force what is stored when its turn comes.
        try await configuring.run { [self] in try await configureNow() }
    }

    /// Puts what is stored in force at start. What an older version let through or a damaged file holds back stands alone: it is logged and left out.
    func configureAtStart() async throws { try await configuring.run { [self] in try await configureNow(containing: true) } }

    func configureNow(containing: Bool = false) async throws {
        let stored = try await resources.all(by: try Grant.check(.system("configure"), may: .resourcesRead)).map(\.resource)
        let declared = containing ? try declarations(from: stored) : try Declarations(stored)
        try await data.configure(declared.datasets)
        try await changeFeatures(to: declared.catalog, containing: containing)
        try pipelines.configure(declared.pipelines)
        for (endpoint, problem) in try await deployments.configure(declared.endpoints) {
            logger.error("endpoint \(endpoint) cannot serve its release: \(problem)")
        }
        try await monitoring.configure(declared.monitors)
        try await triggers.configure(declared.triggers)
    }
}
