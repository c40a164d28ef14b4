import Contracts

/// A response of the Open Inference Protocol v2: one output `score` with a value a row, the release that gave it and the prediction ids.
public struct InferResponse: Sendable {
    public let model: String
    public let version: String
    public let id: String?
    public let release: Int
    public let ids: [String]
    public let scores: [Float]

    /// The name of the one output.
    public static let output = "score"

    public init(model: String, version: String, id: String?, release: Int, ids: [String], scores: [Float]) {
        (self.model, self.version, self.id, self.release, self.ids, self.scores) = (model, version, id, release, ids, scores)
    }

    public var bytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(192 + scores.count * 56)
        writeHead(to: &out)
        raw("],\"datatype\":\"FP32\",\"data\":[", to: &out)
        for (i, score) in scores.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            out.append(contentsOf: score.description.utf8)
        }
        raw("]}]}", to: &out)
        return out
    }

    /// By Triton's binary tensor extension: JSON, then the scores as little-endian float32; and the length of the JSON.
    public var binary: (bytes: [UInt8], headerBytes: Int) {
        var out: [UInt8] = []
        out.reserveCapacity(256 + scores.count * 48)
        writeHead(to: &out)
        raw("],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":", to: &out)
        out.append(contentsOf: String(scores.count * 4).utf8)
        raw("}}]}", to: &out)
        let headerBytes = out.count
        for score in scores { withUnsafeBytes(of: score.bitPattern.littleEndian) { out.append(contentsOf: $0) } }
        return (out, headerBytes)
    }

    /// Everything up to the size in the output's shape.
    private func writeHead(to out: inout [UInt8]) {
        raw("{\"model_name\":", to: &out)
        JSON.write(string: model, to: &out)
        raw(",\"model_version\":", to: &out)
        JSON.write(string: version, to: &out)
        if let id {
            raw(",\"id\":", to: &out)
            JSON.write(string: id, to: &out)
        }
        raw(",\"parameters\":{\"release\":", to: &out)
        out.append(contentsOf: String(release).utf8)
        raw(",\"ids\":[", to: &out)
        for (i, id) in ids.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            JSON.write(string: id, to: &out)
        }
        raw("]},\"outputs\":[{\"name\":\"score\",\"shape\":[", to: &out)
        out.append(contentsOf: String(scores.count).utf8)
    }

    private func raw(_ text: StaticString, to out: inout [UInt8]) {
        out.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// The protocol's error body: `error` is a text.
    public static func failure(_ error: KeelError) -> [UInt8] {
        var body: JSON = ["error": .string(error.description), "code": .string(error.code.rawValue)]
        if let path = error.path { body["path"] = .string(path) }
        return body.bytes
    }
}
