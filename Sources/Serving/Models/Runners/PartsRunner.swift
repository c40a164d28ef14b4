import Atomics
import Contracts

/// Several models that answer one after another: each takes what the ones before it gave.
final class PartsRunner: ModelRunner {
    private struct Part: Sendable {
        let name: String
        let model: LoadedModel
        let runs = ManagedAtomic<Int>(0)
        let nanoseconds = ManagedAtomic<Int>(0)
    }

    private let parts: [Part]
    let lane: ModelLane
    let joinsRequests: Bool

    /// - Throws: `contractViolation` when a model takes a column that none before it gives.
    init(_ models: [(name: String, model: LoadedModel)]) throws(KeelError) {
        parts = models.map { Part(name: $0.name, model: $0.model) }
        joinsRequests = models.allSatisfy(\.model.joinsRequests)
        var threads = 0
        var rowsMax = Int.max
        for (_, model) in models {
            switch model.lane {
            case .inline(let rows): rowsMax = min(rowsMax, rows)
            case .pooled(let count): threads = max(threads, count)
            }
        }
        lane = threads > 0 ? .pooled(threads: threads) : .inline(rowsMax: max(1, rowsMax / max(1, models.count)))
        try PartsRunner.check(models)
    }

    private static func check(_ models: [(name: String, model: LoadedModel)]) throws(KeelError) {
        var known = models.first?.model.bundle.signature.inputs.map(\.name) ?? []
        for (i, (name, model)) in models.enumerated() {
            let previous = i > 0 ? models[i - 1].model.outputs.map(\.name) : known
            let inputs = model.bundle.signature.inputs
            let isByPlace = inputs.count == 1 && previous.count == 1
            // A model that nobody could try says what it gives when it is asked.
            if i > 0, previous.isEmpty { return }
            if !isByPlace, let missing = inputs.first(where: { !known.contains($0.name) && !$0.isOptional }) {
                throw KeelError(
                    .contractViolation, "\(name) takes '\(missing.name)', which no model before it gives",
                    hint: nearest(missing.name, in: known).map { "did you mean '\($0)'?" } ?? "there are \(known.joined(separator: ", "))")
            }
            known += model.outputs.map(\.name)
        }
    }

    var partTimings: [PartTiming] {
        parts.map {
            PartTiming(name: $0.name, runs: $0.runs.load(ordering: .relaxed), nanoseconds: $0.nanoseconds.load(ordering: .relaxed))
        }
    }

    func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        var known = inputs
        var answer = inputs
        for (i, part) in parts.enumerated() {
            let start = Tick.now
            do throws(KeelError) {
                answer = try part.model.answer(
                    try PartsRunner.columns(of: part.model.bundle.signature, previous: answer, known), params: PartsRunner.params(of: part.model, params),
                    until: deadline)
            } catch {
                // Columns behind the first model are none of the caller's.
                let path = i == 0 ? error.path : nil
                throw KeelError(error.code, "model \(i + 1) of \(parts.count), \(part.name): \(error.message)", hint: error.hint, path: path)
            }
            part.runs.wrappingIncrement(ordering: .relaxed)
            part.nanoseconds.wrappingIncrement(by: Tick.now - start, ordering: .relaxed)
            for (name, column) in zip(answer.names, answer.columns) { known = try known.with(name, column) }
        }
        return answer
    }

    /// What the model before it gave, by name; a model with one input takes the one output of that model, whatever its name is. What that model did not give
    /// comes from an earlier one, or from the request.
    private static func columns(of signature: Signature, previous: Table, _ known: Table) throws(KeelError) -> Table {
        var pairs: [(name: String, column: Column)] = []
        for input in signature.inputs {
            let isByPlace = signature.inputs.count == 1 && previous.columns.count == 1
            if let column = previous[input.name] ?? (isByPlace ? previous.columns[0] : known[input.name]) {
                pairs.append((input.name, try column.converted(to: input.type, name: input.name)))
            } else if input.isOptional {
                pairs.append((input.name, try Column(input.type, values: Array(repeating: .null, count: known.rowCount))))
            } else {
                throw KeelError(.contractViolation, "it takes '\(input.name)', which no model before it gave")
            }
        }
        return try Table(pairs)
    }

    private static func params(of model: LoadedModel, _ given: JSON) -> JSON {
        let own = model.bundle.signature.params
        guard !own.isEmpty, !given.isNull else { return .null }
        return .object(own.map { JSON.Member($0.name, given[$0.name] ?? JSON($0.standard)) })
    }
}
