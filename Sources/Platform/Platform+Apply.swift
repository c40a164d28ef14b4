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
    var entities: [EntitySpec] = []
    var views: [FeatureViewSpec] = []
    var services: [FeatureServiceSpec] = []

    public static let kinds = [
        "Dataset", "Entity", "FeatureView", "FeatureService", "Pipeline", "Endpoint", "Monitor", "Trigger", ModelCardSpec.kind,
    ]

    init() {}

    /// - Throws: an error whose path begins with the resource; every other error that was found is beside it.
    init(_ resources: [Resource]) throws(KeelError) {
        var errors: [KeelError] = []
        var broken: Set<String> = []
        for resource in resources {
            do throws(KeelError) { try add(resource) } catch {
                let first = error.path?.hasPrefix(resource.id) == true ? error : error.at(resource.id)
                errors.append(first)
                errors += Declarations.mistakes(in: resource, besides: first)
                broken.insert(resource.kind)
            }
        }
        // What refers to a resource that could not be read would only be blamed for that.
        if broken.isDisjoint(with: ["Dataset", "Entity", "FeatureView", "FeatureService"]) {
            do throws(KeelError) {
                catalog = try FeatureCatalog(
                    entities: entities, views: views, services: services, datasets: Dictionary(datasets.map { ($0.name, $0.schema) }) { $1 }
                )
            } catch { errors.append(error) }
        }
        errors += wrongReferences(resources)
        if let error = KeelError.joined(errors) { throw error }
    }

    /// Decodes one resource by itself.
    mutating func add(_ resource: Resource) throws(KeelError) {
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
    }

    /// What else is wrong with a resource whose decoder stopped at `first`.
    private static func mistakes(in resource: Resource, besides first: KeelError) -> [KeelError] {
        let schema = Reference.kinds.first { $0.name == resource.kind }
        return (schema?.mistakes(in: resource.spec) ?? []).map { $0.at(resource.id) }.filter { mistake in
            // A misspelt field may be named by the hint about the one that is missing.
            let field = mistake.path?.split(separator: ".").last.map(String.init) ?? ""
            return mistake.path != first.path && first.hint?.contains("'\(field)'") != true
        }
    }

    /// - Parameter resources: all, those that could not be read too.
    private func wrongReferences(_ resources: [Resource]) -> [KeelError] {
        let names = Dictionary(grouping: resources, by: \.kind).mapValues { $0.map(\.name) }
        var errors: [KeelError] = []
        for reference in references where reference.isRequired {
            let known = names[reference.kind] ?? []
            guard !known.contains(reference.name) else { continue }
            errors.append(
                .invalid(
                    "there is no \(reference.word) '\(reference.name)'",
                    hint: nearest(reference.name, in: known).map { "did you mean '\($0)'?" }, path: "\(reference.from).\(reference.field)"))
        }
        for (i, card) in modelCards.enumerated() {
            guard let other = modelCards[..<i].first(where: { $0.model == card.model }) else { continue }
            errors.append(
                .invalid(
                    "the model '\(card.model)' has a card already", hint: "it is ModelCard/\(other.name)",
                    path: "ModelCard/\(card.name).spec.model"))
        }
        return errors
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
        let result = try await self.resources.apply(resources, by: grant, authorize: mayRunCode(grant)) { [self] candidate in
            try await check(candidate)
        }
        if result.changes.contains(where: { $0.kind != .unchanged }) { try await configure() }
        return result
    }

    public func restore(_ kind: String, _ name: String, revision: Int64, by grant: Grant) async throws -> ApplyResult {
        let result = try await resources.restore(
            kind: kind, name: name, revision: revision, by: grant, authorize: mayRunCode(grant)
        ) { [self] candidate in
            try await check(candidate)
        }
        try await configure()
        return result
    }

    /// Who declares what will run code must be allowed to run it: a trigger starts pipelines in its author's name, and the programs of a pipeline are
    /// run by whoever starts it.
    private func mayRunCode(_ grant: Grant) -> @Sendable (Resource) async throws -> Void {
        { [self] resource in
            let runsCode =
                try resource.kind == "Trigger" || resource.kind == "Pipeline" && pipelines.runsPrograms(PipelineSpec(resource: resource))
            guard runsCode else { return }
            do throws(KeelError) { _ = try Grant.check(grant.caller, may: .pipelinesRun, on: resource.id) } catch {
                try await audit.recordDenial(grant.caller, action: .pipelinesRun, subject: resource.id)
                throw error
            }
        }
    }

    func check(_ candidate: [Resource]) async throws {
        var errors: [KeelError] = []
        var pipelines: [PipelineSpec] = []
        do throws(KeelError) { pipelines = try Declarations(candidate).pipelines } catch {
            errors.append(error)
            // The steps of pipelines that can be read are looked at too, so that one answer names everything.
            pipelines = candidate.filter { $0.kind == "Pipeline" }.compactMap { try? PipelineSpec(resource: $0) }
        }
        do throws(KeelError) { try self.pipelines.validate(pipelines) } catch { errors.append(error) }
        if let error = KeelError.joined(errors) { throw error }
    }

    /// Puts what is stored in force. Rooms keep what did not change: state of features, routes, windows.
    func configure() async throws {
        // Two applies may end in any order; each puts in force what is stored when its turn comes.
        try await configuring.run { [self] in try await configureNow() }
    }

    private func configureNow() async throws {
        let stored = try await resources.all(by: try Grant.check(.system("configure"), may: .resourcesRead))
        let declared = try Declarations(stored.map(\.resource))
        try await data.configure(declared.datasets)
        for dataset in features.configure(declared.catalog) { try await rebuild(dataset) }
        try pipelines.configure(declared.pipelines)
        for (endpoint, problem) in try await deployments.configure(declared.endpoints) {
            logger.error("endpoint \(endpoint) cannot serve its release: \(problem)")
        }
        try await monitoring.configure(declared.monitors)
        try await triggers.configure(declared.triggers, authors: try await authors(of: declared.triggers))
    }

    /// Who applied each trigger as it stands.
    private func authors(of triggers: [TriggerSpec]) async throws -> [String: String] {
        let grant = try Grant.check(.system("configure"), may: .resourcesRead)
        var authors: [String: String] = [:]
        for trigger in triggers {
            authors[trigger.name] = try await resources.revisions("Trigger", trigger.name, limit: 1, by: grant).first?.by
        }
        return authors
    }
}
