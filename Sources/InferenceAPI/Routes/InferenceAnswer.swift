import Contracts
import NIOHTTP1
import Serving
import WebAPI

/// The answer to an inference request, in HTTP's terms.
struct InferenceAnswer: Sendable {
    let status: HTTPResponseStatus
    let bytes: [UInt8]
    /// The length of the JSON when binary data follow it.
    let headerBytes: Int?
    let isCompressed: Bool
    /// What the caller cannot know more of: it goes to the log.
    let fault: KeelError?

    init(_ error: KeelError) {
        status = HTTPResponseStatus(statusCode: error.code.status.code)
        bytes = InferResponse.failure(error)
        headerBytes = nil
        isCompressed = false
        fault = error.code == .internal || error.code == .corrupted ? error : nil
    }

    /// - Parameter accepted: the request's `Accept-Encoding`.
    init(_ response: InferResponse, to request: InferRequest, accepted: String?) {
        do throws(KeelError) {
            self.init(try response.encoded(for: request), accepted)
        } catch { self.init(error) }
    }

    private init(_ encoded: (bytes: [UInt8], headerBytes: Int?), _ accepted: String?) {
        let compressed = ContentCoding.gzipped(encoded.bytes, accepted: accepted)
        status = .ok
        bytes = compressed ?? encoded.bytes
        headerBytes = encoded.headerBytes
        isCompressed = compressed != nil
        fault = nil
    }

    func head(_ correlation: Correlation) -> HTTPResponseHead {
        var headers: HTTPHeaders = [
            "content-type": headerBytes == nil ? "application/json" : "application/octet-stream", "content-length": String(bytes.count),
        ]
        if isCompressed { headers.add(name: "content-encoding", value: "gzip") }
        if let headerBytes { headers.add(name: InferenceFields.headerLength, value: String(headerBytes)) }
        if status == .serviceUnavailable || status == .tooManyRequests { headers.add(name: "retry-after", value: "1") }
        correlation.write(to: &headers)
        return HTTPResponseHead(version: .http1_1, status: status, headers: headers)
    }
}
