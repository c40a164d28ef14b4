import Contracts
import Engines
import Foundation
import TestSupport
import Testing

/// A column of tensors: elements of all rows, one after another.
func tensors(_ type: DataType, _ shape: [Int], _ elements: Column.Buffer) -> Column {
    let size = shape.reduce(1, *)
    let offsets = size == 0 ? [0, 0] : (0...elements.count / size).map { $0 * size }
    return Column(.tensor(type, shape: shape), .list(offsets: offsets, values: Column(type, elements)))
}

func floats(_ values: [Float]) -> Column { Column(.float32, .float32(values)) }

/// Elements of a column of float32, or of tensors of it.
func floats(in column: Column?) -> [Float] {
    switch column?.buffer {
    case .float32(let values): values
    case .list(_, let values): floats(in: values)
    default: []
    }
}

func isNear(_ a: [Float], _ b: [Float]) -> Bool { a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-6 } }

/// The error of a run that must fail.
func failure(_ model: ONNXModel, _ columns: [(name: String, column: Column)], wanted: [String]? = nil) throws -> KeelError {
    let table = try Table(columns)
    let error = #expect(throws: KeelError.self) { try model.run(table, wanted: wanted, until: soon) }
    return try #require(error)
}

/// What scikit-learn's classifiers of these tests take.
var people: Table {
    get throws {
        try Table([
            ("city", Column(.string, values: ONNXTestModels.cities)), ("age", floats(ONNXTestModels.ages)), ("income", floats(ONNXTestModels.incomes)),
        ])
    }
}
