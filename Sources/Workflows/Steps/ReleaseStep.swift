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

    func validate(_ with: JSON) throws(KeelError) {
        var with = with
        // A reference is a text until a run puts the value in its place.
        if with["force"]?.string?.hasPrefix("$") == true { with["force"] = false }
        _ = try read(with)
    }

    func outputNames(of with: JSON) -> [String]? { ["release", "digest"] }

    func run(_ context: StepContext) async throws -> JSON {
        let (model, endpoint, force, signature) = try read(context.with)
        guard let uri = model["model"]?.string ?? model.string else {
            throw KeelError.invalid("is not a registered model", path: "with.model")
        }
        let release = try await releasing.release(
            uri, to: try ResourceRef(EndpointSpec.kind, qualifiedName: endpoint, in: context.caller.workspace, path: "with.endpoint"), force: force,
            reason: "pipeline \(context.pipeline), run \(context.runID)", signature: signature,
            bundle: model["bundle"]?.string, key: StepOrigin(run: context.runID, step: context.step).key, by: context.caller)
        context.log("release \(release.name) of \(uri)")
        return ["release": .string(release.name), "digest": .string(release.digest.hex)]
    }

    private func read(
        _ with: JSON
    ) throws(KeelError) -> (model: JSON, endpoint: String, force: Bool, signature: EndpointSpec.SignatureRule?) {
        let reader = try FieldReader(with, path: "with")
        let model = try reader.required("model")
        let endpoint = try reader.string("endpoint")
        let force = try reader.optionalBool("force") ?? false
        let signature: EndpointSpec.SignatureRule? = try reader.optional("signature") == nil ? nil : reader.word("signature")
        try reader.finish()
        return (model, endpoint, force, signature)
    }
}
