import Contracts
import Foundation
import NIOCore
import NIOPosix
import Testing
import WebAPI

@Suite("Connections")
struct ConnectionTests {
    @Test("A2: the kernel says whose socket is at the other end, over IPv4 and IPv6", arguments: ["127.0.0.1", "::1"])
    func owner(host: String) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let server = try await ServerBootstrap(group: group).bind(host: host, port: 0).get()
        let client = try await ClientBootstrap(group: group).connect(to: #require(server.localAddress)).get()
        let near = try #require(SocketOwner.End(client.localAddress))
        let far = try #require(SocketOwner.End(client.remoteAddress))
        #expect(near.isLoopback)
        #expect(SocketOwner.user(at: near, connectedTo: far) == geteuid())
        // Neither another connection, nor the listener, nor a closed one.
        let other = SocketOwner.End(address: near.address, port: near.port == 1 ? 2 : near.port - 1)
        #expect(SocketOwner.user(at: other, connectedTo: far) == nil)
        #expect(SocketOwner.user(at: far, connectedTo: SocketOwner.End(address: far.address, port: 1)) == nil)
        try await client.close()
        // The kernel may let go of a socket a little later than the call that closes it returns.
        for _ in 0..<1000 where SocketOwner.user(at: near, connectedTo: far) != nil { try await Task.sleep(for: .milliseconds(10)) }
        #expect(SocketOwner.user(at: near, connectedTo: far) == nil)
        try await server.close()
    }

    @Test("an IPv4 address in IPv6 form is one of IPv4")
    func mapped() {
        let mapped = SocketOwner.End(address: [UInt8](repeating: 0, count: 10) + [0xff, 0xff, 127, 0, 0, 1], port: 80)
        #expect(mapped == SocketOwner.End(address: [127, 0, 0, 1], port: 80))
        #expect(mapped.isLoopback)
        #expect(!SocketOwner.End(address: [10, 0, 0, 1], port: 80).isLoopback)
        #expect(!SocketOwner.End(address: [UInt8](repeating: 0, count: 16), port: 80).isLoopback)
    }

    @Test("a quarter of the file descriptors is left for files")
    func descriptors() {
        #expect(FileDescriptors.connectionsMax(4096, of: 20_000) == 4096)
        #expect(FileDescriptors.connectionsMax(4096, of: 1024) == 768)
        #expect(FileDescriptors.connectionsMax(4096, of: .max) == 4096)
        #expect(FileDescriptors.connectionsMax(4096, of: 0) == 1)
        #expect(FileDescriptors.raiseLimit() > 0)
    }

    @Test("a queue of the system that is shorter than what may come at once is named, with the mend")
    func queue() {
        let problem = ListenQueue.problem(systemMax: 128, connectionsMax: 200)
        #expect(problem?.message.contains("net.core.somaxconn is 128") == true && problem?.hint?.contains("net.core.somaxconn=200") == true)
        #expect(ListenQueue.problem(systemMax: 128, connectionsMax: 1_000_000)?.hint?.contains("=4096") == true)
        #expect(ListenQueue.problem(systemMax: 4096, connectionsMax: 1_000_000) == nil)
        #expect(ListenQueue.problem(systemMax: 128, connectionsMax: 100) == nil)
        #expect(ListenQueue.problem(systemMax: nil, connectionsMax: 200) == nil)
    }

    @Test("S6: connections are limited in all and from one address")
    func limits() {
        let limiter = ConnectionLimiter(total: 3, perClient: 2)
        #expect(limiter.open("a") == .admitted)
        #expect(limiter.open("a") == .admitted)
        #expect(limiter.open("a") == .refused(isNews: true))
        #expect(limiter.open("b") == .admitted)
        #expect(limiter.open("c") == .refused(isNews: false))
        limiter.close("a")
        #expect(limiter.open("c") == .admitted)
        #expect(limiter.count == 3)
    }
}
