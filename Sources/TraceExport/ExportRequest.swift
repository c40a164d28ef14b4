import Contracts
import Serving

/// `ExportTraceServiceRequest` of OTLP 1 (opentelemetry-proto, `collector/trace/v1` and `trace/v1`), as protobuf.
struct ExportRequest {
    /// `service.name` and `service.version`.
    let service: String
    let version: String

    private static let scope = "keel.serving"

    /// - Parameter ids: gives every span its own.
    func bytes(_ traces: [RequestTrace], ids: inout SpanIDs) -> [UInt8] {
        var spans = ProtobufWriter(capacity: traces.count * 1024)
        spans.message(1) { scope in
            scope.text(1, ExportRequest.scope)
            scope.text(2, version)
        }
        for trace in traces {
            let id = ids.next()
            spans.message(2) { request(trace, id, to: &$0) }
            for stage in trace.stages {
                let stageID = ids.next()
                spans.message(2) { self.stage(stage, of: trace, in: id, stageID, to: &$0) }
            }
        }
        var out = ProtobufWriter(capacity: spans.bytes.count + 256)
        out.message(1) { resource in
            resource.message(1) { attributes in
                ExportRequest.add("service.name", service, 1, to: &attributes)
                ExportRequest.add("service.version", version, 1, to: &attributes)
            }
            resource.data(2, spans.bytes)
        }
        return out.bytes
    }

    private func request(_ trace: RequestTrace, _ id: UInt64, to span: inout ProtobufWriter) {
        let name = trace.endpoint.qualifiedName
        ExportRequest.begin(trace, id, parent: trace.parent, "infer \(name)", .server, 0, trace.duration, to: &span)
        ExportRequest.add("keel.endpoint", name, 9, to: &span)
        ExportRequest.add("keel.workspace", trace.endpoint.workspace.name, 9, to: &span)
        switch trace.outcome {
        case .answered(let release, let model, let version, let rows, let firstID):
            ExportRequest.add("keel.release", release, 9, to: &span)
            ExportRequest.add("keel.model", model, 9, to: &span)
            ExportRequest.add("keel.model.version", version, 9, to: &span)
            ExportRequest.add("keel.rows", rows, 9, to: &span)
            ExportRequest.add("keel.prediction.id", firstID, 9, to: &span)
        case .failed(let code):
            ExportRequest.add("error.type", code.rawValue, 9, to: &span)
            // A span of a server is an error when the server is at fault (OpenTelemetry's conventions for HTTP).
            if code.isServersFault { span.message(15) { $0.integer(3, 2) } }
        }
        // The flags of W3C, and that it is known whether the parent is of another process.
        span.fixed32(16, 0x101 | (trace.parent == nil ? 0 : 0x200))
    }

    private func stage(_ stage: RequestTrace.Stage, of trace: RequestTrace, in parent: UInt64, _ id: UInt64, to span: inout ProtobufWriter) {
        ExportRequest.begin(trace, id, parent: parent, stage.stage.rawValue, .inner, stage.start, stage.end, to: &span)
        span.fixed32(16, 0x101)
    }

    /// `SpanKind`.
    private enum Kind: Int {
        case inner = 1
        case server = 2
    }

    private static func begin(
        _ trace: RequestTrace, _ id: UInt64, parent: UInt64?, _ name: String, _ kind: Kind, _ start: Int, _ end: Int, to span: inout ProtobufWriter
    ) {
        span.data(1, trace.id.bytes)
        span.data(2, bytes(id))
        if let parent { span.data(4, bytes(parent)) }
        span.text(5, name)
        span.integer(6, kind.rawValue)
        let origin = UInt64(max(0, trace.start.microseconds)) &* 1000
        span.fixed64(7, origin &+ UInt64(max(0, start)))
        span.fixed64(8, origin &+ UInt64(max(0, start, end)))
    }

    private static func bytes(_ id: UInt64) -> [UInt8] { withUnsafeBytes(of: id.bigEndian) { Array($0) } }

    private static func add(_ key: String, _ value: String, _ number: Int, to message: inout ProtobufWriter) {
        message.message(number) { pair in
            pair.text(1, key)
            pair.message(2) { $0.element(1, value) }
        }
    }

    private static func add(_ key: String, _ value: Int, _ number: Int, to message: inout ProtobufWriter) {
        message.message(number) { pair in
            pair.text(1, key)
            pair.message(2) { $0.integer(3, value) }
        }
    }
}

extension KeelError.Code {
    fileprivate var isServersFault: Bool {
        switch self {
        case .unavailable, .deadlineExceeded, .badGateway, .engineMissing, .notImplemented, .corrupted, .internal: true
        case .invalidArgument, .notFound, .alreadyExists, .permissionDenied, .unauthenticated, .tooManyRequests, .failedPrecondition,
            .contractViolation, .payloadTooLarge, .unsupportedMediaType, .cancelled:
            false
        }
    }
}
