import Contracts
import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A program run to its end in a process group of its own, which never outlives it.
struct ChildProcess: Sendable {
    let executable: String
    let arguments: [String]
    let environment: [String: String]
    let workingDirectory: String
    /// Between the polite signal and the last one, when it is cancelled.
    var graceSeconds: Double = 2

    enum End: Sendable, Hashable {
        case exited(Int32)
        case signalled(Int32)
    }

    /// Runs it on a thread of its own; each line of its output and errors goes to `line`. Cancelling the task ends the whole group.
    func run(line: @escaping @Sendable (String) -> Void) async throws -> End {
        let isCancelled = Flag()
        let end = try await withTaskCancellationHandler {
            try Task.checkCancellation()
            return try await Blocking.run { try follow(isCancelled, line) }
        } onCancel: {
            isCancelled.set()
        }
        try Task.checkCancellation()
        return end
    }

    private final class Flag: Sendable {
        private let value = Atomic(false)
        var isSet: Bool { value.load(ordering: .relaxed) }
        func set() { value.store(true, ordering: .relaxed) }
    }

    /// Reads the output until the program has ended. All of one child happens on this thread, so a signal never meets a process id that was given away.
    private func follow(_ isCancelled: Flag, _ line: (String) -> Void) throws -> End {
        var pipe: [Int32] = [0, 0]
        guard Glibc.pipe(&pipe) == 0 else { throw KeelError(.unavailable, "no pipe can be made: \(String(cString: strerror(errno)))") }
        for end in pipe { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(pipe[0]) }
        let pid: pid_t
        do { pid = try spawn(output: pipe[1]) } catch {
            close(pipe[1])
            throw error
        }
        close(pipe[1])
        _ = fcntl(pipe[0], F_SETFL, O_NONBLOCK)
        var lines = LineSplitter()
        var (isOpen, terminatedAt) = (true, UInt64?.none)
        while true {
            if isOpen {
                var waiting = pollfd(fd: pipe[0], events: Int16(POLLIN), revents: 0)
                if poll(&waiting, 1, 20) > 0 { isOpen = drain(pipe[0], &lines, line) }
            } else {
                usleep(2000)
            }
            if hasEnded(pid) { break }
            if isCancelled.isSet {
                let now = DispatchTime.now().uptimeNanoseconds
                if let since = terminatedAt {
                    if Double(now - since) > graceSeconds * 1e9 { kill(-pid, SIGKILL) }
                } else {
                    kill(-pid, SIGTERM)
                    terminatedAt = now
                }
            }
        }
        // The leader is not reaped yet, so the group's id is still its own: whatever it left behind ends with it.
        kill(-pid, SIGKILL)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        if isOpen { _ = drain(pipe[0], &lines, line) }
        lines.finish(line)
        return status & 0x7f == 0 ? .exited((status >> 8) & 0xff) : .signalled(status & 0x7f)
    }

    private func hasEnded(_ pid: pid_t) -> Bool {
        var info = siginfo_t()
        let result = waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT)
        return result == 0 ? info.si_signo == SIGCHLD : errno != EINTR
    }

    /// Reads what is there; false at the end of the stream.
    private func drain(_ fd: Int32, _ lines: inout LineSplitter, _ line: (String) -> Void) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(fd, &buffer, buffer.count)
            if count > 0 {
                lines.add(buffer[0..<count], line)
            } else if count == 0 {
                return false
            } else if errno != EINTR {
                return errno == EAGAIN
            }
        }
    }

    private func spawn(output: Int32) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        for fd in ChildProcess.inheritable() { posix_spawn_file_actions_addclose(&actions, fd) }
        // A server ignores or blocks signals that a program expects to end it.
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        // posix_spawn changes no directory in POSIX; the shell does, and is replaced by the program.
        var argv = (["sh", "-c", "cd \"$0\" && exec \"$@\"", workingDirectory, executable] + arguments).map { strdup($0) } + [nil]
        var envp = environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &argv, &envp)
        guard code == 0 else { throw KeelError(.unavailable, "'\(executable)' cannot be started: \(String(cString: strerror(code)))") }
        return pid
    }

    /// Descriptors that some library opened without close-on-exec: a program must not hold the server's sockets and files.
    private static func inheritable() -> [Int32] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return names.compactMap { Int32($0) }.filter { fd in
            let flags = fcntl(fd, F_GETFD)
            return fd > 2 && flags >= 0 && flags & FD_CLOEXEC == 0
        }
    }
}

/// Cuts a stream of bytes into lines of at most `lineBytesMax`.
struct LineSplitter {
    static let lineBytesMax = 16_384
    private var rest: [UInt8] = []

    mutating func add(_ bytes: ArraySlice<UInt8>, _ line: (String) -> Void) {
        for byte in bytes {
            if byte == 10 || rest.count >= LineSplitter.lineBytesMax {
                line(String(decoding: rest, as: UTF8.self))
                rest.removeAll(keepingCapacity: true)
            }
            if byte != 10 { rest.append(byte) }
        }
    }

    mutating func finish(_ line: (String) -> Void) {
        if !rest.isEmpty { line(String(decoding: rest, as: UTF8.self)) }
        rest = []
    }
}
