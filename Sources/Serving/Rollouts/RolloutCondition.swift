import Contracts
import Expressions

/// A condition over the numbers of a rollout, such as `logloss > incumbent.logloss * 1.05`. A number without enough evidence is null, and a
/// condition that is null is not breached.
public struct RolloutCondition: Sendable, Hashable {
    public let text: String
    /// The numbers it reads, as `RolloutEvidence.names` has them.
    public let names: [String]
    private let expression: TypedExpression

    /// - Throws: `invalidArgument` for a text that does not parse, reads an unknown number or is not a condition.
    public init(_ text: String) throws(KeelError) {
        let known = RolloutEvidence.names
        expression = try Expression(parsing: text).typed(known: known) { known.contains($0) ? .float64 : nil }
        guard expression.type == .bool else {
            throw .invalid("'\(text)' is not a condition", hint: "compare numbers, as in \"errors > 1%\"")
        }
        self.text = text
        names = expression.columns
    }

    /// Whether it is true of these numbers.
    public func isBreached(by numbers: [String: Double]) -> Bool {
        expression.evaluate { numbers[names[$0]].map(Value.double) ?? .null } == .bool(true)
    }

    public static func == (a: RolloutCondition, b: RolloutCondition) -> Bool { a.text == b.text }
    public func hash(into hasher: inout Hasher) { hasher.combine(text) }
}
