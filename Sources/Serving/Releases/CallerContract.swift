import Contracts

/// What an endpoint takes from its callers and gives them: the part of a release that they know.
struct CallerContract: Sendable, Hashable {
    /// The columns of a request.
    let inputs: [Signature.Input]
    /// Nil when it is not known before the model was tried.
    let outputs: [Signature.Output]?
    let params: [Signature.Parameter]

    /// What callers would notice if `next` were in its place, in words. Something new that a request may leave out, a wider number and another output are
    /// no reason to change a caller.
    func changes(to next: CallerContract) -> [String] {
        var out: [String] = []
        for input in next.inputs {
            guard let old = inputs.first(where: { $0.name == input.name }) else {
                if !input.isOptional { out.append("input '\(input.name)' is new, and no request may leave it out") }
                continue
            }
            if old.type != input.type, !CallerContract.isWider(input.type, than: old.type) {
                out.append("input '\(input.name)' is \(input.type), and was \(old.type)")
            } else if old.isOptional, !input.isOptional {
                out.append("input '\(input.name)' may not be left out any more")
            } else if old.nullable, !input.nullable {
                out.append("input '\(input.name)' must have a value in every row")
            }
        }
        for old in inputs where !next.inputs.contains(where: { $0.name == old.name }) {
            out.append("input '\(old.name)' is gone, and requests that have it are refused")
        }
        if let before = outputs, let after = next.outputs {
            for old in before {
                guard let output = after.first(where: { $0.name == old.name }) else {
                    out.append("output '\(old.name)' is gone")
                    continue
                }
                if output.type != old.type { out.append("output '\(old.name)' is \(output.type), and was \(old.type)") }
            }
        }
        for old in params {
            guard let param = next.params.first(where: { $0.name == old.name }) else {
                out.append("param '\(old.name)' is gone, and requests that set it are refused")
                continue
            }
            if param.type != old.type { out.append("param '\(old.name)' is \(param.type), and was \(old.type)") }
        }
        return out
    }

    /// Whether every value of one type is one of the other.
    private static func isWider(_ type: DataType, than old: DataType) -> Bool {
        let orders: [[DataType]] = [
            [.int32, .int64], [.float32, .float64],
        ]
        return orders.contains { order in
            guard let i = order.firstIndex(of: old), let j = order.firstIndex(of: type) else { return false }
            return i < j
        }
    }
}

extension DeploymentService {
    /// What callers of an endpoint would notice if a model answered them in place of the release that does, in words; empty while none answers, and where
    /// only its features could tell.
    /// - Parameter spec: the endpoint as it would be declared.
    public func noticeable(_ signature: Signature, at spec: EndpointSpec) throws(KeelError) -> [String] {
        guard let live = endpoints[spec.ref], let stable = live.stable, spec.features == live.spec.features else { return [] }
        var inputs = signature.inputs
        if let service = spec.features {
            guard let plan = try? features?.plan(service: service, of: spec.ref.workspace, inputs: inputs) else { return [] }
            inputs = DeploymentService.inputs(of: plan)
        }
        let next = CallerContract(inputs: inputs, outputs: signature.outputs.isEmpty ? nil : signature.outputs, params: signature.params)
        return contract(stable.model, stable.plan, live.spec).changes(to: next)
    }

    /// - Throws: `failedPrecondition` that names what callers would notice, unless the endpoint or the caller says that they may.
    func requireCompatible(
        _ release: Release, _ model: LoadedModel, _ plan: any FeaturePlan, _ live: Live, _ asked: EndpointSpec.SignatureRule?
    ) throws(KeelError) {
        guard (asked ?? live.spec.signature) == .compatible, let stable = live.stable else { return }
        let changes = contract(stable.model, stable.plan, live.spec).changes(to: contract(model, plan, live.spec))
        try DeploymentService.refuse(changes, "\(release.model)/\(release.modelVersion)", stable.release, live.spec)
    }

    /// The same before a model is loaded.
    public func requireCompatible(_ signature: Signature, of uri: String, at spec: EndpointSpec, asked: EndpointSpec.SignatureRule?) throws(KeelError) {
        guard (asked ?? spec.signature) == .compatible, let stable = endpoints[spec.ref]?.stable else { return }
        try DeploymentService.refuse(try noticeable(signature, at: spec), uri, stable.release, spec)
    }

    private static func refuse(_ changes: [String], _ model: String, _ stable: Release, _ spec: EndpointSpec) throws(KeelError) {
        guard !changes.isEmpty else { return }
        let named = changes.prefix(5).joined(separator: "; ") + (changes.count > 5 ? "; and \(changes.count - 5) more" : "")
        throw KeelError(
            .failedPrecondition, "callers of '\(spec.ref.qualifiedName)' would notice that \(model) answers in place of release \(stable.name): \(named)",
            hint: "signature: any in the spec of \(spec.ref.subject), or --signature any, releases it all the same", path: "\(spec.ref.subject).spec.signature")
    }

    private func contract(_ model: LoadedModel, _ plan: any FeaturePlan, _ spec: EndpointSpec) -> CallerContract {
        CallerContract(
            inputs: spec.features == nil ? model.bundle.signature.inputs : DeploymentService.inputs(of: plan),
            outputs: model.outputs.isEmpty ? nil : model.outputs, params: model.bundle.signature.params)
    }

    /// What a request must have where features complete it.
    private static func inputs(of plan: any FeaturePlan) -> [Signature.Input] {
        plan.requestFields.map { Signature.Input($0.name, $0.type, nullable: $0.nullable) }
    }
}
