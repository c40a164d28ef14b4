import Contracts
import Pipelines
import Registry
import Serving
import Storage

/// `release`: makes an immutable release of a registered model and hands it to the endpoint's rollout. A model whose gate did not pass is
/// refused, unless `force` is true and the caller may force.
struct ReleaseStep: StepKind {
    let name = "release"
    let version = 1
    let cachedByDefault = false
    let releasing: Releasing

    func validate(_ with: JSON) throws(KeelError) { _ = try read(with) }

    func run(_ context: StepContext) async throws -> JSON {
        let (model, endpoint, force) = try read(context.with)
        guard let uri = model["model"]?.string ?? model.string else {
            throw KeelError.invalid("is not a registered model", path: "with.model")
        }
        let release = try await releasing.release(
            uri, to: endpoint, force: force, reason: "pipeline \(context.pipeline), run \(context.runID)",
            bundle: model["bundle"]?.string, key: StepOrigin(run: context.runID, step: context.step).key, by: context.caller)
        context.log("release \(release.name) of \(uri)")
        return ["release": .string(release.name), "digest": .string(release.digest.hex)]
    }

    private func read(_ with: JSON) throws(KeelError) -> (model: JSON, endpoint: String, force: Bool) {
        let reader = try FieldReader(with, path: "with")
        let out = (try reader.required("model"), try reader.string("endpoint"), try reader.optionalBool("force") ?? false)
        try reader.finish()
        return out
    }
}

/// The one way from a registered model to an endpoint, for pipelines and for people.
public struct Releasing: Sendable {
    let registry: RegistryService
    let deployments: DeploymentService
    /// Records that a caller was refused. Steps of pipelines come here without the check that an API makes.
    let denied: @Sendable (Caller, Action, _ subject: String) async throws -> Void

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
