import Contracts
import Foundation
import Testing
import Workers

/// What code of a model tries, and must not be able to do.
@Suite("Workers are kept apart", .enabled(if: TestPython.isThere, "scripts/bootstrap --tests installs the Python"))
struct WorkerIsolationTests {
    /// Runs what the parameter `do` says, and answers with what it returned as text, or with its error.
    private static let code = """
        import os, sys, socket, signal, glob, subprocess

        def read(path): return open(path, "rb").read(100)
        def connect(address): s = socket.create_connection(address, 2); return s.recv(5)
        def connect_unix(path): s = socket.socket(socket.AF_UNIX); s.connect(path); return s.recv(5)
        def fill(folder, mib):
            n = 0
            try:
                for i in range(mib):
                    with open("%s/f%d" % (folder, i), "wb") as f: f.write(b"x" * (1 << 20))
                    n += 1
            except OSError as e: return "stopped at %d: %s" % (n, e.errno)
            finally:
                for i in range(n + 1):
                    try: os.unlink("%s/f%d" % (folder, i))
                    except OSError: pass
            return "filled"
        def one(size, folder):
            try:
                with open(folder + "/one", "wb") as f:
                    for _ in range(size): f.write(b"x" * (1 << 20))
            except OSError as e: return "stopped: %s" % e.errno
            finally: os.unlink(folder + "/one")
            return "filled"
        def write(path): open(path, "w").write("x"); return "written"
        def fds(): return sorted(int(n) for n in os.listdir("/proc/self/fd"))
        def who(): return [os.getuid(), open("/proc/self/status").read().split("CapEff:")[1].split()[0]]
        def kill(pid): os.kill(pid, 0); return "could"
        def pids(): return sorted(int(n) for n in os.listdir("/proc") if n.isdigit())
        def tmp(): return [os.environ["HOME"], os.environ["TMPDIR"], os.getcwd()]

        def predict(data, params=None):
            try: return [repr(eval(params["do"]))]
            except BaseException as e: return ["refused: %s: %s" % (type(e).__name__, e)]
        """

    private func home() throws -> String {
        let home = try temporaryFolder() + "/home"
        try write("the-key-of-all-secrets", to: home + "/secrets.key")
        chmod(home + "/secrets.key", 0o600)
        return home
    }

    private func isolation(_ home: String, _ setting: ProgramIsolation.Setting) async throws -> ProgramIsolation {
        try await ProgramIsolation.choose(
            setting, user: nil, folders: .init(home: home, project: home, work: home + "/workers"), view: .only)
    }

    private func attempt(_ pool: WorkerPool, _ code: String) async throws -> String {
        let answer = try await pool.ask(try table(["x": Column(.int64, .int64([1]))]), params: ["do": .string(code)])
        return answer["predictions"]?[0].text ?? ""
    }

    /// A server that greets whoever connects. It ends with the process of the tests.
    private final class Greeter: Sendable {
        let port: Int
        let path: String

        init(_ folder: String) throws {
            path = folder + "/socket"
            let script = """
                import socket, sys, threading, os, time
                u = socket.socket(socket.AF_UNIX); u.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777)
                t = socket.socket(); t.bind(("127.0.0.1", 0))
                def serve(s):
                    while True: c, _ = s.accept(); c.sendall(b"hello"); c.close()
                for s in (u, t): s.listen(); threading.Thread(target=serve, args=(s,)).start()
                print(t.getsockname()[1], flush=True)
                while True:
                    time.sleep(0.2)
                    try: os.kill(int(sys.argv[2]), 0)
                    except ProcessLookupError: os._exit(0)
                """
            let process = Process()
            let output = Pipe()
            process.executableURL = URL(fileURLWithPath: TestPython.path)
            process.arguments = ["-c", script, path, String(getpid())]
            process.standardOutput = output
            // What it held open, the runner of these tests would wait for.
            process.standardInput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
            port = try #require(Int(line.trimmingCharacters(in: .whitespacesAndNewlines)))
        }
    }

    @Test(
        "in the sandbox code sees the system, its model and its environment, and nothing else",
        .enabled(if: hasSandbox, "bubblewrap has to work on the machine"))
    func sandbox() async throws {
        setenv("KEEL_TEST_SECRET", "of-the-server-alone", 1)
        let home = try home()
        let greeter = try Greeter(home)
        let other = try model(["weights": "of another tenant"], in: home + "/models")
        let isolation = try await isolation(home, .auto)
        #expect(isolation.description.hasPrefix("bwrap"))
        let pool = try await pool(Self.code, isolation: isolation, home: home) { $0.temporaryBytes = 8 << 20 }
        #expect(pool.warnings == [])
        try await pool.start()
        let refused = [
            "read('\(home)/secrets.key')", "os.listdir('\(home)')", "read('\(other.path)/weights')", "read('/etc/shadow')",
            "os.listdir('/root')",
            "os.listdir('/home')", "connect(('127.0.0.1', \(greeter.port)))", "connect_unix('\(greeter.path)')",
            "connect(('10.0.0.1', 53))",
            "read('/proc/\(getpid())/environ')", "kill(\(getpid()))", "write('/etc/x')", "write('/usr/x')", "write('/x')",
            "write('/dev/x')",
            "write(__file__)", "write(os.path.dirname(__file__) + '/x')", "write(sys.prefix + '/x')", "os.setuid(0) or write('/usr/x')",
        ]
        for code in refused {
            let said = try await attempt(pool, code)
            // A user who is nobody, with no such folder: what matters is that it is not answered.
            let isRefused =
                said.hasPrefix("refused: ") || (code.contains("listdir") && !said.contains("secrets.key") && said.hasPrefix("['"))
            #expect(isRefused, "\(code): \(said)")
        }
        let environment = try await attempt(pool, "sorted(os.environ)")
        #expect(
            !environment.contains("KEEL") && !environment.contains("SECRET") && environment.contains("OMP_NUM_THREADS"), "\(environment)")
        // Input, output, errors, the socket to the server, and the folder that is read.
        #expect(try await attempt(pool, "fds()") == "[0, 1, 2, 3, 4]")
        #expect(try await attempt(pool, "tmp()") == "['/tmp', '/tmp/tmp', '/tmp']")
        #expect(try await attempt(pool, "write('/tmp/x') + write('/tmp/tmp/x') + write('/dev/shm/x')") == "'writtenwrittenwritten'")
        #expect(try await attempt(pool, "fill('/tmp', 100)").contains("stopped at 7: 28"))
        #expect(try await attempt(pool, "fill('/dev/shm', 100)").contains("stopped at 7: 28"))
        #expect(try await attempt(pool, "who()[1]") == "'0000000000000000'")
        #expect(try await attempt(pool, "max(pids()) < 100") == "True", "process ids of its own")
        if geteuid() == 0 { #expect(Self.isOwnUser(try await attempt(pool, "who()[0]"))) }
        await pool.stop()
    }

    /// Whether a program ran as a user of the range that is nobody's, or of the one for small containers.
    private static func isOwnUser(_ text: String) -> Bool {
        Int(text).map { (1_900_000_000..<1_900_065_536).contains($0) || (61_184..<65_520).contains($0) } ?? false
    }

    /// The ways of isolating that may work on this machine; `user` needs a Python that others may run.
    private static let ways: [ProgramIsolation.Setting] = (hasSandbox ? [.bwrap] : []) + (geteuid() == 0 ? [.user] : []) + [.none]

    private static func canBeOtherUser() async throws -> Bool {
        guard geteuid() == 0 else { return false }
        let home = try temporaryFolder()
        let folders = ProgramIsolation.Folders(home: home, project: home, work: home + "/workers")
        return (try? await ProgramIsolation.choose(.user, user: nil, folders: folders, view: .only)) != nil
    }

    #if arch(x86_64)
        @Test("the system refuses calls that code of a model never needs, in every way of isolating", arguments: ways)
        func systemCalls(way: ProgramIsolation.Setting) async throws {
            let code =
                Self.code + """

                    import ctypes, errno, mmap, threading
                    libc = ctypes.CDLL(None, use_errno=True)
                    def call(number, *arguments):
                        ctypes.set_errno(0)
                        got = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
                        return "could" if got != -1 else errno.errorcode[ctypes.get_errno()]
                    def family(number):
                        try: socket.socket(number, socket.SOCK_RAW if number in (16, 17) else socket.SOCK_STREAM); return "could"
                        except OSError as e: return errno.errorcode[e.errno]
                    def thread():
                        seen = []
                        t = threading.Thread(target=lambda: seen.append("ran")); t.start(); t.join(); return seen[0]
                    def other_architecture():
                        page = mmap.mmap(-1, 4096, prot=7)
                        page.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
                        return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
                    """
            if way == .user, try await !Self.canBeOtherUser() { return }
            let home = try home()
            chmod((home as NSString).deletingLastPathComponent, 0o755)
            let pool = try await pool(code, isolation: try await isolation(home, way), home: home)
            try await pool.start()
            let refused = [
                "keyctl": (250, "0, -3, 0"), "add_key": (248, "0, 0, 0, 0, -3"), "request_key": (249, "0, 0, 0, 0"), "ptrace": (101, "0, 0, 0, 0"),
                "process_vm_readv": (310, "1, 0, 0, 0, 0, 0"), "process_vm_writev": (311, "1, 0, 0, 0, 0, 0"), "bpf": (321, "0, 0, 0"),
                "perf_event_open": (298, "0, 0, -1, -1, 0"), "userfaultfd": (323, "1"), "mount": (165, "0, 0, 0, 0, 0"), "umount2": (166, "0, 0"),
                "move_mount": (429, "0, 0, 0, 0, 0"), "fsopen": (430, "0, 0"), "pivot_root": (155, "0, 0"), "chroot": (161, "0"),
                "unshare": (272, "0x10000000"), "setns": (308, "0, 0"), "open_by_handle_at": (304, "0, 0, 0"), "personality": (135, "0xffffffff"),
                "init_module": (175, "0, 0, 0"), "finit_module": (313, "0, 0, 0"), "kexec_load": (246, "0, 0, 0, 0"), "reboot": (169, "0, 0, 0"),
                "swapon": (167, "0, 0"), "quotactl": (179, "0, 0, 0, 0"), "clone with a namespace": (56, "0x10000011, 0, 0, 0, 0"),
            ]
            for (name, (number, arguments)) in refused {
                #expect(try await attempt(pool, "call(\(number), \(arguments))") == "'EPERM'", "\(name)")
            }
            let missing = [
                "clone3": "435, 0, 0", "io_uring_setup": "425, 1, 0", "io_uring_enter": "426, -1, 0, 0, 0, 0", "memfd_create": "319, 0, 0",
                "memfd_secret": "447, 0", "shmget": "29, 0, 4096, 0o1600", "a call of a later kernel": "463, 0, 0, 0",
            ]
            for (name, arguments) in missing { #expect(try await attempt(pool, "call(\(arguments))") == "'ENOSYS'", "\(name)") }
            for (name, number) in ["netlink": 16, "packet": 17, "alg": 38, "vsock": 40] {
                #expect(try await attempt(pool, "family(\(number))") == "'EAFNOSUPPORT'", "\(name)")
            }
            // What programs do need.
            #expect(try await attempt(pool, "family(1)") == "'could'")
            #expect(try await attempt(pool, "thread()") == "'ran'")
            #expect(try await attempt(pool, "subprocess.run(['/bin/echo', 'hello'], capture_output=True).stdout") == "b'hello\\n'")
            // A network of its own may have sockets; without one the filter closes the machine's.
            let hasOwnNetwork = way != .none || geteuid() == 0
            #expect(try await attempt(pool, "family(2)") == (hasOwnNetwork ? "'could'" : "'EAFNOSUPPORT'"))
            for call in ["call(0x40000000 + 39)", "other_architecture()"] {
                let input = try table(["x": Column(.int64, .int64([1]))])
                let error = try await #require(throws: KeelError.self, "\(call)") { try await pool.ask(input, params: ["do": .string(call)]) }
                #expect(error.code == .unavailable && error.message.contains("signal 31"), "\(call): \(error)")
            }
            await pool.stop()
        }
    #endif

    @Test("the system itself ends the forking of a worker at its limit, whatever watches it", arguments: ways)
    func tasks(way: ProgramIsolation.Setting) async throws {
        if way == .user, try await !Self.canBeOtherUser() { return }
        let home = try home()
        chmod((home as NSString).deletingLastPathComponent, 0o755)
        let code = """
            import os, time
            def predict(data, params=None):
                n = 0
                try:
                    while n < 200:
                        if os.fork() == 0: time.sleep(1000)
                        n += 1
                except OSError as error: return [-error.errno if n < 50 else n]
                return [n]
            """
        let isolation = try await isolation(home, way)
        let isLimited = isolation.protections(hasNetwork: false).first { $0.name == "processes" }?.holds
        #expect(isLimited == (way != .none))
        let pool = try await pool(code, isolation: isolation, home: home) {
            $0.processesMax = 100_000
            $0.memoryBytes = 64 << 30
            $0.tasksMax = 50
        }
        try await pool.start()
        let answer = try await pool.ask(try table(["x": Column(.int64, .int64([1]))]))
        #expect(answer["predictions"]?[0].integer == (isLimited == true ? Int64(-EAGAIN) : 200))
        // A user is counted alone: other programs are not kept from starting.
        let second = try await WorkersTests.pool("def predict(data, params=None): return [1]", isolation: isolation, home: home)
        try await second.start()
        #expect(try await second.ask(try table(["x": Column(.int64, .int64([1]))])).rowCount == 1)
        await second.stop()
        await pool.stop()
    }

    @Test("when the machine has no memory left, the system ends workers before the server", arguments: ways)
    func outOfMemory(way: ProgramIsolation.Setting) async throws {
        if way == .user, try await !Self.canBeOtherUser() { return }
        let home = try home()
        chmod((home as NSString).deletingLastPathComponent, 0o755)
        let pool = try await pool(Self.code, isolation: try await isolation(home, way), home: home)
        try await pool.start()
        #expect(try await attempt(pool, "read('/proc/self/oom_score_adj')") == "b'1000\\n'")
        // Outside of the sandbox the system keeps code from taking it back only where the server has CAP_SYS_RESOURCE.
        if way == .bwrap {
            #expect(try await attempt(pool, "os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'0')").hasPrefix("refused: "))
        }
        await pool.stop()
    }

    @Test(
        "workers have users of their own: one cannot signal another or look into it, and what a fork bomb leaves ends with it",
        .enabled("the server must be root, and its Python one that others may run") { try await canBeOtherUser() })
    func ownUsers() async throws {
        let home = try home()
        chmod((home as NSString).deletingLastPathComponent, 0o755)
        let isolation = try await isolation(home, .user)
        let code =
            Self.code + """

                def bomb():
                    while True:
                        try:
                            if os.fork() == 0:
                                os.setsid()
                                os.fork()
                        except OSError: pass
                """
        let first = try await pool(code, isolation: isolation, home: home) { $0.tasksMax = 60 }
        let second = try await pool(Self.code, isolation: isolation, home: home)
        try await first.start()
        try await second.start()
        let user = try await attempt(first, "os.getuid()")
        let other = try await attempt(second, "os.getuid()")
        #expect(user != other && Self.isOwnUser(user) && Self.isOwnUser(other))
        let id = try await attempt(second, "os.getpid()")
        for code in ["kill(\(id))", "read('/proc/\(id)/environ')", "os.listdir('/proc/\(id)/fd')", "os.listdir('/proc/\(id)/cwd')"] {
            #expect(try await attempt(first, code).hasPrefix("refused: PermissionError"), "\(code)")
        }
        let folder = try await attempt(second, "write('secret') and os.getcwd()").replacing("'", with: "")
        #expect(try await attempt(second, "read('\(folder)/secret')") == "b'x'")
        #expect(try await attempt(first, "read('\(folder)/secret')").hasPrefix("refused: PermissionError"))
        let input = try table(["x": Column(.int64, .int64([1]))])
        await #expect(throws: KeelError.self) { try await first.ask(input, params: ["do": "bomb()"], seconds: 5) }
        var left = "?"
        for _ in 0..<600 where !left.isEmpty {
            left = try await answer(of: "/bin/ps", ["-u", user, "-o", "pid="])
            if !left.isEmpty { try await Task.sleep(for: .milliseconds(50)) }
        }
        #expect(left.isEmpty, "processes of the user are left")
        #expect(try await attempt(second, "1 + 1") == "2")
        await first.stop()
        await second.stop()
    }

    @Test(
        "with a grant of the network code reaches it, and still no socket in a folder",
        .enabled(if: hasSandbox, "bubblewrap has to work on the machine"))
    func network() async throws {
        let home = try home()
        let greeter = try Greeter(home)
        let pool = try await pool(Self.code, isolation: try await isolation(home, .auto), home: home) { $0.hasNetwork = true }
        try await pool.start()
        #expect(try await attempt(pool, "connect(('127.0.0.1', \(greeter.port)))") == "b'hello'")
        #expect(try await attempt(pool, "connect_unix('\(greeter.path)')").hasPrefix("refused: "))
        await pool.stop()
    }

    @Test(
        "in the sandbox a fork bomb and a flood of output end with their worker alone",
        .enabled(if: hasSandbox, "bubblewrap has to work on the machine"))
    func bombs() async throws {
        let home = try home()
        let bomb = """
            import os, time
            def predict(data, params=None):
                if (params or {}).get("do") == "bomb":
                    while True:
                        try: os.fork()
                        except OSError: pass
                if (params or {}).get("do") == "flood":
                    while True: print("x" * 1000)
                return [1]
            """
        let pool = try await pool(bomb, isolation: try await isolation(home, .auto), home: home)
        try await pool.start()
        let input = try table(["x": Column(.int64, .int64([1]))])
        let error = try await #require(throws: KeelError.self) { try await pool.ask(input, params: ["do": "bomb"]) }
        // Whichever is noticed first: memory that forked processes share counts for each of them.
        #expect(error.code == .unavailable && error.message.contains("more than its"), "\(error)")
        #expect(try await pool.ask(input).rowCount == 1)
        #expect(
            try await #require(throws: KeelError.self) { try await pool.ask(input, params: ["do": "flood"], seconds: 2) }.code
                == .deadlineExceeded)
        let files = try FileManager.default.subpathsOfDirectory(atPath: home + "/workers").filter {
            $0.hasSuffix("log") || $0.hasSuffix("log.1")
        }
        let sizes = try files.map { try FileManager.default.attributesOfItem(atPath: "\(home)/workers/\($0)")[.size] as? Int ?? 0 }
        #expect(sizes.reduce(0, +) <= 8 << 20)
        await pool.stop()
    }

    @Test(
        "another user sees no secret and has no network, without a sandbox",
        .enabled("the server must be root, and its Python one that others may run") { try await canBeOtherUser() })
    func otherUser() async throws {
        let home = try home()
        chmod((home as NSString).deletingLastPathComponent, 0o755)
        let greeter = try Greeter(home)
        let isolation = try await isolation(home, .user)
        #expect(isolation.description == "a user of its own for each program")
        let pool = try await pool(Self.code, isolation: isolation, home: home)
        #expect(pool.warnings.count == 1)
        try await pool.start()
        for code in ["read('\(home)/secrets.key')", "connect(('127.0.0.1', \(greeter.port)))", "kill(\(getpid()))", "write(__file__)"] {
            #expect(try await attempt(pool, code).hasPrefix("refused: "), "\(code)")
        }
        #expect(Self.isOwnUser(try await attempt(pool, "who()[0]")))
        await pool.stop()
    }

    @Test(
        "where users of their own are off, programs share one, and the pool says so",
        .enabled("the server must be root, and its Python one that others may run") { try await canBeOtherUser() })
    func sharedUser() async throws {
        let home = try home()
        chmod((home as NSString).deletingLastPathComponent, 0o755)
        let isolation = try await ProgramIsolation.choose(
            .user, user: nil, folders: .init(home: home, project: home, work: home + "/workers"), view: .only, users: .off)
        #expect(isolation.description == "the user nobody")
        let protections = Dictionary(uniqueKeysWithValues: isolation.protections(hasNetwork: false).map { ($0.name, $0.holds) })
        #expect(protections["user"] == false && protections["processes"] == false && protections["network"] == true)
        let pool = try await pool(Self.code, isolation: isolation, home: home)
        #expect(pool.warnings.contains { $0.contains("reach other programs of that user") })
        try await pool.start()
        #expect(try await attempt(pool, "who()[0]") == "65534")
        await pool.stop()
    }

    @Test("without any isolation the pool says what its code can reach, and a file has a limit")
    func noIsolation() async throws {
        let home = try home()
        let pool = try await pool(Self.code, isolation: try await isolation(home, .none), home: home) { $0.temporaryBytes = 4 << 20 }
        #expect(pool.warnings.contains { $0.contains("secrets") })
        #expect(pool.warnings.contains { $0.contains("network") } == (geteuid() != 0))
        try await pool.start()
        #expect(try await attempt(pool, "one(8, os.getcwd())") == "'stopped: 27'")
        #expect(try await attempt(pool, "[k for k in os.environ if 'KEEL' in k]") == "[]")
        await pool.stop()
    }
}
