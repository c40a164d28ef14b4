import Contracts
import Foundation
import Pipelines
import Storage
import Testing

@Suite("The user's own programs")
struct ProgramStepTests {
    private func run(_ step: JSON, parameters: JSON = .object([]), folder: String? = nil) async throws -> (run: PipelineRun, folder: String)
    {
        let folder = try folder ?? temporaryFolder()
        let environment = ProgramEnvironment(projectFolder: folder) { caller in
            ProgramAccess(variables: [
                "KEEL_URL": "http://127.0.0.1:7070", "MLFLOW_TRACKING_URI": "http://127.0.0.1:7070", "WHO": caller.name,
            ])
        }
        let service = service(
            try await openDatabase(folder), [ShellStep(environment: environment), PythonStep(environment: environment)], folder)
        var step = step
        step["name"] = "s"
        try service.configure([spec(["parameters": parameters, "steps": [step]])])
        return (try await service.go("p", now: Timestamp(seconds: 0)), folder)
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

    @Test("a program that ends badly says how, with its last lines")
    func badEnd() async throws {
        let shell = try await run([
            "uses": "shell", "with": ["run": "for i in $(seq 100); do echo line $i; done; echo problem >&2; exit 3"],
        ])
        let error = shell.run.error ?? ""
        #expect(error.contains("exit code 3") && error.contains("line 100\n") && error.contains("problem") && !error.contains("line 50\n"))
        let log = String(
            decoding: FileManager.default.contents(atPath: "\(shell.folder)/work/\(shell.run.id)/s/log.txt") ?? Data(), as: UTF8.self)
        #expect(log.hasPrefix("line 1\nline 2\n") && log.hasSuffix("problem\n"))
        #expect(try await run(["uses": "shell", "with": ["run": "kill -9 $$"]]).run.error?.contains("signal 9") == true)
        #expect(try await run(["uses": "shell", "with": ["run": "false; echo on"]]).run.state == .failed)
        #expect(
            try await run(["uses": "shell", "with": ["run": "echo '[1]' > $KEEL_OUTPUT"]]).run.error?.contains("one JSON object") == true)
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

    @Test("a timeout ends a program with all its children, even those that ignore the polite signal")
    func killsChildren() async throws {
        let result = try await run([
            "uses": "shell", "timeout": "1s",
            "with": ["run": "(trap '' TERM; while :; do sleep 1; done) & echo $! > child; sleep 1000 & echo $! > other; sleep 1000"],
        ])
        #expect(result.run.error?.contains("timeout of 1s") == true)
        for file in ["child", "other"] {
            let pid = String(
                decoding: FileManager.default.contents(atPath: "\(result.folder)/work/\(result.run.id)/s/\(file)") ?? Data(), as: UTF8.self)
            #expect(!pid.isEmpty && !isAlive(pid.trimmingCharacters(in: .whitespacesAndNewlines)))
        }
    }

    @Test("children that a finished program leaves behind end with it")
    func leftovers() async throws {
        let result = try await run(["uses": "shell", "with": ["run": "sleep 1000 & echo $! > child"]])
        #expect(result.run.state == .succeeded)
        let pid = String(
            decoding: FileManager.default.contents(atPath: "\(result.folder)/work/\(result.run.id)/s/child") ?? Data(), as: UTF8.self)
        #expect(!isAlive(pid.trimmingCharacters(in: .whitespacesAndNewlines)))
    }
}
