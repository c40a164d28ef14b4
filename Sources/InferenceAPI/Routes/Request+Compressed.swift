import Contracts
import Engines
import HTTPTypes
import Hummingbird
import WebAPI

extension Request {
    /// The whole body, inflated when it is compressed. Memory is taken for both as they come.
    /// - Throws: `payloadTooLarge` when either is larger than `bytesMax`, `unsupportedMediaType` for another coding than gzip and deflate.
    func inflated(upTo bytesMax: Int) async throws -> [UInt8] {
        let coding = try ContentCoding.ofBody(headers[.contentEncoding])
        let body = Array(buffer: try await collected(upTo: bytesMax, hint: "send fewer rows a request"))
        guard let coding else { return body }
        let memory = MemoryReservation.current
        return try await Blocking.run {
            let inflated: Result<[UInt8], KeelError> = body.withUnsafeBytes { raw in
                do throws(KeelError) {
                    return .success(
                        try HTTPCompression.inflate(raw, coding, upTo: bytesMax) { (count) throws(KeelError) in
                            try memory?.take(count * MemoryReservation.bytesPerBodyByte, for: .requests)
                        })
                } catch { return .failure(error) }
            }
            return try inflated.get()
        }
    }

    /// An answer of JSON, compressed when the request accepts that.
    func answer(_ bytes: [UInt8]) async throws -> Response {
        let accepted = headers[.acceptEncoding]
        let compressed = try await Blocking.unlessSmall(bytes.count) { ContentCoding.gzipped(bytes, accepted: accepted) }
        var head: HTTPFields = [.contentType: "application/json", .contentLength: String((compressed ?? bytes).count)]
        if compressed != nil { head[.contentEncoding] = "gzip" }
        return Response(status: .ok, headers: head, body: ResponseBody(byteBuffer: ByteBuffer(bytes: compressed ?? bytes)))
    }

    func answer(_ json: JSON) async throws -> Response { try await answer(json.bytes) }
}
