import Contracts
import Engines
import Foundation
import TestSupport
import Testing

@Suite("Values and the types of ONNX") struct ONNXTypeTests {
    private typealias Models = ONNXTestModels

    @Test("values that a type does not hold are refused by column and row")
    func exactNumbers() throws {
        let model = try ONNXModel(bytes: tinyModel())
        let error = try failure(
            model,
            [
                ("a", floats([1, 2])), ("b", Column(.int64, .int64([5, 16_777_217]))), ("c", floats([1, 2])),
            ])
        #expect(error.path == "b[1]" && error.message == "16777217 does not fit; input 'x' takes float32")
        let far = try failure(model, [("a", floats([1])), ("b", Column(.float64, .float64([1e39]))), ("c", floats([1]))])
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
                var columns = ONNXIdentityColumns.make(rows: 1, middle: 1)
                let i = try #require(columns.firstIndex { $0.name == "s_\(type)_in" })
                let from: DataType
                switch value {
                case .int: from = .int64
                case .bool: from = .bool
                default: from = .float64
                }
                columns[i].column = try Column(from, values: [value])
                guard isFine else {
                    let error = try failure(model, columns)
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
        let error = try failure(model, [("x", Column(.float64, .float64([1, 1e19])))], wanted: ["u"])
        #expect(error.message == "output 'u': 10000000000000000000 of row 1 does not fit in int64")
    }

    @Test("random tables of every type go through a model unchanged", arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func roundTrips(seed: UInt64) throws {
        let model = try ONNXModel(bytes: Models.identities)
        var random = Seeded(seed)
        for _ in 0..<20 {
            let (rows, middle) = (Int.random(in: 1...9, using: &random), Int.random(in: 0...4, using: &random))
            let columns = ONNXIdentityColumns.make(rows: rows, middle: middle, &random)
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
