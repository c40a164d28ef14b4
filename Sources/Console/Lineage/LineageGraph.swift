import Contracts
import Pipelines
import Registry
import SearchLanguage
import Serving
import Storage
import Tracking
import Workflows

/// A thing in the lineage.
struct LineageNode: Hashable {
    /// `Dataset/clicks`, `Run/ID`, `ModelVersion/NAME/3`, `Release/ENDPOINT/2`, `Prediction/ENDPOINT/ID`, `Snapshot/clicks@4`, `PipelineRun/ID`.
    let subject: String
    let kind: String
    let label: String
    let path: String?

    init(_ subject: String, label: String, path: String?) {
        self.subject = subject
        kind = String(subject.prefix { $0 != "/" })
        self.label = label
        self.path = path
    }
}

/// What came from what: from a source to what answers, in both directions from any thing. It is read from what is declared, and from what runs, versions and
/// releases say of themselves; what the caller may not read is left out.
struct LineageGraph {
    private static let nodesMax = 120
    private static let childrenMax = 6
    /// Of an endpoint's latest predictions so many are looked at, and so many of one release shown.
    private static let predictionsRead = 100
    private static let predictionsMax = 3

    private let asked: PageRequest
    private let declared: [(from: ResourceRef, to: ResourceRef)]
    private let resources: Set<ResourceRef>
    private(set) var nodes: [LineageNode] = []
    private(set) var edges: [(from: String, to: String)] = []
    private var seenEdges: Set<[String]> = []
    /// Whether there was more than is shown.
    private(set) var isCut = false

    init(_ asked: PageRequest) async throws {
        self.asked = asked
        let stored = try await asked.platform.resources.all(by: asked.grant)
        resources = Set(stored.map { $0.resource.ref(in: asked.grant.workspace) })
        declared = Declarations(readable: stored.map(\.resource), in: asked.grant.workspace).references.map { LineageGraph.directed($0.from, $0.to) }
    }

    /// A reference as data or a cause goes: mostly from what is named to what names it. A trigger causes a run of the pipeline that it names, and a pipeline
    /// makes what it names of the things that serve.
    private static func directed(_ from: ResourceRef, _ to: ResourceRef) -> (from: ResourceRef, to: ResourceRef) {
        switch (from.kind, to.kind) {
        case ("Trigger", "Pipeline"), ("Pipeline", "Endpoint"): (from, to)
        default: (to, from)
        }
    }

    /// Walks from `start`, first to what it came from, then to what came from it: along one direction, not back.
    mutating func walk(from start: String) async throws {
        guard let node = try await node(start) else { throw KeelError.notFound("there is no '\(start.prefix(160))' that you may see", hint: "name it as Dataset/NAME, Run/ID, ModelVersion/NAME/1, Prediction/ENDPOINT/ID") }
        nodes.append(node)
        for isBackward in [true, false] {
            var frontier = [node]
            var seen: Set<String> = [node.subject]
            while !frontier.isEmpty {
                var next: [LineageNode] = []
                for current in frontier {
                    for neighbour in try await neighbours(of: current, backward: isBackward) where !isCut {
                        let edge = isBackward ? [neighbour.subject, current.subject] : [current.subject, neighbour.subject]
                        if !nodes.contains(where: { $0.subject == neighbour.subject }) {
                            guard nodes.count < LineageGraph.nodesMax else {
                                isCut = true
                                break
                            }
                            nodes.append(neighbour)
                        }
                        if seenEdges.insert(edge).inserted { edges.append((edge[0], edge[1])) }
                        if seen.insert(neighbour.subject).inserted { next.append(neighbour) }
                    }
                }
                frontier = next
            }
        }
    }

    var json: JSON {
        let start = nodes.first?.subject
        return [
            "nodes": .array(
                nodes.map { node in
                    [
                        "id": .string(node.subject), "label": .string(Shown.cut(node.label)), "kind": .string(LineageGraph.word(node.kind)),
                        "href": node.path.map(JSON.string) ?? .null, "isHere": .bool(node.subject == start),
                    ]
                }), "edges": .array(edges.map { [.string($0.from), .string($0.to)] }),
        ]
    }

    /// `FeatureView` as people say it: `feature view`.
    static func word(_ kind: String) -> String {
        kind.reduce(into: "") { $0 += $1.isUppercase && !$0.isEmpty ? " " + $1.lowercased() : $1.lowercased() }
    }

    // MARK: Things

    private func node(_ subject: String) async throws -> LineageNode? {
        let parts = subject.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { return nil }
        let name = parts[1]
        switch parts[0] {
        case "Run":
            guard let grant = asked.grant(.trackingRead) else { return nil }
            return run(try await asked.platform.tracking.run(id: name, grant))
        case "PipelineRun":
            guard let grant = asked.grant(.pipelinesRead) else { return nil }
            return pipelineRun(try await asked.platform.pipelines.run(name, grant: grant))
        case "ModelVersion":
            guard let (model, number) = LineageGraph.numbered(name), let grant = asked.grant(.registryRead, on: "Model/\(model)") else { return nil }
            return version(try await asked.platform.registry.version(model: model, version: number, grant))
        case "Model":
            guard let grant = asked.grant(.registryRead, on: subject) else { return nil }
            _ = try await asked.platform.registry.latestVersions(model: name, grant)
            return LineageNode(subject, label: name, path: ConsolePath.model(name))
        case "Release":
            guard let (endpoint, number) = LineageGraph.numbered(name), let release = try await releases(of: endpoint).first(where: { $0.number == number }) else { return nil }
            return self.release(release)
        case "Prediction":
            guard let (endpoint, id) = try LineageGraph.prediction(name, in: asked.grant.workspace), try await !predictions(id, of: endpoint).isEmpty else { return nil }
            return prediction(endpoint, id)
        case "Snapshot":
            guard let at = name.lastIndex(of: "@"), let number = Int(name[name.index(after: at)...]) else { return nil }
            return snapshot(String(name[..<at]), number)
        default:
            guard let ref = ResourceRef(subject: subject, in: asked.grant.workspace), resources.contains(ref) else { return nil }
            return resource(ref)
        }
    }

    private func resource(_ ref: ResourceRef) -> LineageNode {
        LineageNode(ref.subject, label: ref.qualifiedName, path: ConsolePath.subject(ref.subject, in: ref.workspace))
    }

    private func run(_ run: Run) -> LineageNode { LineageNode("Run/\(run.id)", label: RunViews.name(run), path: RunViews.path(run)) }

    private func pipelineRun(_ run: PipelineRun) -> LineageNode {
        LineageNode("PipelineRun/\(run.id)", label: "\(run.pipeline) \(run.id.prefix(8))", path: PipelineViews.path(run: run.id))
    }

    private func version(_ version: ModelVersion) -> LineageNode {
        LineageNode("ModelVersion/\(version.name)/\(version.version)", label: "\(version.name)/\(version.version)", path: ConsolePath.version(version.name, "\(version.version)"))
    }

    private func release(_ release: Release) -> LineageNode {
        LineageNode("Release/\(release.name)", label: release.name, path: ConsolePath.release(release.endpoint, release.number))
    }

    private func prediction(_ endpoint: ResourceRef, _ id: String) -> LineageNode {
        LineageNode("Prediction/\(endpoint.qualifiedName)/\(id)", label: id, path: ConsolePath.prediction(endpoint, id))
    }

    private func snapshot(_ dataset: String, _ number: Int) -> LineageNode {
        LineageNode("Snapshot/\(dataset)@\(number)", label: "\(dataset)@\(number)", path: "\(DataViews.path(dataset: dataset))?snapshot=\(number)")
    }

    /// `name/3`.
    private static func numbered(_ text: String) -> (name: String, number: Int)? {
        guard let slash = text.lastIndex(of: "/"), let number = Int(text[text.index(after: slash)...]) else { return nil }
        return (String(text[..<slash]), number)
    }

    /// `endpoint@environment/id`. An id may have slashes in it.
    private static func prediction(_ text: String, in workspace: WorkspaceID) throws -> (endpoint: ResourceRef, id: String)? {
        guard let slash = text.firstIndex(of: "/") else { return nil }
        let id = String(text[text.index(after: slash)...])
        return id.isEmpty ? nil : (try ResourceRef(EndpointSpec.kind, qualifiedName: String(text[..<slash]), in: workspace), id)
    }

    // MARK: Neighbours

    private func neighbours(of node: LineageNode, backward: Bool) async throws -> [LineageNode] {
        let name = String(node.subject.dropFirst(node.kind.count + 1))
        var found: [LineageNode] = []
        if let ref = ResourceRef(subject: node.subject, in: asked.grant.workspace), resources.contains(ref) {
            found += declared.filter { (backward ? $0.to : $0.from) == ref }.map { resource(backward ? $0.from : $0.to) }.filter { node in
                resources.contains { $0.subject == node.subject }
            }
        }
        found += backward ? try await sources(of: node.kind, name) : try await results(of: node.kind, name)
        return found
    }

    /// What a thing came from, besides what is declared.
    private func sources(of kind: String, _ name: String) async throws -> [LineageNode] {
        switch kind {
        case "Endpoint": return try await releases(of: name).suffix(LineageGraph.childrenMax).map(release)
        case "Release":
            guard let (endpoint, number) = LineageGraph.numbered(name), let release = try await releases(of: endpoint).first(where: { $0.number == number }) else { return [] }
            var found = try await optional("ModelVersion/\(release.model)/\(release.modelVersion)")
            if let service = release.featureService { found += try await optional("FeatureService/\(service)") }
            return found
        case "Prediction":
            guard let (endpoint, id) = try LineageGraph.prediction(name, in: asked.grant.workspace) else { return [] }
            var found: [LineageNode] = []
            for stored in try await predictions(id, of: endpoint) { found += try await optional("Release/\(endpoint.qualifiedName)/\(stored.release)") }
            return found
        case "Model":
            guard let grant = asked.grant(.registryRead, on: "Model/\(name)") else { return [] }
            return try await asked.platform.registry.latestVersions(model: name, grant).map(version)
        case "ModelVersion": return try await origins(ofVersion: name)
        case "Run":
            guard let grant = asked.grant(.trackingRead), let run = try? await asked.platform.tracking.run(id: name, grant) else { return [] }
            guard let origin = run.tags.first(where: { $0.key == RunOrigin.tag })?.value else { return [] }
            return try await optional("PipelineRun/\(origin.prefix { $0 != "/" })")
        case "PipelineRun":
            guard let grant = asked.grant(.pipelinesRead), let run = try? await asked.platform.pipelines.run(name, grant: grant) else { return [] }
            return snapshots(in: run) + (try await optional("Pipeline/\(run.pipeline)"))
        case "Snapshot": return try await optional("Dataset/\(name.prefix { $0 != "@" })")
        default: return []
        }
    }

    private func origins(ofVersion name: String) async throws -> [LineageNode] {
        guard let (model, number) = LineageGraph.numbered(name), let grant = asked.grant(.registryRead, on: "Model/\(model)") else { return [] }
        let version = try await asked.platform.registry.version(model: model, version: number, grant)
        var found: [LineageNode] = []
        if let run = version.runID { found += try await optional("Run/\(run)") }
        if let training = try await asked.platform.registry.evidence(of: version, grant)?.training {
            if let origin = training.origin { found += try await optional("PipelineRun/\(origin.run)") }
            for member in training.data["snapshots"]?.members ?? [] {
                if let number = member.value.integer { found.append(snapshot(member.key, Int(number))) }
            }
        }
        return found
    }

    /// What came from a thing, besides what is declared.
    private func results(of kind: String, _ name: String) async throws -> [LineageNode] {
        switch kind {
        case "Dataset":
            guard let newest = try await asked.platform.data.snapshot(ResourceRef("Dataset", name, in: asked.grant.workspace)) else { return [] }
            return [snapshot(name, newest.number)]
        case "Pipeline":
            guard let grant = asked.grant(.pipelinesRead) else { return [] }
            return try await asked.platform.pipelines.runs(pipeline: name, limit: 3, grant: grant).map(pipelineRun)
        case "PipelineRun": return try await results(ofPipelineRun: name)
        case "Run":
            guard let grant = asked.grant(.registryRead) else { return [] }
            let search = RegistrySearch(clauses: [SearchClause(.attribute, "run_id", .equal, .text(name))], pageSize: LineageGraph.childrenMax)
            return try await asked.platform.registry.searchVersions(search, grant).items.map(version)
        case "Model":
            guard let grant = asked.grant(.registryRead, on: "Model/\(name)") else { return [] }
            return try await asked.platform.registry.latestVersions(model: name, grant).map(version)
        case "ModelVersion":
            guard let (model, number) = LineageGraph.numbered(name) else { return [] }
            var found: [LineageNode] = []
            for status in asked.platform.runtime.status() where status.ref.workspace == asked.grant.workspace {
                let all = try await releases(of: status.ref.qualifiedName)
                found += all.filter { $0.model == model && $0.modelVersion == "\(number)" }.suffix(LineageGraph.childrenMax).map(release)
            }
            return found
        case "Release":
            guard let (endpoint, number) = LineageGraph.numbered(name) else { return [] }
            return try await optional("Endpoint/\(endpoint)") + latestPredictions(of: endpoint, number)
        default: return []
        }
    }

    private func results(ofPipelineRun id: String) async throws -> [LineageNode] {
        guard let grant = asked.grant(.pipelinesRead), let run = try? await asked.platform.pipelines.run(id, grant: grant) else { return [] }
        var found: [LineageNode] = []
        for outputs in run.steps.compactMap(\.outputs) {
            if let tracked = outputs["run"]?.string { found += try await optional("Run/\(tracked)") }
            // `models:/NAME/VERSION`, as the step that registers writes it.
            if let model = outputs["model"]?.string, model.hasPrefix("models:/") {
                found += try await optional("ModelVersion/\(model.dropFirst("models:/".count))")
            }
        }
        return found
    }

    /// The snapshots that a run's steps read, as they say themselves.
    private func snapshots(in run: PipelineRun) -> [LineageNode] {
        run.steps.compactMap(\.outputs).flatMap { outputs in
            (outputs["snapshots"]?.members ?? []).compactMap { member in member.value.integer.map { snapshot(member.key, Int($0)) } }
        }
    }

    /// A thing that may be gone, or that the caller may not see.
    private func optional(_ subject: String) async throws -> [LineageNode] {
        do { return try await node(subject).map { [$0] } ?? [] } catch let error as KeelError where [.notFound, .permissionDenied, .invalidArgument].contains(error.code) { return [] }
    }

    /// What is logged of one prediction, by each release; nothing when the caller may not read it.
    private func predictions(_ id: String, of endpoint: ResourceRef) async throws -> [StoredPrediction] {
        guard let grant = try? Grant.check(asked.grant.caller, may: .predictionsRead, on: endpoint) else { return [] }
        return try await PredictionQueries(database: asked.platform.database).prediction(id: id, endpoint: endpoint, grant)
    }

    /// Some of what a release answered last. They are looked for among the endpoint's latest only.
    private func latestPredictions(of endpoint: String, _ release: Int) async throws -> [LineageNode] {
        let ref = try ResourceRef(EndpointSpec.kind, qualifiedName: endpoint, in: asked.grant.workspace)
        guard let grant = try? Grant.check(asked.grant.caller, may: .predictionsRead, on: ref) else { return [] }
        let latest = try await PredictionQueries(database: asked.platform.database).latest(endpoint: ref, limit: LineageGraph.predictionsRead, grant)
        return latest.filter { $0.release == release }.prefix(LineageGraph.predictionsMax).map { prediction(ref, $0.id) }
    }

    private func releases(of endpoint: String) async throws -> [Release] {
        let ref = try ResourceRef(EndpointSpec.kind, qualifiedName: endpoint, in: asked.grant.workspace)
        guard let grant = try? Grant.check(asked.grant.caller, may: .releasesRead, on: ref) else { return [] }
        return try await asked.platform.deployments.releases(endpoint: ref, grant)
    }
}
