import Contracts
import Expressions
import Pipelines
import Registry

/// `gate`: conditions over the numbers of an evaluation. One that does not hold fails the run, and with it everything behind the gate.
///
/// The verdict is evidence about the bundle that was judged; the step's output only refers to it. The numbers are read from the evaluation's evidence,
/// not from what stands in `with`. Numbers that a program measured need `model`, and the evidence says where they are from.
struct GateStep: StepKind {
    let name = "gate"
    let version = 2
    /// A verdict is of one run: `register` takes no other.
    let cachedByDefault = false
    let registry: RegistryService

    private struct Spec {
        var metrics: JSON
        var model: JSON?
        var conditions: [(text: String, expression: Expression)] = []
        /// False records the verdict and lets the run go on: what is released then has to be forced by someone who may.
        var enforce: Bool
        /// Whether conditions on a baseline hold while the model has never had one. One that was taken away, or cannot be compared with, always fails.
        var passesFirstModel: Bool

        init(_ with: JSON) throws(KeelError) {
            let reader = try FieldReader(with, path: "with")
            metrics = try reader.required("metrics")
            model = reader.optional("model")
            let flag = reader.optional("enforce")
            enforce = flag?.bool ?? true
            let word = try reader.optionalString("firstModel") ?? "fail"
            guard ["pass", "fail"].contains(word) || word.hasPrefix("$") else {
                throw reader.failure(
                    "firstModel", "'\(word.prefix(60))' is not pass or fail",
                    hint: "pass: conditions on the baseline hold while the model has never had one")
            }
            passesFirstModel = word == "pass"
            for (i, text) in (try reader.strings("require") ?? []).enumerated() {
                do throws(KeelError) { conditions.append((text, try Expression(parsing: text))) } catch {
                    throw error.at("with.require[\(i)]")
                }
            }
            try reader.finish()
            guard !conditions.isEmpty else { throw reader.failure("require", "a gate needs at least one condition") }
        }
    }

    /// What is judged, and by which numbers.
    private struct Case {
        var subject: Digest
        var metrics: JSON
        /// The evaluation's evidence; nil for numbers of a program.
        var evaluation: Evidence?
    }

    func validate(_ with: JSON) throws(KeelError) { _ = try Spec(with) }

    func outputNames(of with: JSON) -> [String]? { ["passed", "checks", "failures", "evidence"] }

    func run(_ context: StepContext) async throws -> JSON {
        let spec = try Spec(context.with)
        let grant = try Grant.check(context.caller, may: .pipelinesRun, on: "Pipeline/\(context.pipeline)")
        let judged = try await self.judged(spec, grant)
        let (checks, failures) = try Self.check(judged, spec, log: context.log)
        let evidence = try await registry.recordVerdict(
            on: judged.subject, failures: failures,
            [
                "evaluation": judged.evaluation.map { .string($0.id) } ?? .null,
                "measured_by": .string(judged.evaluation == nil ? "a step of the pipeline" : "keel"), "checks": .array(checks),
            ], by: StepOrigin(run: context.runID, step: context.step), grant)
        guard failures.isEmpty || !spec.enforce else {
            throw KeelError(
                .failedPrecondition, "the gate refuses this model: " + failures.joined(separator: "; "),
                hint: "nothing was registered or released")
        }
        return [
            "passed": .bool(failures.isEmpty), "checks": .array(checks), "failures": .array(failures.map(JSON.string)),
            "evidence": .string(evidence.id),
        ]
    }

    private func judged(_ spec: Spec, _ grant: Grant) async throws -> Case {
        let named = try spec.model.map { model throws(KeelError) in try ModelOutput(model, path: "with.model").bundle }
        guard let id = spec.metrics["evidence"]?.string else {
            guard let named else {
                throw KeelError.invalid(
                    "these numbers are not of an evaluation of Keel's",
                    hint: "reference an evaluate step, or say with `model` what they measure",
                    path: "with.metrics")
            }
            return Case(subject: named, metrics: spec.metrics)
        }
        let evaluation = try await registry.evidence(id, .evaluation, grant)
        guard named == nil || named == evaluation.subject else {
            throw KeelError.invalid("the evaluation is of another model", path: "with.model")
        }
        return Case(subject: evaluation.subject, metrics: evaluation.data["metrics"] ?? [:], evaluation: evaluation)
    }

    /// Each condition with what was seen, and those that do not hold.
    private static func check(
        _ judged: Case, _ spec: Spec, log: (String) -> Void
    ) throws -> (checks: [JSON], failures: [String]) {
        let numbers = numbers(judged.metrics)
        var checks: [JSON] = []
        var failures: [String] = []
        for (text, expression) in spec.conditions {
            var holds = false
            var seen: String
            if judged.metrics["baseline"] == nil, expression.identifiers.contains(where: { $0.hasPrefix("baseline.") }) {
                let missing = judged.evaluation?.data["baseline"]?["missing"]?.string
                let isFirst = judged.evaluation?.data["baseline"]?["first"] == .bool(true)
                holds = isFirst && spec.passesFirstModel
                seen = missing ?? "there is no baseline"
                if isFirst, !holds { seen += "; firstModel: pass lets the first model of a name through" }
            } else {
                holds = try expression.evaluate(numbers: numbers) == .bool(true)
                seen = expression.identifiers.map {
                    "\($0) = \(numbers[$0].flatMap { $0 }.map { "\(($0 * 10_000).rounded() / 10_000)" } ?? "unknown")"
                }.joined(separator: ", ")
            }
            checks.append(["condition": .string(text), "result": .string(holds ? "holds" : "fails"), "values": .string(seen)])
            if !holds { failures.append("\(text) (\(seen))") }
            log("\(holds ? "holds" : "FAILS"): \(text) (\(seen))")
        }
        return (checks, failures)
    }

    /// Every number of a nested object under its dotted name.
    static func numbers(_ json: JSON, prefix: String = "") -> [String: Double?] {
        var out: [String: Double?] = [:]
        for member in json.members ?? [] {
            let name = prefix + member.key
            switch member.value {
            case .object: out.merge(numbers(member.value, prefix: name + ".")) { $1 }
            case .null: out[name] = .some(nil)
            default: if let number = member.value.number { out[name] = number }
            }
        }
        return out
    }
}

/// What a training step's output says of a model: `{bundle, …}`.
struct ModelOutput {
    let bundle: Digest

    init(_ json: JSON, path: String) throws(KeelError) {
        guard let digest = json["bundle"]?.string.flatMap(Digest.init(hex:)) else {
            throw .invalid("is not a model", hint: "reference an output such as $train.model", path: path)
        }
        bundle = digest
    }
}
