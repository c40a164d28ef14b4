import Contracts
import Serving

/// What an endpoint takes and gives, as the Open Inference Protocol and Triton's model configuration extension describe it.
struct ModelDescription {
    let endpoint: ResourceRef
    let versions: [String]
    let inputs: [Field]
    let outputs: [Signature.Output]
    /// Rows in one request.
    let rowsMax: Int

    var metadata: JSON {
        [
            "name": .string(endpoint.qualifiedName), "versions": .array(versions.map(JSON.string)), "platform": "keel",
            "inputs": .array(inputs.map { ModelDescription.tensor($0.name, $0.type) }),
            "outputs": .array(outputs.map { ModelDescription.tensor($0.name, $0.type) }),
        ]
    }

    var configuration: JSON {
        [
            "name": .string(endpoint.qualifiedName), "platform": "keel", "backend": "keel",
            "version_policy": ["specific": ["versions": .array(versions.map { Int64($0).map(JSON.int) ?? .string($0) })]],
            "max_batch_size": .int(Int64(rowsMax)),
            "input": .array(inputs.map { ModelDescription.configured($0.name, $0.type) }),
            "output": .array(outputs.map { ModelDescription.configured($0.name, $0.type) }),
        ]
    }

    /// The first dimension is that of the rows.
    private static func tensor(_ name: String, _ type: DataType) -> JSON {
        ["name": .string(name), "datatype": .string(Datatype(of: type).rawValue), "shape": .array([.int(-1)] + row(type).map { .int(Int64($0)) })]
    }

    /// A model with a batch size is described without the dimension of the rows. A value a row has no other, which Triton writes as a reshaped 1.
    private static func configured(_ name: String, _ type: DataType) -> JSON {
        let word = Datatype(of: type)
        let dims = row(type)
        var json: JSON = [
            "name": .string(name), "data_type": .string("TYPE_" + (word == .bytes ? "STRING" : word.rawValue)),
            "dims": .array((dims.isEmpty ? [1] : dims).map { .int(Int64($0)) }),
        ]
        if dims.isEmpty { json["reshape"] = ["shape": []] }
        return json
    }

    /// The shape of one row; empty for a value.
    private static func row(_ type: DataType) -> [Int] {
        switch type {
        case .tensor(_, let shape): shape
        case .list: [-1]
        default: []
        }
    }
}
