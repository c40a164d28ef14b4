import Contracts
import Foundation
import Testing
import Workers

@Suite("Workers", .enabled(if: TestPython.isThere, "scripts/bootstrap --tests installs the Python"))
struct WorkerPoolTests {
    private static let one = try? table(["x": Column(.int64, .int64([1]))])
    private var one: Table { get throws { try #require(Self.one) } }

    /// Does what the parameter `do` says, and answers with its process id.
    private static let tricks = """
        import os, sys, time, socket, signal, subprocess

        def crash(): os.kill(os.getpid(), signal.SIGSEGV)
        def leave(): os._exit(3)
        def hang(): time.sleep(1000)
        def raise_(): raise ValueError("no such flower")
        def exit_(): sys.exit(4)
        def print_(): print("the password is hunter2hunter2", flush=True)
        def channel(): return socket.socket(fileno=os.dup(int(sys.argv[1])))
        def write(): channel().sendall(b"HTTP/1.1 200 OK" * 10)
        def extra(): channel().sendall(b"K")
        def lie(): channel().sendall(b"KLW1" + (2).to_bytes(4, "little") + (1 << 60).to_bytes(8, "little") + b"{}")
        def leak():
            kept = []
            while True: kept.append(bytearray(b"x" * (8 << 20)))
        def fork():
            for _ in range(100):
                if os.fork() == 0: time.sleep(1000)
            time.sleep(1000)
        def daemon():
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0: time.sleep(1000)
                os._exit(0)
            os._exit(5)
        def close(): channel().shutdown(socket.SHUT_RDWR); time.sleep(1000)
        def supervisor(): os.kill(os.getppid(), signal.SIGKILL); time.sleep(1000)

        def predict(data, params=None):
            trick = (params or {}).get("do")
            if trick: globals()[trick]()
            return [os.getpid()]
        """

    private func started(
        _ code: String = tricks, isolation: ProgramIsolation = .none.seeing(.only), home: String? = nil, secrets: [String] = [],
        _ change: (inout WorkerSpec) -> Void = { _ in }
    ) async throws -> WorkerPool {
        let pool = try await pool(code, isolation: isolation, home: home, secrets: secrets, change)
        try await pool.start()
        return pool
    }

    private func process(_ pool: WorkerPool) async throws -> Int64 {
        let answer = try await pool.ask(try one)
        return try #require(answer["predictions"]?[0].integer)
    }

    @discardableResult private func failure(
        _ pool: WorkerPool, _ trick: String, seconds: Double = 600
    ) async throws -> KeelError {
        try await #require(throws: KeelError.self) { try await pool.ask(try one, params: ["do": .string(trick)], seconds: seconds) }
    }

    @Test("a model is called with a table and parameters, and answers with a table")
    func answers() async throws {
        let pool = try await started("def predict(data, params=None):\n    return data * (params or {}).get('by', 2)")
        let input = try table(["x": Column(.float64, .float64([1, 2.5])), "n": Column(.int64, .int64([1, .max / 4]))])
        let answer = try await pool.ask(input)
        #expect(answer.names == ["x", "n"])
        #expect(answer["x"]?.buffer == .float64([2, 5]) && answer["n"]?.buffer == .int64([2, .max / 4 * 2]))
        #expect(try await pool.ask(input, params: ["by": 3])["x"]?.buffer == .float64([3, 7.5]))
        try await Blocking.runAlone { try pool.ping(until: soon()) }
        #expect(pool.status.ready == 1 && pool.status.calls == 2 && pool.status.failures == 0 && pool.status.starts == 1)
        await pool.stop()
        let error = await #expect(throws: KeelError.self) { try await pool.ask(input) }
        #expect(error?.code == .unavailable)
    }

    @Test("an error of the model fails its call alone, and the same process takes the next one")
    func ownErrors() async throws {
        let pool = try await started()
        let before = try await process(pool)
        let error = try await failure(pool, "raise_")
        #expect(error.code == .invalidArgument && error.message == "the model failed: ValueError: no such flower")
        #expect(try await process(pool) == before)
        #expect(pool.logLines().contains { $0.hasPrefix("worker 1: ") && $0.hasSuffix("ValueError: no such flower") })
        await pool.stop()
    }

    @Test(
        "a worker that ends, or writes what is no answer, fails its own call; the next one is answered by another process",
        arguments: [
            ("crash", "signal 11"), ("leave", "exit code 3"), ("exit_", "exit code 4"), ("write", "no message"), ("lie", "more than"),
            ("daemon", "exit code 5"), ("close", "worker ended"), ("supervisor", "supervisor ended"),
        ])
    func ends(trick: String, says: String) async throws {
        let pool = try await started()
        let before = try await process(pool)
        let error = try await failure(pool, trick)
        #expect(error.code == .unavailable && error.message.contains(says), "\(error)")
        #expect(try await process(pool) != before)
        #expect(pool.status.restarts == 1 && pool.status.failures == 1)
        await pool.stop()
    }

    @Test("what a worker sends although nobody asked is no answer to the next call")
    func unasked() async throws {
        let pool = try await started()
        let before = try await process(pool)
        await #expect(throws: KeelError.self) { try await pool.ask(try one, params: ["do": "extra"]) }
        #expect(try await process(pool) != before)
        await pool.stop()
    }

    @Test("a worker that is busy at the deadline is ended, and its call is too late")
    func hangs() async throws {
        let pool = try await started()
        let before = try await process(pool)
        #expect(try await failure(pool, "hang", seconds: 0.3).code == .deadlineExceeded)
        #expect(try await process(pool) != before)
        #expect(kill(pid_t(before), 0) != 0)
        await pool.stop()
    }

    @Test("with all workers busy a call waits until its deadline, and takes the first that becomes free")
    func busy() async throws {
        let pool = try await started("import time\ndef predict(data, params=None):\n    time.sleep(params['for'])\n    return [1]") {
            $0.workers = 2
        }
        let input = try one
        @Sendable func call(_ length: Double, _ seconds: Double) async -> KeelError? {
            do {
                _ = try await pool.ask(input, params: ["for": .double(length)], seconds: seconds)
                return nil
            } catch { return error as? KeelError }
        }
        async let first = call(10, 600)
        async let second = call(10, 600)
        for _ in 0..<3000 where pool.status.idle > 0 { try await Task.sleep(for: .milliseconds(10)) }
        #expect(await call(0, 0.1)?.code == .deadlineExceeded)
        #expect(await call(0, 600) == nil)
        #expect(await first == nil)
        #expect(await second == nil)
        #expect(pool.status.starts == 2, "nobody was ended for a call that only waited")
        await pool.stop()
    }

    @Test("one worker's end does not touch the call of another")
    func apart() async throws {
        let pool = try await started(Self.tricks + "\ndef slow(): time.sleep(1)\n") { $0.workers = 2 }
        let input = try one
        async let slow = pool.ask(input, params: ["do": "slow"])
        try await Task.sleep(for: .milliseconds(200))
        try await failure(pool, "crash")
        #expect(try await slow.rowCount == 1)
        await pool.stop()
    }

    @Test("a worker that takes more memory than it may, or starts too many processes, is ended")
    func greedy() async throws {
        let pool = try await started {
            $0.memoryBytes = 300 << 20
            $0.processesMax = 20
        }
        let leak = try await failure(pool, "leak")
        // The watch over resident memory ends it, or the system refuses a process more than its own limit.
        #expect(leak.message.contains("more than its 300 MiB") || leak.message.contains("MemoryError"), "\(leak)")
        let fork = try await failure(pool, "fork")
        #expect(fork.code == .unavailable && fork.message.contains("more than its"), "\(fork)")
        _ = try await process(pool)
        #expect(pool.status.memoryBytes < 300 << 20)
        await pool.stop()
    }

    @Test("one that fails again and again is started after pauses that grow, and calls do not wait for it")
    func pauses() async throws {
        let pool = try await started()
        var messages: [String] = []
        for _ in 0..<30 where messages.last?.hasPrefix("no worker of this model runs") != true {
            messages.append(try await failure(pool, "leave").message)
        }
        // The pauses are 0.1, 0.2, 0.4, 0.8 s, for which calls wait, and then too long for that.
        #expect(messages.count > 4 && messages.allSatisfy { $0.contains("exit code 3") }, "\(messages)")
        #expect(messages.last?.hasPrefix("no worker of this model runs") == true)
        #expect(pool.status.problem?.contains("exit code 3") == true)
        await pool.stop()
    }

    @Test("a pool that cannot start says why, with the last lines of its log")
    func badStart() async throws {
        let cases: [(code: String, says: String)] = [
            ("import nothing_of_this_name", "ModuleNotFoundError"),
            ("import os\nprint('about to go', flush=True)\nos._exit(9)", "exit code 9"),
            ("raise SystemExit('enough')", "exit code 1"), ("import time\ntime.sleep(1000)", "did not load the extension in time"),
        ]
        for (code, says) in cases {
            let pool = try await pool("print('line of the model')\n" + code) {
                if says.contains("in time") { $0.startTime = .seconds(15) }
            }
            let error = try await #require(throws: KeelError.self) { try await pool.start() }
            #expect(error.message.contains(says), "\(error)")
            #expect(error.hint?.contains("worker 1: line of the model") == true, "\(error)")
            #expect(
                error.code == (says.contains("NotFound") ? .failedPrecondition : says.contains("time") ? .deadlineExceeded : .unavailable))
        }
    }

    @Test("its log holds what workers write, without secrets, and not more than it may")
    func log() async throws {
        let pool = try await started(secrets: ["hunter2hunter2"])
        _ = try await pool.ask(try one, params: ["do": "print_"])
        for _ in 0..<3000 where pool.logLines().isEmpty { try await Task.sleep(for: .milliseconds(20)) }
        #expect(pool.logLines() == ["worker 1: the password is [secret]"])
        await pool.stop()
    }

    @Test("an answer that is larger than it may be is the model's error, and so is a call")
    func large() async throws {
        let pool = try await started("import numpy as np\ndef predict(data, params=None):\n    return np.zeros(1 << 20)") {
            $0.frameBytesMax = 1 << 20
        }
        let error = try await #require(throws: KeelError.self) { try await pool.ask(try one) }
        #expect(error.code == .invalidArgument && error.message.contains("8388608 bytes"), "\(error)")
        let input = try table(["x": Column(.bytes, values: [.bytes([UInt8](repeating: 0, count: 2 << 20))])])
        await #expect(throws: KeelError.self) { try await pool.ask(input) }
        #expect(pool.status.starts == 1)
        await pool.stop()
    }

    @Test("a stop ends all workers with what they started, and fails the calls under way")
    func stops() async throws {
        let home = try temporaryFolder()
        let pool = try await started(home: home) { $0.workers = 2 }
        let id = try await process(pool)
        let input = try one
        let call = Task { try await pool.ask(input, params: ["do": "hang"]) }
        try await Task.sleep(for: .milliseconds(300))
        await pool.stop()
        await #expect(throws: KeelError.self) { try await call.value }
        #expect(kill(pid_t(id), 0) != 0 && pool.status.ready == 0)
    }
}
