import Contracts
import HTTPTypes
import Hummingbird
import Storage
import Synchronization
import Tracking
import WebAPI

/// Tells a page that shows a running run when something was logged to it, as long as the page is open, the run lasts and its reader is who it was.
///
/// Tracking says that something was stored of the run (`RunChanges`); only then the run is read. While nothing happens nothing is read.
package enum RunStream {
    /// Between two reads of a run that is logged to without a pause.
    private static let pause = Duration.seconds(1)

    static func open(_ asked: PageRequest) async throws -> Response {
        let id = try asked.name("id")
        let tracking = asked.platform.tracking
        let grant = asked.grant
        let head = asked.request.head
        let console = asked.console
        guard let connection = HTTPConnection.current else { throw KeelError(.unauthenticated, "this request has no connection") }
        // A run that is not there is told before anything is streamed.
        _ = try await tracking.run(id: id, grant)
        try console.live.requireRoom()
        return EventStreamResponse.response { write in
            guard let follower = console.live.follow(run: id) else { return }
            defer { console.live.leave(follower) }
            try await follow(
                follower, pause: pause, read: { try await tracking.run(id: id, grant) },
                isSameReader: { console.gate.current(head, on: connection)?.with(requestID: grant.caller.requestID) == grant.caller },
                write: write)
        }
    }

    /// Writes what a page hears of a run, until the run ends, its reader is another, or the follower is ended.
    /// - Parameters:
    ///   - pause: after a read, before the next.
    ///   - read: the run as it is stored.
    package static func follow(
        _ follower: RunFollower, pause: Duration, read: () async throws -> Run, isSameReader: () -> Bool,
        write: (String) async throws -> Void
    ) async throws {
        // After the follower is there, so that no change falls between.
        var last = try await read()
        try await write("retry: 2000\n\n")
        guard last.isUnderWay else { return try await write("event: ended\ndata: \(last.status.rawValue)\n\n") }
        for await _ in follower.wakes {
            let isChange = follower.takeChange()
            // A token that was revoked meanwhile, or a role that was taken: the page asks anew and is told.
            guard isSameReader() else { return }
            guard isChange else {
                try await write(": still here\n\n")
                continue
            }
            let now = try await read()
            if now != last { try await write("event: changed\ndata: \(now.metrics.count)\n\n") }
            last = now
            guard now.isUnderWay else { return try await write("event: ended\ndata: \(now.status.rawValue)\n\n") }
            try await Task.sleep(for: pause)
        }
    }
}

extension Run {
    fileprivate var isUnderWay: Bool { status == .running || status == .scheduled }
}

/// A page that follows one run. However often it is woken while it is busy, it wakes once.
package final class RunFollower: Sendable {
    let run: String
    package let wakes: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation
    private let hasChange = Mutex(false)

    package init(run: String) {
        self.run = run
        (wakes, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// - Parameter isChange: false for a sign of life.
    package func wake(isChange: Bool) {
        if isChange { hasChange.withLock { $0 = true } }
        waker.yield()
    }

    /// Whether the run was changed since this was asked before.
    func takeChange() -> Bool { hasChange.withLock { exchange(&$0, with: false) } }

    package func end() { waker.finish() }
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
