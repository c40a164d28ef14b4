import Contracts
import Foundation
import Pipelines
import Storage
import Testing
import Workers

@Suite("The user's own programs")
struct ProgramStepTests {
    private func run(
        _ step: JSON, parameters: JSON = .object([]), folder: String? = nil, isolation: ProgramIsolation = .none, secrets: [String] = []
    ) async throws -> (run: PipelineRun, folder: String) {
        let folder = try folder ?? temporaryFolder()
        let environment = ProgramEnvironment(projectFolder: folder, isolation: IsolationChoice { isolation }, secrets: secrets) { caller, _ in
            ProgramAccess(variables: [
                "KEEL_URL": "http://127.0.0.1:7070", "MLFLOW_TRACKING_URI": "http://127.0.0.1:7070", "WHO": caller.name,
                "KEEL_TOKEN": "keel_the-lent-token",
            ])
        }
        let service = service(
            try await openDatabase(folder), [ShellStep(environment: environment), PythonStep(environment: environment)], folder)
        var step = step
        step["name"] = "s"
        try service.configure([spec(["parameters": parameters, "steps": [step]])])
        return (try await service.go("p", now: Timestamp(seconds: 0)), folder)
    }

    private func log(_ result: (run: PipelineRun, folder: String)) -> String {
        String(decoding: FileManager.default.contents(atPath: "\(result.folder)/work/\(result.run.id)/s.log") ?? Data(), as: UTF8.self)
    }

    /// What a step wrote into a file of its folder.
    private func file(_ name: String, _ result: (run: PipelineRun, folder: String)) -> String {
        let path = "\(result.folder)/work/\(result.run.id)/s/\(name)"
        return String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func isAlive(_ pid: String) -> Bool {
        guard let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return false }
        // A zombie that nobody has reaped yet is not alive.
        return !String(decoding: stat, as: UTF8.self).contains(") Z ")
    }

    @Test("a shell program finds parameters, server and outputs file, and no secret of the server")
    func shell() async throws {
        setenv("KEEL_TEST_SECRET", "hidden", 1)
        let result = try await run(
            [
                "uses": "shell",
                "with": [
                    "env": ["TREES": "$trees"],
                    "run": """
                    test -z "${KEEL_TEST_SECRET:-}"
                    test "$(pwd)" = "$(dirname "$KEEL_OUTPUT")"
                    printf '{"url":"%s","from":"%s","trees":%s,"now":"%s","who":"%s"}' "$MLFLOW_TRACKING_URI" "$KEEL_PARAM_FROM_DAY" "$TREES" "$KEEL_NOW" "$WHO" > "$KEEL_OUTPUT"
                    """,
                ],
            ], parameters: ["from-day": "x\"; $(rm -rf /nothing)'", "trees": 150])
        // The quote in the parameter makes bad JSON of this naive program; its text was never run.
        #expect(result.run.state == .failed && result.run.error?.contains("KEEL_OUTPUT") == true)
        let good = try await run(
            [
                "uses": "shell",
                "with": ["env": ["T": "$trees"], "run": "printf '{\"t\":%s,\"now\":\"%s\"}' \"$T\" \"$KEEL_NOW\" > \"$KEEL_OUTPUT\""],
            ],
            parameters: ["trees": 150])
        #expect(good.run.steps[0].outputs == ["t": 150, "now": "1970-01-01T00:00:00Z"])
    }

    @Test("A5: a program has a home of its own and no variable of the server but PATH and LANG")
    func environment() async throws {
        setenv("AWS_SECRET_ACCESS_KEY", "of-the-server-alone", 1)
        let result = try await run(["uses": "shell", "with": ["env": ["MINE": "x"], "run": "env; ls /proc/self/fd; test -w \"$TMPDIR\""]])
        let log = log(result)
        let names = Set(log.split(separator: "\n").filter { $0.contains("=") }.map { String($0.prefix { $0 != "=" }) })
        let known: Set = [
            "PATH", "LANG", "HOME", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "MINE", "WHO", "MLFLOW_TRACKING_URI", "KEEL_URL", "KEEL_TOKEN",
            "KEEL_RUN_ID", "KEEL_PIPELINE", "KEEL_STEP", "KEEL_ATTEMPT", "KEEL_NOW", "KEEL_PROJECT", "KEEL_OUTPUT",
        ]
        #expect(names.subtracting(known).isEmpty && names.isSuperset(of: ["HOME", "MINE", "KEEL_ATTEMPT"]))
        #expect(log.contains("HOME=\(result.folder)/work/\(result.run.id)/s\n"))
        // Input, output, errors, and the folder that ls itself reads.
        #expect(log.split(separator: "\n").filter { Int($0) != nil } == ["0", "1", "2", "3"])
    }

    @Test("A9: what a program wrote is in its log, and neither in an error nor in the ledger")
    func badEnd() async throws {
        let shell = try await run([
            "uses": "shell", "with": ["run": "for i in $(seq 100); do echo line $i; done; echo problem >&2; exit 3"],
        ])
        #expect(shell.run.error?.contains("exit code 3") == true)
        #expect(log(shell).hasPrefix("line 1\nline 2\n") && log(shell).hasSuffix("problem\n"))
        let events = try await openDatabase(shell.folder).read { try $0.ledgerEvents() }
        #expect(!events.contains { $0.data.text.contains("problem") || $0.data.text.contains("line 100") })
        let finished = try #require(events.first { $0.kind == "pipeline.step.finished" })
        #expect(finished.data["log"]?["lines"] == 101 && finished.data["log"]?["digest"]?.string == Digest(of: log(shell)).hex)
        #expect(try await run(["uses": "shell", "with": ["run": "kill -9 $$"]]).run.error?.contains("signal 9") == true)
        #expect(try await run(["uses": "shell", "with": ["run": "false; echo on"]]).run.state == .failed)
        #expect(
            try await run(["uses": "shell", "with": ["run": "echo '[1]' > $KEEL_OUTPUT"]]).run.error?.contains("one JSON object") == true)
    }

    @Test("a script that is no plain file is refused, however long it would be", arguments: ["fifo.py", "/dev/zero"])
    func endlessScript(script: String) async throws {
        let folder = try temporaryFolder()
        #expect(mkfifo(folder + "/fifo.py", 0o600) == 0)
        let result = try await run(["uses": "python", "cache": true, "with": ["script": .string(script)]], folder: folder)
        #expect(result.run.state == .failed && result.run.error?.contains("the script '\(script)' cannot be read") == true)
    }

    @Test(
        "A5: a home that was opened for another user is closed again when his programs cannot be run",
        .enabled(if: geteuid() == 0, "only root can start programs as another user"))
    func closedAgain() async throws {
        let folder = try temporaryFolder()
        for path in [folder, folder + "/home", folder + "/home/work", folder + "/project"] {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            #expect(chmod(path, 0o700) == 0)
        }
        let home = folder + "/home"
        // The user may not read the project's folder.
        await #expect(throws: KeelError.self) {
            try await ProgramIsolation.choose(
                .user, user: "nobody", folders: .init(home: home, project: folder + "/project", work: home + "/work"))
        }
        for path in [home, home + "/work"] {
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o700)
        }
    }

    @Test("python runs scripts of the project and code of the step")
    func python() async throws {
        let folder = try temporaryFolder()
        let script =
            "import sys, os, json\njson.dump({'args': sys.argv[1:], 'uri': os.environ['MLFLOW_TRACKING_URI']}, open(os.environ['KEEL_OUTPUT'], 'w'))\n"
        try Data(script.utf8).write(to: URL(fileURLWithPath: folder + "/train.py"))
        let scripted = try await run(
            ["uses": "python", "with": ["script": "train.py", "args": ["--trees", "$trees"]]], parameters: ["trees": 150], folder: folder)
        #expect(scripted.run.error == nil)
        #expect(scripted.run.steps[0].outputs == ["args": ["--trees", "150"], "uri": "http://127.0.0.1:7070"])
        let coded = try await run([
            "uses": "python", "with": ["code": "import os\nopen(os.environ['KEEL_OUTPUT'],'w').write('{\"a\": 1}')"],
        ])
        #expect(coded.run.steps[0].outputs == ["a": 1])
        let missing = try await run(["uses": "python", "with": ["script": "no.py"]])
        #expect(missing.run.error?.contains("there is no script 'no.py'") == true)
        let both = await #expect(throws: KeelError.self) { try await run(["uses": "python", "with": ["script": "a", "code": "b"]]) }
        #expect(both?.path == "Pipeline/p.spec.steps[0].with")
    }

    @Test("a cached script runs again when its text changes")
    func editedScript() async throws {
        let folder = try temporaryFolder()
        let path = URL(fileURLWithPath: folder + "/a.py")
        let step: JSON = ["uses": "python", "with": ["script": "a.py"], "cache": true]
        try Data("print(1)".utf8).write(to: path)
        #expect(try await run(step, folder: folder).run.steps[0].cache == "miss: never ran")
        #expect(try await run(step, folder: folder).run.steps[0].state == .cached)
        try Data("print(2)".utf8).write(to: path)
        #expect(try await run(step, folder: folder).run.steps[0].cache?.hasPrefix("miss: dependency script changed") == true)
    }

    // Long enough for a program to start on a machine that is busy with all other tests.
    @Test("a timeout ends a program with all its children, even those that ignore the polite signal")
    func killsChildren() async throws {
        let result = try await run([
            "uses": "shell", "timeout": "5s",
            "with": ["run": "(trap '' TERM; while :; do sleep 1; done) & echo $! > child; sleep 1000 & echo $! > other; sleep 1000"],
        ])
        #expect(result.run.error?.contains("timeout of 5s") == true)
        for name in ["child", "other"] {
            let pid = file(name, result)
            #expect(!pid.isEmpty && !isAlive(pid))
        }
    }

    /// Starts a process that leaves its session and its parents, as daemons do, and waits until it has written its id.
    private static let daemon = """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open("daemon", "w").write(str(os.getpid()))
                time.sleep(1000)
            os._exit(0)
        os.wait()
        while not os.path.exists("daemon") or not open("daemon").read(): time.sleep(0.01)

        """

    @Test("V7: what a finished program leaves behind ends with it, daemons too")
    func leftovers() async throws {
        let result = try await run(["uses": "shell", "with": ["run": "sleep 1000 & echo $! > child"]])
        #expect(result.run.state == .succeeded)
        #expect(!file("child", result).isEmpty && !isAlive(file("child", result)))
        let left = try await run(["uses": "python", "with": ["code": .string(Self.daemon)]])
        #expect(left.run.state == .succeeded)
        #expect(!file("daemon", left).isEmpty && !isAlive(file("daemon", left)))
    }

    @Test("V7: a program that is cancelled ends with its daemons")
    func cancelsDaemons() async throws {
        let result = try await run(["uses": "python", "timeout": "5s", "with": ["code": .string(Self.daemon + "time.sleep(1000)")]])
        #expect(result.run.error?.contains("timeout of 5s") == true)
        #expect(!file("daemon", result).isEmpty && !isAlive(file("daemon", result)))
    }

    @Test("a polite signal lets a program end by itself")
    func polite() async throws {
        let result = try await run([
            "uses": "shell", "timeout": "5s", "with": ["run": "trap 'echo goodbye > last; exit 0' TERM; sleep 1000 & wait"],
        ])
        #expect(result.run.state == .failed && file("last", result) == "goodbye")
    }

    @Test("A9: secrets are masked as lines are written, also where a long line is cut")
    func secrets() async throws {
        let result = try await run(
            [
                "uses": "shell",
                "with": [
                    "env": ["DB_PASSWORD": "hunter2hunter2", "PLAIN": "not-masked-at-all"],
                    "run": """
                    echo "token $KEEL_TOKEN, password $DB_PASSWORD, of the server: top-secret-of-the-server, plain $PLAIN"
                    i=0; while [ $i -lt 3000 ]; do printf '%s' "$DB_PASSWORD"; i=$((i+1)); done
                    """,
                ],
            ], secrets: ["top-secret-of-the-server"])
        let log = log(result)
        #expect(log.hasPrefix("token [secret], password [secret], of the server: [secret], plain not-masked-at-all\n"))
        #expect(!log.contains("hunter2") && log.components(separatedBy: "[secret]").count > 3000)
    }

    @Test("A9: outputs are read from a plain file alone")
    func foreignOutputs() async throws {
        for trick in ["ln -s /etc/passwd outputs.json", "mkfifo outputs.json", "mkdir outputs.json"] {
            #expect(try await run(["uses": "shell", "with": ["run": .string(trick)]]).run.error?.contains("plain file") == true)
        }
    }

    @Test("a program is held to the limits of its step")
    func limits() async throws {
        let code = "x = bytearray(1 << 30)"
        #expect(try await run(["uses": "python", "with": ["code": .string(code), "memoryMiB": 512]]).run.state == .failed)
        #expect(try await run(["uses": "shell", "with": ["run": "while :; do :; done", "cpu": "1s"]]).run.state == .failed)
        let core = try await run(["uses": "shell", "with": ["run": "ulimit -c"]])
        #expect(log(core) == "0\n")
    }

    /// Whether bubblewrap can do anything here: it cannot in a changed root, nor where namespaces are forbidden.
    private static let hasSandbox: Bool = {
        let probe = Process()
        probe.executableURL = URL(fileURLWithPath: "/usr/bin/bwrap")
        probe.arguments = ["--ro-bind", "/", "/", "true"]
        probe.standardError = FileHandle.nullDevice
        do { try probe.run() } catch { return false }
        probe.waitUntilExit()
        return probe.terminationStatus == 0
    }()

    @Test(
        "A5: in the sandbox the home is hidden, the project read-only, and the server out of sight",
        .enabled(if: hasSandbox, "bubblewrap has to work on the machine"))
    func sandbox() async throws {
        let folder = try temporaryFolder()
        let home = folder + "/home"
        let project = folder + "/project"
        for path in [home + "/work", project] { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        try Data("key".utf8).write(to: URL(fileURLWithPath: home + "/secrets.key"))
        try Data("print('a script')".utf8).write(to: URL(fileURLWithPath: project + "/a.py"))
        let isolation = try await ProgramIsolation.choose(
            .bwrap, user: nil, folders: ProgramIsolation.Folders(home: home, project: project, work: home + "/work"))
        let environment = ProgramEnvironment(projectFolder: project, isolation: IsolationChoice { isolation }) { _, _ in
            ProgramAccess(variables: [:])
        }
        let service = service(
            try await openDatabase(home), [ShellStep(environment: environment), PythonStep(environment: environment)], home)
        let attempts: [(name: String, command: String)] = [
            ("key", "cat \(home)/secrets.key"), ("database", "cat \(home)/keel.sqlite"),
            ("home", "touch \(home)/work/x && ls \(home)/keel.sqlite"),
            ("environ", "cat /proc/\(getpid())/environ"), ("kill", "kill -0 \(getpid())"), ("project", "touch \(project)/x"),
            ("system", "touch /etc/x"), ("other", "ls \(home)/work | grep -v $KEEL_RUN_ID"),
        ]
        let steps = attempts.map { attempt -> JSON in
            ["name": .string(attempt.name), "uses": "shell", "with": ["run": .string("if \(attempt.command); then echo done; exit 1; fi")]]
        }
        try service.configure([
            spec([
                "steps": .array(
                    steps + [
                        ["name": "script", "uses": "python", "with": ["script": "a.py"]],
                        [
                            "name": "own", "uses": "shell",
                            "with": ["run": "echo x > y; echo x > $TMPDIR/y; echo x > /tmp/y; echo '{\"a\": 1}' > $KEEL_OUTPUT"],
                        ],
                    ])
            ]),
            spec(["steps": [["name": "s", "uses": "shell", "with": ["run": "kill -9 $$"]]]], name: "killed"),
        ])
        let run = try await service.go()
        for attempt in attempts { #expect(run.step(attempt.name)?.state == .succeeded, "\(attempt.name) was not refused") }
        #expect(run.error == nil && run.step("script")?.state == .succeeded && run.step("own")?.outputs == ["a": 1])
        #expect(try await service.go("killed").error?.contains("signal 9") == true, "a program may end itself")
    }

    /// A home with a secret and a project, and what the isolation that is chosen for them makes of one step.
    private func isolated(
        _ with: JSON, home: String, project: String, _ setting: ProgramIsolation.Setting = .bwrap
    ) async throws -> (run: PipelineRun, log: String, isolation: ProgramIsolation) {
        let isolation = try await ProgramIsolation.choose(
            setting, user: nil, folders: ProgramIsolation.Folders(home: home, project: project, work: home + "/work"))
        let environment = ProgramEnvironment(projectFolder: project, isolation: IsolationChoice { isolation }) { _, _ in
            ProgramAccess(variables: ["KEEL_TOKEN": "keel_the-lent-token"])
        }
        let service = service(try await openDatabase(home), [ShellStep(environment: environment)], home)
        try service.configure([spec(["steps": [["name": "s", "uses": "shell", "with": with]]])])
        let run = try await service.go()
        let log = FileManager.default.contents(atPath: "\(home)/work/\(run.id)/s.log") ?? Data()
        return (run, String(decoding: log, as: UTF8.self), isolation)
    }

    private func homeAndProject() throws -> (home: String, project: String) {
        let folder = try temporaryFolder()
        for name in ["home/work", "project"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        try Data("key".utf8).write(to: URL(fileURLWithPath: folder + "/home/secrets.key"))
        return (folder + "/home", folder + "/project")
    }

    @Test(
        "A5: a step's variables reach its program as they are, and never what starts the sandbox",
        .enabled(if: hasSandbox, "bubblewrap has to work on the machine"))
    func launcherEnvironment() async throws {
        let (home, project) = try homeAndProject()
        // In the place of bubblewrap and setpriv: tells that it was started, outside of the sandbox.
        for name in ["bwrap", "setpriv"] {
            try Data("#!/bin/sh\ntouch \(project)/escaped\nexec /usr/bin/\(name) \"$@\"\n".utf8).write(
                to: URL(fileURLWithPath: "\(project)/\(name)"))
            chmod("\(project)/\(name)", 0o755)
        }
        let text = "it's \"odd\"\n$(id) `id` \\ 'x''"
        let result = try await isolated(
            [
                "env": ["PATH": .string("\(project):/usr/bin:/bin"), "LD_PRELOAD": "/nothing.so", "TEXT": .string(text)],
                "run": "printf '%s' \"$TEXT\" > text; unset LD_PRELOAD; echo $PATH; ls /proc/self/fd; cat /proc/[0-9]*/cmdline > commands",
            ], home: home, project: project)
        #expect(result.run.error == nil)
        #expect(!FileManager.default.fileExists(atPath: project + "/escaped"))
        // The loader complains once: in the step's shell.
        #expect(result.log.components(separatedBy: "/nothing.so").count == 2, "\(result.log)")
        #expect(result.log.contains("\(project):/usr/bin:/bin\n0\n1\n2\n3\n"))
        #expect(file("text", (result.run, home)) == text)
        #expect(
            file("commands", (result.run, home)).contains("--die-with-parent")
                && !file("commands", (result.run, home)).contains("lent-token"))
        let odd = try await isolated(["env": ["A B": "x"], "run": "true"], home: homeAndProject().home, project: project)
        #expect(odd.run.error?.contains("'A B' is no name of a variable") == true)
    }

    @Test(
        "A5: a home, or a part of it, that is a symbolic link is hidden where it really lies",
        .enabled(if: hasSandbox, "bubblewrap has to work on the machine"))
    func linkedHome() async throws {
        let (home, project) = try homeAndProject()
        let folder = try temporaryFolder()
        for (link, target) in [("\(folder)/home", home), ("\(home)/lake", "\(folder)/disk")] { symlink(target, link) }
        try FileManager.default.createDirectory(atPath: folder + "/disk", withIntermediateDirectories: true)
        try Data("rows".utf8).write(to: URL(fileURLWithPath: folder + "/disk/rows"))
        let folders = ProgramIsolation.Folders(home: folder + "/home", project: project, work: folder + "/home/work")
        #expect(try await ProgramIsolation.choose(.auto, user: nil, folders: folders).description.hasPrefix("bwrap, as the"))
        let attempts = ["\(home)/secrets.key", "\(folder)/home/secrets.key", "\(folder)/disk/rows"].map { "if cat \($0); then exit 1; fi" }
        let result = try await isolated(["run": .string(attempts.joined(separator: "\n"))], home: home, project: project)
        #expect(result.run.error == nil, "\(result.log)")
    }

    @Test(
        "A5: where only root may read the project, its programs have no capabilities in their sandbox",
        .enabled(if: hasSandbox && geteuid() == 0, "it is about root and bubblewrap"))
    func rootInSandbox() async throws {
        let (home, project) = try homeAndProject()
        chmod(project, 0o700)
        let attempts = [
            "umount \(home)", "mount -o remount,rw /", "touch /etc/x", "cat \(home)/secrets.key",
            "[ -w /proc/sys/kernel/domainname ]",
        ]
        let commands = attempts.map { "if \($0); then exit 1; fi" } + ["grep CapEff /proc/self/status"]
        let result = try await isolated(["run": .string(commands.joined(separator: "\n"))], home: home, project: project, .auto)
        #expect(result.isolation.description == "bwrap, as root without its capabilities")
        #expect(result.run.error == nil && result.log.contains("CapEff:\t0000000000000000\n"), "\(result.log)")
    }

    @Test("A5: a server of root refuses programs where nobody else can run them", .enabled(if: geteuid() == 0, "it is about root"))
    func rootAlone() async throws {
        let (home, project) = try homeAndProject()
        let result = try await isolated(["run": "id"], home: home, project: project + "/gone", .auto)
        #expect(result.isolation.refusesPrograms && !result.isolation.exposesSecrets)
        #expect(result.run.error?.contains("the server is root and cannot start programs as another user") == true)
        #expect(result.log.isEmpty)
    }
}
