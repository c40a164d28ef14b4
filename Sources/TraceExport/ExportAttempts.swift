/// What is done with a batch after an attempt to send it: OTLP's rules for HTTP, without I/O.
package struct ExportAttempts {
    package enum Outcome: Sendable {
        case answered(status: Int, retryAfterSeconds: Int?)
        case unreachable(String)
    }

    package enum Action: Hashable {
        case taken
        case retry(after: Duration)
        case giveUp(String)
    }

    private var failures = 0
    private let attemptsMax: Int
    private static let waitMax = 30

    package init(attemptsMax: Int = 4) { self.attemptsMax = attemptsMax }

    /// - Parameter spread: 0…1, by chance: exporters that failed together do not come back together.
    package mutating func next(_ outcome: Outcome, spread: Double) -> Action {
        let problem: String
        var seconds = Double(1 << failures) * (0.5 + spread)
        switch outcome {
        case .answered(200..<300, _): return .taken
        case .answered(let status, let asked) where [429, 502, 503, 504].contains(status):
            problem = "the collector answered \(status)"
            if let asked { seconds = max(seconds, Double(min(asked, ExportAttempts.waitMax))) }
        // Another answer would be the same again.
        case .answered(let status, _): return .giveUp("the collector answered \(status)")
        case .unreachable(let message): problem = message
        }
        failures += 1
        return failures < attemptsMax ? .retry(after: .seconds(seconds)) : .giveUp(problem)
    }
}
