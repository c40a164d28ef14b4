import Contracts
import Expressions
import Pipelines

/// What can be said of a pipeline's gates before it runs: whether each condition is one, and names numbers that its evaluation will give.
public enum GateConditions {
    private static let metrics = ["auc", "logloss", "brier", "calibration", "accuracy"]

    /// Every condition that can never hold, with its field below the pipeline.
    public static func mistakes(in pipeline: PipelineSpec) -> [KeelError] {
        var errors: [KeelError] = []
        for (i, step) in pipeline.steps.enumerated() where step.uses == "gate" {
            let evaluation = evaluation(of: step, in: pipeline)
            for (j, item) in (step.with["require"]?.array ?? []).enumerated() {
                // What refers to a parameter, or cannot be parsed, is checked elsewhere.
                guard let text = item.string, !text.contains("$"), let condition = try? Expression(parsing: text) else { continue }
                do throws(KeelError) { try check(condition, evaluation) } catch {
                    let path = "spec.steps[\(i)].with.require[\(j)]"
                    errors.append(KeelError(error.code, error.message, hint: error.hint, path: path))
                }
            }
        }
        return errors
    }

    /// The `evaluate` step whose whole output the gate takes; nil when its numbers come from elsewhere, or depend on parameters.
    private static func evaluation(of gate: PipelineSpec.Step, in pipeline: PipelineSpec) -> PipelineSpec.Step? {
        guard let reference = gate.with["metrics"]?.string,
            let step = pipeline.steps.first(where: { "$" + $0.name == reference }), step.uses == "evaluate"
        else { return nil }
        for field in ["metrics", "slices"] {
            guard let value = step.with[field] else { continue }
            guard let items = value.array, items.allSatisfy({ $0.string.map { !$0.contains("$") } == true }) else { return nil }
        }
        return step
    }

    private static func check(_ condition: Expression, _ evaluation: PipelineSpec.Step?) throws(KeelError) {
        var numbers: [String: Double?] = [:]
        guard let evaluation else {
            for name in condition.identifiers { numbers[name] = 0.5 }
            _ = try condition.holds(numbers)
            return
        }
        let metrics = evaluation.with["metrics"]?.array?.compactMap(\.string) ?? GateConditions.metrics
        let slices = evaluation.with["slices"]?.array?.compactMap(\.string) ?? []
        for name in metrics + ["rows"] { numbers[name] = 0.5 }
        for slice in slices {
            for end in ["min", "max"] { numbers["slices.\(slice).auc.\(end)"] = 0.5 }
            // Values of a slice are known when it is measured.
            for name in condition.identifiers where name.hasPrefix("slices.\(slice).auc.values.") { numbers[name] = 0.5 }
        }
        if evaluation.with["baseline"] != nil {
            for name in metrics { numbers["baseline.\(name)"] = 0.5 }
        } else if let name = condition.identifiers.first(where: { $0.hasPrefix("baseline.") }) {
            throw .invalid(
                "'\(name)': the step '\(evaluation.name)' names no baseline",
                hint: "add baseline: models:/NAME@champion to it, or leave the condition out")
        }
        _ = try condition.holds(numbers)
    }
}
