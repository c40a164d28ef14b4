import Contracts
import Foundation
import NIOCore
import Pipelines
import Synchronization

/// One connection to the server: its two ends, and who sent the request that is worked on now.
///
/// Requests of a connection are worked on one at a time (`RequestAdmission`), so there is one caller at any time.
public final class HTTPConnection: Sendable {
    /// The connection that the current task serves; nil outside of a server.
    @TaskLocal public static var current: HTTPConnection?

    /// The client's address, without the port.
    public let client: String
    /// The port that the client connected to.
    public let port: Int
    /// Whether it is under TLS.
    public let isEncrypted: Bool
    public let memory: MemoryBudget
    private let near: SocketOwner.End?
    private let far: SocketOwner.End?

    private struct State {
        var caller: Result<Caller, KeelError>?
        var isOwnUser: Bool?
    }
    private let state = Mutex(State())

    init(channel: any Channel, isEncrypted: Bool, memory: MemoryBudget) {
        client = channel.remoteAddress?.ipAddress ?? "unknown"
        port = channel.localAddress?.port ?? 0
        self.isEncrypted = isEncrypted
        self.memory = memory
        near = SocketOwner.End(channel.localAddress)
        far = SocketOwner.End(channel.remoteAddress)
    }

    public var scheme: String { isEncrypted ? "https" : "http" }

    /// Who sent the request that is worked on.
    /// - Throws: why the request was refused; `unauthenticated` when nobody was asked for.
    public func caller() throws(KeelError) -> Caller {
        guard let caller = state.withLock({ $0.caller }) else { throw KeelError(.unauthenticated, "this request has no caller") }
        return try caller.get()
    }

    func set(caller: Result<Caller, KeelError>?) { state.withLock { $0.caller = caller } }

    /// Whether the client is a process of this machine that runs as the server's own user. Asked of the kernel once, when it is first needed.
    var isOwnUser: Bool {
        state.withLock { state in
            if let known = state.isOwnUser { return known }
            var isOwn = false
            if let near, let far, near.isLoopback, far.isLoopback, let socket = SocketOwner.find(far, connectedTo: near) {
                // A program of a step may run as this user too. It has a token, and is nobody without it.
                isOwn = socket.user == geteuid() && StepProcesses.areNotTheHolders(ofSocket: socket.inode)
            }
            state.isOwnUser = isOwn
            return isOwn
        }
    }
}
