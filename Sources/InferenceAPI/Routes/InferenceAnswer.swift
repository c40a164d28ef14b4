import Contracts
import Foundation
import HTTPTypes
import NIOCore
import Serving

/// What the path of an inference request names.
struct InferenceTarget: Sendable, Hashable {
    /// The endpoint as it was asked for: `delay`, `delay@staging`.
    let name: String
    /// A model version; nil leaves it to the rollout.
    let version: String?

    /// Nil when the path is not `/v2/models/{endpoint}[/versions/{version}]/infer`.
    init?(path: String?) {
        guard let path, path.hasPrefix("/v2/models/"), path.hasSuffix("/infer") else { return nil }
        let parts = path.dropFirst(11).dropLast(6).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 1 || parts.count == 3 && parts[1] == "versions", parts.allSatisfy({ !$0.isEmpty }) else { return nil }
        // `@` may come as it is and encoded.
        name = parts[0].utf8.contains(0x25) ? String(parts[0]).removingPercentEncoding ?? String(parts[0]) : String(parts[0])
        version = parts.count == 3 ? String(parts[2]) : nil
    }

    /// What is asked for, in the workspace of whoever asks.
    func endpoint(in workspace: WorkspaceID) -> ResourceRef { ResourceRef(EndpointSpec.kind, stored: name, in: workspace) }
}

/// The answer to an inference request, in HTTP's terms.
struct InferenceAnswer: Sendable {
    let status: HTTPResponse.Status
    let bytes: [UInt8]
    /// The length of the JSON when binary data follows it.
    let headerBytes: Int?

    static let headerLength: HTTPField.Name? = HTTPField.Name("Inference-Header-Content-Length")

    init(_ error: KeelError) {
        status = error.code.status
        bytes = InferResponse.failure(error)
        headerBytes = nil
    }

    init(_ response: InferResponse, to request: InferRequest) {
        do throws(KeelError) { self.init(try response.encoded(for: request)) } catch { self.init(error) }
    }

    private init(_ encoded: (bytes: [UInt8], headerBytes: Int?)) {
        status = .ok
        bytes = encoded.bytes
        headerBytes = encoded.headerBytes
    }

    var head: HTTPResponse {
        var head = HTTPResponse(status: status)
        head.headerFields[.contentType] = headerBytes == nil ? "application/json" : "application/octet-stream"
        head.headerFields[.contentLength] = String(bytes.count)
        if let headerBytes, let name = InferenceAnswer.headerLength { head.headerFields[name] = String(headerBytes) }
        if status == .serviceUnavailable || status == .tooManyRequests { head.headerFields[.retryAfter] = "1" }
        return head
    }
}

extension ServingRuntime {
    /// Answers a request whose body has come whole. It never blocks.
    /// - Parameter answer: called once, on any thread, the calling one included.
    func answer(
        _ endpoint: ResourceRef, _ target: InferenceTarget, _ head: HTTPRequest, _ body: ByteBuffer, answer: @escaping @Sendable (InferenceAnswer) -> Void
    ) {
        let announced = InferenceAnswer.headerLength.flatMap { head.headerFields[$0] }
        let headerBytes = announced.flatMap { Int($0) }
        guard announced == nil || headerBytes != nil else {
            return answer(InferenceAnswer(.invalid("the header Inference-Header-Content-Length must be a number of bytes")))
        }
        infer(endpoint: endpoint, version: target.version, bodyBytes: body.readableBytes) {
            () throws(KeelError) -> InferenceRequest<InferenceAnswer> in
            let parsed: Result<InferRequest, KeelError> = body.withUnsafeReadableBytes { raw in
                do throws(KeelError) {
                    return .success(try InferRequest(parsing: raw.bindMemory(to: UInt8.self), headerBytes: headerBytes))
                } catch { return .failure(error) }
            }
            let request = try parsed.get()
            return InferenceRequest(
                table: request.table, params: request.params, ids: request.ids, locate: { InferRequest.locate($0, in: request.table.names) }
            ) { result in
                InferenceAnswer(
                    InferResponse(
                        model: target.name, version: result.modelVersion, id: request.id, release: result.release, ids: result.ids,
                        outputs: result.outputs), to: request)
            }
        } answer: { result in
            switch result {
            case .success(let made): answer(made)
            case .failure(let error): answer(InferenceAnswer(error))
            }
        }
    }
}
