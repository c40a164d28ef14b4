import Contracts
import Engines

/// Gradient-boosted trees, evaluated by Keel itself.
struct TreesRunner: ModelRunner {
    private let trees: TreeEnsemble
    private let inputs: [Signature.Input]
    private let output: Signature.Output
    /// Of inputs with categories: text → its number.
    private let positions: [[String: Float]?]
    let lane: ModelLane
    /// Nodes of trees that are visited in a fraction of a millisecond.
    private static let inlineStepsMax = 200_000

    init(_ trees: TreeEnsemble, _ signature: Signature) throws(KeelError) {
        self.trees = trees
        inputs = signature.inputs
        let width = signature.inputs.reduce(0) { $0 + TreesRunner.width($1.type) }
        guard trees.featureCount == width else {
            throw KeelError(
                .contractViolation, "the model takes \(trees.featureCount) features, its signature has \(width) inputs")
        }
        let names = signature.inputs.map(\.name)
        if names.count == width, !trees.featureNames.isEmpty, let i = names.indices.first(where: { trees.featureNames[$0] != names[$0] }) {
            throw KeelError(
                .contractViolation, "the model's feature \(i) is '\(trees.featureNames[i])', its signature says '\(names[i])'")
        }
        guard signature.outputs.count <= 1 else {
            throw KeelError(.contractViolation, "trees give one output, the signature has \(signature.outputs.count)")
        }
        let several = DataType.tensor(.float32, shape: [trees.outputCount])
        output = Signature.Output(signature.outputs.first?.name ?? "score", trees.outputCount == 1 ? .float32 : several)
        positions = inputs.map { input in
            input.categories.map { Dictionary($0.enumerated().map { ($1, Float($0)) }, uniquingKeysWith: { first, _ in first }) }
        }
        lane = .inline(rowsMax: TreesRunner.inlineStepsMax / max(1, trees.stepsPerRow))
    }

    /// A tensor of k numbers is k features.
    private static func width(_ type: DataType) -> Int {
        if case .tensor(_, let shape) = type { shape.reduce(1, *) } else { 1 }
    }

    func run(_ table: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        let width = trees.featureCount
        var failure: KeelError?
        let values = [Float](unsafeUninitializedCapacity: table.rowCount * width) { values, count in
            values.initialize(repeating: .nan)
            count = table.rowCount * width
            var at = 0
            for (j, column) in table.columns.enumerated() {
                do throws(KeelError) {
                    try write(column, j, at: at, of: width, into: UnsafeMutableBufferPointer(rebasing: values[..<count]))
                } catch { failure = failure ?? error }
                at += TreesRunner.width(inputs[j].type)
            }
        }
        if let failure { throw failure }
        let scores = try trees.predict(try FloatMatrix(rowCount: table.rowCount, columnCount: width, values: values))
        let column: Column
        if case .tensor = output.type {
            let offsets = (0...table.rowCount).map { $0 * trees.outputCount }
            column = Column(output.type, .list(offsets: offsets, values: Column(.float32, .float32(scores))))
        } else {
            column = Column(.float32, .float32(scores))
        }
        return try Table([(output.name, column)])
    }

    private func write(
        _ column: Column, _ j: Int, at start: Int, of width: Int, into matrix: UnsafeMutableBufferPointer<Float>
    ) throws(KeelError) {
        let rows = column.count
        switch column.buffer {
        case .bool(let v): for i in 0..<rows { matrix[i * width + start] = v[i] ? 1 : 0 }
        case .int32(let v): for i in 0..<rows { matrix[i * width + start] = Float(v[i]) }
        case .int64(let v): for i in 0..<rows { matrix[i * width + start] = Float(v[i]) }
        case .float32(let v): for i in 0..<rows { matrix[i * width + start] = v[i] }
        case .float64(let v):
            for i in 0..<rows {
                let value = Float(v[i])
                guard !value.isInfinite || !column.isValid(i) else {
                    throw .invalid("\(v[i]) does not fit in '\(inputs[j].name)', which is the model's float32", path: "\(inputs[j].name)[\(i)]")
                }
                matrix[i * width + start] = value
            }
        case .text(let v):
            guard let positions = positions[j] else {
                throw KeelError(.contractViolation, "'\(inputs[j].name)' is a text without categories", path: inputs[j].name)
            }
            for i in 0..<rows { matrix[i * width + start] = positions[v[i]] ?? .nan }
        case .list(let offsets, let values):
            guard let numbers = values.doubles() else {
                throw KeelError(.contractViolation, "'\(inputs[j].name)' is no tensor of numbers", path: inputs[j].name)
            }
            let size = TreesRunner.width(inputs[j].type)
            for i in 0..<rows where offsets[i + 1] - offsets[i] == size {
                for k in 0..<size { matrix[i * width + start + k] = Float(numbers[offsets[i] + k]) }
            }
            return
        }
        // What a missing value has in its place is no value of the caller's.
        if let validity = column.validity { for i in 0..<rows where !validity[i] { matrix[i * width + start] = .nan } }
    }
}
