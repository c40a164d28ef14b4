import Contracts

/// A response of the Open Inference Protocol v2: one output `score` with a value a row, the release that gave it and the prediction ids.
public struct InferResponse: Sendable {
    public let model: String
    public let version: String
    public let id: String?
    public let release: Int
    public let ids: [String]
    public let scores: [Float]

    public init(model: String, version: String, id: String?, release: Int, ids: [String], scores: [Float]) {
        (self.model, self.version, self.id, self.release, self.ids, self.scores) = (model, version, id, release, ids, scores)
    }

    public var bytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(192 + scores.count * 56)
        func raw(_ text: StaticString) { out.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)) }
        raw("{\"model_name\":")
        JSON.write(string: model, to: &out)
        raw(",\"model_version\":")
        JSON.write(string: version, to: &out)
        if let id {
            raw(",\"id\":")
            JSON.write(string: id, to: &out)
        }
        raw(",\"parameters\":{\"release\":")
        out.append(contentsOf: String(release).utf8)
        raw(",\"ids\":[")
        for (i, id) in ids.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            JSON.write(string: id, to: &out)
        }
        raw("]},\"outputs\":[{\"name\":\"score\",\"shape\":[")
        out.append(contentsOf: String(scores.count).utf8)
        raw("],\"datatype\":\"FP32\",\"data\":[")
        for (i, score) in scores.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            out.append(contentsOf: score.description.utf8)
        }
        raw("]}]}")
        return out
    }

    /// The protocol's error body.
    public static func failure(_ error: KeelError) -> [UInt8] {
        var body: JSON = ["error": .string(error.description), "code": .string(error.code.rawValue)]
        if let path = error.path { body["path"] = .string(path) }
        return body.bytes
    }
}
