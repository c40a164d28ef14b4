import Contracts
import Statistics

/// What the training data looked like: what monitors compare production with.
public struct ModelReference: Sendable, Hashable {
    /// The bins of each input with the training rows counted in them, by name.
    public let inputs: [String: ReferenceBins]
    /// The bins of the model's scores on its training or holdout rows.
    public let score: ReferenceBins?

    public init(inputs: [String: ReferenceBins] = [:], score: ReferenceBins? = nil) { (self.inputs, self.score) = (inputs, score) }

    public var json: JSON {
        [
            "inputs": .object(inputs.sorted { $0.key < $1.key }.map { JSON.Member($0.key, $0.value.json) }),
            "score": score.map(\.json) ?? .null,
        ]
    }

    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "reference")
        var inputs: [String: ReferenceBins] = [:]
        for member in try reader.required("inputs").members ?? [] { inputs[member.key] = try ReferenceBins(json: member.value) }
        self.inputs = inputs
        score = try reader.optional("score").map { (bins) throws(KeelError) in try ReferenceBins(json: bins) }
        try reader.finish()
    }
}
