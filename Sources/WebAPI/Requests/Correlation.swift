import Contracts
import HTTPTypes
import Hummingbird
import NIOHTTP1

/// What ties a request to its caller's own records, and comes back with its answer: `X-Request-Id`, and the trace that it belongs to (W3C Trace Context,
/// `traceparent`). What is malformed is ignored, as the standard asks.
public struct Correlation: Sendable {
    public let requestID: String?
    public let traceparent: String?

    private static let requestIDField = HTTPField.Name("X-Request-Id")
    fileprivate static let traceparentField = HTTPField.Name("traceparent")
    /// Of a request id.
    private static let bytesMax = 128

    /// - Parameters: the values of the two fields.
    public init(requestID: String?, traceparent: String?) {
        self.requestID = requestID.flatMap { Correlation.isRequestID($0) ? $0 : nil }
        self.traceparent = traceparent.flatMap { TraceParent($0) == nil ? nil : $0 }
    }

    public init(_ fields: HTTPFields) {
        self.init(requestID: Correlation.requestIDField.flatMap { fields[$0] }, traceparent: Correlation.traceparentField.flatMap { fields[$0] })
    }

    /// Adds the fields of the answer.
    public func write(to fields: inout HTTPFields) {
        if let requestID, let name = Correlation.requestIDField { fields[name] = requestID }
        if let traceparent, let name = Correlation.traceparentField { fields[name] = traceparent }
    }

    /// Adds the fields of the answer.
    public func write(to headers: inout HTTPHeaders) {
        if let requestID { headers.add(name: "X-Request-Id", value: requestID) }
        if let traceparent { headers.add(name: "traceparent", value: traceparent) }
    }

    private static func isRequestID(_ text: String) -> Bool {
        (1...bytesMax).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }
}

extension TraceParent {
    /// What a request's head says of its trace; nil when it says nothing, or nothing well-formed.
    public init?(_ fields: HTTPFields) {
        guard let name = Correlation.traceparentField, let text = fields[name] else { return nil }
        self.init(text)
    }
}

/// Gives every answer the request id and the trace of its request, and the log lines the id.
public struct CorrelationMiddleware: RouterMiddleware {
    public init() {}

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        let correlation = Correlation(request.headers)
        guard correlation.requestID != nil || correlation.traceparent != nil else { return try await next(request, context) }
        var context = context
        if let id = correlation.requestID { context.logger[metadataKey: "request"] = "\(id)" }
        var response = try await next(request, context)
        correlation.write(to: &response.headers)
        return response
    }
}
