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
        let others = try await self.resources.all(by: system).map(\.resource).filter { !given.contains("\($0.environment ?? "")/\($0.id)") }
        try await check(others + resources)
        return try await self.resources.plan(resources, by: grant)
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

    private func check(_ candidate: [Resource]) async throws {
        let declared = try Declarations(candidate)
        try pipelines.validate(declared.pipelines)
    }

    /// Puts what is stored in force. What did not change is kept: state of features, routes, windows.
    ///
    /// Whatever cannot be put in force is reported as damage and left out; everything else is.
    /// - Throws: what newly failed, unless it is the start.
    func configure(isStart: Bool = false) async throws {
        // Two applies may end in any order; each puts in force what is stored when its turn comes.
        try await configuring.run { [self] in
            let failures = try await configureNow()
            let new = damage.replaceConfiguration(with: failures)
            for (subject, error) in failures { logger.error("\(subject) is not in force: \(error)") }
            if !isStart, let first = new.first { throw first.error }
        }
    }

    private func configureNow() async throws -> [(subject: String, error: KeelError)] {
        let grant = try Grant.check(.system("configure"), may: .resourcesRead)
        var failures = try await resources.damaged(by: grant)
        let declared = Declarations.readable(try await resources.all(by: grant).map(\.resource), &failures)
        for (name, error) in await data.configure(declared.datasets) { failures.append(("Dataset/\(name)", error)) }
        for dataset in features.configure(declared.catalog) {
            do { try await rebuild(dataset) } catch {
                let error = KeelError.wrapping(error)
                damage.report("Dataset/\(dataset)", error)
                failures.append(("Dataset/\(dataset)", error))
            }
        }
        func attempt(_ subject: String, _ body: () async throws -> Void) async {
            do { try await body() } catch { failures.append((subject, KeelError.wrapping(error))) }
        }
        await attempt("Pipelines/all") { try pipelines.configure(declared.pipelines) }
        await attempt("Endpoints/all") {
            for (endpoint, problem) in try await deployments.configure(declared.endpoints) { failures.append(("Endpoint/\(endpoint)", problem)) }
        }
        await attempt("Monitors/all") { try await monitoring.configure(declared.monitors) }
        await attempt("Triggers/all") { try await triggers.configure(declared.triggers) }
        return failures
    }
}

extension Declarations {
    /// The declarations of stored resources, without those that are not valid (any more), which are added to `failures`; so are those that refer to them.
    static func readable(_ resources: [Resource], _ failures: inout [(subject: String, error: KeelError)]) -> Declarations {
        // What others refer to comes first.
        let order = Dictionary(uniqueKeysWithValues: kinds.enumerated().map { ($1, $0) })
        let sorted = resources.sorted { (order[$0.kind] ?? kinds.count, $0.name) < (order[$1.kind] ?? kinds.count, $1.name) }
        var kept: [Resource] = []
        var declared = Declarations()
        // Halves a part that is not valid until the resources at fault stand alone.
        func admit(_ part: ArraySlice<Resource>) {
            guard !part.isEmpty else { return }
            do throws(KeelError) {
                declared = try Declarations(kept + part)
                kept += part
            } catch {
                guard part.count > 1 else { return failures.append((part[part.startIndex].id, error)) }
                let middle = part.startIndex + part.count / 2
                admit(part[..<middle])
                admit(part[middle...])
            }
        }
        admit(sorted[...])
        return declared
    }

    private init() {}
}
