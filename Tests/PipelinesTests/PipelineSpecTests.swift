import Contracts
import Pipelines
import Workers
import Testing

@Suite("Pipelines as declared")
struct PipelineSpecTests {
    private let kinds: [String: any StepKind] = ["test": TestKind(), "gradient-boosting": TestKind("gradient-boosting")]

    private func refusal(_ json: JSON) -> KeelError? {
        #expect(throws: KeelError.self) { try spec(json).validated(kinds: kinds) }
    }

    @Test("dependencies follow from references and needs")
    func dependencies() throws {
        let valid = try spec([
            "parameters": ["trees": 150],
            "steps": [
                ["name": "examples", "uses": "test"], ["name": "check", "uses": "test"],
                [
                    "name": "train", "uses": "gradient-boosting",
                    "with": ["data": "$examples", "also": ["${examples.holdout}s of $trees, $$5"]], "needs": "check",
                ],
            ],
        ]).validated(kinds: kinds)
        #expect(valid.steps[2].dependencies == ["check", "examples"])
    }

    @Test("a cycle is named in the order in which its steps wait")
    func cycles() {
        let error = refusal([
            "steps": [
                ["name": "z", "uses": "test", "with": ["x": "$a"]], ["name": "a", "uses": "test", "with": ["x": "$b.y"]],
                ["name": "b", "uses": "test", "needs": ["c"]], ["name": "c", "uses": "test", "with": ["x": "from $a"]],
            ]
        ])
        #expect(error?.message.contains("a → b → c → a") == true)
        #expect(refusal(["steps": [["name": "a", "uses": "test", "needs": "a"]]])?.message.contains("a → a") == true)
    }

    @Test("a chain of ten thousand steps is no deep recursion")
    func longChain() throws {
        let steps = (0..<10_000).map { i -> JSON in
            i < 9999 ? ["name": .string("s\(i)"), "uses": "test", "needs": .string("s\(i + 1)")] : ["name": "s9999", "uses": "test"]
        }
        _ = try spec(["steps": .array(steps)]).validated(kinds: kinds)
    }

    @Test("every mistake is named with its place and the nearest known name")
    func mistakes() {
        let cases: [(JSON, path: String, hint: String)] = [
            (["steps": [["name": "a", "uses": "gradient-bosting"]]], "spec.steps[0].uses", "did you mean 'gradient-boosting'?"),
            (
                ["parameters": ["trees": 1], "steps": [["name": "a", "uses": "test", "with": ["n": ["$tree"]]]]], "spec.steps[0].with.n[0]",
                "did you mean '$trees'?"
            ),
            (
                ["steps": [["name": "train", "uses": "test"], ["name": "b", "uses": "test", "needs": ["trian"]]]], "spec.steps[1].needs[0]",
                "did you mean 'train'?"
            ),
            (["steps": [["name": "a", "uses": "test"], ["name": "a", "uses": "test"]]], "spec.steps[1].name", "the first is steps[0]"),
            (["steps": [["name": "a", "uses": "test", "retrys": 3]]], "spec.steps[0].retrys", "did you mean 'retries'?"),
            (["steps": [["name": "a", "uses": "test"]], "parametres": [:]], "spec.parametres", "did you mean 'parameters'?"),
            (["steps": [["name": "a", "uses": "test", "with": ["bad": 1]]]], "spec.steps[0].with.bad", ""),
            (["parameters": ["now": 1], "steps": [["name": "a", "uses": "test"]]], "spec.parameters.now", ""),
            (["parameters": ["a": 1], "steps": [["name": "a", "uses": "test"]]], "spec.steps[0].name", ""),
            (["steps": [["name": "a.b", "uses": "test"]]], "spec.steps[0].name", ""),
            (["steps": [["name": "a", "uses": "test", "timeout": "soon"]]], "spec.steps[0].timeout", ""),
            (["steps": [["name": "a", "uses": "test", "retries": -1]]], "spec.steps[0].retries", ""),
            (["steps": []], "spec.steps", ""),
        ]
        for (json, path, hint) in cases {
            let error = refusal(json)
            #expect(error?.path == path)
            if !hint.isEmpty { #expect(error?.hint == hint) }
        }
    }

    @Test("every wrong step is named")
    func everyStep() {
        let json: JSON = ["steps": [["name": "a", "uses": "none"], ["name": "b", "uses": "none", "with": ["x": "$z"]]]]
        let error = #expect(throws: KeelError.self) { try spec(json).validated(kinds: [:]) }
        #expect(error?.all.map(\.path) == ["spec.steps[0].uses", "spec.steps[1].uses"])
    }

    @Test("a reference to an output that its step never has is found before a run")
    func unknownOutputs() async throws {
        let folder = try temporaryFolder()
        let known = TestKind("known", outputs: ["model", "candidate"])
        let pipelines = service(try await openDatabase(folder), [known, TestKind()], folder)
        let wrong = try spec([
            "steps": [
                ["name": "train", "uses": "known"], ["name": "free", "uses": "test"],
                [
                    "name": "use", "uses": "test",
                    "with": ["a": "$train.model.bundle", "b": ["$train.modle"], "c": "$free.anything", "d": "$train"],
                ],
                ["name": "last", "uses": "test", "with": ["e": "of ${train.score}s, $$train.score"]],
            ]
        ])
        let errors = pipelines.unknownOutputs(in: wrong)
        #expect(errors.map(\.path) == ["spec.steps[2].with.b[0]", "spec.steps[3].with.e"])
        #expect(errors.first?.message == "$train has no output 'modle'" && errors.first?.hint == "did you mean 'model'?")
        #expect(errors.last?.hint == "its outputs: model, candidate")
        // One that was applied to an earlier version of Keel goes on: only what is new or changed is asked for them.
        try pipelines.configure([wrong])
    }

    @Test("a reference in program text is refused with the way to pass the value")
    func programText() {
        let shell = ShellStep(
            environment: ProgramEnvironment(
                projectFolder: "/", isolation: IsolationChoice { .none }, connection: { _, _ in ProgramAccess(variables: [:]) }))
        let json: JSON = ["parameters": ["trees": 1], "steps": [["name": "a", "uses": "shell", "with": ["run": "echo $trees $HOME"]]]]
        let error = #expect(throws: KeelError.self) { try spec(json).validated(kinds: ["shell": shell]) }
        #expect(error?.hint == "add  env: { trees: $trees }")
    }

    @Test("triggers say what is wrong with a condition")
    func triggers() throws {
        let good = try TriggerSpec(
            resource: Resource(
                kind: "Trigger", name: "t",
                spec: [
                    "when": ["monitor/delay fires", "schedule 0 4 1 * *", "dataset/flights snapshot"], "run": "p", "with": ["until": "now"],
                    "cooldown": "14d",
                ]))
        #expect(good.when.map(\.description) == ["monitor/delay fires", "schedule 0 4 1 * *", "dataset/flights snapshot"])
        for bad in [
            "monitor/delay", "monitor/../x fires", "schedule 0 4 1 *", "schedule 61 * * * *", "schedule 0 0 30 2 *", "full moon", "",
        ] {
            let error = #expect(throws: KeelError.self) {
                try TriggerSpec(resource: Resource(kind: "Trigger", name: "t", spec: ["when": [.string(bad)], "run": "p"]))
            }
            #expect(error?.path?.hasPrefix("spec.when[0]") == true)
        }
    }
}
