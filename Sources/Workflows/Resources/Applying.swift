import Contracts
import Foundation
import Governance
import Monitoring
import Pipelines
import Storage
import Synchronization

/// Declares resources: shows what a change would do, and makes it so.
///
/// What is declared is checked and made ready before it is stored, and put in force when it is stored. So what is stored is in force, except for what
/// the last start, or a damaged file, left out: that is in the register of damage.
public final class Applying: Sendable {
    let modules: Modules
    /// Which resources of a workspace are in force changes in one turn after another. Features may be filled from a long history meanwhile: other
    /// workspaces do not wait for that.
    private let turns = Mutex<[WorkspaceID: Turn]>([:])
    private let report: @Sendable (_ problem: String) -> Void

    /// - Parameter report: told, for the log, what is stored and not in force.
    package init(_ modules: Modules, report: @escaping @Sendable (_ problem: String) -> Void) {
        self.modules = modules
        self.report = report
    }

    // MARK: Verbs

    /// What `apply` would do, without doing it, with what each change does to data.
    public func plan(_ resources: [Resource], by grant: Grant) async throws -> [ResourceChange] {
        var changes = try await modules.resources.plan(resources, by: grant)
        let system = try Grant.check(.system("plan", in: grant.workspace), may: .resourcesRead)
        let given = Set(resources.map { $0.ref(in: grant.workspace) })
        let stored = try await modules.resources.all(by: system).map(\.resource)
        let declared = try Declarations.check(
            stored.filter { !given.contains($0.ref(in: grant.workspace)) } + resources, in: grant.workspace,
            given: Set(given.map(\.subject)), names: try await modules.names(grant.workspace), modules)
        for (i, resource) in resources.enumerated() where changes[i].kind != .unchanged {
            let kind = try ResourceKinds.kind(resource.kind)
            if changes[i].kind == .changed { changes[i].effects = try await kind.effects(of: resource, in: declared, modules) }
            changes[i].effects += try await kind.warnings(of: resource, in: declared, modules)
        }
        return changes
    }

    /// What `apply` would change, whether it is right or not.
    func changes(_ resources: [Resource], by grant: Grant) async throws -> [ResourceChange] {
        try await modules.resources.plan(resources, by: grant)
    }

    /// What would not work of a resource in force as its author may think, a sentence each.
    func warnings(of resource: Resource, in workspace: WorkspaceID) async throws -> [String] {
        let system = try Grant.check(.system("warnings", in: workspace), may: .resourcesRead)
        let declared = Declarations(readable: try await modules.resources.all(by: system).map(\.resource), in: workspace)
        return try await ResourceKinds.kind(resource.kind).warnings(of: resource, in: declared, modules)
    }

    /// Why monitors in force can never alert of what serves their endpoints now, a sentence each.
    func blindMonitors(in workspace: WorkspaceID, where isWanted: (MonitorSpec) -> Bool) async throws -> [String] {
        let system = try Grant.check(.system("warnings", in: workspace), may: .resourcesRead)
        let declared = Declarations(readable: try await modules.resources.all(by: system).map(\.resource), in: workspace)
        let monitors = declared.all(MonitorSpec.self).map { $0.watching(declared.resolve($0.endpoint)) }
        return monitors.filter(isWanted).flatMap { $0.blindSpots(modules.runtime) }
    }

    /// Stores the resources and puts them in force. When anything is wrong with any of them, or one cannot be put in force, nothing changes.
    public func apply(_ resources: [Resource], by grant: Grant) async throws -> ApplyResult {
        let given = Set(resources.map { $0.ref(in: grant.workspace).subject })
        return try await inTurn(of: grant.workspace) {
            try await modules.resources.apply(
                resources, by: grant, authorize: authorization(grant), validate: validation(given: given, grant), prepare: preparation(grant))
        }
    }

    /// Applies an earlier revision of a resource again, as a new revision.
    public func restore(
        _ kind: String, _ name: String, environment: String? = nil, revision: Int64, by grant: Grant
    ) async throws -> ApplyResult {
        try await inTurn(of: grant.workspace) {
            try await modules.resources.restore(
                kind: kind, name: name, environment: environment, revision: revision, by: grant, authorize: authorization(grant),
                validate: validation(given: ["\(kind)/\(name)"], grant),
                prepare: preparation(grant))
        }
    }

    /// Resources that name this one, each with the field that does.
    public func dependents(of thing: ResourceRef, by grant: Grant) async throws -> [(id: String, field: String)] {
        let declared = Declarations(readable: try await modules.resources.all(by: grant).map(\.resource), in: grant.workspace)
        return declared.references.filter { $0.to == thing }.map { ($0.from.subject, $0.target.field) }
    }

    /// What the server knows of a resource besides its declaration, as far as the caller may read it.
    public func status(of resource: Resource, by grant: Grant) async throws -> [ResourceStatus] {
        try grant.require(.resourcesRead, on: resource.ref(in: grant.workspace))
        do {
            return try await ResourceKinds.kind(resource.kind).status(of: resource, modules, for: grant.caller)
        } catch {
            // A resource that is not in force is described all the same.
            return [ResourceStatus("status", KeelError.wrapping(error).message)]
        }
    }

    /// Runs what must not happen beside a change of what is in force in a workspace. It must not call a verb that changes it, but for `configureInTurn`.
    package func inTurn<T>(of workspace: WorkspaceID, _ body: () async throws -> T) async throws -> T {
        let turn = turns.withLock { turns in
            let turn = turns[workspace] ?? Turn()
            turns[workspace] = turn
            return turn
        }
        return try await turn.run(body)
    }

    // MARK: What is asked of a change

    func validation(given: Set<String>, _ grant: Grant) -> ResourceService.Validation {
        { [self] candidate in
            let names = try await modules.names(grant.workspace)
            let declared = try Declarations.check(candidate, in: grant.workspace, given: given, names: names, modules)
            let system = try Grant.check(.system("configure", in: grant.workspace), may: .resourcesRead)
            let stored = Set(try await modules.resources.all(by: system).map(\.digest))
            let triggered = Set(declared.all(TriggerSpec.self).map(\.run))
            for resource in candidate where !stored.contains(resource.digest) {
                if resource.kind == PipelineSpec.schema.name, triggered.contains(resource.name) { try await refuseAgents(resource, grant) }
                let excess = try ResourceKinds.kind(resource.kind).init(resource: resource).given(among: declared).filter {
                    !grant.caller.may($0, on: nil)
                }
                guard excess.isEmpty else {
                    try await modules.audit.recordDenial(grant.caller, action: .accessManage, subject: resource.id)
                    throw KeelError(
                        .permissionDenied, "\(grant.caller.name) (\(grant.caller.persona.rawValue)) may not give what they may not do themselves",
                        hint: "it gives \(excess.map(\.rawValue).sorted().joined(separator: ", ")); ask an owner", path: resource.id)
                }
            }
        }
    }

    /// Refuses what takes more than `resources.apply`, also when it is taken away.
    func authorization(_ grant: Grant) -> ResourceService.Authorization {
        { [self] resource, current in
            let kind = try ResourceKinds.kind(resource.kind)
            let subject = resource.ref(in: grant.workspace).subject
            if kind.actsForItsAuthor { try await refuseAgents(resource, grant) }
            for action in try kind.init(resource: resource).permissions(replacing: current, modules) {
                do throws(KeelError) { _ = try Grant.check(grant.caller, may: action, on: subject) } catch {
                    try await modules.audit.recordDenial(grant.caller, action: action, subject: subject)
                    throw error
                }
            }
        }
    }

    private func refuseAgents(_ resource: Resource, _ grant: Grant) async throws {
        guard let actor = grant.caller.actors.first else { return }
        try await modules.audit.recordDenial(grant.caller, action: .resourcesApply, subject: resource.ref(in: grant.workspace).subject)
        throw KeelError(
            .permissionDenied, "\(actor) acts for \(grant.caller.name) and may leave nothing that goes on in that name",
            hint: "\(grant.caller.name) applies a \(resource.kind) that triggers run, or a trigger, without an agent", path: resource.id)
    }

    /// Makes a valid set ready, before it is stored.
    ///
    /// A resource that was out of force before the change does not stand in its way: the register of damage names it.
    /// - Throws: the first reason why something newly could not be put in force.
    package func preparation(_ grant: Grant) -> ResourceService.Preparation {
        { [self] candidate, changed in
            let replaced = Set(changed.map { $0.ref(in: grant.workspace).subject })
            let preparation = try await prepare(candidate, in: grant.workspace, changed: replaced, by: grant.caller)
            let known = Set(modules.damage.all(in: grant.workspace).map(\.subject))
            if let new = preparation.failures.first(where: { !known.contains($0.subject) }) {
                for part in preparation.parts.reversed() { await part.discard() }
                throw new.error
            }
            return PreparedConfiguration(preparation: preparation) { [self] failures in
                _ = replaceDamage(of: grant.workspace, with: failures)
            }
        }
    }

    private func prepare(
        _ candidate: [Resource], in workspace: WorkspaceID, changed: Set<String>, by caller: Caller
    ) async throws -> Preparation {
        var preparation = try await begin(candidate, in: workspace, isStart: false, changed: changed, by: caller)
        for kind in ResourceKinds.inOrderOfPreparation {
            do { try await kind.prepare(&preparation) } catch {
                for part in preparation.parts.reversed() { await part.discard() }
                throw error
            }
        }
        return preparation
    }

    /// - Parameters:
    ///   - changed: the ids of those that are not stored yet, or otherwise.
    ///   - caller: who applies these.
    private func begin(
        _ candidate: [Resource], in workspace: WorkspaceID, isStart: Bool, changed: Set<String>, by caller: Caller?
    ) async throws -> Preparation {
        let system = try Grant.check(.system("configure", in: workspace), may: .resourcesRead)
        // What is applied anew takes the place of a stored one that cannot be read any more.
        var failures = try await modules.resources.damaged(by: system).filter { !changed.contains($0.subject) }
        let declared = Declarations.valid(candidate, in: workspace, modules, &failures)
        return Preparation(declared, modules, isStart: isStart, failures: failures) { [modules] kind, name in
            if let caller, changed.contains("\(kind)/\(name)") { return caller.name }
            return try await modules.resources.revisions(kind, name, limit: 1, by: system).first?.by
        }
    }

    // MARK: What is stored

    /// Puts what is stored in a workspace in force. What did not change is kept: state of features, routes, windows.
    ///
    /// Whatever cannot be put in force is reported as damage and left out; everything else is.
    /// - Throws: what newly failed, unless it is the start.
    package func configure(_ workspace: WorkspaceID, isStart: Bool = false) async throws {
        try await inTurn(of: workspace) { try await configureInTurn(workspace, isStart: isStart) }
    }

    /// The same, for callers that hold the turn already.
    package func configureInTurn(_ workspace: WorkspaceID, isStart: Bool = false) async throws {
        let system = try Grant.check(.system("configure", in: workspace), may: .resourcesRead)
        let stored = try await modules.resources.all(by: system).map(\.resource)
        var preparation = try await begin(stored, in: workspace, isStart: isStart, changed: [], by: nil)
        for kind in ResourceKinds.inOrderOfPreparation {
            do { try await kind.prepare(&preparation) } catch {
                preparation.fail("\(kind.schema.name)s/all", KeelError.wrapping(error))
            }
        }
        for part in preparation.parts {
            do {
                try await modules.database.write(in: workspace) { try part.store($0) }
                await part.activate()
            } catch {
                await part.discard()
                preparation.fail("Resources/all", KeelError.wrapping(error))
            }
        }
        let new = replaceDamage(of: workspace, with: preparation.failures)
        if !isStart, let first = new.first { throw first.error }
    }

    /// Makes the online features of a dataset anew, from its newest snapshot and the stream behind it. When that fails the old ones stay.
    package func rebuildFeatures(_ dataset: ResourceRef) async throws {
        let features = modules.features[dataset.workspace]
        let name = dataset.name
        // Nothing else may change which views there are.
        try await inTurn(of: dataset.workspace) {
            guard features.sources.contains(name) else { return }
            let wasBroken = features.isBroken(name)
            let draft = features.draft(rebuilding: name)
            try await modules.history.fill(draft, dataset) { features.adopt(draft) }
            // Endpoints that could not be planned without these features can be now.
            if wasBroken { try await configureInTurn(dataset.workspace) }
        }
    }

    /// - Returns: what is new.
    private func replaceDamage(
        of workspace: WorkspaceID, with failures: [(subject: String, error: KeelError)]
    ) -> [(subject: String, error: KeelError)] {
        let new = modules.damage.replaceConfiguration(of: workspace, with: failures)
        let place = workspace == .default ? "" : " in the workspace \(workspace)"
        for (subject, error) in failures { report("\(subject)\(place) is not in force: \(error)") }
        return new
    }
}

/// A set of resources that every kind has made ready.
private struct PreparedConfiguration: PreparedResources {
    let preparation: Preparation
    /// Told, once it is in force, what could not be.
    let finish: @Sendable (_ failures: [(subject: String, error: KeelError)]) -> Void

    func store(_ tx: Transaction) throws { for part in preparation.parts { try part.store(tx) } }

    func activate() async {
        for part in preparation.parts { await part.activate() }
        finish(preparation.failures)
    }

    func discard() async { for part in preparation.parts.reversed() { await part.discard() } }
}
