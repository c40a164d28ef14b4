import Contracts

/// A model in memory, checked against its signature and warmed. Immutable; any number of threads may predict at once.
public final class LoadedModel: Sendable {
    public let bundle: ModelBundle
    private let runner: any ModelRunner
    /// The outputs that the model gave when it was tried, by the names and types of the signature where it has them.
    public let outputs: [Signature.Output]
    /// The place of the output that is monitored and joined with labels; nil when none gives a number a row.
    private let primary: Int?
    /// The answer to the bundle's example; nil when it has none.
    public let exampleOutputs: Table?
    let lane: ModelLane
    let joinsRequests: Bool
    /// How long a model may take for each prediction that warms it.
    private static let warmingMax = Duration.seconds(30)

    /// Checks and warms. It blocks: call it away from event loops.
    /// - Parameter isRestart: whether it served before: then a remote model whose server does not answer is loaded all the same, and answers when that does.
    /// - Throws: `contractViolation` when the model does not fit the signature, `failedPrecondition` when it answers its example with something else,
    ///   `deadlineExceeded` for a model that does not answer.
    package init(_ bundle: ModelBundle, _ runner: any ModelRunner, isRestart: Bool = false) throws(KeelError) {
        self.bundle = bundle
        self.runner = runner
        lane = runner.lane
        joinsRequests = runner.joinsRequests
        guard !bundle.signature.inputs.map(\.name).hasRepetition else {
            throw KeelError(.contractViolation, "the signature has two inputs of one name: \(bundle.signature.inputs.map(\.name).joined(separator: ", "))")
        }
        let tried = try LoadedModel.tried(bundle, runner, isRestart: isRestart)
        exampleOutputs = bundle.example == nil ? nil : tried
        let outputs = tried.map { zip($0.names, $0.columns).map { Signature.Output($0, $1.type) } } ?? bundle.signature.outputs
        self.outputs = outputs
        if let name = bundle.signature.primary {
            guard let i = outputs.firstIndex(where: { $0.name == name }) else {
                throw KeelError(
                    .contractViolation, "the model has no output '\(name)', which is said to be its primary one",
                    hint: "its outputs: \(outputs.map(\.name).joined(separator: ", "))")
            }
            primary = i
        } else if bundle.remote?.model.wire == .openAI {
            // Counts of tokens are no scores.
            primary = nil
        } else {
            primary = outputs.firstIndex { LoadedModel.givesScores($0.type) }
        }
    }

    /// Answers every row.
    ///
    /// - Parameters:
    ///   - inputs: the columns of the signature in its order, of its types; null is missing.
    ///   - deadline: when a pooled model is ended. Trees have a bounded cost and take no notice of it.
    /// - Throws: `invalidArgument` for a table of other columns; `deadlineExceeded`; `internal` when the model gives something else than it did when it was
    ///   tried, or a primary output that is not a finite number.
    public func predict(_ inputs: Table, params: JSON = .null, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        let answer = try answer(inputs, params: params, until: deadline)
        if let primary { try LoadedModel.requireFinite(answer.columns[primary]) }
        return answer
    }

    /// As `predict`, for a model whose answer another one takes: what is no finite number may be a missing value to that one.
    func answer(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        guard inputs.rowCount > 0, inputs.columns.count == bundle.signature.inputs.count else {
            throw .invalid("\(inputs.columns.count) columns are not the model's \(bundle.signature.inputs.count) inputs")
        }
        let given = try runner.run(inputs, params: params, until: deadline)
        let answer: Table
        do throws(KeelError) { answer = try LoadedModel.conforming(given, bundle.signature, rows: inputs.rowCount) } catch {
            // That it gives something else than its signature says is no fault of the request.
            throw KeelError(.internal, "the model's answer is not what its signature says: \(error.message)")
        }
        guard outputs.isEmpty || answer.names.count == outputs.count else {
            throw KeelError(.internal, "the model gave \(answer.names.count) outputs, and \(outputs.count) when it was tried")
        }
        return answer
    }

    /// How long each of several models took, since they were loaded; empty for one.
    public var partTimings: [PartTiming] { runner.partTimings }

    /// The model's inputs out of a table that has more columns, as a training set has.
    public func inputs(_ table: Table) throws(KeelError) -> Table {
        var pairs: [(name: String, column: Column)] = []
        for input in bundle.signature.inputs {
            pairs.append((input.name, try table.column(input.name).converted(to: input.type, name: input.name)))
        }
        return try Table(pairs)
    }

    /// The primary output as one number a row, for monitors, labels and metrics: of a tensor of classes the last one, which is the positive class of two.
    /// Nil when the model has no such output.
    public func scores(_ outputs: Table) -> [Float]? {
        guard let primary else { return nil }
        let column = outputs.columns[primary]
        switch column.buffer {
        case .float32(let v): return v
        case .list(let offsets, let values):
            guard let numbers = values.doubles() else { return nil }
            return (0..<column.count).map { offsets[$0 + 1] > offsets[$0] ? Float(numbers[offsets[$0 + 1] - 1]) : .nan }
        default: return column.doubles()?.map { Float($0) }
        }
    }

    /// The name of the primary output; nil when the model has none that gives a number a row.
    public var primaryOutput: String? { primary.map { outputs[$0].name } }

    private static func givesScores(_ type: DataType) -> Bool {
        switch type {
        case .bool: true
        case .tensor(let element, let shape): element.isNumeric && (shape == [1] || shape == [2])
        default: type.isNumeric
        }
    }

    private static func requireFinite(_ column: Column) throws(KeelError) {
        let isFinite: Bool =
            switch column.buffer {
            case .float32(let v): v.allSatisfy(\.isFinite)
            case .float64(let v): v.allSatisfy(\.isFinite)
            case .list(_, let values): values.doubles()?.allSatisfy(\.isFinite) ?? true
            default: true
            }
        guard isFinite, column.nullCount == 0 else { throw KeelError(.internal, "the model gave a score that is not a finite number") }
    }

    /// Gives the outputs the names and types that the signature has for them.
    private static func conforming(_ answer: Table, _ signature: Signature, rows: Int) throws(KeelError) -> Table {
        guard answer.rowCount == rows else { throw KeelError(.internal, "the model gave \(answer.rowCount) rows for \(rows)") }
        let declared = signature.outputs
        guard !declared.isEmpty else { return answer }
        if zip(declared, zip(answer.names, answer.columns)).allSatisfy({ $0.name == $1.0 && $0.type == $1.1.type }), declared.count == answer.names.count {
            return answer
        }
        guard answer.names.count == declared.count else {
            throw KeelError(
                .contractViolation,
                "the model gives the outputs \(answer.names.joined(separator: ", ")), its signature has \(declared.map(\.name).joined(separator: ", "))")
        }
        let isNamed = Set(answer.names) == Set(declared.map(\.name))
        var pairs: [(name: String, column: Column)] = []
        for (i, output) in declared.enumerated() {
            let column = isNamed ? try answer.column(output.name) : answer.columns[i]
            pairs.append((output.name, try column.converted(to: output.type, name: output.name)))
        }
        return try Table(pairs)
    }

    /// As `warm`, for a model on this machine or another.
    private static func tried(_ bundle: ModelBundle, _ runner: any ModelRunner, isRestart: Bool) throws(KeelError) -> Table? {
        guard bundle.asksServers else { return try warm(bundle, runner) }
        do throws(KeelError) { return try warm(bundle, runner) } catch {
            switch error.code {
            case .unavailable, .deadlineExceeded, .badGateway:
                guard isRestart else { throw error }
                return nil
            case .failedPrecondition:
                let name = bundle.remote.map { "'\($0.model.name)' on \($0.model.url): " } ?? ""
                throw KeelError(
                    error.code, name + error.message,
                    hint: "the server has another model now than when it was registered: declare its version, or the name of the new one")
            default: throw error
            }
        }
    }

    /// Predicts a few rows, so that the first caller meets no cold code or memory, and a model that cannot run is refused.
    /// - Returns: nil when it could not be tried: it has no example, and its own code does not take made rows.
    private static func warm(_ bundle: ModelBundle, _ runner: any ModelRunner) throws(KeelError) -> Table? {
        func run(_ inputs: Table) throws(KeelError) -> Table {
            try conforming(try runner.run(inputs, params: .null, until: .now + warmingMax), bundle.signature, rows: inputs.rowCount)
        }
        if let example = bundle.example {
            let answer = try run(example.inputs)
            do throws(KeelError) { try example.compare(answer) } catch {
                if !bundle.asksServers, let again = try? run(example.inputs),
                    (try? ModelExample(inputs: example.inputs, outputs: answer).compare(again)) == nil
                {
                    throw KeelError(
                        .failedPrecondition, "the model answers the same rows of its example differently each time: it draws random numbers",
                        hint: "let it draw them from a fixed seed, or log it with signature= and without input_example=")
                }
                throw error
            }
            return answer
        }
        guard let rows = ModelExample.made(for: bundle.signature) else {
            if bundle.runsCode { return nil }
            throw KeelError(
                .contractViolation, "the model cannot be tried: an input has a free dimension and there is no input example",
                hint: bundle.flavor != .remote ? "log the model with input_example=" : "declare rows in spec.remote.example")
        }
        do throws(KeelError) {
            _ = try run(rows)
            return try run(rows.rows(0..<1))
        } catch {
            // Zeros and ones are not what a pipeline with categories was fitted on: that tells nothing of real rows.
            if bundle.runsCode, error.code == .invalidArgument { return nil }
            throw error
        }
    }
}
