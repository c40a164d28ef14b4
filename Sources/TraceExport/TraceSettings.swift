import Contracts
import Foundation

/// Where traces go, and which.
public struct TraceSettings: Sendable {
    public struct Header: Sendable {
        public let name: String
        public let value: String
    }

    /// Where traces are posted: `https://collector.example.com/v1/traces`.
    public let url: String
    /// The share of requests without a trace of their own that begin one, 0…1.
    public let ratio: Double
    /// `service.name`.
    public let service: String
    /// Sent with every batch.
    public let headers: [Header]
    public let schemes: [String]
    /// Whether the collector may be at a loopback or private address.
    public let allowsInternal: Bool

    /// - Parameters:
    ///   - endpoint: the base address of the collector, as in `OTEL_EXPORTER_OTLP_ENDPOINT`.
    ///   - ratio: `0.1` or `10%`.
    ///   - headers: `NAME=env:VARIABLE` or `NAME=file:PATH`: what a header holds is mostly a secret, which stands in no settings.
    ///   - environment: where variables are looked up.
    /// - Throws: `invalidArgument` with the name of the setting.
    public init(
        endpoint: String, ratio: String, service: String, headers: [String], schemes: [String], allowsInternal: Bool, environment: [String: String]
    ) throws(KeelError) {
        // Of an address without a host nothing is taken away: the path would become its host.
        url = (endpoint.hasSuffix("/") && !endpoint.hasSuffix("//") ? String(endpoint.dropLast()) : endpoint) + "/v1/traces"
        self.ratio = try TraceSettings.share(ratio)
        self.service = service
        self.schemes = schemes
        self.allowsInternal = allowsInternal
        var read: [Header] = []
        for text in headers { read.append(try TraceSettings.header(text, environment)) }
        self.headers = read
    }

    private static func share(_ text: String) throws(KeelError) -> Double {
        let number = text.hasSuffix("%") ? Double(text.dropLast()).map { $0 / 100 } : Double(text)
        guard let number, (0...1).contains(number) else {
            throw .invalid("'\(text.prefix(40))' is not a share", hint: "from 0 to 1, or 0% to 100%", path: "tracing.sampling.ratio")
        }
        return number
    }

    private static func header(_ text: String, _ environment: [String: String]) throws(KeelError) -> Header {
        let path = "tracing.otlp.headers"
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        let isName = parts.first.map { name in name.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: ":") } } ?? false
        guard parts.count == 2, isName else {
            throw .invalid("a header is NAME=env:VARIABLE or NAME=file:PATH", path: path)
        }
        let value: String?
        if parts[1].hasPrefix("env:") {
            value = environment[String(parts[1].dropFirst(4))]
        } else if parts[1].hasPrefix("file:") {
            let file = FileManager.default.contents(atPath: String(parts[1].dropFirst(5)))
            value = file.map { String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) }
        } else {
            // The text may be the secret itself: it is not shown.
            throw .invalid(
                "the value of '\(parts[0])' is no reference", hint: "name where it is: \(parts[0])=env:VARIABLE or \(parts[0])=file:PATH", path: path)
        }
        guard let value, !value.isEmpty else {
            throw .invalid(
                "'\(parts[1].prefix(200))' of the header '\(parts[0])' is not there, or empty",
                hint: parts[1].hasPrefix("env:") ? "set the variable before the server starts" : "write the value into the file", path: path)
        }
        guard value.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) else {
            throw .invalid("'\(parts[1].prefix(200))' of the header '\(parts[0])' has more than one line", path: path)
        }
        return Header(name: parts[0], value: value)
    }
}
