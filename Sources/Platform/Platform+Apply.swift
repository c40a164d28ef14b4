import Contracts
import Datasets
import FeatureStore
import Foundation
import Governance
import Monitoring
import Pipelines
import Registry
import Serving
import Workflows

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

    package init() {}

    /// - Throws: one error that holds all that were found; their paths begin with the resource.
    package init(_ resources: [Resource]) throws(KeelError) {
        var errors: [KeelError] = []
        var broken: Set<String> = []
        for resource in resources {
            do throws(KeelError) { try add(resource) } catch {
                let found = error.path?.hasPrefix(resource.id) == true ? error : error.at(resource.id)
                errors.append(found)
                errors += Declarations.mistakes(in: resource, besides: found)
                broken.insert(resource.kind)
            }
        }
        // Features of a resource that could not be read would only be reported for that.
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
    package mutating func add(_ resource: Resource) throws(KeelError) {
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

    /// What the schema of a resource's kind finds wrong with it besides what its decoder found before it stopped.
    private static func mistakes(in resource: Resource, besides found: KeelError) -> [KeelError] {
        let schema = Reference.kinds.first { $0.name == resource.kind }
        return (schema?.mistakes(in: resource.spec) ?? []).map { $0.at(resource.id) }.filter { mistake in
            // A misspelt field may be named by the hint about the one that is missing.
            let field = mistake.path?.split(separator: ".").last.map(String.init) ?? ""
            return ([found] + found.also).allSatisfy { $0.path != mistake.path && $0.hint?.contains("'\(field)'") != true }
        }
    }

    /// - Parameter resources: all of them, also those that could not be read.
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

extension Declarations {
    fileprivate func wrongTrainingSets() -> [KeelError] {
        var errors: [KeelError] = []
        for pipeline in pipelines {
            for (i, step) in pipeline.steps.enumerated() where step.uses == TrainingSetStep.kind {
                do throws(KeelError) { try TrainingSetStep.check(step.with, in: catalog) } catch {
                    errors.append(error.at("Pipeline/\(pipeline.name).spec.steps[\(i)]"))
                }
            }
        }
        return errors
    }
}

extension Platform {
    /// What `apply` would do, without doing it, with what each change does to data.
    public func plan(_ resources: [Resource], by grant: Grant) async throws -> [ResourceChange] {
        let system = try Grant.check(.system("plan"), may: .resourcesRead)
        let given = Set(resources.map { "\($0.environment ?? "")/\($0.id)" })
        let stored = try await self.resources.all(by: system).map(\.resource)
        let declared = try await check(stored.filter { !given.contains("\($0.environment ?? "")/\($0.id)") } + resources, given: resources)
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
        try await configuring.run { [self] in
            let result = try await self.resources.apply(resources, by: grant, authorize: mayRunCode(grant)) { [self] candidate in
                try await check(candidate, given: resources)
            }
            if result.changes.contains(where: { $0.kind != .unchanged }) { try await configureInTurn() }
            return result
        }
    }

    public func restore(_ kind: String, _ name: String, revision: Int64, by grant: Grant) async throws -> ApplyResult {
        try await configuring.run { [self] in
            let result = try await resources.restore(
                kind: kind, name: name, revision: revision, by: grant, authorize: mayRunCode(grant)
            ) { [self] candidate in
                try await check(candidate)
            }
            try await configureInTurn()
            return result
        }
    }

    /// Whoever declares what will run code must be allowed to run it: a trigger starts pipelines in its author's name, and whoever starts a pipeline
    /// runs its programs.
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

    /// Checks every declaration by itself and against the others.
    /// - Parameter given: those that are new or change. What only says that a run would fail is asked of them alone: a pipeline that is stored must
    ///   not stand in the way of others.
    /// - Throws: one error that holds all that was found wrong.
    @discardableResult
    func check(_ candidate: [Resource], given: [Resource] = []) async throws -> Declarations {
        var errors: [KeelError] = []
        var declared: Declarations?
        do throws(KeelError) { declared = try Declarations(candidate) } catch { errors.append(error) }
        // The steps of pipelines that can be read are looked at too, so that one answer names everything.
        let pipelines = declared?.pipelines ?? candidate.filter { $0.kind == "Pipeline" }.compactMap { try? PipelineSpec(resource: $0) }
        do throws(KeelError) { try self.pipelines.validate(pipelines) } catch { errors.append(error) }
        for pipeline in pipelines where given.contains(where: { $0.kind == "Pipeline" && $0.name == pipeline.name }) {
            for mistake in GateConditions.mistakes(in: pipeline)
                + Platform.missingScripts(of: pipeline, in: FileManager.default.currentDirectoryPath)
            {
                errors.append(mistake.at("Pipeline/\(pipeline.name)"))
            }
        }
        // What a training set asks for can only be checked when every feature could be read.
        if let declared { errors += declared.wrongTrainingSets() }
        guard let declared, errors.isEmpty else { throw KeelError.joined(errors) ?? KeelError(.internal, "nothing could be declared") }
        return declared
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

    /// Puts what is stored in force. What did not change is kept: state of features, routes, windows.
    ///
    /// Whatever cannot be put in force is reported as damage and left out; everything else is.
    /// - Throws: what newly failed, unless it is the start.
    func configure(isStart: Bool = false) async throws {
        // Two applies may end in any order; each puts in force what is stored when its turn comes.
        try await configuring.run { [self] in try await configureInTurn(isStart: isStart) }
    }

    /// The same, for callers that hold the turn already.
    func configureInTurn(isStart: Bool = false) async throws {
        let failures = try await putInForce(isStart: isStart)
        let new = damage.replaceConfiguration(with: failures)
        for (subject, error) in failures { logger.error("\(subject) is not in force: \(error)") }
        if !isStart, let first = new.first { throw first.error }
    }

    private func putInForce(isStart: Bool) async throws -> [(subject: String, error: KeelError)] {
        let grant = try Grant.check(.system("configure"), may: .resourcesRead)
        var failures = try await resources.damaged(by: grant)
        let declared = Declarations.readable(try await resources.all(by: grant).map(\.resource), &failures)
        for (name, error) in await data.configure(declared.datasets) { failures.append(("Dataset/\(name)", error)) }
        func attempt(_ subject: String, _ body: () async throws -> Void) async {
            do { try await body() } catch { failures.append((subject, KeelError.wrapping(error))) }
        }
        await attempt("Features/all") { failures += try await changeFeatures(to: declared.catalog, isStart: isStart) }
        await attempt("Pipelines/all") { try pipelines.configure(declared.pipelines) }
        await attempt("Endpoints/all") {
            for (endpoint, problem) in try await deployments.configure(declared.endpoints) {
                failures.append(("Endpoint/\(endpoint)", problem))
            }
        }
        await attempt("Monitors/all") { try await monitoring.configure(declared.monitors) }
        // All metrics of a monitor's performance are of labels that are 0 or 1.
        runtime.log.setBinaryEndpoints(Set(declared.monitors.filter { $0.performance != nil }.map(\.endpoint)))
        await attempt("Triggers/all") {
            try await triggers.configure(declared.triggers, authors: try await authors(of: declared.triggers))
        }
        var disabled: [String: KeelError] = [:]
        for (subject, error) in failures where subject.hasPrefix("Endpoint/") { disabled[String(subject.dropFirst(9))] = error }
        runtime.setDisabled(disabled)
        return failures
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
}
