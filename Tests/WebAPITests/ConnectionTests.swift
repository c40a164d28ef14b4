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

    @Test("sizes of memory", arguments: [("2GiB", 2 << 30), ("512MiB", 512 << 20), ("300 MB", 300_000_000), ("1024", 1024), ("7kb", 7000)])
    func sizes(text: String, bytes: Int) { #expect(MachineMemory.bytes(text) == bytes) }

    @Test("what is no size", arguments: ["", "GiB", "-1", "1.5GiB", "2 TiB", "99999999999999999999", "9999999999999GiB", "0x10"])
    func noSizes(text: String) { #expect(MachineMemory.bytes(text) == nil) }

    @Test("settings of the server that cannot be meant are refused with their name", arguments: [
        (["KEEL_AUTH_LOCAL": "maybe"], "auth.local"), (["KEEL_AUTH_REQUIRED": "true"], "KEEL_AUTH_REQUIRED"),
        (["KEEL_MEMORY_BUDGET": "1MiB"], "memory.budget"), (["KEEL_TLS_KEY": "a"], "tls.certificate"),
        (["KEEL_TLS_CERTIFICATE": "a"], "tls.key"), (["KEEL_TLS_AUTHORITIES": "a"], "tls.certificate"),
    ])
    func settings(environment: [String: String], path: String) throws {
        do {
            _ = try KeelConfiguration.load(file: nil, environment: environment, overrides: [:])
            Issue.record("\(environment) was taken")
        } catch { #expect(error.path == path) }
    }

    @Test("auth.local is read as a word or a truth", arguments: [("off", false), ("false", false), ("on", true), ("true", true)])
    func local(text: String, trusts: Bool) throws {
        #expect(try KeelConfiguration.load(file: nil, environment: ["KEEL_AUTH_LOCAL": text], overrides: [:]).trustsLocalOwner == trusts)
    }
}
