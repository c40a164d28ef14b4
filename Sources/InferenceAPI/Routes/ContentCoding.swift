import Contracts
import Engines

/// How bodies are compressed on their way (RFC 9110, 8.4 and 12.5.3).
package enum ContentCoding {
    /// Answers below this are sent as they are: they fit in one packet either way.
    private static let answerBytesMin = 1024

    /// How the body of a request is compressed; nil when it is not.
    /// - Parameter coding: the request's `Content-Encoding`.
    /// - Throws: `unsupportedMediaType`.
    static func ofBody(_ coding: String?) throws(KeelError) -> Inflate.Format? {
        guard let coding else { return nil }
        switch coding.lowercased() {
        case "gzip", "x-gzip": return .gzip
        case "deflate": return .zlib
        case "identity": return nil
        default:
            throw KeelError(
                .unsupportedMediaType, "the Content-Encoding '\(coding.prefix(60))' is not accepted here", hint: "send gzip, deflate, or the body as it is")
        }
    }

    /// The answer compressed, when the request accepts that and it is worth the time; nil otherwise.
    /// - Parameter accepted: the request's `Accept-Encoding`.
    static func gzipped(_ bytes: [UInt8], accepted: String?) -> [UInt8]? {
        guard bytes.count > answerBytesMin, let accepted, acceptsGzip(accepted),
            let compressed = try? HTTPCompression.gzip(bytes), compressed.count < bytes.count
        else { return nil }
        return compressed
    }

    /// Whether `gzip`, or else `*`, is named without a weight of 0.
    package static func acceptsGzip(_ field: String) -> Bool {
        var anything = false
        for item in field.lowercased().split(separator: ",") {
            let parts = item.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" } }
            guard let coding = parts.first else { continue }
            let isRefused = parts.dropFirst().contains { $0.hasPrefix("q=") && Double($0.dropFirst(2)) == 0 }
            if coding == "gzip" || coding == "x-gzip" { return !isRefused }
            if coding == "*" { anything = !isRefused }
        }
        return anything
    }
}
