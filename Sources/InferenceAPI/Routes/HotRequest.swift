import Contracts
import Engines
import NIOCore
import Serving

/// A request to `infer` while its body arrives.
struct HotRequest: Sendable {
    let fields: InferenceFields
    let target: InferenceTarget
    let endpoint: ResourceRef
    /// How the body is compressed; nil when it is not.
    let coding: Inflate.Format?
    let bodyBytesMax: Int
    let memory: MemoryReservation
    var body: ByteBuffer

    /// Nobody knows what a compressed body holds: it is taken for a large one, which is not read on an event loop.
    private static let compressedBytesMin = 128 << 10

    /// The size of what is to be read.
    var readBytes: Int { coding == nil ? body.readableBytes : max(HotRequest.compressedBytesMin, body.readableBytes) }

    /// - Parameter headerBytes: the length of the JSON before binary data.
    func parse(headerBytes: Int?) throws(KeelError) -> InferRequest {
        let parsed: Result<InferRequest, KeelError> = body.withUnsafeReadableBytes { raw in
            do throws(KeelError) {
                guard let coding else { return .success(try InferRequest(parsing: raw.bindMemory(to: UInt8.self), headerBytes: headerBytes)) }
                let bytes = try HTTPCompression.inflate(raw, coding, upTo: bodyBytesMax) { (count) throws(KeelError) in
                    try memory.take(count * MemoryReservation.bytesPerBodyByte, for: .requests)
                }
                return bytes.withUnsafeBufferPointer { bytes in
                    do throws(KeelError) { return .success(try InferRequest(parsing: bytes, headerBytes: headerBytes)) } catch { return .failure(error) }
                }
            } catch { return .failure(error) }
        }
        return try parsed.get()
    }
}

extension ServingRuntime {
    /// Answers a request whose body has come whole. It never blocks.
    /// - Parameter answer: called once, on any thread, the calling one included.
    func answer(_ hot: HotRequest, answer: @escaping @Sendable (InferenceAnswer) -> Void) {
        let headerBytes = hot.fields.headerBytes.flatMap { Int($0) }
        guard hot.fields.headerBytes == nil || headerBytes != nil else {
            return answer(InferenceAnswer(.invalid("the header Inference-Header-Content-Length must be a number of bytes")))
        }
        let name = hot.target.name
        let accepted = hot.fields.acceptEncoding
        infer(endpoint: hot.endpoint, version: hot.target.version, bodyBytes: hot.readBytes, parent: hot.fields.parent) {
            () throws(KeelError) -> InferenceRequest<InferenceAnswer> in
            let request = try hot.parse(headerBytes: headerBytes)
            if let other = request.modelName, ResourceRef(EndpointSpec.kind, stored: other, in: hot.endpoint.workspace) != hot.endpoint {
                throw .invalid("the address asks '\(name.prefix(200))', the request says '\(other.prefix(200))'", path: "model_name")
            }
            return InferenceRequest(
                table: request.table, params: request.params, ids: request.ids, locate: { InferRequest.locate($0, in: request.table.names) }
            ) { result in
                InferenceAnswer(
                    InferResponse(
                        model: name, version: result.modelVersion, id: request.id, release: result.release, ids: result.ids,
                        outputs: result.outputs), to: request, accepted: accepted)
            }
        } answer: { result in
            switch result {
            case .success(let made): answer(made)
            case .failure(let error): answer(InferenceAnswer(error))
            }
        }
    }
}
