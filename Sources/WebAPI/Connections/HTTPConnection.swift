import Contracts
import Foundation
import NIOCore
import Synchronization
import Workers

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
    private let channel: any Channel
    private let near: SocketOwner.End?
    private let far: SocketOwner.End?

    private struct State {
        var caller: Result<Caller, KeelError>?
        var isOwnUser: Bool?
        /// Those who wait until the client has taken more of its answer.
        var writers: [EventLoopPromise<Void>] = []
        var hasClientLeft = false
        /// Work that ends when the client leaves.
        var ending: [String: @Sendable () -> Void] = [:]
    }
    private let state = Mutex(State())

    init(channel: any Channel, isEncrypted: Bool, memory: MemoryBudget) {
        self.channel = channel
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
                isOwn = socket.user == geteuid() && SupervisedProcesses.areNotTheHolders(ofSocket: socket.inode)
            }
            state.isOwnUser = isOwn
            return isOwn
        }
    }

    // MARK: Clients that leave

    /// Does work that is of no use once the client has left; it is cancelled then. A client that will send nothing more cannot be told from one that has left.
    public func whileConnected<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) async throws -> T {
        let task = Task { try await work() }
        let id = Identifier.hex32()
        let hasLeft = state.withLock { state in
            state.ending[id] = { task.cancel() }
            return state.hasClientLeft
        }
        if hasLeft { task.cancel() }
        defer { state.withLock { _ = $0.ending.removeValue(forKey: id) } }
        return try await withTaskCancellationHandler { try await task.value } onCancel: { task.cancel() }
    }

    /// Ends what waits for the client, on the event loop: the connection has ended, or the client's side of it.
    func clientLeft() {
        let ending = state.withLock { state in
            state.hasClientLeft = true
            defer { state.ending = [:] }
            return state.ending
        }
        for end in ending.values { end() }
    }

    // MARK: Back-pressure

    /// Returns when the client has taken what was written before, but for the little that the channel keeps.
    ///
    /// A body that is written in parts waits for this after each: the writer takes a part whenever the event loop has not yet seen the ones before, so a
    /// loop that is busy would collect any number of them.
    /// - Throws: when the connection ends.
    public func writable() async throws {
        try await channel.eventLoop.flatSubmit { [self] () -> EventLoopFuture<Void> in
            guard channel.isActive else { return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel) }
            guard !channel.isWritable else { return channel.eventLoop.makeSucceededVoidFuture() }
            let promise = channel.eventLoop.makePromise(of: Void.self)
            state.withLock { $0.writers.append(promise) }
            return promise.futureResult
        }.get()
    }

    /// Lets those go on who wait in `writable`; on the event loop, when the channel has become writable or has ended.
    func resumeWriters() {
        let writers = state.withLock { state in
            defer { state.writers = [] }
            return state.writers
        }
        for writer in writers {
            if channel.isActive { writer.succeed() } else { writer.fail(ChannelError.ioOnClosedChannel) }
        }
    }
}
