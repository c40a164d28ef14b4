import Contracts
import Engines
import Foundation
import Testing

/// Just enough of protobuf's wire format to write an ONNX model.
private struct Message {
    var bytes: [UInt8] = []

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
    mutating func integer(_ field: UInt64, _ value: UInt64) {
        varint(field << 3)
        varint(value)
    }
    mutating func data(_ field: UInt64, _ value: [UInt8]) {
        varint(field << 3 | 2)
        varint(UInt64(value.count))
        bytes += value
    }
    mutating func text(_ field: UInt64, _ value: String) { data(field, Array(value.utf8)) }
    mutating func message(_ field: UInt64, _ build: (inout Message) -> Void) {
        var inner = Message()
        build(&inner)
        data(field, inner.bytes)
    }
}

/// y = sigmoid(x · w + b), x of shape [rows, 3], and n = x cast to int64.
private func tinyModel() -> [UInt8] {
    func node(_ graph: inout Message, _ operation: String, _ inputs: [String], _ output: String, castTo: UInt64? = nil) {
        graph.message(1) { node in
            for input in inputs { node.text(1, input) }
            node.text(2, output)
            node.text(4, operation)
            if let castTo {
                node.message(5) { attribute in
                    attribute.text(1, "to")
                    attribute.integer(3, castTo)
                    attribute.integer(20, 2)
                }
            }
        }
    }
    func floats(_ graph: inout Message, _ name: String, _ shape: [UInt64], _ values: [Float]) {
        graph.message(5) { tensor in
            for dimension in shape { tensor.integer(1, dimension) }
            tensor.integer(2, 1)
            tensor.text(8, name)
            tensor.data(9, values.withUnsafeBytes { Array($0) })
        }
    }
    func port(_ graph: inout Message, _ field: UInt64, _ name: String, _ elementType: UInt64, _ columns: UInt64) {
        graph.message(field) { port in
            port.text(1, name)
            port.message(2) { type in
                type.message(1) { tensor in
                    tensor.integer(1, elementType)
                    tensor.message(2) { shape in
                        shape.message(1) { $0.text(2, "rows") }
                        shape.message(1) { $0.integer(1, columns) }
                    }
                }
            }
        }
    }
    var model = Message()
    model.integer(1, 8)
    model.message(7) { graph in
        node(&graph, "MatMul", ["x", "w"], "product")
        node(&graph, "Add", ["product", "b"], "sum")
        node(&graph, "Sigmoid", ["sum"], "y")
        node(&graph, "Cast", ["x"], "n", castTo: 7)
        graph.text(2, "tiny")
        floats(&graph, "w", [3, 1], [1, -2, 0.5])
        floats(&graph, "b", [1], [0.25])
        port(&graph, 11, "x", 1, 3)
        port(&graph, 12, "y", 1, 1)
        port(&graph, 12, "n", 7, 3)
    }
    model.message(8) { $0.integer(2, 13) }
    return model.bytes
}

@Suite struct ONNXModelTests {
    @Test func aModelSaysWhatItTakesAndRuns() throws {
        let model = try ONNXModel(bytes: tinyModel())
        #expect(model.inputs == [.init(name: "x", type: .float32, shape: [-1, 3])])
        #expect(model.outputs == [.init(name: "y", type: .float32, shape: [-1, 1]), .init(name: "n", type: .int64, shape: [-1, 3])])
        let rows = try ONNXTensor(shape: [2, 3], .float32([0, 0, 0, 3, 1, 2]))
        let outputs = try model.run([rows])
        #expect(outputs[1] == (try ONNXTensor(shape: [2, 3], .int64([0, 0, 0, 3, 1, 2]))))
        guard case .float32(let y) = outputs[0].elements else { return #expect(Bool(false), "y is float32") }
        #expect(outputs[0].shape == [2, 1])
        #expect(abs(y[0] - 1 / (1 + exp(-0.25))) < 1e-6)
        #expect(abs(y[1] - 1 / (1 + exp(-2.25))) < 1e-6)
        #expect(try model.run([rows], wanted: [1]).count == 1)
        #expect(try [Float]([0, 0, 0, 3, 1, 2]).withUnsafeBufferPointer { try model.predict($0, rowCount: 2) } == y)
    }

    @Test func modelsAreReadFromFiles() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("keel-\(UUID().uuidString).onnx")
        try Data(tinyModel()).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        #expect(try ONNXModel(path: file.path).inputs.count == 1)
        let error = #expect(throws: KeelError.self) { try ONNXModel(path: file.path + ".absent") }
        #expect(error?.code == .notFound)
    }

    @Test func wrongInputsAreClearErrors() throws {
        let model = try ONNXModel(bytes: tinyModel())
        let shape = #expect(throws: KeelError.self) { try model.run([ONNXTensor(shape: [1, 2], .float32([1, 2]))]) }
        #expect(shape?.message.contains("'x'") == true)
        #expect(throws: KeelError.self) { try model.run([ONNXTensor(shape: [1, 3], .int64([1, 2, 3]))]) }
        #expect(throws: KeelError.self) { try model.run([]) }
        #expect(throws: KeelError.self) { try model.run([ONNXTensor(shape: [1, 3], .float32([1, 2, 3]))], wanted: [2]) }
        #expect(throws: KeelError.self) { try ONNXTensor(shape: [2, 3], .float32([1])) }
        #expect(throws: KeelError.self) {
            try [Float](repeating: 0, count: 4).withUnsafeBufferPointer { try model.predict($0, rowCount: 1) }
        }
    }

    @Test func damagedModelsAreRefused() throws {
        let bytes = tinyModel()
        for length in 0..<bytes.count - 8 {
            #expect(throws: KeelError.self) { try ONNXModel(bytes: Array(bytes[..<length])) }
        }
        let error = #expect(throws: KeelError.self) { try ONNXModel(bytes: Array("not a model".utf8)) }
        #expect(error?.code == .corrupted)
    }

    @Test func threadsShareOneModel() async throws {
        let model = try ONNXModel(bytes: tinyModel())
        let results = try await withThrowingTaskGroup(of: [Float].self) { group in
            for _ in 0..<8 { group.addTask { try [Float]([1, 2, 3]).withUnsafeBufferPointer { try model.predict($0, rowCount: 1) } } }
            return try await group.reduce(into: [[Float]]()) { $0.append($1) }
        }
        #expect(Set(results).count == 1)
    }
}
