import Contracts
import Dispatch
import Foundation
import NIOCore
import NIOPosix
import Synchronization
import Workers

/// A server of the demo's own: this command again, in its own process, on loopback. It ends with the demo, however that ends.
final class DemoServer: Sendable {
    let url: String
    private let state = Mutex(State())
    private let running: Mutex<ChildProcess.Running?> = Mutex(nil)

    private struct State {
        var log = ""
        var isReady = false
        var isEnded = false
    }

    /// Starts it and waits until it says itself that it listens: that something answers on the port would not do.
    /// - Parameter port: nil: one that is free.
    /// - Throws: `unavailable` with the end of its log when it does not come up.
    init(home: String, port: Int?) async throws {
        let port = if let port { port } else { try await DemoServer.freePort() }
        url = "http://127.0.0.1:\(port)"
        let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path
        // Settings of another server are not this one's.
        let environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("KEEL_") || $0.key.hasSuffix("_LIB") }
        var child = ChildProcess(
            command: [program, "serve", "--home", home, "--listen", "127.0.0.1:\(port)"], environment: environment, workingDirectory: home)
        child.graceSeconds = 20
        _ = FileManager.default.createFile(atPath: home + "/server.log", contents: nil)
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: home + "/server.log"))
        let ready = " serves \(url) "
        let started = child.start { [self] bytes in
            try? file.write(contentsOf: Data(bytes))
            state.withLock { state in
                guard !state.isReady else { return }
                state.log += String(decoding: bytes, as: UTF8.self)
                state.isReady = state.log.contains(ready)
            }
        } ended: { [self] _ in
            state.withLock { $0.isEnded = true }
        }
        running.withLock { $0 = started }
        while true {
            let (isReady, isEnded, log) = state.withLock { ($0.isReady, $0.isEnded, $0.log) }
            if isReady { return }
            if isEnded {
                Terminal.printError(lines: log)
                throw KeelError(.unavailable, "the demo's server did not start on 127.0.0.1:\(port); its log is above", hint: "choose another port with --port")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Whether it has ended; nobody can be asked any more then.
    var isEnded: Bool { state.withLock { $0.isEnded } }

    /// Tells it to stop; what waits for its answers fails.
    func cancel() { running.withLock { $0?.cancel() } }

    /// Stops it and waits until none of its processes is left.
    func stop() async {
        cancel()
        while !isEnded { try? await Task.sleep(for: .milliseconds(20)) }
    }

    private static func freePort() async throws -> Int {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(host: "127.0.0.1", port: 0).get()
        let port = channel.localAddress?.port
        try await channel.close().get()
        guard let port else { throw KeelError(.unavailable, "no port of 127.0.0.1 is free") }
        return port
    }
}
