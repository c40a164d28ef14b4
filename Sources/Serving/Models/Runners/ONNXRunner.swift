import Contracts
import Engines

/// An ONNX graph, run by ONNX Runtime.
struct ONNXRunner: ModelRunner {
    private let model: ONNXModel
    /// The graph's names of the signature's inputs where they differ; nil when they are the same.
    private let inputNames: [String]?
    /// The outputs to compute; nil is all.
    private let wanted: [String]?
    /// Whether of a tensor of classes the last is given: the positive class of two.
    private let takesLast: Bool
    let lane: ModelLane

    /// - Parameter files: those in which the model keeps tensors, by their paths.
    init(_ bytes: [UInt8], files: [String: [UInt8]], _ signature: Signature, threads: Int) throws(KeelError) {
        model = try ONNXModel(bytes: bytes, files: files)
        lane = .pooled(threads: threads)
        let names = signature.inputs.map(\.name)
        let graph = model.inputs.map(\.name)
        let isNamed = graph.allSatisfy(names.contains)
        inputNames = !isNamed && names.count == graph.count ? graph : nil
        let outputs = model.outputFields
        let declared = signature.outputs
        if declared.isEmpty || declared.allSatisfy({ output in outputs.contains { $0.name == output.name } }) {
            wanted = declared.isEmpty ? nil : declared.map(\.name)
            takesLast = false
        } else if declared.count == 1 {
            // A signature that names the one answer itself: the last output of its kind, which of a classifier are the chances of the classes.
            guard let last = outputs.last(where: { ONNXRunner.isSameKind($0.type, declared[0].type) }) else {
                throw KeelError(
                    .contractViolation, "the model has no output of \(declared[0].type), which its signature says",
                    hint: "its outputs: \(outputs.map { "\($0.name) \($0.type)" }.joined(separator: ", "))")
            }
            wanted = [last.name]
            takesLast = ONNXRunner.isTensor(last.type) && !ONNXRunner.isTensor(declared[0].type)
        } else {
            guard declared.count == outputs.count else {
                throw KeelError(
                    .contractViolation, "the model has \(outputs.count) outputs, its signature \(declared.count)",
                    hint: "its outputs: \(outputs.map(\.name).joined(separator: ", "))")
            }
            wanted = nil
            takesLast = false
        }
    }

    func run(_ table: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        var inputs = table
        if let inputNames { inputs = try Table(Array(zip(inputNames, table.columns))) }
        let answer = try model.run(inputs, wanted: wanted, until: deadline)
        guard takesLast, case .list(let offsets, let values) = answer.columns[0].buffer else { return answer }
        return try Table([(answer.names[0], values.taking((0..<answer.rowCount).map { offsets[$0 + 1] - 1 }))])
    }

    private static func isTensor(_ type: DataType) -> Bool { if case .tensor = type { true } else { false } }

    private static func isSameKind(_ a: DataType, _ b: DataType) -> Bool {
        func element(_ type: DataType) -> DataType {
            switch type {
            case .tensor(let element, _), .list(let element): element
            default: type
            }
        }
        func kind(_ type: DataType) -> Int {
            switch element(type) {
            case .float32, .float64: 0
            case .int32, .int64, .bool: 1
            default: 2
            }
        }
        return kind(a) == kind(b)
    }
}
