import Contracts

/// One of several models that answer one after another, as one release.
public struct ModelPart: Sendable, Hashable {
    /// The version that it is, as `models:/NAME/VERSION`.
    public let name: String
    public let bundle: ModelBundle

    public init(name: String, bundle: ModelBundle) {
        self.name = name
        self.bundle = bundle
    }

    var json: JSON { ["model": .string(name), "bundle": bundle.json] }

    init(_ reader: FieldReader) throws(KeelError) {
        name = try reader.string("model")
        bundle = try ModelBundle(json: try reader.required("bundle"))
        try reader.finish()
    }

    /// What several models take and give together: what the first takes, and what the last gives. Params are those of all.
    /// - Throws: `contractViolation` when two have a param of one name and another type or default.
    static func signature(of parts: [ModelPart]) throws(KeelError) -> Signature {
        guard let first = parts.first?.bundle.signature, let last = parts.last?.bundle.signature else {
            throw KeelError(.contractViolation, "there are no models")
        }
        var params: [Signature.Parameter] = []
        for part in parts {
            for param in part.bundle.signature.params {
                guard let known = params.first(where: { $0.name == param.name }) else {
                    params.append(param)
                    continue
                }
                guard known == param else {
                    throw KeelError(.contractViolation, "\(part.name) and a model before it have a param '\(param.name)' of different types or defaults")
                }
            }
        }
        return Signature(inputs: first.inputs, outputs: last.outputs, params: params, primary: last.primary)
    }
}

/// How long one of several models took, since it was loaded.
public struct PartTiming: Sendable, Hashable {
    public let name: String
    /// Runs, of one request or several together.
    public let runs: Int
    public let nanoseconds: Int
}
