import Foundation

/// One target being worked on by a process of its own, which this watches.
final class FuzzRun {
    struct Settings {
        /// How long a target is run; without it, until it has seen its number of inputs.
        var seconds: Double?
        var seed: UInt64 = 1
        var corpus = "Tests/Corpora/fuzz"
        /// Where inputs are kept that a parser failed on.
        var faults = ".build/fuzz"
    }

    let target: FuzzTarget
    private let settings: Settings
    private let folder: String
    private let shared: SharedInput
    private let process: pid_t
    private var lastRuns = -1
    private var lastSeconds = 0.0
    private var lastChange = DispatchTime.now().uptimeNanoseconds
    private let began = DispatchTime.now().uptimeNanoseconds
    /// Why it was ended before it ended itself.
    private var verdict: String?

    /// How long one input may take.
    private static let hangSeconds = 10.0
    /// How long one may take that computes nothing.
    private static let waitSeconds = 60.0
    private static let memoryBytesMax = 1536 << 20

    init(_ target: FuzzTarget, _ settings: Settings) throws {
        self.target = target
        self.settings = settings
        folder = NSTemporaryDirectory() + "keel-fuzz-\(getpid())-\(target.name)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        shared = try SharedInput(path: folder + "/shared")
        process = try FuzzRun.spawn(
            [CommandLine.arguments[0], target.name, "--child", folder + "/shared", "--seed", "\(settings.seed)", "--corpus", settings.corpus]
                + (settings.seconds.map { ["--seconds", "\($0)"] } ?? []),
            output: folder + "/output")
    }

    /// - Returns: nil while it runs; then whether all was well.
    func poll() -> Bool? {
        var status: Int32 = 0
        guard waitpid(process, &status, WNOHANG) == process else {
            watch()
            return nil
        }
        defer {
            shared.unmap()
            try? FileManager.default.removeItem(atPath: folder)
        }
        let signal = status & 0x7f
        let code = status >> 8 & 0xff
        if signal == 0, code == 0, verdict == nil {
            say(line("ok"))
            return true
        }
        let place = shared[.isRunning] == 0 ? " between two inputs: the fault is the fuzzer's" : ""
        report(verdict ?? (signal != 0 ? "ended by signal \(signal)\(place)" : code == 3 ? shared.message : "ended with code \(code)"))
        return false
    }

    /// Ends a process whose input takes too long, or too much memory.
    private func watch() {
        let now = DispatchTime.now().uptimeNanoseconds
        guard let (cpu, memory) = usage() else { return }
        let runs = shared[.runs]
        if runs != lastRuns || shared[.isRunning] == 0 {
            lastRuns = runs
            lastSeconds = cpu
            lastChange = now
        }
        if cpu - lastSeconds > FuzzRun.hangSeconds { end("one input takes more than \(FuzzRun.hangSeconds) s") }
        if Double(now - lastChange) / 1e9 > FuzzRun.waitSeconds { end("one input stands still for \(FuzzRun.waitSeconds) s") }
        if memory > FuzzRun.memoryBytesMax { end("it takes \(memory >> 20) MiB of memory") }
    }

    private func end(_ verdict: String) {
        guard self.verdict == nil else { return }
        self.verdict = verdict
        kill(process, SIGKILL)
    }

    /// Seconds of computing, and bytes of memory (proc(5)).
    private func usage() -> (seconds: Double, bytes: Int)? {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8), let name = text.lastIndex(of: ")") else {
            return nil
        }
        let fields = text[name...].split(separator: " ")
        guard fields.count > 22, let user = Double(fields[12]), let system = Double(fields[13]), let pages = Int(fields[22]) else {
            return nil
        }
        return ((user + system) / Double(sysconf(Int32(_SC_CLK_TCK))), pages * Int(getpagesize()))
    }

    private func line(_ result: String) -> String {
        let runs = max(shared[.runs], 1)
        let took = Double(DispatchTime.now().uptimeNanoseconds - began) / 1e9
        let slowest = Double(shared[.slowest]) / 1e6
        return "fuzz \(target.name.padding(toLength: 18, withPad: " ", startingAt: 0)) \(result): \(Int(took)) s, \(shared[.runs]) inputs, "
            + "\(100 * shared[.accepted] / runs) % accepted, \(shared[.kept]) kept, slowest \(Int(slowest)) ms, seed \(settings.seed)"
    }

    private func report(_ what: String) {
        let input = shared.input
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in input { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let path = "\(settings.faults)/\(target.name)-\(String(hash, radix: 16))"
        try? FileManager.default.createDirectory(atPath: settings.faults, withIntermediateDirectories: true)
        try? Data(input).write(to: URL(fileURLWithPath: path))
        let output = (try? String(contentsOfFile: folder + "/output", encoding: .utf8)) ?? ""
        let hex = input.prefix(256).map { (byte: UInt8) in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        say(
            """
            \(line("FAULT"))
            \(what)
            \(output.split(separator: "\n").prefix(30).joined(separator: "\n"))
            the input (\(input.count) bytes), as text: \(String(decoding: input.prefix(512), as: UTF8.self).debugDescription)
            as hex: \(hex)
            it is kept in \(path); once more: \(CommandLine.arguments[0]) \(target.name) --input \(path)
            """)
    }

    private static func spawn(_ arguments: [String], output: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        var environment = ProcessInfo.processInfo.environment
        // The parent says how to see where it ended.
        environment["SWIFT_BACKTRACE"] = "enable=no"
        // The same seed leads to the same inputs, and they to the same order of sets.
        environment["SWIFT_DETERMINISTIC_HASHING"] = "1"
        environment["ASAN_OPTIONS"] = "detect_leaks=0:quarantine_size_mb=16:detect_stack_use_after_return=0"
        let given = (arguments.map { strdup($0) }) + [nil]
        let variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in given + variables { free(text) } }
        var process: pid_t = 0
        guard posix_spawn(&process, "/proc/self/exe", &actions, nil, given, variables) == 0 else {
            throw FuzzFault("cannot start the process")
        }
        return process
    }
}
