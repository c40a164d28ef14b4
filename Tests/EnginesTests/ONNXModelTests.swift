import Contracts
import Engines
import Foundation
import Testing

/// A deadline that no call of these models comes near.
var soon: ContinuousClock.Instant { .now + .seconds(60) }

/// y = x + 1, 10¹² times: a `Loop` with a body of one `Add`, written by onnx.helper.
let endlessLoop =
    Data(
        base64Encoded:
            "CAg64gEKmwEKAW4KAXQKAXgSAXkiBExvb3AqhgEKBGJvZHkyewoRCgFjEgJjbyIISWRlbnRpdHkKEQoBYQoDb25lEgJhbyIDQWRkEgFiKhEIAQgBEAFCA29uZUoEAACAP1oLCgFpEgYKBAgHEgBaCwoBYxIGCgQICRIAWgkKAWESBAoCCAFiDAoCY28SBgoECAkSAGIKCgJhbxIECgIIAaABBRIBZyoPEAdCAW5KCAAQpdToAAAAKggQCUIBdEoBAVoRCgF4EgwKCggBEgYKAAoCCAFiEQoBeRIMCgoIARIGCgAKAggBQgQKABAR"
    ).map(Array.init) ?? []

@Suite struct ONNXModelTests {
    /// Rows of three numbers for the tiny model.
    private func matrix(_ values: [Float]) throws -> Table { try Table([("x", tensors(.float32, [3], .float32(values)))]) }

    @Test("S7: a model that loops is ended at its deadline, and others go on")
    func aLoopIsEndedAtItsDeadline() throws {
        let model = try ONNXModel(bytes: endlessLoop)
        for _ in 0..<2 {
            let error = #expect(throws: KeelError.self) {
                try model.run(Table([("x", floats([0]))]), until: .now + .milliseconds(50))
            }
            #expect(error?.code == .deadlineExceeded)
        }
        let tiny = try ONNXModel(bytes: tinyModel())
        #expect(try tiny.run(matrix([1, 2, 3]), until: soon).rowCount == 1)
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
        #expect(model.inputs.map(\.name) == ["x"] && model.inputs[0].type == .float32 && model.inputs[0].shape == [-1, 3])
        #expect(model.outputs.map(\.name) == ["y", "n"] && model.outputs.map(\.type) == [.float32, .int64])
        #expect(model.outputs.map(\.shape) == [[-1, 1], [-1, 3]])
        let rows = try Table([
            ("a", Column(.float32, .float32([0, 3]))), ("b", Column(.float32, .float32([0, 1]))),
            ("c", Column(.float32, .float32([0, 2]))),
        ])
        let outputs = try model.run(rows, until: soon)
        #expect(outputs.names == ["y", "n"])
        #expect(outputs["n"] == tensors(.int64, [3], .int64([0, 0, 0, 3, 1, 2])))
        guard case .float32(let y) = outputs.columns[0].buffer else { return #expect(Bool(false), "y is float32") }
        #expect(abs(y[0] - 1 / (1 + exp(-0.25))) < 1e-6)
        #expect(abs(y[1] - 1 / (1 + exp(-2.25))) < 1e-6)
        #expect(try model.run(rows, wanted: ["n"], until: soon).names == ["n"])
        #expect(try model.run(matrix([0, 0, 0, 3, 1, 2]), until: soon) == outputs)
    }

    @Test func modelsAreReadFromFiles() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("keel-\(UUID().uuidString).onnx")
        try Data(tinyModel()).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        #expect(try ONNXModel(path: file.path).inputs.count == 1)
        let error = #expect(throws: KeelError.self) { try ONNXModel(path: file.path + ".absent") }
        #expect(error?.code == .notFound)
    }

    @Test func aMatrixOfTheWrongWidthIsRefused() throws {
        let model = try ONNXModel(bytes: tinyModel())
        let wide = try Table([("x", tensors(.float32, [4], .float32([0, 0, 0, 0])))])
        #expect(throws: KeelError.self) { try model.run(wide, until: soon) }
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
        let results = try await withThrowingTaskGroup(of: Table.self) { group in
            for _ in 0..<8 {
                group.addTask { try model.run(matrix([1, 2, 3]), until: soon) }
            }
            return try await group.reduce(into: [Table]()) { $0.append($1) }
        }
        #expect(Set(results).count == 1)
    }
}
