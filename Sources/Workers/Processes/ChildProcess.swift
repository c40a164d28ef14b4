import CSupervisor
import Contracts
import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A program run to its end under a supervisor (`CSupervisor`), which ends it and everything it started when it is cancelled, when it has ended
/// and left something behind, and when this process ends, however that happens.
///
/// Two of them never run at once in one working directory, also not of two servers one after the other: the supervisor holds a lock on it until no
/// process is left.
package struct ChildProcess: Sendable {
    /// The executable, looked up in the `PATH` of `environment`, and its arguments.
    let command: [String]
    /// A program by its absolute path, with arguments, that sets privileges and then starts what follows its arguments; empty without one.
    ///
    /// It runs with a fixed environment, as it has privileges that a variable such as `LD_PRELOAD` would hand to the program. It ends with the program
    /// and gets no polite signal.
    var launcher: [String] = []
    let environment: [String: String]
    let workingDirectory: String
    var user: ProgramUser?
    /// Held until no process of it is left; the user has none but this program's.
    var lease: ProgramUserLease?
    var limits = ProgramLimits()
    /// What it may ask of the system; nil: everything.
    var filter: SystemCallFilter?
    /// Whether it gets a network of its own, without a way out; only root can give it one. A launcher sees to that itself.
    var hasNoNetwork = false
    /// The program's end of a socket, which it finds as descriptor `channelNumber`. It is closed here once the program has it, so that the
    /// other end closes with the program.
    package var channel: Descriptor?
    package static let channelNumber = KEEL_SUPERVISOR_CHANNEL
    /// Between the polite signal and the last one, when it is cancelled.
    package var graceSeconds: Double = 2
    /// Told the id of the supervisor, the ancestor of all of the program's processes.
    package var started: @Sendable (pid_t) -> Void = { _ in }

    /// A program without a launcher, run as this process's user.
    package init(command: [String], environment: [String: String], workingDirectory: String, limits: ProgramLimits = ProgramLimits()) {
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.limits = limits
    }

    package enum End: Sendable, Hashable, CustomStringConvertible {
        case exited(Int32)
        case signalled(Int32)

        package var description: String {
            switch self {
            // A launcher and a shell tell a signal as they do to every parent.
            case .exited(let code) where code > 128 && code < 128 + 65: "ended with exit code \(code), as after signal \(code - 128)"
            case .exited(let code): "ended with exit code \(code)"
            case .signalled(let signal): "was ended by signal \(signal)"
            }
        }
    }

    /// Runs it on a thread of its own; what it writes goes to `output` as it comes. Cancelling the task ends all its processes.
    package func run(output: @escaping @Sendable (ArraySlice<UInt8>) -> Void) async throws -> End {
        let line = Line()
        let end = try await withTaskCancellationHandler {
            try Task.checkCancellation()
            return try await Blocking.runAlone { try follow(line, output) }
        } onCancel: {
            line.cancel()
        }
        try Task.checkCancellation()
        return end
    }

    /// A program that was started, for whoever ends it.
    package struct Running: Sendable {
        fileprivate let line: Line

        /// Ends all its processes. It does not wait for that.
        package func cancel() { line.cancel() }
    }

    /// Runs it on a thread of its own, which tells `ended` when no process of it is left.
    ///
    /// Swift's own threads have no part in it: the program ends, and that is known, while all of them are busy too.
    package func start(
        output: @escaping @Sendable (ArraySlice<UInt8>) -> Void, ended: @escaping @Sendable (Result<End, any Error>) -> Void
    ) -> Running {
        let line = Line()
        Thread.detachNewThread { ended(Result { try follow(line, output) }) }
        return Running(line: line)
    }

    /// The socket to the supervisor, which a cancellation shuts down from another thread.
    fileprivate final class Line: Sendable {
        private struct State {
            var isCancelled = false
            var socket: Int32?
        }
        private let state = Mutex(State())

        func open(_ socket: Int32) {
            state.withLock { state in
                state.socket = socket
                if state.isCancelled { shutdown(socket, Int32(SHUT_WR)) }
            }
        }

        /// Call it before the socket is closed: its number may be another file's afterwards.
        func close() { state.withLock { $0.socket = nil } }

        func cancel() {
            state.withLock { state in
                state.isCancelled = true
                if let socket = state.socket { shutdown(socket, Int32(SHUT_WR)) }
            }
        }
    }

    private func follow(_ line: Line, _ output: (ArraySlice<UInt8>) -> Void) throws -> End {
        var pipe: [Int32] = [0, 0]
        var sockets: [Int32] = [0, 0]
        guard Glibc.pipe(&pipe) == 0 else { throw ChildProcess.failure("no pipe can be made", errno) }
        // A supervisor that is started between these two lines closes what it inherits.
        for end in pipe { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &sockets) == 0 else {
            let code = errno
            close(pipe[0])
            close(pipe[1])
            throw ChildProcess.failure("no socket can be made", code)
        }
        defer {
            line.close()
            close(pipe[0])
            close(sockets[0])
        }
        let spawned = Result { try spawn(output: pipe[1], server: sockets[1]) }
        close(pipe[1])
        close(sockets[1])
        channel?.close()
        let supervisor = try spawned.get()
        // Its end is waited for in any case; without its socket it ends the program.
        defer { while waitpid(supervisor, nil, 0) < 0, errno == EINTR {} }
        started(supervisor)
        send(job, to: sockets[0])
        line.open(sockets[0])
        _ = fcntl(pipe[0], F_SETFL, O_NONBLOCK)
        var isOpen = true
        while true {
            var waiting = [
                pollfd(fd: sockets[0], events: Int16(POLLIN), revents: 0),
                pollfd(fd: isOpen ? pipe[0] : -1, events: Int16(POLLIN), revents: 0),
            ]
            poll(&waiting, 2, -1)
            if isOpen { isOpen = drain(pipe[0], output) }
            if waiting[0].revents != 0 { break }
        }
        let answer = answer(from: sockets[0])
        if isOpen { _ = drain(pipe[0], output) }
        return try end(answer)
    }

    private func end(_ answer: (what: Int32, value: Int32)?) throws(KeelError) -> End {
        switch answer?.what {
        case KEEL_SUPERVISOR_EXITED: return .exited(answer?.value ?? 0)
        case KEEL_SUPERVISOR_SIGNALLED: return .signalled(answer?.value ?? 0)
        case KEEL_SUPERVISOR_NOT_STARTED: throw ChildProcess.failure("'\(command.first ?? "")' cannot be started", answer?.value ?? 0)
        default:
            throw KeelError(.unavailable, "the program's supervisor ended, and the program with it", hint: "was it killed from outside?")
        }
    }

    private static func failure(_ what: String, _ code: Int32) -> KeelError {
        KeelError(.unavailable, "\(what): \(String(cString: strerror(code)))")
    }

    private func answer(from socket: Int32) -> (what: Int32, value: Int32)? {
        var words: [Int32] = [0, 0]
        let bytes = MemoryLayout<Int32>.size * 2
        return recv(socket, &words, bytes, Int32(MSG_WAITALL)) == bytes ? (words[0], words[1]) : nil
    }

    /// Reads what is there; false at the end of the stream.
    private func drain(_ fd: Int32, _ output: (ArraySlice<UInt8>) -> Void) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(fd, &buffer, buffer.count)
            if count > 0 {
                output(buffer[0..<count])
            } else if count == 0 {
                return false
            } else if errno != EINTR {
                return errno == EAGAIN
            }
        }
    }

    // MARK: The supervisor

    /// As `CSupervisor.h` says.
    private var job: [UInt8] {
        // The limit of processes would count those of the launcher's user. Shells have one of two names for it.
        let processes = limits.processes.map { "(ulimit -u \($0)) 2>&- && ulimit -u \($0) || ulimit -p \($0) || exit 125; " } ?? ""
        let variables = ". /proc/self/fd/\(KEEL_SUPERVISOR_VARIABLES); exec \(KEEL_SUPERVISOR_VARIABLES)<&-; "
        let arguments = launcher.isEmpty ? command : launcher + ["/bin/sh", "-c", processes + variables + "exec \"$@\"", "sh"] + command
        let texts =
            [
                String(Int(graceSeconds * 1000)), user.map { String($0.uid) } ?? "-1", user.map { String($0.gid) } ?? "-1",
                String(limits.memoryBytes ?? 0), String(limits.cpuSeconds ?? 0), String(limits.dataBytes ?? 0),
                String(launcher.isEmpty ? limits.processes ?? 0 : 0), String(limits.files ?? 0), String(limits.fileBytes ?? 0),
                launcher.isEmpty ? "0" : "1", hasNoNetwork ? "1" : "0", String(filter?.number ?? 0), lease == nil ? "0" : "1", workingDirectory,
                String(arguments.count),
            ] + arguments + environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        var body: [UInt8] = []
        for text in texts { body += Array(text.utf8) + [0] }
        let length: [UInt8] = withUnsafeBytes(of: UInt32(body.count)) { Array($0) }
        return length + body
    }

    /// A supervisor that cannot be told its job ends, which the reader of its answer sees.
    private func send(_ bytes: [UInt8], to socket: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { return }
        }
    }

    private func spawn(output: Int32, server: Int32) throws(KeelError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        // The channel may have the number that the socket gets: it steps aside first, to one that none of them has.
        let channel = try channel?.number()
        let aside = max(output, server, channel ?? 0, KEEL_SUPERVISOR_CHANNEL) + 1
        if let channel { posix_spawn_file_actions_adddup2(&actions, channel, aside) }
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        posix_spawn_file_actions_adddup2(&actions, server, 3)
        if channel != nil { posix_spawn_file_actions_adddup2(&actions, aside, KEEL_SUPERVISOR_CHANNEL) }
        // This executable under another name is the supervisor. It needs what found this one's libraries, and nothing else of the environment.
        let words = [KEEL_SUPERVISOR_NAME] + (channel == nil ? [] : [KEEL_SUPERVISOR_WITH_CHANNEL])
        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        let libraries = ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"].map { "LD_LIBRARY_PATH=\($0)" }
        var envp: [UnsafeMutablePointer<CChar>?] = [libraries.map { strdup($0) } ?? nil, nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, &argv, &envp)
        guard code == 0 else { throw ChildProcess.failure("no process can be started", code) }
        return pid
    }
}

/// What a program may ask of the system (docs/workers.md).
enum SystemCallFilter: Sendable, Hashable {
    case withInternet, withoutInternet

    static let isAvailable = keel_filter_is_available() != 0

    var number: Int32 { self == .withInternet ? KEEL_SUPERVISOR_FILTER_WITH_INTERNET : KEEL_SUPERVISOR_FILTER_WITHOUT_INTERNET }
}

/// What a program may use at most, each of its processes for itself.
package struct ProgramLimits: Sendable, Hashable {
    /// Address space.
    package var memoryBytes: Int64?
    package var cpuSeconds: Int64?
    /// Memory that is the process's own, whether it was touched or not; unlike address space it does not count what is only set aside.
    package var dataBytes: Int64?
    /// Processes and threads of the program's user.
    package var processes: Int64?
    package var files: Int64?
    package var fileBytes: Int64?

    package init(memoryBytes: Int64? = nil, cpuSeconds: Int64? = nil) {
        self.memoryBytes = memoryBytes
        self.cpuSeconds = cpuSeconds
    }
}
