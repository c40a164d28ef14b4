import Contracts
import Pipelines

/// `gate`: conditions over the numbers of an evaluation. One that does not hold fails the run, and with it everything behind the gate.
struct GateStep: StepKind {
    let name = "gate"
    let version = 1

    private struct Spec {
        var metrics: JSON
        var conditions: [(text: String, expression: Expression)] = []
        /// False records the verdict and lets the run go on: what is released then has to be forced by someone who may.
        var enforce: Bool

        init(_ with: JSON) throws(KeelError) {
            let reader = try FieldReader(with, path: "with")
            metrics = try reader.required("metrics")
            let flag = reader.optional("enforce")
            enforce = flag?.bool ?? true
            for (i, text) in (try reader.strings("require") ?? []).enumerated() {
                do throws(KeelError) { conditions.append((text, try Expression(parsing: text))) } catch {
                    throw error.at("with.require[\(i)]")
                }
            }
            try reader.finish()
            guard !conditions.isEmpty else { throw reader.failure("require", "a gate needs at least one condition") }
        }
    }

    func validate(_ with: JSON) throws(KeelError) { _ = try Spec(with) }

    func run(_ context: StepContext) async throws -> JSON {
        let spec = try Spec(context.with)
        let numbers = Self.numbers(spec.metrics)
        var (checks, failures): ([JSON], [String]) = ([], [])
        for (text, expression) in spec.conditions {
            // Without a baseline there is nothing to be worse than: the first model of a name passes such a condition.
            if expression.identifiers.contains(where: { $0.hasPrefix("baseline.") }), spec.metrics["baseline"] == nil {
                checks.append(["condition": .string(text), "result": "no baseline"])
                continue
            }
            let holds = try expression.evaluate(numbers: numbers) == .bool(true)
            let seen = expression.identifiers.map {
                "\($0) = \(numbers[$0].flatMap { $0 }.map { "\(($0 * 10_000).rounded() / 10_000)" } ?? "unknown")"
            }.joined(separator: ", ")
            checks.append(["condition": .string(text), "result": .string(holds ? "holds" : "fails"), "values": .string(seen)])
            if !holds { failures.append("\(text) (\(seen))") }
            context.log("\(holds ? "holds" : "FAILS"): \(text) (\(seen))")
        }
        guard failures.isEmpty || !spec.enforce else {
            throw KeelError(
                .failedPrecondition, "the gate refuses this model: " + failures.joined(separator: "; "),
                hint: "nothing was registered or released")
        }
        return ["passed": .bool(failures.isEmpty), "checks": .array(checks), "failures": .array(failures.map(JSON.string))]
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
