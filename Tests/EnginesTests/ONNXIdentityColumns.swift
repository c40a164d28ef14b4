import Contracts
import TestSupport

/// Columns of every type, for the model that gives everything back.
enum ONNXIdentityColumns {
    static func make(rows: Int, middle: Int, _ random: inout Seeded) -> [(name: String, column: Column)] {
        var columns: [(name: String, column: Column)] = []
        for (name, type) in ONNXIdentityColumns.types {
            for (prefix, shape) in [("s", []), ("t", [middle, 2])] {
                let count = rows * shape.reduce(1, *)
                let elements = ONNXIdentityColumns.elements(name, count, &random)
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

    static func make(rows: Int, middle: Int) -> [(name: String, column: Column)] {
        var random = Seeded(1)
        return make(rows: rows, middle: middle, &random)
    }

    static let types: [(String, DataType)] = [
        ("float", .float32), ("double", .float64), ("float16", .float32), ("bfloat16", .float32), ("int8", .int32), ("int16", .int32),
        ("int32", .int32), ("int64", .int64), ("uint8", .int32), ("uint16", .int32), ("uint32", .int64), ("uint64", .int64),
        ("bool", .bool),
        ("string", .string),
    ]

    /// Random elements that the type holds exactly.
    static func elements(_ type: String, _ count: Int, _ random: inout Seeded) -> Column.Buffer {
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
}
