import Contracts
import HTTPTypes
import Serving
import WebAPI

/// The answer to an inference request, in HTTP's terms.
struct InferenceAnswer: Sendable {
    let status: HTTPResponse.Status
    let bytes: [UInt8]
    /// The length of the JSON when binary data follow it.
    let headerBytes: Int?
    let isCompressed: Bool
    /// What the caller cannot know more of: it goes to the log.
    let fault: KeelError?

    static let headerLength: HTTPField.Name? = HTTPField.Name("Inference-Header-Content-Length")

    init(_ error: KeelError) {
        status = error.code.status
        bytes = InferResponse.failure(error)
        headerBytes = nil
        isCompressed = false
        fault = error.code == .internal || error.code == .corrupted ? error : nil
    }

    /// - Parameter fields: the request's.
    init(_ response: InferResponse, to request: InferRequest, _ fields: HTTPFields) {
        do throws(KeelError) {
            self.init(try response.encoded(for: request), fields)
        } catch { self.init(error) }
    }

    private init(_ encoded: (bytes: [UInt8], headerBytes: Int?), _ fields: HTTPFields) {
        let compressed = ContentCoding.gzipped(encoded.bytes, for: fields)
        status = .ok
        bytes = compressed ?? encoded.bytes
        headerBytes = encoded.headerBytes
        isCompressed = compressed != nil
        fault = nil
    }

    /// - Parameter fields: the request's.
    func head(for fields: HTTPFields) -> HTTPResponse {
        var head = HTTPResponse(status: status)
        head.headerFields[.contentType] = headerBytes == nil ? "application/json" : "application/octet-stream"
        head.headerFields[.contentLength] = String(bytes.count)
        if isCompressed { head.headerFields[.contentEncoding] = "gzip" }
        if let headerBytes, let name = InferenceAnswer.headerLength { head.headerFields[name] = String(headerBytes) }
        if status == .serviceUnavailable || status == .tooManyRequests { head.headerFields[.retryAfter] = "1" }
        Correlation(fields).write(to: &head.headerFields)
        return head
    }
}
