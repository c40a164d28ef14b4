import Contracts
import NIOHTTP1
import WebAPI

/// The fields of a request's head that its inference depends on, found in one pass over them: a search for each would cost more than all else here.
struct InferenceFields: Sendable {
    /// The announced size of the body; nil when it is not announced.
    private(set) var bodyBytes: Int?
    private(set) var contentEncoding: String?
    private(set) var acceptEncoding: String?
    /// The length of the JSON before binary data, as it was sent.
    private(set) var headerBytes: String?
    private var requestID: String?
    private var traceparent: String?

    /// The length of the JSON when binary data follow it, of requests and answers.
    static let headerLength = "inference-header-content-length"

    init(_ headers: HTTPHeaders) {
        for (name, value) in headers {
            // Most fields are known by the length of their names to be none of these.
            switch name.utf8.count {
            case 11 where name.lowercased() == "traceparent": InferenceFields.add(value, to: &traceparent)
            case 12 where name.lowercased() == "x-request-id": InferenceFields.add(value, to: &requestID)
            case 14 where name.lowercased() == "content-length": bodyBytes = Int(value)
            case 15 where name.lowercased() == "accept-encoding": InferenceFields.add(value, to: &acceptEncoding)
            case 16 where name.lowercased() == "content-encoding": InferenceFields.add(value, to: &contentEncoding)
            case 31 where name.lowercased() == InferenceFields.headerLength: InferenceFields.add(value, to: &headerBytes)
            default: break
            }
        }
    }

    /// A field that comes twice is one list (RFC 9110, 5.3).
    private static func add(_ value: String, to field: inout String?) { field = field.map { "\($0), \(value)" } ?? value }

    /// The trace that the request belongs to; nil when it says nothing, or nothing well-formed.
    var parent: TraceParent? { traceparent.flatMap { TraceParent($0) } }
    var correlation: Correlation { Correlation(requestID: requestID, traceparent: traceparent) }
}
