import Contracts
import NIOHTTP1
import Outgoing
import Testing

/// What models of other servers are asked through.
@Suite("A session with one server")
struct SessionTests {
    private func session(
        _ receiver: LocalReceiver, names: any HostResolver = SystemResolver(), path: String = "", host: String = "127.0.0.1", allowsInternal: Bool = true
    ) throws -> OutgoingSession {
        let guarded = GuardedHTTP(
            for: .model, schemes: ["http"], allowsInternal: allowsInternal, resolver: names, http: try OutgoingHTTP(trusting: nil))
        return try OutgoingSession("http://\(host):\(receiver.port)\(path)", idleMax: 4, through: guarded)
    }

    private func ask(_ session: OutgoingSession, bytesMax: Int = 1000, within: Duration = .seconds(60)) async -> Result<OutgoingHTTP.Answer, KeelError> {
        await withCheckedContinuation { continuation in
            session.send(.init("POST", "/ask", body: Array("{}".utf8), answerBytesMax: bytesMax), until: .now + within) { continuation.resume(returning: $0) }
        }
    }

    @Test("one connection serves one request after another")
    func kept() async throws {
        let receiver = try await LocalReceiver.start(on: "127.0.0.1", body: "fine")
        let session = try session(receiver, path: "/base")
        for _ in 0..<5 {
            let answer = try await ask(session).get()
            #expect(answer.status == 200 && answer.body == Array("fine".utf8))
        }
        #expect(receiver.connections.withLock { $0 } == 1 && receiver.hosts.withLock { $0.count } == 5)
        #expect(session.name == "127.0.0.1:\(receiver.port)" && session.origin == "http://127.0.0.1:\(receiver.port)")
        try await receiver.stop()
    }

    @Test("many requests at one time have connections of their own, of which a few are kept")
    func many() async throws {
        let receiver = try await LocalReceiver.start(on: "127.0.0.1", body: "fine")
        let session = try session(receiver)
        let statuses = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<20 { group.addTask { (try? await ask(session).get().status) ?? 0 } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses.count == 20 && statuses.allSatisfy { $0 == 200 })
        try await receiver.stop()
    }

    @Test("an answer beyond the limit is an error, and the next request has another connection")
    func large() async throws {
        let receiver = try await LocalReceiver.start(on: "127.0.0.1", body: String(repeating: "x", count: 1001))
        let session = try session(receiver)
        let error = await #expect(throws: KeelError.self) { _ = try await ask(session).get() }
        #expect(error?.code == .badGateway && error?.message.contains("more than 1000 bytes") == true)
        #expect(try await ask(session, bytesMax: 1001).get().body.count == 1001)
        #expect(receiver.connections.withLock { $0 } == 2)
        try await receiver.stop()
    }

    @Test("an answer is counted in the server's memory as it comes, and as long as somebody holds it")
    func memory() async throws {
        let size = 300_000
        let receiver = try await LocalReceiver.start(on: "127.0.0.1", body: String(repeating: "x", count: size))
        let session = try session(receiver)
        let budget = MemoryBudget(bytes: MemoryBudget.bytesMin)
        func counted() async -> Result<OutgoingHTTP.Answer, KeelError> {
            await withCheckedContinuation { continuation in
                let request = OutgoingSession.Request("POST", "/ask", answerBytesMax: 1 << 20, memory: MemoryReservation(of: budget))
                session.send(request, until: .now + .seconds(60)) { continuation.resume(returning: $0) }
            }
        }
        var answer: OutgoingHTTP.Answer? = try await counted().get()
        #expect(answer?.body.count == size && budget.used(by: .requests) == size)
        answer = nil
        for _ in 0..<1000 where budget.used(by: .requests) > 0 { try await Task.sleep(for: .milliseconds(5)) }
        #expect(budget.used(by: .requests) == 0)
        // Others hold nearly all of it.
        let other = MemoryReservation(of: budget)
        try other.take(budget.capacity(of: .requests) - size / 2, for: .requests)
        let error = await #expect(throws: KeelError.self) { _ = try await counted().get() }
        #expect(error?.code == .unavailable && error?.message.contains("127.0.0.1:\(receiver.port)") == true, "\(String(describing: error))")
        withExtendedLifetime(other) {}
        #expect(try await ask(session, bytesMax: size).get().body.count == size)
        try await receiver.stop()
    }

    @Test("a server that is away is unavailable, a redirect is an answer, and an internal address is not connected to")
    func failures() async throws {
        let inner = try await LocalReceiver.start(on: "127.0.0.1")
        let outer = try await LocalReceiver.start(on: "127.0.0.1", status: .temporaryRedirect, location: "http://127.0.0.1:\(inner.port)/")
        #expect(try await ask(try session(outer)).get().status == 307 && inner.connections.withLock { $0 } == 0)
        let names = ChangingNames([["8.8.8.8", "127.0.0.1"]])
        let refused = await #expect(throws: KeelError.self) {
            _ = try await ask(try session(inner, names: names, host: "models.example", allowsInternal: false)).get()
        }
        #expect(refused?.code == .invalidArgument && refused?.hint == "the setting serving.remote.internal allows it")
        #expect(inner.connections.withLock { $0 } == 0)
        let last = try session(inner)
        try await inner.stop()
        let away = await #expect(throws: KeelError.self) { _ = try await ask(last).get() }
        #expect(away?.code == .unavailable && away?.message.contains("127.0.0.1:") == true)
        try await outer.stop()
    }
}
