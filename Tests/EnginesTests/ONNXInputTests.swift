import Contracts
import Engines
import Foundation
import TestSupport
import Testing

@Suite("What ONNX models take of a table") struct ONNXInputTests {
    private typealias Models = ONNXTestModels

    @Test("several inputs and outputs of several types; what is not of the rows is given for one row alone")
    func several() throws {
        let model = try ONNXModel(bytes: Models.several)
        let table = try Table([
            ("word", Column(.string, values: ["ab", "ö"])), ("flag", Column(.bool, .bool([true, false]))),
            ("a", tensors(.float32, [3], .float32([1, 2, 3, 0.5, 0.25, -8]))), ("b", floats([10, 20])),
            ("n", Column(.int64, .int64([3, -1]))), ("unasked", Column(.date, .int32([1, 2]))),
            ("seq", tensors(.float64, [3, 2], .float64((0..<12).map { Double($0) / 7 }))),
        ])
        let wanted = ["doubled", "scaled", "mean", "unflag"]
        let answer = try model.run(table, wanted: wanted, until: soon)
        #expect(answer.names == wanted)
        #expect(answer["scaled"] == floats(Models.severalScaled))
        #expect(answer["doubled"] == (try Column(.string, values: ["abab", "öö"])))
        #expect(answer["unflag"] == Column(.bool, .bool([false, true])))
        guard case .list(_, let means) = answer["mean"]?.buffer, case .float64(let values) = means.buffer else {
            return #expect(Bool(false), "the means are tensors of float64")
        }
        #expect(answer["mean"]?.type == .tensor(.float64, shape: [2]))
        #expect(zip(values, Models.severalMeans).allSatisfy { abs($0 - $1) < 1e-12 } && values.count == 4)

        // `shape` has as many elements as the table has rows, and is not of the rows all the same.
        let chance = #expect(throws: KeelError.self) { try model.run(table, wanted: ["shape"], until: soon) }
        #expect(chance?.message == "output 'shape': its first dimension is 2 for any number of rows, so that it is not of the rows")
        let error = #expect(throws: KeelError.self) { try model.run(table, wanted: ["most"], until: soon) }
        #expect(error?.message.contains("'most'") == true)
        let one = try model.run(table.taking(rows: [1]), until: soon)
        #expect(one.columns.map(\.type) == model.outputFields.map(\.type))
        #expect(one["most"] == floats([0.5]))
        #expect(one["shape"] == tensors(.int64, [2], .int64([1, 3])))
        #expect(one["scaled"] == floats([Models.severalScaled[1]]))
    }

    @Test("a model with one matrix takes its columns in their order, of any type of numbers")
    func spreadColumns() throws {
        let model = try ONNXModel(bytes: tinyModel())
        let table = try Table([
            ("z", Column(.int64, .int64([1, 16_777_216]))), ("y", Column(.bool, .bool([true, false]))),
            ("x2", Column(.float64, .float64([0.1, -1]), validity: Bitmap(words: [1], count: 2))),
        ])
        let answer = try model.run(table, wanted: ["y"], until: soon)
        let y = floats(in: answer["y"])
        #expect(abs(y[0] - 1 / (1 + exp(-(1 - 2 + 0.05 + 0.25)))) < 1e-6)
        #expect(y[1].isNaN, "the missing value became NaN, and the model gave NaN for it")
        // The same as one column of tensors or lists.
        let values = Column.Buffer.float32([1, 1, 0.1])
        let tensor = try model.run(Table([("x", tensors(.float32, [3], values))]), wanted: ["y"], until: soon)
        let list = Column(.list(.float32), .list(offsets: [0, 3], values: Column(.float32, values)))
        #expect(floats(in: tensor["y"]) == [y[0]])
        #expect(try model.run(Table([("x", list)]), wanted: ["y"], until: soon) == tensor)
        // A column of the input's name among others is one of them.
        let named = try Table([("x", floats([1])), ("b", floats([1])), ("c", floats([0.1]))])
        #expect(try model.run(named, wanted: ["y"], until: soon) == tensor)
    }

    @Test("what a column cannot be is said by name")
    func wrongColumns() throws {
        let model = try ONNXModel(bytes: Models.several)
        let good: [(name: String, column: Column)] = [
            ("a", tensors(.float32, [3], .float32([1, 2, 3]))), ("b", floats([1])), ("n", Column(.int64, .int64([3]))),
            ("seq", tensors(.float64, [1, 2], .float64([1, 2]))), ("flag", Column(.bool, .bool([true]))),
            ("word", try Column(.string, values: ["w"])),
        ]
        #expect(try model.run(Table(good), until: soon).rowCount == 1)
        let wrong: [(name: String, column: Column, says: String)] = [
            ("word", floats([1]), "column 'word' is float32; the input of that name takes string, one value a row"),
            ("word", try Column(.string, values: [nil]), "a value is missing; input 'word' takes a string"),
            ("n", try Column(.string, values: ["1"]), "takes int64, one value a row"),
            ("b", Column(.timestamp, .int64([0])), "column 'b' is timestamp"),
            ("b", tensors(.float32, [2], .float32([1, 2])), "is tensor<float32, 2>"),
            ("a", tensors(.float32, [4], .float32([1, 2, 3, 4])), "takes float32 of the shape [3] a row"),
            ("a", Column(.list(.float32), .list(offsets: [0, 2], values: floats([1, 2]))), "has 2 elements; input 'a' takes 3"),
            ("a", try Column(.list(.float32), values: [nil]), "a value is missing; input 'a' takes a tensor"),
            ("seq", tensors(.float64, [2], .float64([1, 2])), "takes float64 of the shape [any, 2] a row"),
            (
                "seq", Column(.tensor(.float64, shape: [-1, 2]), .list(offsets: [0, 0], values: Column(.float64))),
                "takes float64 of the shape [any, 2] a row"
            ),
            ("seq", Column(.list(.float64), .list(offsets: [0, 2], values: Column(.float64, .float64([1, 2])))), "is list<float64>"),
            ("a", tensors(.string, [3], .text(TextBuffer(offsets: [0, 0, 0, 0], bytes: []))), "is tensor<string, 3>"),
        ]
        for (name, column, says) in wrong {
            var columns = good
            let i = try #require(columns.firstIndex { $0.name == name })
            columns[i].column = column
            let error = try failure(model, columns)
            #expect(error.code == .invalidArgument && error.message.contains(says), "\(error)")
            #expect(error.path?.hasPrefix(name) == true)
        }
        let missing = try failure(model, Array(good.dropLast()))
        #expect(missing.message == "there is no column for input 'word'")
        let wanted = try failure(model, good, wanted: ["scald"])
        #expect(wanted.message == "the model has no output 'scald'" && wanted.hint == "did you mean 'scaled'?")
        let twice = try failure(model, good, wanted: ["p", "p"])
        #expect(twice.message.contains("two columns of one name"))
        // A matrix among other inputs takes the columns that are left.
        let spread = good.dropFirst() + [("q", floats([1])), ("r", floats([2])), ("s", floats([3]))]
        #expect(try model.run(Table(Array(spread)), until: soon) == (try model.run(Table(good), until: soon)))
        let few = try failure(model, Array(spread.dropLast()))
        #expect(few.message.hasPrefix("input 'a' takes 3 columns") && few.message.hasSuffix("the table has 2 for it"))
    }

    @Test("images of any size are tensors of a concrete shape")
    func images() throws {
        let model = try ONNXModel(bytes: Models.images)
        #expect(model.inputFields[0].type == .tensor(.float32, shape: [3, -1, -1]))
        for (height, width) in [(1, 1), (2, 3), (5, 4)] {
            let pixels = (0..<2 * 3 * height * width).map { Float($0 / (height * width)) }
            let answer = try model.run(Table([("image", tensors(.float32, [3, height, width], .float32(pixels)))]), until: soon)
            #expect(answer["mean"] == tensors(.float32, [3], .float32([0, 1, 2, 3, 4, 5])))
        }
        let error = try failure(model, [("image", tensors(.float32, [4, 1, 1], .float32([1, 2, 3, 4])))])
        #expect(error.message.contains("[3, any, any]"))
    }

    @Test("an open dimension takes any number, and stays a dimension")
    func openDimension() throws {
        let model = try ONNXModel(bytes: Models.open)
        #expect(model.outputFields.map(\.type) == [.tensor(.float32, shape: [-1]), .float32])
        for width in [1, 2, 7] {
            let columns = (0..<width).map { (name: "c\($0)", column: floats([Float($0), 1])) }
            let answer = try model.run(Table(columns), until: soon)
            #expect(answer["y"]?.type == .tensor(.float32, shape: [width]))
            #expect(floats(in: answer["sum"]) == [Float(width * (width - 1) / 2), Float(width)])
        }
        // A column of the input's name is one of them, unless it holds tensors.
        let named = try model.run(Table([("x", floats([1])), ("z", floats([2]))]), until: soon)
        #expect(named["y"] == tensors(.float32, [2], .float32([1, 2])))
        // Lists of one length; of zero elements too.
        let lists = Column(.list(.int64), .list(offsets: [0, 2, 4], values: Column(.int64, .int64([1, 2, 3, 4]))))
        #expect(floats(in: try model.run(Table([("x", lists)]), until: soon)["sum"]) == [3, 7])
        let ragged = Column(.list(.int64), .list(offsets: [0, 2, 3], values: Column(.int64, .int64([1, 2, 3]))))
        #expect(try failure(model, [("x", ragged)]).path == "x[1]")
        let none = Column(.list(.float32), .list(offsets: [0, 0, 0], values: floats([])))
        let answer = try model.run(Table([("x", none)]), until: soon)
        #expect(answer["y"]?.type == .tensor(.float32, shape: [0]) && answer.rowCount == 2)
        #expect(floats(in: answer["sum"]) == [0, 0])
        let element = Column(.list(.int64), .list(offsets: [0, 2, 4], values: Column(.int64, .int64([1, 2, 3, 1 << 60 + 1]))))
        #expect(try failure(model, [("x", element)]).path == "x[1][1]")
    }

    @Test("shapes that no memory holds are refused")
    func overflowingShapes() throws {
        let model = try ONNXModel(bytes: Models.images)
        for shape in [[3, Int.max, 2], [3, 1 << 40, 1 << 40], [3, 0, Int.max], [3, 1 << 40, 1]] {
            let column = Column(.tensor(.float32, shape: shape), .list(offsets: [0, 6], values: floats([1, 2, 3, 4, 5, 6])))
            #expect(try failure(model, [("image", column)]).path?.hasPrefix("image") == true)
        }
        // No elements, and the shape says so.
        let none = Column(.tensor(.float32, shape: [3, 0, 5]), .list(offsets: [0, 0], values: floats([])))
        #expect(floats(in: try model.run(Table([("image", none)]), until: soon)["mean"]).count == 3)
    }

    @Test("a first dimension that is fixed is run in pieces of that size")
    func pieces() throws {
        for (bytes, size) in [(Models.fixed1, 1), (Models.fixed4, 4)] {
            let model = try ONNXModel(bytes: bytes)
            for rows in 1...9 {
                let x = (0..<rows * 2).map { Float($0) }
                let table = try Table([("x", tensors(.float32, [2], .float32(x)))])
                let answer = try model.run(table, wanted: ["y"], until: soon)
                #expect(answer["y"] == tensors(.float32, [2], .float32(x.map { 2 * $0 })), "\(rows) rows, \(size) at a time")
                guard size == 1 else { continue }
                // What a run gives belongs to its one row.
                let sums = try model.run(table, until: soon)["s"]
                #expect(floats(in: sums) == (0..<rows).map { Float(4 * $0 + 1) })
            }
        }
        let four = try ONNXModel(bytes: Models.fixed4)
        #expect(try failure(four, [("x", tensors(.float32, [2], .float32([1, 2])))], wanted: ["s"]).message.contains("'s'"))
        // The row of an error is the table's.
        let x = Column(.list(.int64), .list(offsets: [0, 2, 4, 6], values: Column(.int64, .int64([1, 1, 1, 1, 1 << 60 + 1, 1]))))
        #expect(try failure(ONNXModel(bytes: Models.fixed1), [("x", x)]).path == "x[2][0]")
        let disagreeing = try failure(ONNXModel(bytes: Models.disagreeing), [("x", floats([1])), ("u", floats([1]))])
        #expect(disagreeing.message.contains("'x' and 'u' take 2 and 3 rows"))
    }

    @Test("an input of one value takes rows one at a time; rows of different shapes are no column")
    func singleValues() throws {
        let model = try ONNXModel(bytes: Models.ranges)
        #expect(
            try model.run(Table([("n", Column(.int32, .int32([3, 3])))]), until: soon)["r"]
                == tensors(.int64, [3], .int64([0, 1, 2, 0, 1, 2])))
        let error = try failure(model, [("n", Column(.int64, .int64([3, 3, 4])))])
        #expect(error.message == "output 'r': its shape is [3] for the first row and [4] for row 2; a column has one shape")
    }
}
