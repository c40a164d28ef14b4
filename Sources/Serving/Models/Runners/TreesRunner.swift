import Contracts
import Engines

/// Gradient-boosted trees, evaluated by Keel itself.
struct TreesRunner: ModelRunner {
    private let trees: TreeEnsemble
    private let inputs: [Signature.Input]
    /// Where each input begins among the model's features.
    private let starts: [Int]
    private let name: String
    /// Whether the answer is the number of the most likely class in place of its chance.
    private let answersLabels: Bool
    /// Of inputs with categories: text → its number.
    private let positions: [[String: Double]?]
    let lane: ModelLane
    /// Nodes of trees that are visited in a fraction of a millisecond.
    private static let inlineStepsMax = 200_000

    /// - Throws: `contractViolation` when the features are not those of the signature.
    init(_ trees: TreeEnsemble, _ signature: Signature, answersLabels: Bool) throws(KeelError) {
        self.trees = trees
        self.answersLabels = answersLabels && trees.output == .probability
        inputs = signature.inputs
        var starts: [Int] = []
        var width = 0
        for input in signature.inputs {
            starts.append(width)
            width += TreesRunner.width(input.type)
        }
        self.starts = starts
        guard trees.featureCount == width else {
            throw KeelError(
                .contractViolation, "the model takes \(trees.featureCount) features, its signature has \(width) inputs")
        }
        let names = signature.inputs.map(\.name)
        // LightGBM writes underscores for what its files cannot hold in a name.
        func isSame(_ a: String, _ b: String) -> Bool { a == b || trees.library == .lightgbm && a.utf8.count == b.utf8.count }
        if names.count == width, !trees.featureNames.isEmpty, let i = names.indices.first(where: { !isSame(trees.featureNames[$0], names[$0]) }) {
            throw KeelError(
                .contractViolation, "the model's feature \(i) is '\(trees.featureNames[i])', its signature says '\(names[i])'")
        }
        guard signature.outputs.count <= 1 else {
            throw KeelError(.contractViolation, "trees give one output, the signature has \(signature.outputs.count)")
        }
        name = signature.outputs.first?.name ?? "score"
        positions = inputs.map { input in
            input.categories.map { Dictionary($0.enumerated().map { ($1, Double($0)) }, uniquingKeysWith: { first, _ in first }) }
        }
        lane = .inline(rowsMax: TreesRunner.inlineStepsMax / max(1, trees.stepsPerRow))
    }

    /// A tensor of k numbers is k features. No model has as many as a shape may say, and what is free has no number.
    private static func width(_ type: DataType) -> Int {
        if case .tensor(_, let shape) = type { min(DataType.valueCount(of: shape) ?? .max, Int(Int32.max)) } else { 1 }
    }

    func run(_ table: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        let rows = table.rowCount
        switch trees.library {
        case .xgboost:
            var scores = [Float](repeating: 0, count: rows * trees.outputCount)
            let values: [Float] = try matrix(table)
            try Self.predict(values, into: &scores) { (rows, output) throws(KeelError) in try trees.predict(rows, into: output) }
            return try answer(scores, rows, .float32) { .float32($0) }
        case .lightgbm:
            var scores = [Double](repeating: 0, count: rows * trees.outputCount)
            let values: [Double] = try matrix(table)
            try Self.predict(values, into: &scores) { (rows, output) throws(KeelError) in try trees.predict(rows, into: output) }
            return try answer(scores, rows, .float64) { .float64($0) }
        }
    }

    private static func predict<Number>(
        _ values: [Number], into scores: inout [Number],
        _ body: (UnsafeBufferPointer<Number>, UnsafeMutableBufferPointer<Number>) throws(KeelError) -> Void
    ) throws(KeelError) {
        let result: Result<Void, KeelError> = values.withUnsafeBufferPointer { values in
            scores.withUnsafeMutableBufferPointer { scores in
                do throws(KeelError) { return .success(try body(values, scores)) } catch { return .failure(error) }
            }
        }
        try result.get()
    }

    private func answer<Number: BinaryFloatingPoint>(
        _ scores: [Number], _ rows: Int, _ type: DataType, _ buffer: ([Number]) -> Column.Buffer
    ) throws(KeelError) -> Table {
        let count = trees.outputCount
        let column: Column
        if answersLabels {
            column = Column(.int64, .int64((0..<rows).map { TreesRunner.label(scores[$0 * count..<($0 + 1) * count]) }))
        } else if count == 1 {
            column = Column(type, buffer(scores))
        } else {
            column = Column(
                .tensor(type, shape: [count]), .list(offsets: (0...rows).map { $0 * count }, values: Column(type, buffer(scores))))
        }
        return try Table([(name, column)])
    }

    /// The most likely class: of two the second when its chance is above one half.
    private static func label<Number: BinaryFloatingPoint>(_ chances: ArraySlice<Number>) -> Int64 {
        guard chances.count > 1, let most = chances.max(), let place = chances.firstIndex(of: most) else {
            return chances.first.map { $0 > 0.5 ? 1 : 0 } ?? 0
        }
        return Int64(place - chances.startIndex)
    }

    /// The rows of the model's features, one after another; NaN is missing.
    private func matrix<Number: BinaryFloatingPoint>(_ table: Table) throws(KeelError) -> [Number] {
        let width = trees.featureCount
        let size = table.rowCount * width
        var failure: KeelError?
        let values = [Number](unsafeUninitializedCapacity: size) { values, count in
            values.initialize(repeating: .nan)
            count = size
            do throws(KeelError) {
                for (j, column) in table.columns.enumerated() {
                    try write(column, j, of: width, into: UnsafeMutableBufferPointer(rebasing: values[..<size]))
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
        return values
    }

    private func write<Number: BinaryFloatingPoint>(
        _ column: Column, _ j: Int, of width: Int, into matrix: UnsafeMutableBufferPointer<Number>
    ) throws(KeelError) {
        let rows = column.count
        let start = starts[j]
        switch column.buffer {
        case .bool(let v): for i in 0..<rows { matrix[i * width + start] = v[i] ? 1 : 0 }
        case .int32(let v): for i in 0..<rows { matrix[i * width + start] = Number(v[i]) }
        case .int64(let v): for i in 0..<rows { matrix[i * width + start] = Number(v[i]) }
        case .float32(let v): for i in 0..<rows { matrix[i * width + start] = Number(v[i]) }
        case .float64(let v):
            for i in 0..<rows {
                let value = Number(v[i])
                guard !value.isInfinite || !column.isValid(i) else {
                    throw .invalid("\(v[i]) does not fit in '\(inputs[j].name)', which is the model's float32", path: "\(inputs[j].name)[\(i)]")
                }
                matrix[i * width + start] = value
            }
        case .text(let v):
            guard let positions = positions[j] else {
                throw KeelError(.contractViolation, "'\(inputs[j].name)' is a text without categories", path: inputs[j].name)
            }
            for i in 0..<rows { matrix[i * width + start] = positions[v[i]].map { Number($0) } ?? .nan }
        case .list(let offsets, let values):
            guard let numbers = values.doubles() else {
                throw KeelError(.contractViolation, "'\(inputs[j].name)' is no tensor of numbers", path: inputs[j].name)
            }
            let size = TreesRunner.width(inputs[j].type)
            for i in 0..<rows where offsets[i + 1] - offsets[i] == size {
                for k in 0..<size { matrix[i * width + start + k] = Number(numbers[offsets[i] + k]) }
            }
            return
        }
        // What a missing value has in its place is no value of the caller's.
        if let validity = column.validity { for i in 0..<rows where !validity[i] { matrix[i * width + start] = .nan } }
    }
}
