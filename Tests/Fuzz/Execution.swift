import CFuzzCoverage
import Contracts

/// Runs a target's inputs in this process, and knows which of them led to something new.
struct Execution {
    private let target: FuzzTarget
    private var outcomes: Set<UInt64> = []
    /// For each edge a bit for each class of how often it was touched.
    private var edges: [UInt8]

    enum Outcome {
        case accepted(String)
        case refused(String)
        case fault(String)
    }

    init(_ target: FuzzTarget) {
        self.target = target
        edges = [UInt8](repeating: 0, count: Int(keel_coverage_edges()) + 1)
    }

    /// Whether the program was built to know which of its edges a run touches.
    static var seesEdges: Bool { keel_coverage_edges() > 0 }

    static func outcome(of input: [UInt8], _ target: FuzzTarget) -> Outcome {
        do { return .accepted(try target.run(input)) } catch let fault as FuzzFault { return .fault(fault.message) } catch let error
            as KeelError
        {
            // The words for a mistake of Keel's own are never an answer to bytes.
            return error.code == .internal ? .fault("refused as Keel's own mistake: \(error)") : .refused("\(error.code) \(error.message)")
        } catch { return .refused("\(type(of: error))") }
    }

    /// - Returns: the outcome, and whether the input is worth being built upon.
    mutating func run(_ input: [UInt8]) -> (outcome: Outcome, isNew: Bool) {
        keel_coverage_reset()
        let outcome = Execution.outcome(of: input, target)
        var isNew = touchedNew()
        switch outcome {
        case .accepted(let word): isNew = outcomes.insert(Execution.digest(word, isAccepted: true)).inserted || isNew
        case .refused(let message): isNew = outcomes.insert(Execution.digest(message, isAccepted: false)).inserted || isNew
        case .fault: break
        }
        return (outcome, isNew)
    }

    private mutating func touchedNew() -> Bool {
        var isNew = false
        var times: UInt8 = 0
        for i in 0..<keel_coverage_count() {
            let edge = Int(keel_coverage_edge(i, &times))
            let bit = UInt8(1) << UInt8(7 - times.leadingZeroBitCount)
            if edges[edge] & bit == 0 {
                edges[edge] |= bit
                isNew = true
            }
        }
        return isNew
    }

    /// Of a refusal only the first words count: what follows may be of the input.
    private static func digest(_ text: String, isAccepted: Bool) -> UInt64 {
        var hash: UInt64 = isAccepted ? 0xcbf2_9ce4_8422_2325 : 0x1234_5678_9abc_def1
        for byte in text.utf8.prefix(80) {
            let isWord = (97...122).contains(byte) || (65...90).contains(byte) || byte == UInt8(ascii: " ")
            if !isAccepted, !isWord { break }
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        return hash
    }
}
