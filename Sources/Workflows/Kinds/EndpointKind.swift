import Contracts
import FeatureStore
import Serving

extension EndpointSpec: ResourceKind {
    package var references: [ResourceReference.Target] {
        features.map { [ResourceReference.Target("spec.features", FeatureServiceSpec.schema.name, $0, required: true)] } ?? []
    }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let modules = preparation.modules
        let features = ServedFeatures(store: modules.features[preparation.workspace], draft: preparation.part(PreparedFeatures.self)?.draft)
        let draft = try await modules.deployments.prepare(preparation.declared.all(EndpointSpec.self), reading: features)
        for (name, error) in draft.problems.sorted(by: { $0.key < $1.key }) { preparation.fail("\(schema.name)/\(name)", error) }
        // Endpoints whose declaration cannot be read are among them.
        var disabled: [String: KeelError] = [:]
        for (subject, error) in preparation.failures where subject.hasPrefix("\(schema.name)/") {
            disabled[String(subject.dropFirst(schema.name.count + 1))] = error
        }
        preparation.add(
            PreparedEndpoints(deployments: modules.deployments, runtime: modules.runtime, draft: draft, disabled: disabled))
    }

    package static func status(of resource: Resource, _ modules: Modules, for caller: Caller) async throws -> [ResourceStatus] {
        guard (try? Grant.check(caller, may: .releasesRead, on: resource.id)) != nil else { return [] }
        guard let own = modules.runtime.status().first(where: { isOf(resource, $0) }) else {
            return [ResourceStatus("status", "serves nothing")]
        }
        let serving = [("stable", own.stable), (own.phase, own.candidate)].compactMap { role, release in
            release.map { release in
                let failures = release.errors.values.reduce(0, +)
                let share = Int(saturating: (release.share * 100).rounded())
                let errors = ServingReports.percent(failures, of: release.requests + failures)
                return "release \(release.release) \(role) at \(share)%, \(release.requests) requests, \(errors) errors"
            }
        }
        return [ResourceStatus("status", serving.isEmpty ? "serves nothing" : serving.joined(separator: "; "))]
    }

    package static func holdings(of resource: Resource, in workspace: WorkspaceID, _ modules: Modules) async throws -> ResourceHoldings {
        let grant = try Grant.check(.system("delete", in: workspace), may: .releasesRead, on: resource.id)
        let releases = try await modules.deployments.releases(endpoint: resource.name, grant)
        let serving = modules.runtime.status().first { isOf(resource, $0) }?.stable
        return ResourceHoldings(
            releases.isEmpty ? [] : ["\(releases.count) releases"], inUse: serving.map { "it serves release \($0.release)" })
    }

    package static func remains(removingData removesData: Bool) -> String? { "releases and logged predictions" }

    private static func isOf(_ resource: Resource, _ status: EndpointStatus) -> Bool {
        status.name == resource.name && status.environment == resource.environment ?? "production"
    }
}

private struct PreparedEndpoints: Prepared {
    let deployments: DeploymentService
    let runtime: ServingRuntime
    let draft: EndpointDraft
    let disabled: [String: KeelError]

    func activate() async {
        await deployments.activate(draft)
        runtime.setDisabled(disabled)
    }

    func discard() async { await deployments.discard(draft) }
}

extension OnlinePlan: FeaturePlan {}

/// Serving reads features from the feature store.
package struct ServedFeatures: OnlineFeatures {
    let store: FeatureStore
    /// When given, the plans are for when this is in force.
    let draft: FeatureDraft?

    package init(store: FeatureStore, draft: FeatureDraft? = nil) {
        self.store = store
        self.draft = draft
    }

    package func plan(service: String, inputs: [Signature.Input]) throws(KeelError) -> any FeaturePlan {
        try store.plan(service: service, inputs: inputs, in: draft)
    }
}
