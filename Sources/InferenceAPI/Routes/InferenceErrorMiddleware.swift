import Contracts
import HTTPTypes
import Hummingbird
import WebAPI

/// Gives errors under `/v2` the shape of the Open Inference Protocol, whose clients print `error` as a text, and those of V1 the same.
public struct InferenceErrorMiddleware: RouterMiddleware {
    public init() {}

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        let path = request.uri.path
        guard path == "/v2" || path.hasPrefix("/v2/") || path.hasPrefix("/v1/models") else { return try await next(request, context) }
        do {
            return try await next(request, context)
        } catch let error as HTTPError {
            let route = "\(request.method) \(request.uri.path.prefix(200))"
            let known = error.status == .notFound ? "there is no route \(route)" : error.body ?? "\(route) cannot be answered"
            return answer(.invalid(known), error.status, allow: error.headers[.allow])
        } catch {
            let keel = KeelError.shown(error)
            if keel.code == .internal || keel.code == .corrupted {
                context.logger.error("\(request.method) \(request.uri.path): \(keel)", metadata: ["cause": "\(error)"])
            }
            return answer(keel, keel.code.status, allow: nil)
        }
    }

    private func answer(_ error: KeelError, _ status: HTTPResponse.Status, allow: String?) -> Response {
        let bytes = InferResponse.failure(error)
        var headers: HTTPFields = [.contentType: "application/json", .contentLength: String(bytes.count)]
        headers[.allow] = allow
        if status == .serviceUnavailable || status == .tooManyRequests { headers[.retryAfter] = "1" }
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
