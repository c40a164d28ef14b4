import Contracts
import FeatureStore
import Governance
import Serving
import Storage

extension EndpointSpec: ResourceKind {
    package var references: [ResourceReference.Target] {
        features.map { [ResourceReference.Target("spec.features", FeatureServiceSpec.schema.name, $0, required: true)] } ?? []
    }

    /// Who may not force may not make an endpoint take what only force could bring there either.
    package func permissions(replacing current: Resource?, _ modules: Modules) -> [Action] {
        guard let current, let before = try? EndpointSpec(resource: current) else { return [] }
        let isLooser = before.gate == .required && gate == .optional || before.approval == .required && approval == .optional
        return isLooser ? [.releasesForce] : []
    }

    package static func effects(of resource: Resource, in declared: Declarations, _ modules: Modules) async throws -> [String] {
        let ref = resource.ref(in: declared.workspace)
        if let spec = declared.all(EndpointSpec.self).first(where: { $0.ref == ref }) { try await modules.deployments.requireScores(spec) }
        return []
    }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let modules = preparation.modules
        let workspace = preparation.workspace
        let features = ServedFeatures(stores: modules.features, draft: preparation.part(PreparedFeatures.self)?.draft)
        let draft = try await modules.deployments.prepare(preparation.declared.all(EndpointSpec.self), in: workspace, reading: features)
        for (ref, error) in draft.problems.sorted(by: { $0.key.subject < $1.key.subject }) { preparation.fail(ref.subject, error) }
        // Endpoints whose declaration cannot be read are among them.
        var disabled: [ResourceRef: KeelError] = [:]
        for (subject, error) in preparation.failures {
            if let ref = ResourceRef(subject: subject, in: workspace), ref.kind == kind { disabled[ref] = error }
        }
        preparation.add(
            PreparedEndpoints(
                deployments: modules.deployments, runtime: modules.runtime, draft: draft, disabled: disabled, workspace: workspace))
        try await ModelPolicySpec.requireKept(preparation)
    }

    package static func status(of resource: Resource, _ modules: Modules, for caller: Caller) async throws -> [ResourceStatus] {
        let ref = resource.ref(in: caller.workspace)
        guard (try? Grant.check(caller, may: .releasesRead, on: ref)) != nil else { return [] }
        guard let own = modules.runtime.status().first(where: { $0.ref == ref }) else {
            return [ResourceStatus("status", "serves nothing")]
        }
        if own.phase == "starting" { return [ResourceStatus("status", "starting: its models are loaded")] }
        let serving = [("stable", own.stable), (own.phase, own.candidate)].compactMap { role, release in
            release.map { release in
                let failures = release.errors.values.reduce(0, +)
                let share = Int(saturating: (release.share * 100).rounded())
                let errors = ServingReports.percent(failures, of: release.requests + failures)
                let parts = release.parts.filter { $0.runs > 0 }.map { "\($0.name) \($0.nanoseconds / $0.runs / 1000) µs" }
                return "release \(release.release) \(role) at \(share)%, \(release.requests) requests, \(errors) errors"
                    + (parts.isEmpty ? "" : " (\(parts.joined(separator: ", ")))")
            }
        }
        var out = [ResourceStatus("status", serving.isEmpty ? "serves nothing" : serving.joined(separator: "; "))]
        let grant = try Grant.check(.system("describe", in: caller.workspace), may: .releasesRead, on: ref)
        let numbers = [own.stable?.release, own.candidate?.release]
        for release in try await modules.deployments.releases(endpoint: ref, grant) where numbers.contains(release.number) {
            // A bundle that cannot be read is the endpoint's damage, which is shown elsewhere.
            guard let protections = try? await modules.models.protections(of: release.bundle), !protections.isEmpty else { continue }
            out.append(ResourceStatus("code", protections.map { "\($0.name): \($0.text)\($0.holds ? "" : " (weak)")" }.joined(separator: "; ")))
            break
        }
        return out
    }

    package static func holdings(of resource: Resource, in workspace: WorkspaceID, _ modules: Modules) async throws -> ResourceHoldings {
        let ref = resource.ref(in: workspace)
        let grant = try Grant.check(.system("delete", in: workspace), may: .releasesRead, on: ref)
        let releases = try await modules.deployments.releases(endpoint: ref, grant)
        let serving = modules.runtime.status().first { $0.ref == ref }?.stable
        return ResourceHoldings(
            releases.isEmpty ? [] : ["\(releases.count) releases"], inUse: serving.map { "it serves release \($0.release)" })
    }

    package static func remains(removingData removesData: Bool) -> String? { "releases and logged predictions" }
}

private struct PreparedEndpoints: Prepared {
    let deployments: DeploymentService
    let runtime: ServingRuntime
    let draft: EndpointDraft
    let disabled: [ResourceRef: KeelError]
    let workspace: WorkspaceID

    func store(_ tx: Transaction) throws {
        try DeploymentService.forgetState(allBut: Set(try ResourceService.names(of: EndpointSpec.kind, in: workspace, tx)), in: tx)
    }

    func activate() async {
        await deployments.activate(draft)
        runtime.setDisabled(disabled, in: workspace)
    }

    func discard() async { await deployments.discard(draft) }
}

extension OnlinePlan: FeaturePlan {
    public func read(_ request: Table) throws(KeelError) -> ModelInputs {
        let (table, times, bounds) = try inputs(for: request)
        let reads = bounds.map { FeatureReads(known: $0.from...$0.until, inexact: Set($0.inexact)) }
        return ModelInputs(table: table, eventTimes: times, reads: reads)
    }
}

/// Serving reads features from the feature store.
package struct ServedFeatures: OnlineFeatures {
    let stores: FeatureStores
    /// When given, the plans are for when this is in force in its workspace.
    let draft: FeatureDraft?

    package init(stores: FeatureStores, draft: FeatureDraft? = nil) {
        self.stores = stores
        self.draft = draft
    }

    package func plan(
        service: String, of workspace: WorkspaceID, inputs: [Signature.Input]
    ) throws(KeelError) -> any FeaturePlan {
        try stores[workspace].plan(service: service, inputs: inputs, in: draft)
    }
}
