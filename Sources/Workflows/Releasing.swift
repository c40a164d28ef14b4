import Contracts
import Registry
import Serving

/// The one way from a registered model to an endpoint, for pipelines and for people.
public struct Releasing: Sendable {
    private let registry: RegistryService
    private let deployments: DeploymentService
    private let denied: @Sendable (Caller, Action, _ subject: String) async throws -> Void

    /// - Parameter denied: records that a caller was refused. Steps of pipelines come here without the check that an API makes.
    package init(
        registry: RegistryService, deployments: DeploymentService,
        denied: @escaping @Sendable (Caller, Action, _ subject: String) async throws -> Void
    ) {
        self.registry = registry
        self.deployments = deployments
        self.denied = denied
    }

    /// - Parameters:
    ///   - expected: the bundle that the caller believes to release, in hexadecimal; another one is refused.
    ///   - key: names the request: asked again, it has no effect and returns the release that is there.
    /// - Throws: `failedPrecondition` when the gate did not pass and `force` is false; `permissionDenied` when the caller may not.
    public func release(
        _ uri: String, to endpoint: String, force: Bool, reason: String, bundle expected: String? = nil, key: String? = nil,
        by caller: Caller
    ) async throws -> Release {
        let subject = "Endpoint/\(endpoint)"
        let reading = try Grant.check(caller, may: .registryRead, on: uri)
        guard let version = try await registry.resolve(uri, reading) else {
            throw KeelError.notFound("there is no model '\(uri)'", hint: "models:/NAME/VERSION or models:/NAME@ALIAS")
        }
        guard let evidence = try await registry.evidence(of: version, reading) else { throw RegistryService.noBundle(version) }
        let bundle = evidence.bundle
        guard expected == nil || expected == bundle.subject.hex else {
            throw KeelError.invalid("\(version.uri) is another bundle than \(expected?.prefix(12) ?? "")", path: "with.model")
        }
        let verdict = bundle.verdict ?? Evidence.ungated
        guard bundle.hasPassed || force else {
            throw KeelError(
                .failedPrecondition, "the gate of \(version.uri) \(verdict)",
                hint: "force: true releases it all the same, for those who may")
        }
        let grant = try await granted(caller, bundle.hasPassed ? .releasesDeploy : .releasesForce, subject)
        if try await deployments.approval(endpoint: endpoint, grant) == .required, evidence.approvals.isEmpty {
            throw KeelError(
                .failedPrecondition, "the endpoint '\(endpoint)' takes approved versions only, and nobody approved \(version.uri)",
                hint: "keel approve \(version.uri) --reason TEXT, by somebody who did not register it")
        }
        let release = try await deployments.createRelease(
            endpoint: endpoint, model: version.name, version: String(version.version), bundle: bundle.subject,
            gate: bundle.hasPassed ? .passed : .forced(reason: "\(reason): \(verdict)"), key: key, grant)
        try await deployments.deploy(endpoint: endpoint, release: release.number, once: key != nil, grant)
        return release
    }

    private func granted(_ caller: Caller, _ action: Action, _ subject: String) async throws -> Grant {
        do throws(KeelError) { return try Grant.check(caller, may: action, on: subject) } catch {
            try await denied(caller, action, subject)
            throw error
        }
    }
}
