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
private func floats(in column: Column?) -> [Float] {
    switch column?.buffer {
    case .float32(let values): values
    case .list(_, let values): floats(in: values)
    default: []
    }
}

private func isNear(_ a: [Float], _ b: [Float]) -> Bool { a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-6 } }

@Suite("ONNX models take and give tables") struct ONNXTableTests {
    private typealias Models = ONNXTestModels

    /// The error of a run that must fail.
    private func error(_ model: ONNXModel, _ columns: [(name: String, column: Column)], wanted: [String]? = nil) throws -> KeelError {
        let table = try Table(columns)
        let error = #expect(throws: KeelError.self) { try model.run(table, wanted: wanted, until: soon) }
        return try #require(error)
    }

    // MARK: scikit-learn's classifiers

    private var people: Table {
        get throws {
            try Table([
                ("city", Column(.string, values: Models.cities)), ("age", floats(Models.ages)), ("income", floats(Models.incomes)),
            ])
        }
    }

    @Test("a pipeline with texts and ZipMap answers as ONNX Runtime's own package")
    func classifier() throws {
        let model = try ONNXModel(bytes: Models.textClasses)
        #expect(
            model.inputFields == [
                Field("city", .string), Field("age", .float32, nullable: true), Field("income", .float32, nullable: true),
            ])
        #expect(model.outputFields.map(\.name) == ["output_label", "output_probability"])
        #expect(model.outputFields[1].type == .tensor(.float32, shape: [3]))
        #expect(model.outputs.map(\.labels) == [nil, ["maybe", "no", "yes"]])
        let answer = try model.run(people, until: soon)
        #expect(answer["output_label"] == (try Column(.string, values: Models.textLabels)))
        #expect(answer["output_probability"]?.type == .tensor(.float32, shape: [3]))
        #expect(isNear(floats(in: answer["output_probability"]), Models.textProbabilities))

        let plain = try ONNXModel(bytes: Models.textClassesAsTensor).run(people, until: soon)
        #expect(plain["label"] == answer["output_label"])
        #expect(plain["probabilities"] == answer["output_probability"], "with and without ZipMap")
        // One row gives what it gives among others.
        for row in 0..<5 {
            let one = try model.run(people.taking(rows: [row]), until: soon)
            let same = answer.taking(rows: [row])
            #expect(one["output_label"] == same["output_label"])
            #expect(isNear(floats(in: one["output_probability"]), floats(in: same["output_probability"])))
        }
    }

    @Test("classes that are integers are labels too")
    func integerClasses() throws {
        let model = try ONNXModel(bytes: Models.integerClasses)
        #expect(model.outputs[1].labels == ["-2", "7", "100"])
        let answer = try model.run(people, until: soon)
        #expect(answer.columns[0] == Column(.int64, .int64(Models.integerLabels)))
        #expect(isNear(floats(in: answer.columns[1]), Models.integerProbabilities))
    }

    @Test("the probabilities of ZipMap stand in the order of its labels, not of its maps")
    func unsortedClasses() throws {
        let model = try ONNXModel(bytes: Models.unsortedClasses)
        #expect(model.outputs[0].labels == ["b", "a", "c"])
        let answer = try model.run(Table([("x", tensors(.float32, [3], .float32([1, 2, 3, 4, 5, 6])))]), until: soon)
        #expect(floats(in: answer["z"]) == [1, 2, 3, 4, 5, 6])
    }

    // MARK: inputs

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

    @Test("values that a type does not hold are refused by column and row")
    func exactNumbers() throws {
        let model = try ONNXModel(bytes: tinyModel())
        let error = try error(
            model,
            [
                ("a", floats([1, 2])), ("b", Column(.int64, .int64([5, 16_777_217]))), ("c", floats([1, 2])),
            ])
        #expect(error.path == "b[1]" && error.message == "16777217 does not fit; input 'x' takes float32")
        let far = try self.error(model, [("a", floats([1])), ("b", Column(.float64, .float64([1e39]))), ("c", floats([1]))])
        #expect(far.path == "b[0]" && far.message.contains("1e+39"))
    }

    private static let limits: [(type: String, fits: [Value], refused: [Value])] = [
        ("int8", [-128, 127, 3.0], [128, -129, 0.5, nil, .double(.nan), .double(.infinity)]),
        ("int16", [-32768, 32767], [32768, 1e6]), ("int32", [2_147_483_647, -2_147_483_648], [2_147_483_648, 0.1]),
        ("int64", [.int(.max), .int(.min), 9_007_199_254_740_992.0], [9.3e18, nil]),
        ("uint8", [0, 255, true], [256, -1]), ("uint16", [65535], [65536, -1]), ("uint32", [4_294_967_295], [4_294_967_296, -1]),
        ("uint64", [.int(.max), 0], [-1, -0.5, nil]),
        ("bool", [true, false, 1, 0, 1.0], [2, -1, 0.5, nil]),
        ("float", [16_777_216, 0.1, nil, .double(.infinity), .double(-3.4e38)], [16_777_217, 3.5e38]),
        ("double", [9_007_199_254_740_992, 1e308, nil], [9_007_199_254_740_993]),
        ("float16", [2048, 65504, 0.1, nil], [2049, 65520.0, 1e9]),
        ("bfloat16", [256, 3.38e38, 0.1, nil], [257, 3.4e38]),
    ]

    @Test("each type of ONNX takes what it holds and nothing else", arguments: limits)
    func limitsOfTypes(type: String, fits: [Value], refused: [Value]) throws {
        let model = try ONNXModel(bytes: Models.identities)
        for (values, isFine) in [(fits, true), (refused, false)] {
            for value in values {
                var columns = identityColumns(rows: 1, middle: 1)
                let i = try #require(columns.firstIndex { $0.name == "s_\(type)_in" })
                let from: DataType
                switch value {
                case .int: from = .int64
                case .bool: from = .bool
                default: from = .float64
                }
                columns[i].column = try Column(from, values: [value])
                guard isFine else {
                    let error = try error(model, columns)
                    #expect(error.path == "s_\(type)_in[0]", "\(value): \(error)")
                    #expect(error.message.contains("'s_\(type)_in'"))
                    continue
                }
                let out = try #require(try model.run(Table(columns), wanted: ["s_\(type)"], until: soon).columns.first)
                let given = value.number ?? .nan
                let taken = out[0].number ?? .nan
                let tolerance: [String: Double] = ["float16": 1e-3, "bfloat16": 1e-2, "float": 1e-7]
                let isNear = taken == given || abs(taken - given) <= (tolerance[type] ?? 0) * abs(given)
                #expect(isNear || (taken.isNaN && given.isNaN), "\(value) as \(type) is \(taken)")
            }
        }
    }

    @Test("wide numbers of outputs are exact or refused by value and row")
    func wideOutputs() throws {
        let model = try ONNXModel(bytes: Models.wideNumbers)
        let x = Column(.float64, .float64([3, 0.1, 255]))
        let answer = try model.run(Table([("x", x)]), until: soon)
        #expect(answer["u"] == Column(.int64, .int64([3, 0, 255])))
        #expect(answer["c"] == Column(.int32, .int32([3, 0, 255])))
        #expect(floats(in: answer["b"]) == [3, 0.10009765625, 255])
        #expect(floats(in: answer["h"]) == [3, 0.0999755859375, 255])
        let error = try error(model, [("x", Column(.float64, .float64([1, 1e19])))], wanted: ["u"])
        #expect(error.message == "output 'u': 10000000000000000000 of row 1 does not fit in int64")
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
            let error = try error(model, columns)
            #expect(error.code == .invalidArgument && error.message.contains(says), "\(error)")
            #expect(error.path?.hasPrefix(name) == true)
        }
        let missing = try error(model, Array(good.dropLast()))
        #expect(missing.message == "there is no column for input 'word'")
        let wanted = try error(model, good, wanted: ["scald"])
        #expect(wanted.message == "the model has no output 'scald'" && wanted.hint == "did you mean 'scaled'?")
        let twice = try error(model, good, wanted: ["p", "p"])
        #expect(twice.message.contains("two columns of one name"))
        // A matrix among other inputs takes the columns that are left.
        let spread = good.dropFirst() + [("q", floats([1])), ("r", floats([2])), ("s", floats([3]))]
        #expect(try model.run(Table(Array(spread)), until: soon) == (try model.run(Table(good), until: soon)))
        let few = try error(model, Array(spread.dropLast()))
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
        let error = try error(model, [("image", tensors(.float32, [4, 1, 1], .float32([1, 2, 3, 4])))])
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
        #expect(try error(model, [("x", ragged)]).path == "x[1]")
        let none = Column(.list(.float32), .list(offsets: [0, 0, 0], values: floats([])))
        let answer = try model.run(Table([("x", none)]), until: soon)
        #expect(answer["y"]?.type == .tensor(.float32, shape: [0]) && answer.rowCount == 2)
        #expect(floats(in: answer["sum"]) == [0, 0])
        let element = Column(.list(.int64), .list(offsets: [0, 2, 4], values: Column(.int64, .int64([1, 2, 3, 1 << 60 + 1]))))
        #expect(try self.error(model, [("x", element)]).path == "x[1][1]")
    }

    @Test("shapes that no memory holds are refused")
    func overflowingShapes() throws {
        let model = try ONNXModel(bytes: Models.images)
        for shape in [[3, Int.max, 2], [3, 1 << 40, 1 << 40], [3, 0, Int.max], [3, 1 << 40, 1]] {
            let column = Column(.tensor(.float32, shape: shape), .list(offsets: [0, 6], values: floats([1, 2, 3, 4, 5, 6])))
            #expect(try error(model, [("image", column)]).path?.hasPrefix("image") == true)
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
        #expect(try error(four, [("x", tensors(.float32, [2], .float32([1, 2])))], wanted: ["s"]).message.contains("'s'"))
        // The row of an error is the table's.
        let x = Column(.list(.int64), .list(offsets: [0, 2, 4, 6], values: Column(.int64, .int64([1, 1, 1, 1, 1 << 60 + 1, 1]))))
        #expect(try error(ONNXModel(bytes: Models.fixed1), [("x", x)]).path == "x[2][0]")
        let disagreeing = try error(ONNXModel(bytes: Models.disagreeing), [("x", floats([1])), ("u", floats([1]))])
        #expect(disagreeing.message.contains("'x' and 'u' take 2 and 3 rows"))
    }

    @Test("an input of one value takes rows one at a time; rows of different shapes are no column")
    func singleValues() throws {
        let model = try ONNXModel(bytes: Models.ranges)
        #expect(
            try model.run(Table([("n", Column(.int32, .int32([3, 3])))]), until: soon)["r"]
                == tensors(.int64, [3], .int64([0, 1, 2, 0, 1, 2])))
        let error = try error(model, [("n", Column(.int64, .int64([3, 3, 4])))])
        #expect(error.message == "output 'r': its shape is [3] for the first row and [4] for row 2; a column has one shape")
    }

    // MARK: outputs

    @Test("outputs that no column holds are refused when asked for, and the others answer")
    func unreadableOutputs() throws {
        let model = try ONNXModel(bytes: Models.sequences)
        #expect(model.outputs.map(\.type) == [nil, .float32, nil])
        #expect(model.outputFields.map(\.name) == ["y"])
        #expect(try model.run(Table([("x", floats([1, 2]))]), until: soon) == (try Table([("y", floats([1, 2]))])))
        let error = try error(model, [("x", floats([1]))], wanted: ["y", "both"])
        #expect(error.message == "output 'both' is a sequence, which is not supported" && error.hint != nil)
        #expect(try self.error(model, [("x", floats([1]))], wanted: ["maybe"]).message.contains("'maybe' is an optional value"))

        let taking = try ONNXModel(bytes: Models.takesSequence)
        #expect(taking.inputFields.isEmpty)
        #expect(try self.error(taking, [("xs", floats([1]))]).message == "input 'xs' is a sequence, which is not supported")

        let deep = try ONNXModel(bytes: Models.deep)
        #expect(try deep.run(Table([("x", floats([1]))]), until: soon).names == ["y"])
        #expect(try self.error(deep, [("x", floats([1]))], wanted: ["nine"]).message.contains("a tensor of 9 dimensions"))
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
            var columns = identityColumns(rows: texts.count, middle: 1)
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

    // MARK: limits

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
            let error = try error(model, [("n", Column(.int64, .int64([n])))])
            #expect(error.message.hasPrefix("the model cannot run: "))
        }
        #expect(try model.run(Table([("n", Column(.int64, .int64([3])))]), until: soon).rowCount == 1)
    }

    @Test("threads share a model, each with its own table")
    func threads() async throws {
        let model = try ONNXModel(bytes: Models.textClasses)
        let people = try people
        let whole = try model.run(people, until: soon)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for i in 0..<16 {
                group.addTask {
                    for _ in 0..<50 {
                        let one = try model.run(people.taking(rows: [i % 5]), until: soon)
                        #expect(one["output_label"] == whole.taking(rows: [i % 5])["output_label"])
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    // MARK: properties

    /// The columns of the model that gives everything back.
    private func identityColumns(rows: Int, middle: Int, _ random: inout Seeded) -> [(name: String, column: Column)] {
        var columns: [(name: String, column: Column)] = []
        for (name, type) in ONNXTableTests.types {
            for (prefix, shape) in [("s", []), ("t", [middle, 2])] {
                let count = rows * shape.reduce(1, *)
                let elements = ONNXTableTests.elements(name, count, &random)
                columns.append(
                    (
                        "\(prefix)_\(name)_in",
                        shape.isEmpty
                            ? Column(type, elements)
                            : Column(
                                .tensor(type, shape: shape),
                                .list(offsets: (0...rows).map { $0 * middle * 2 }, values: Column(type, elements)))
                    ))
            }
        }
        return columns
    }

    private func identityColumns(rows: Int, middle: Int) -> [(name: String, column: Column)] {
        var random = Seeded(1)
        return identityColumns(rows: rows, middle: middle, &random)
    }

    private static let types: [(String, DataType)] = [
        ("float", .float32), ("double", .float64), ("float16", .float32), ("bfloat16", .float32), ("int8", .int32), ("int16", .int32),
        ("int32", .int32), ("int64", .int64), ("uint8", .int32), ("uint16", .int32), ("uint32", .int64), ("uint64", .int64),
        ("bool", .bool),
        ("string", .string),
    ]

    /// Random elements that the type holds exactly.
    private static func elements(_ type: String, _ count: Int, _ random: inout Seeded) -> Column.Buffer {
        func int32(_ range: ClosedRange<Int32>) -> Column.Buffer { .int32((0..<count).map { _ in .random(in: range, using: &random) }) }
        func int64(_ range: ClosedRange<Int64>) -> Column.Buffer { .int64((0..<count).map { _ in .random(in: range, using: &random) }) }
        switch type {
        case "float": return .float32((0..<count).map { _ in Float(bitPattern: UInt32.random(in: 0...0x7f7f_ffff, using: &random)) })
        case "double": return .float64((0..<count).map { _ in Double(Int64.random(in: .min ... .max, using: &random)) / 1024 })
        case "float16": return .float32((0..<count).map { _ in Float(Int.random(in: -2048...2048, using: &random)) / 64 })
        case "bfloat16": return .float32((0..<count).map { _ in Float(bitPattern: UInt32.random(in: 0...0x7f7f, using: &random) << 16) })
        case "int8": return int32(-128...127)
        case "int16": return int32(-32768...32767)
        case "int32": return int32(.min ... .max)
        case "int64": return int64(.min ... .max)
        case "uint8": return int32(0...255)
        case "uint16": return int32(0...65535)
        case "uint32": return int64(0...4_294_967_295)
        case "uint64": return int64(0 ... .max)
        case "bool": return .bool((0..<count).map { _ in Bool.random(using: &random) })
        default:
            var texts = TextBuffer()
            let letters = ["", "a", "\u{0}", "ö", "𝄞", "long text without an end", "\n"]
            for _ in 0..<count {
                texts.append((0..<Int.random(in: 0...3, using: &random)).map { _ in letters.randomElement(using: &random) ?? "" }.joined())
            }
            return .text(texts)
        }
    }

    @Test("random tables of every type go through a model unchanged", arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func roundTrips(seed: UInt64) throws {
        let model = try ONNXModel(bytes: Models.identities)
        var random = Seeded(seed)
        for _ in 0..<20 {
            let (rows, middle) = (Int.random(in: 1...9, using: &random), Int.random(in: 0...4, using: &random))
            let columns = identityColumns(rows: rows, middle: middle, &random)
            // In another order than the model's.
            let answer = try model.run(Table(columns.shuffled(using: &random)), until: soon)
            #expect(answer.names == model.outputs.map(\.name))
            for (name, column) in columns {
                let output = String(name.dropLast(3))
                #expect(answer[output] == column, "\(output), seed \(seed), \(rows) rows of \(middle)")
            }
        }
    }
}
