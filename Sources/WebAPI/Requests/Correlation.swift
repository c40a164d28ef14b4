import HTTPTypes
import Hummingbird
import NIOHTTP1

/// What ties a request to its caller's own records, and comes back with its answer: `X-Request-Id`, and the trace that it belongs to (W3C Trace Context,
/// `traceparent`). What is malformed is ignored, as the standard asks.
public struct Correlation: Sendable {
    public let requestID: String?
    public let traceparent: String?

    private static let requestIDField = HTTPField.Name("X-Request-Id")
    private static let traceparentField = HTTPField.Name("traceparent")
    /// Of a request id.
    private static let bytesMax = 128

    /// - Parameters: the values of the two fields.
    public init(requestID: String?, traceparent: String?) {
        self.requestID = requestID.flatMap { Correlation.isRequestID($0) ? $0 : nil }
        self.traceparent = traceparent.flatMap { Correlation.isTraceparent($0) ? $0 : nil }
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

    /// `00-` trace id `-` parent id `-` flags; a later version may have more behind them.
    package static func isTraceparent(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count >= 4, zip(parts, [2, 32, 16, 2]).allSatisfy({ $0.count == $1 }) else { return false }
        let isHex = parts[..<4].allSatisfy { part in part.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) } }
        func isZero(_ part: Substring.UTF8View) -> Bool { part.allSatisfy { $0 == UInt8(ascii: "0") } }
        guard isHex, !isZero(parts[1]), !isZero(parts[2]), !parts[0].elementsEqual("ff".utf8) else { return false }
        return parts.count == 4 || !isZero(parts[0])
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
