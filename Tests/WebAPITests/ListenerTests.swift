import Contracts
import Foundation
import Governance
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import Storage
import Synchronization
import Testing
import WebAPI

@Suite("Taking connections")
struct ListenerTests {
    /// Holds whoever passes until it is opened.
    private final class Gate: Sendable {
        private let semaphore = DispatchSemaphore(value: 0)

        func pass() {
            semaphore.wait()
            semaphore.signal()
        }
        func open() { semaphore.signal() }
    }

    /// Hummingbird's own server fails this: it takes connections on an event loop that also serves some of them.
    @Test("connections are taken while every event loop that serves them is busy")
    func busyLoops() async throws {
        let folder = NSTemporaryDirectory() + "keel-listener-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate(Ledger.migrations + GovernanceTables.migrations, backupFolder: folder + "/backups")
        let gate = RequestGate(
            tokens: try await TokenService.open(database: database), audit: AccessAudit(database: database), owner: nil, hosts: [])
        let busy = Gate()
        let (addresses, address) = AsyncStream<SocketAddress?>.makeStream()
        let listener = Listener(
            router: Router(context: KeelContext.self),
            options: ServerChannel.Options(
                gate: gate, open: OpenRoutes([HealthHandler.route]), connections: ConnectionLimiter(total: 1000, perClient: 1000),
                memory: MemoryBudget(bytes: 1 << 30), tls: nil,
                hotHandlers: { _ in
                    busy.pass()
                    return []
                }),
            host: "127.0.0.1", port: 0, serverName: "keel", logger: Logger(label: "test"), backlog: 16,
            onListening: { address.yield($0) })
        let group = ServiceGroup(configuration: .init(services: [listener], logger: Logger(label: "test")))
        async let served: Void = group.run()
        var iterator = addresses.makeAsyncIterator()
        let bound = try #require(await iterator.next())
        let port = try #require(bound?.port)
        // The first ones hold the loops; the others are more than the system's queue keeps.
        let sockets = (0..<(System.coreCount + 60)).map { _ in socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
        let taken = sockets.map { ListenerTests.connects($0, port: port) }
        busy.open()
        #expect(taken.count { !$0 } == 0)
        for socket in sockets { close(socket) }
        await group.triggerGracefulShutdown()
        try await served
        try await database.close()
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test("dates are written as HTTP asks")
    func dates() {
        #expect(DateHeader.text(second: 784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(DateHeader.text(second: 1_709_164_800) == "Thu, 29 Feb 2024 00:00:00 GMT")
    }

    private static func connects(_ descriptor: Int32, port: Int) -> Bool {
        // A connection that the system turned away is tried again after one second, and after three.
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
        }
    }
}
