import Contracts
import HTTPTypes
import Hummingbird
import NIOCore
import Storage
import Synchronization
import WebAPI

/// What happened, for pages that are open: one follower of the ledger for all of them.
final class LiveEvents: Sendable {
    /// Pages that may listen at a time; more are told to come back.
    static let listenersMax = 500
    /// What waits for a slow listener; older events are let go: its page asks for the whole of what it shows anyway.
    private static let waitingMax = 64
    /// Between signs of life, which tell the server of pages that are closed, and pages of a server that is away.
    private static let beat = Duration.seconds(15)

    enum Item: Sendable {
        case event(LedgerEvent)
        /// A minute ended in which these endpoints were asked.
        case minute([ResourceRef])
        case beat
    }

    private struct State {
        var listeners: [String: AsyncStream<Item>.Continuation] = [:]
        /// Pages that follow one run, by the run.
        var followers: [String: [RunFollower]] = [:]
        var followerCount = 0
        var isClosed = false
    }
    private let database: Storage.Database
    private let state = Mutex(State())

    init(database: Storage.Database) { self.database = database }

    var count: Int { state.withLock { $0.listeners.count } }

    /// - Throws: `unavailable` when too many pages listen already, and when the server stops. What is given out follows with the answer itself: a request whose
    ///   answer is never sent takes no place.
    func requireRoom() throws(KeelError) {
        let hasRoom = state.withLock { max($0.listeners.count, $0.followerCount) < LiveEvents.listenersMax && !$0.isClosed }
        guard hasRoom else {
            throw KeelError(.unavailable, "too many pages are open, or the server is stopping", hint: "they try again by themselves")
        }
    }

    // MARK: One run

    /// - Returns: nil when too many pages listen already, and when the server stops. `leave` ends it.
    func follow(run: String) -> RunFollower? {
        let follower = RunFollower(run: run)
        return state.withLock { state in
            guard state.followerCount < LiveEvents.listenersMax, !state.isClosed else { return nil }
            state.followers[run, default: []].append(follower)
            state.followerCount += 1
            return follower
        }
    }

    func leave(_ follower: RunFollower) {
        follower.end()
        state.withLock { state in
            guard let left = state.followers[follower.run]?.filter({ $0 !== follower }), left.count < state.followers[follower.run, default: []].count
            else { return }
            state.followers[follower.run] = left.isEmpty ? nil : left
            state.followerCount -= 1
        }
    }

    /// Something was stored of a run.
    func changed(run: String) {
        for follower in state.withLock({ $0.followers[run] ?? [] }) { follower.wake(isChange: true) }
    }

    /// A minute has ended.
    func ended(minuteOf endpoints: [ResourceRef]) { tell([.minute(endpoints)]) }

    // MARK: The ledger

    /// - Returns: nil when too many listen already, and when the server stops.
    func listen() -> (id: String, items: AsyncStream<Item>)? {
        let (items, continuation) = AsyncStream<Item>.makeStream(bufferingPolicy: .bufferingNewest(LiveEvents.waitingMax))
        let id = Identifier.hex32()
        let hasRoom = state.withLock { state in
            guard state.listeners.count < LiveEvents.listenersMax, !state.isClosed else { return false }
            state.listeners[id] = continuation
            return true
        }
        return hasRoom ? (id, items) : nil
    }

    func leave(_ id: String) { state.withLock { $0.listeners.removeValue(forKey: id) }?.finish() }

    /// Ends what is open, and takes no more: a server that stops waits for its answers to end.
    func close() {
        let open = state.withLock { state in
            state.isClosed = true
            defer {
                state.listeners = [:]
                state.followers = [:]
                state.followerCount = 0
            }
            return (Array(state.listeners.values), state.followers.values.flatMap(\.self))
        }
        for listener in open.0 { listener.finish() }
        for follower in open.1 { follower.end() }
    }

    /// Follows the ledger until the task is cancelled. What happened while nobody listened is passed over.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { [self] in
                while (try? await Task.sleep(for: LiveEvents.beat)) != nil {
                    tell([.beat])
                    for follower in state.withLock({ $0.followers.values.flatMap(\.self) }) { follower.wake(isChange: false) }
                }
            }
            var position = (try? await database.read { try $0.ledgerHead() }) ?? 0
            for await head in database.ledgerHeads() where head > position {
                // Nobody listens, or the database does not answer: passed over.
                while position < head, count > 0 {
                    let after = position
                    guard let events = try? await database.read({ try $0.ledgerEvents(after: after, limit: LiveEvents.waitingMax) }),
                        let last = events.last
                    else { break }
                    tell(events.map(Item.event))
                    position = last.seq
                }
                position = max(position, head)
            }
            group.cancelAll()
        }
    }

    private func tell(_ items: [Item]) {
        let open = state.withLock { Array($0.listeners.values) }
        for listener in open { for item in items { listener.yield(item) } }
    }
}

/// What a page listens for by an event's kind, and what its reader must be allowed besides reading the ledger.
enum LiveTopic {
    static func topic(of kind: String) -> (name: String, action: Action) {
        for (prefix, name, action) in topics where kind.hasPrefix(prefix) { return (name, action) }
        return ("other", .ledgerRead)
    }

    private static let topics: [(prefix: String, name: String, action: Action)] = [
        ("release.", "endpoints", .releasesRead), ("rollout.", "endpoints", .releasesRead), ("model.", "models", .registryRead),
        ("evidence.", "models", .registryRead), ("run.", "runs", .trackingRead), ("experiment.", "runs", .trackingRead),
        ("artifact.", "runs", .trackingRead),
        ("pipeline.", "pipelines", .pipelinesRead), ("trigger.", "pipelines", .pipelinesRead), ("dataset.", "data", .datasetsRead),
        ("monitor.", "monitors", .monitorsRead), ("resources.", "resources", .resourcesRead),
    ]

    /// Whether the caller may hear of an event.
    static func mayHear(_ caller: Caller, of event: LedgerEvent) -> Bool {
        guard event.workspace == caller.workspace.name else { return false }
        return caller.may(.ledgerRead, on: nil)
            || caller.may(topic(of: event.kind).action, on: ResourceRef(subject: event.subject, in: caller.workspace))
    }

    /// The event as server-sent events: for those who listen for its topic, and for those who listen for `any`.
    static func text(_ event: LedgerEvent) -> String {
        let data: JSON = ["seq": .int(event.seq), "kind": .string(event.kind), "subject": .string(event.subject)]
        return [topic(of: event.kind).name, "any"].map { "event: \($0)\nid: \(event.seq)\ndata: \(data.text)\n\n" }.joined()
    }
}

extension LiveTopic {
    /// That a minute of endpoints has ended, for a caller who may read them; nil when it may read none.
    static func text(minuteOf endpoints: [ResourceRef], for caller: Caller) -> String? {
        let own = endpoints.filter { $0.workspace == caller.workspace && caller.may(.releasesRead, on: $0) }
        guard !own.isEmpty else { return nil }
        let data: JSON = ["endpoints": .array(own.map { .string($0.subject) })]
        return "event: minute\ndata: \(data.text)\n\n"
    }
}

/// `/console/events`: what happens, as server-sent events, as long as the page is open and its reader is who it was.
func addLiveRoute(to pages: ConsoleRoutes) {
    pages.getForEveryCaller("/events") { asked in
        guard let connection = HTTPConnection.current else { throw KeelError(.unauthenticated, "this request has no connection") }
        let console = asked.console
        try console.live.requireRoom()
        let head = asked.request.head
        let caller = asked.caller
        var headers: HTTPFields = [.contentType: "text/event-stream", .cacheControl: "no-store"]
        ConsoleAnswer.protect(&headers)
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                guard let (id, items) = console.live.listen() else { return try await writer.finish(nil) }
                defer { console.live.leave(id) }
                try await writer.write(ByteBuffer(string: "retry: 3000\nevent: open\ndata: {}\n\n"))
                for await item in items {
                    switch item {
                    case .event(let event):
                        guard LiveTopic.mayHear(caller, of: event) else { continue }
                        try await writer.write(ByteBuffer(string: LiveTopic.text(event)))
                    case .minute(let endpoints):
                        guard let text = LiveTopic.text(minuteOf: endpoints, for: caller) else { continue }
                        try await writer.write(ByteBuffer(string: text))
                    case .beat:
                        // A token that was revoked meanwhile, or a role that was taken: the page asks anew and is told.
                        guard let current = console.gate.current(head, on: connection), current.with(requestID: caller.requestID) == caller
                        else { return try await writer.finish(nil) }
                        try await writer.write(ByteBuffer(string: ": still here\n\n"))
                    }
                    try await connection.writable()
                }
                try await writer.finish(nil)
            })
    }
}
