import Contracts
import HTTPTypes
import Hummingbird
import Storage
import Tracking
import WebAPI

/// Tells a page that shows a running run when something was logged to it. One look at the run's newest values a second, for as long as the page is open, the
/// run lasts and its reader is who it was: metrics are too many for the ledger.
enum RunStream {
    private static let looksMax = 24 * 3600
    /// Looks between signs of life, with each of which the reader's token and roles are looked at again.
    private static let looksPerBeat = 15

    static func open(_ asked: PageRequest) async throws -> Response {
        let id = try asked.name("id")
        let tracking = asked.platform.tracking
        let grant = asked.grant
        let head = asked.request.head
        let gate = asked.console.gate
        guard let connection = HTTPConnection.current else { throw KeelError(.unauthenticated, "this request has no connection") }
        let first = try await tracking.run(id: id, grant)
        return EventStreamResponse.response { write in
            var last = first
            try await write("retry: 2000\n\n")
            for look in 1...looksMax {
                try await Task.sleep(for: .seconds(1))
                let now = try await tracking.run(id: id, grant)
                if now != last {
                    try await write("event: changed\ndata: \(now.metrics.count)\n\n")
                    last = now
                }
                guard now.status == .running || now.status == .scheduled else { return try await write("event: ended\ndata: \(now.status.rawValue)\n\n") }
                guard look % looksPerBeat == 0 else { continue }
                // A token that was revoked meanwhile, or a role that was taken: the page asks anew and is told.
                guard let current = gate.current(head, on: connection), current.with(requestID: grant.caller.requestID) == grant.caller else { return }
                try await write(": still here\n\n")
            }
        }
    }
}

/// An answer of server-sent events.
enum EventStreamResponse {
    /// - Parameter body: writes events until it returns; it is cancelled, or fails, when the reader leaves.
    static func response(_ body: @escaping @Sendable (_ write: (String) async throws -> Void) async throws -> Void) -> Response {
        var headers: HTTPFields = [.contentType: "text/event-stream", .cacheControl: "no-store"]
        if let name = HTTPField.Name("X-Accel-Buffering") { headers[name] = "no" }
        ConsoleAnswer.protect(&headers)
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                var writer = writer
                try await body { text in try await writer.write(ByteBuffer(string: text)) }
                try await writer.finish(nil)
            })
    }
}
