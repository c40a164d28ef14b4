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

/// A deadline that no call of these models comes near.
private var soon: ContinuousClock.Instant { .now + .seconds(60) }

/// y = x + 1, 10¹² times: a `Loop` with a body of one `Add`, written by onnx.helper.
private let endlessLoop =
    Data(
        base64Encoded:
            "CAg64gEKmwEKAW4KAXQKAXgSAXkiBExvb3AqhgEKBGJvZHkyewoRCgFjEgJjbyIISWRlbnRpdHkKEQoBYQoDb25lEgJhbyIDQWRkEgFiKhEIAQgBEAFCA29uZUoEAACAP1oLCgFpEgYKBAgHEgBaCwoBYxIGCgQICRIAWgkKAWESBAoCCAFiDAoCY28SBgoECAkSAGIKCgJhbxIECgIIAaABBRIBZyoPEAdCAW5KCAAQpdToAAAAKggQCUIBdEoBAVoRCgF4EgwKCggBEgYKAAoCCAFiEQoBeRIMCgoIARIGCgAKAggBQgQKABAR"
    ).map(Array.init) ?? []

@Suite struct ONNXModelTests {
    @Test("S7: a model that loops is ended at its deadline, and others go on")
    func aLoopIsEndedAtItsDeadline() throws {
        let model = try ONNXModel(bytes: endlessLoop)
        for _ in 0..<2 {
            let error = #expect(throws: KeelError.self) {
                try [Float]([0]).withUnsafeBufferPointer { try model.predict($0, rowCount: 1, until: .now + .milliseconds(50)) }
            }
            #expect(error?.code == .deadlineExceeded)
        }
        let tiny = try ONNXModel(bytes: tinyModel())
        #expect(try [Float]([1, 2, 3]).withUnsafeBufferPointer { try tiny.predict($0, rowCount: 1, until: soon) }.count == 1)
    }

    /// The fields of onnx.proto that lead from a model to a tensor: initializers, attributes, subgraphs, functions, sparse tensors, training.
    private static let ways: [[UInt64]] = [
        [7, 5], [7, 1, 5, 5], [7, 1, 5, 10], [7, 1, 5, 6, 5], [7, 1, 5, 11, 1, 5, 5], [7, 15, 1], [7, 15, 2], [7, 1, 5, 22, 1],
        [7, 1, 5, 23, 1],
        [25, 7, 5, 5], [25, 11, 5], [20, 1, 5], [20, 2, 1, 5, 5], [7, 1, 5, 6, 1, 5, 6, 1, 5, 6, 5],
    ]

    @Test("A4: a tensor in another file is refused wherever it stands", arguments: ways, [13, 14] as [UInt64])
    func externalDataIsRefused(way: [UInt64], field: UInt64) throws {
        func build(_ message: inout Message, _ rest: ArraySlice<UInt64>) {
            guard let next = rest.first else {
                message.text(8, "w")
                // Where the data are (`external_data`), or only that they are elsewhere (`data_location`).
                if field == 13 { message.message(13) { $0.text(1, "location") } } else { message.integer(14, 1) }
                return
            }
            message.message(next) { build(&$0, rest.dropFirst()) }
        }
        var model = Message()
        build(&model, way[...])
        // What a model holds besides does not hide it.
        let error = #expect(throws: KeelError.self) { try ONNXModel(bytes: tinyModel() + model.bytes) }
        #expect(error?.code == .invalidArgument && error?.message.contains("external_data") == true)
    }

    @Test("A4: a model names no provider context, no runtime configuration, no other format")
    func otherReferencesAreRefused() {
        var context = Message()
        context.message(7) { $0.message(1) { $0.text(4, "EPContext") } }
        var configuration = Message()
        configuration.message(14) { $0.text(1, "ort_config") }
        var format = Array("0000ORTM".utf8)
        format += tinyModel()
        for bytes in [tinyModel() + context.bytes, tinyModel() + configuration.bytes, format] {
            #expect(#expect(throws: KeelError.self) { try ONNXModel(bytes: bytes) }?.code == .invalidArgument)
        }
        // Deeper than any reader goes.
        var deep = Message()
        for _ in 0..<200 {
            var outer = Message()
            outer.data(6, deep.bytes)
            var attribute = Message()
            attribute.data(5, outer.bytes)
            deep = attribute
        }
        var model = Message()
        model.message(7) { $0.data(1, deep.bytes) }
        #expect(throws: KeelError.self) { try ONNXModel(bytes: model.bytes) }
    }

    @Test func aModelSaysWhatItTakesAndRuns() throws {
        let model = try ONNXModel(bytes: tinyModel())
        #expect(model.inputs == [.init(name: "x", type: .float32, shape: [-1, 3])])
        #expect(model.outputs == [.init(name: "y", type: .float32, shape: [-1, 1]), .init(name: "n", type: .int64, shape: [-1, 3])])
        let rows = try ONNXTensor(shape: [2, 3], .float32([0, 0, 0, 3, 1, 2]))
        let outputs = try model.run([rows], until: soon)
        #expect(outputs[1] == (try ONNXTensor(shape: [2, 3], .int64([0, 0, 0, 3, 1, 2]))))
        guard case .float32(let y) = outputs[0].elements else { return #expect(Bool(false), "y is float32") }
        #expect(outputs[0].shape == [2, 1])
        #expect(abs(y[0] - 1 / (1 + exp(-0.25))) < 1e-6)
        #expect(abs(y[1] - 1 / (1 + exp(-2.25))) < 1e-6)
        #expect(try model.run([rows], wanted: [1], until: soon).count == 1)
        #expect(try [Float]([0, 0, 0, 3, 1, 2]).withUnsafeBufferPointer { try model.predict($0, rowCount: 2, until: soon) } == y)
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
        let shape = #expect(throws: KeelError.self) { try model.run([ONNXTensor(shape: [1, 2], .float32([1, 2]))], until: soon) }
        #expect(shape?.message.contains("'x'") == true)
        #expect(throws: KeelError.self) { try model.run([ONNXTensor(shape: [1, 3], .int64([1, 2, 3]))], until: soon) }
        #expect(throws: KeelError.self) { try model.run([], until: soon) }
        #expect(throws: KeelError.self) { try model.run([ONNXTensor(shape: [1, 3], .float32([1, 2, 3]))], wanted: [2], until: soon) }
        #expect(throws: KeelError.self) { try ONNXTensor(shape: [2, 3], .float32([1])) }
        #expect(throws: KeelError.self) {
            try [Float](repeating: 0, count: 4).withUnsafeBufferPointer { try model.predict($0, rowCount: 1, until: soon) }
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
            for _ in 0..<8 {
                group.addTask { try [Float]([1, 2, 3]).withUnsafeBufferPointer { try model.predict($0, rowCount: 1, until: soon) } }
            }
            return try await group.reduce(into: [[Float]]()) { $0.append($1) }
        }
        #expect(Set(results).count == 1)
    }
}
