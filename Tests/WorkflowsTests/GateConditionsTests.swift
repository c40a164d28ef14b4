import Contracts
import Pipelines
import Testing
import Workflows

/// A pipeline that trains, evaluates and stops at a gate with these conditions.
private func pipeline(_ conditions: [JSON], evaluate: JSON = [:], metrics: JSON = "$scores") throws -> PipelineSpec {
    try PipelineSpec(
        resource: Resource(json: [
            "apiVersion": "keel/v1", "kind": "Pipeline", "metadata": ["name": "p"],
            "spec": [
                "steps": [
                    ["name": "model", "uses": "gradient-boosting"], ["name": "scores", "uses": "evaluate", "with": evaluate],
                    ["name": "gate", "uses": "gate", "with": ["metrics": metrics, "require": .array(conditions)]],
                ]
            ],
        ]))
}

@Suite("Conditions of gates")
struct GateConditionsTests {
    @Test("a condition over what the evaluation gives is no mistake")
    func known() throws {
        let conditions: [JSON] = [
            "auc >= 0.75", "logloss < 0.5 AND rows > 100", "calibration < 5%", "auc >= baseline.auc - 0.01", "slices.carrier.auc.min > 0.6",
            "slices.carrier.auc.values.UA > 0.6",
        ]
        let spec = try pipeline(conditions, evaluate: ["slices": ["carrier"], "baseline": "models:/delay@champion"])
        #expect(GateConditions.mistakes(in: spec).isEmpty)
    }

    @Test("a condition that can never hold is named with its place before anything runs")
    func mistakes() throws {
        let spec = try pipeline(["auc >= 0.75", "acu >= 0.75", "auc + 1", "slices.carrier.auc.min > 0.6", "auc > baseline.auc"])
        let found = GateConditions.mistakes(in: spec)
        #expect(found.map(\.path) == (1...4).map { "spec.steps[2].with.require[\($0)]" })
        #expect(found[0].hint?.contains("auc") == true)
        #expect(found[1].message.contains("is not a condition"))
        #expect(found[3].message.contains("names no baseline") && found[3].hint?.contains("baseline:") == true)
    }

    @Test("metrics that the evaluation leaves out are not there for a condition")
    func chosen() throws {
        let found = GateConditions.mistakes(in: try pipeline(["auc > 0.7", "brier < 0.2"], evaluate: ["metrics": ["brier"]]))
        #expect(found.map(\.path) == ["spec.steps[2].with.require[0]"])
    }

    @Test("what depends on a parameter, or on numbers from elsewhere, is left to the run")
    func unknown() throws {
        #expect(GateConditions.mistakes(in: try pipeline(["auc > $least"])).isEmpty)
        #expect(GateConditions.mistakes(in: try pipeline(["f1 > 0.7"], metrics: "$model")).isEmpty)
        #expect(GateConditions.mistakes(in: try pipeline(["f1 > 0.7"], evaluate: ["metrics": ["$which"]])).isEmpty)
        // But it has to be a condition.
        #expect(GateConditions.mistakes(in: try pipeline(["f1 + 1"], metrics: "$model")).count == 1)
    }
}
