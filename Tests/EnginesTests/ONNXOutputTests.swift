import Contracts
import Engines
import Foundation
import TestSupport
import Testing

@Suite("What ONNX models give, and the limits of a run") struct ONNXOutputTests {
    private typealias Models = ONNXTestModels

    @Test("outputs that no column holds are refused when asked for, and the others answer")
    func unreadableOutputs() throws {
        let model = try ONNXModel(bytes: Models.sequences)
        #expect(model.outputs.map(\.type) == [nil, .float32, nil])
        #expect(model.outputFields.map(\.name) == ["y"])
        #expect(try model.run(Table([("x", floats([1, 2]))]), until: soon) == (try Table([("y", floats([1, 2]))])))
        let error = try failure(model, [("x", floats([1]))], wanted: ["y", "both"])
        #expect(error.message == "output 'both' is a sequence, which is not supported" && error.hint != nil)
        #expect(try failure(model, [("x", floats([1]))], wanted: ["maybe"]).message.contains("'maybe' is an optional value"))

        let taking = try ONNXModel(bytes: Models.takesSequence)
        #expect(taking.inputFields.isEmpty)
        #expect(try failure(taking, [("xs", floats([1]))]).message == "input 'xs' is a sequence, which is not supported")

        let deep = try ONNXModel(bytes: Models.deep)
        #expect(try deep.run(Table([("x", floats([1]))]), until: soon).names == ["y"])
        #expect(try failure(deep, [("x", floats([1]))], wanted: ["nine"]).message.contains("a tensor of 9 dimensions"))
    }

    @Test("an output that is an input is given back, texts too")
    func passedThrough() throws {
        let model = try ONNXModel(bytes: Models.passedThrough)
        for rows in [1, 3, 5000] {
            let table = try Table([
                ("x", floats((0..<rows).map(Float.init))), ("t", Column(.string, values: (0..<rows).map { .string("text number \($0)") })),
            ])
            let answer = try model.run(table, until: soon)
            #expect(answer["x"] == table["x"] && answer["t"] == table["t"])
            #expect(answer["y"] == floats((0..<rows).map { Float(2 * $0) }))
        }
    }

    @Test("outputs whose shape is not declared are what they turn out to be")
    func undeclaredShapes() throws {
        let model = try ONNXModel(bytes: Models.undeclared)
        #expect(model.outputs.map(\.shape) == [[], []])
        let answer = try model.run(Table([("x", tensors(.float32, [2], .float32([1, 2, 3, 4])))]), until: soon)
        #expect(answer["y"] == floats([3, 7]))
        #expect(answer["z"] == tensors(.float32, [2], .float32([1, 2, 3, 4])))
    }

    @Test("NaN and infinities are passed on")
    func notNumbers() throws {
        let model = try ONNXModel(bytes: Models.notNumbers)
        let y = floats(in: try model.run(Table([("x", floats([0, -1, 1, .nan]))]), until: soon)["y"])
        #expect(y[0] == -.infinity && y[1].isNaN && y[2] == 0 && y[3].isNaN)
    }

    @Test("a table without rows is answered without a run")
    func noRows() throws {
        let model = try ONNXModel(bytes: Models.textClasses)
        let answer = try model.run(people.taking(rows: []), until: soon)
        #expect(answer.rowCount == 0 && answer.columns.map(\.type) == [.string, .tensor(.float32, shape: [3])])
        #expect(throws: KeelError.self) { try model.run(Table([("city", Column(.string))]), until: soon) }
    }

    @Test("strings of any bytes come back as they were; without UTF-8 as bytes")
    func strings() throws {
        let model = try ONNXModel(bytes: Models.identities)
        func run(_ texts: [[UInt8]], as type: DataType) throws -> Column {
            var buffer = TextBuffer()
            for text in texts { buffer.append(text[...]) }
            var columns = ONNXIdentityColumns.make(rows: texts.count, middle: 1)
            let i = try #require(columns.firstIndex { $0.name == "s_string_in" })
            columns[i].column = Column(type, .text(buffer))
            return try #require(try model.run(Table(columns), wanted: ["s_string"], until: soon).columns.first)
        }
        let fine = ["", "a\u{0}b", "ö𝄞", String(repeating: "x", count: 70_000), "\u{0}"].map { Array($0.utf8) }
        let column = try run(fine, as: .bytes)
        #expect(column.type == .string)
        #expect((0..<fine.count).map { column[$0] } == fine.map { .string(String(decoding: $0, as: UTF8.self)) })
        // Two halves of a character are UTF-8 together, and not apart.
        for odd: [[UInt8]] in [[[0xff, 0xfe], []], [[0xc3], [0xb6]], [[0x61], [0x80]]] {
            let bytes = try run(odd, as: .bytes)
            #expect(bytes.type == .bytes && bytes[0] == .bytes(odd[0]) && bytes[1] == .bytes(odd[1]))
        }
    }

    @Test("a run that is past its deadline ends, between the pieces of a table too")
    func deadlines() throws {
        let loop = try ONNXModel(bytes: endlessLoop)
        let late = #expect(throws: KeelError.self) { try loop.run(Table([("x", floats([0]))]), until: .now + .milliseconds(50)) }
        #expect(late?.code == .deadlineExceeded)
        let pieces = try ONNXModel(bytes: Models.fixed1)
        let many = try Table([("x", tensors(.float32, [2], .float32([Float](repeating: 1, count: 4_000_000))))])
        let error = #expect(throws: KeelError.self) { try pieces.run(many, until: .now + .milliseconds(20)) }
        #expect(error?.code == .deadlineExceeded)
    }

    @Test("a model that wants more memory than all may have fails alone")
    func memory() throws {
        let model = try ONNXModel(bytes: Models.zeros)
        #expect(try model.run(Table([("n", Column(.int64, .int64([2])))]), until: soon)["y"] == tensors(.float32, [2], .float32([0, 0])))
        for n in [1 << 30, 1 << 40, 1 << 61, Int64.max] {
            let error = try failure(model, [("n", Column(.int64, .int64([n])))])
            #expect(error.message.hasPrefix("the model cannot run: "))
        }
        #expect(try model.run(Table([("n", Column(.int64, .int64([3])))]), until: soon).rowCount == 1)
    }
}
