import Contracts
import Engines

/// An ONNX graph, run by ONNX Runtime.
struct ONNXRunner: ModelRunner {
    private let model: ONNXModel
    private let signature: Signature
    let lane = ModelLane.pooled(threads: 2)

    init(_ bytes: [UInt8], _ signature: Signature) throws(KeelError) {
        model = try ONNXModel(bytes: bytes)
        self.signature = signature
    }

    func run(_ table: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        let matrix = try FloatMatrix(table, columns: table.names)
        let result: Result<[Float], KeelError> = matrix.values.withUnsafeBufferPointer { values in
            do throws(KeelError) {
                return .success(try model.predict(values, rowCount: table.rowCount, until: deadline))
            } catch { return .failure(error) }
        }
        let all = try result.get()
        let rows = table.rowCount
        guard all.count.isMultiple(of: rows), all.count > 0 else {
            throw KeelError(.internal, "the model gave \(all.count) values for \(rows) rows")
        }
        // A classifier gives a column for each class: the last is the positive one.
        let columns = all.count / rows
        let scores = columns == 1 ? all : (0..<rows).map { all[$0 * columns + columns - 1] }
        return try Table([(signature.outputs.first?.name ?? "score", Column(.float32, .float32(scores)))])
    }
}
