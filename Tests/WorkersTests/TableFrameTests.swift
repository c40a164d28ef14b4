import Contracts
import TestSupport
import Testing
import Workers

@Suite("Tables as bytes")
struct TableFrameTests {
    private static let scalars: [DataType] = [.bool, .int32, .int64, .float32, .float64, .string, .bytes, .date, .timestamp]

    private static func value(_ type: DataType, _ random: inout Seeded, depth: Int = 0) -> Value {
        switch type {
        case .bool: return .bool(Bool.random(using: &random))
        case .int32:
            return .int([Int64(Int32.min), Int64(Int32.max), 0, Int64.random(in: -99...99, using: &random)].randomElement(using: &random)!)
        case .int64:
            return .int([Int64.min, Int64.max, 1 << 53 + 1, Int64.random(in: -99...99, using: &random)].randomElement(using: &random)!)
        case .float32:
            return .double([0.5, -.infinity, Double(Float.greatestFiniteMagnitude), Double(Float(0.1))].randomElement(using: &random)!)
        case .float64: return .double([0.1, .infinity, -0.0, .leastNonzeroMagnitude, 1e300].randomElement(using: &random)!)
        case .string:
            return .string(
                ["", "a", "naïve", "日本語", "👩‍🔬", "with \0 zero", String(repeating: "x", count: 100)].randomElement(using: &random)!)
        case .bytes: return .bytes((0..<Int.random(in: 0...9, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
        case .date: return .date([CivilDate.range.lowerBound, CivilDate.range.upperBound, 0, -1].randomElement(using: &random)!)
        case .timestamp:
            return .timestamp([Timestamp.distantPast, .distantFuture, Timestamp(microseconds: 1)].randomElement(using: &random)!)
        case .list(let element):
            return .list((0..<Int.random(in: 0...3, using: &random)).map { _ in maybe(element, &random) })
        case .tensor(let element, let shape):
            let count = shape.reduce(1) { $0 * ($1 == -1 ? Int.random(in: 0...2, using: &random) : $1) }
            return .list((0..<count).map { _ in maybe(element, &random) })
        }
    }

    private static func maybe(_ type: DataType, _ random: inout Seeded) -> Value {
        Int.random(in: 0..<5, using: &random) == 0 ? .null : value(type, &random)
    }

    private static func table(_ random: inout Seeded) throws -> Table {
        let rows = [0, 1, 7, 8, 9, 63, 64, 65, 200].randomElement(using: &random)!
        var pairs: [(name: String, column: Column)] = []
        for i in 0..<Int.random(in: 1...6, using: &random) {
            var type = scalars.randomElement(using: &random)!
            switch Int.random(in: 0..<5, using: &random) {
            case 0: type = .list(type)
            case 1: type = .list(.list(type))
            case 2: type = .tensor(type, shape: [[2], [2, 3], [-1], [-1, 2]].randomElement(using: &random)!)
            default: break
            }
            let hasNulls = Bool.random(using: &random)
            let values = (0..<rows).map { _ in hasNulls ? maybe(type, &random) : value(type, &random) }
            pairs.append(("c\(i) 'é", try Column(type, values: values)))
        }
        return try Table(pairs)
    }

    private static func rows(_ table: Table) -> [[Value]] { (0..<table.rowCount).map { table.row($0) } }

    private func encoded(_ table: Table) -> (layout: JSON, body: [UInt8]) {
        var body: [UInt8] = []
        return (TableFrame.encode(table, to: &body), body)
    }

    @Test("every type comes back as it was, with its missing values, lists and tensors", arguments: 0..<200)
    func roundTrip(seed: UInt64) throws {
        var random = Seeded(seed)
        let table = try Self.table(&random)
        let (layout, body) = encoded(table)
        #expect(body.count % 8 == 0)
        // The layout passes through text on its way.
        let back = try TableFrame.decode(try JSON.parse(layout.bytes), body)
        #expect(back.names == table.names && back.columns.map(\.type) == table.columns.map(\.type))
        #expect(Self.rows(back) == Self.rows(table))
        #expect(try TableFrame.decode(["rows": 0, "columns": []], []).rowCount == 0)
    }

    @Test("NaN stays NaN, and a null is none")
    func nan() throws {
        let column = Column(.float32, .float32([.nan, 1, .nan]), validity: Bitmap(words: [0b011], count: 3))
        let (layout, body) = encoded(try Table([("x", column)]))
        let back = try TableFrame.decode(layout, body)["x"]
        #expect(back?.isValid(0) == true && back?.isValid(2) == false)
        guard case .float32(let values) = back?.buffer else {
            Issue.record("not float32")
            return
        }
        #expect(values[0].isNaN && values[1] == 1)
    }

    /// A table of one column from parts that may lie.
    private func decode(_ type: JSON, rows: JSON, _ buffers: JSON, _ body: [UInt8], name: JSON = "x") throws -> Table {
        try TableFrame.decode(["rows": rows, "columns": [["name": name, "type": type, "buffers": buffers]]], body)
    }

    private func refusal(_ type: JSON, rows: JSON, _ buffers: JSON, _ body: [UInt8], name: JSON = "x") -> String {
        do {
            _ = try decode(type, rows: rows, buffers, body, name: name)
            return "taken"
        } catch let error as KeelError {
            #expect(error.code == .contractViolation)
            return error.description
        } catch { return "\(error)" }
    }

    private func words(_ values: Int64...) -> [UInt8] { values.flatMap { value in withUnsafeBytes(of: value) { Array($0) } } }

    @Test("what lies about itself is refused, and says where")
    func lies() throws {
        let one = words(1)
        #expect(try decode("int64", rows: 1, [0, 8], one)["x"]?[0] == 1)
        let huge: JSON = .int(.max)
        #expect(refusal("int64", rows: huge, [0, 8], one).contains("rows do not fit"))
        #expect(refusal("int64", rows: -1, [0, 8], one).contains("-1 rows"))
        #expect(refusal("int64", rows: 2, [0, 8], one).contains("8 bytes instead of 16"))
        #expect(refusal("int64", rows: 1, [0, huge], one).contains("instead of 8"))
        #expect(refusal("bytes", rows: 1, [0, 16, huge], words(0, .max)).contains("positions"))
        #expect(refusal("bytes", rows: 1, [0, 16, 100], words(0, 100)).contains("positions"))
        #expect(refusal("bytes", rows: 1, [0, 16, 8], words(0, 8)).contains("more than there are"))
        #expect(refusal("bytes", rows: 2, [0, 24, 8], words(0, 9, 8, 0)).contains("fall at row 1"))
        #expect(refusal("bytes", rows: 1, [0, 16, 8], words(-1, 8, 0)).contains("positions"))
        #expect(refusal("int64", rows: 1, [0], one).contains("missing"))
        #expect(refusal("int64", rows: 1, [0, 8, 0], one).contains("does not have"))
        #expect(refusal("int64", rows: 1, [0, 8], words(1, 2)).contains("belong to no column"))
        #expect(refusal("int64", rows: 1, [0, -8], one).contains("no whole number"))
        #expect(refusal("int64", rows: 1, [0, 8.5], one).contains("no whole number"))
        #expect(refusal("int64", rows: 1, [2, 8], words(1, 1)).contains("2 bytes instead of 1"))
        #expect(refusal("int65", rows: 1, [0, 8], one).contains("'int65' is not a type"))
        #expect(refusal(.string(String(repeating: "list<", count: 100_000)), rows: 1, [0, 8], one).contains("is not a type"))
        #expect(
            refusal(.string(String(repeating: "list<", count: 30) + "int64" + String(repeating: ">", count: 30)), rows: 1, [0, 8], one)
                != "taken")
        #expect(refusal(8, rows: 1, [0, 8], one).contains("no type"))
        #expect(refusal("int64", rows: 1, [0, 8], one, name: 8).contains("no name"))
        #expect(refusal("int64", rows: 1, [0, 8], one, name: .string(String(repeating: "x", count: 2000))).contains("no name"))
        #expect(refusal("bool", rows: 1, [0, 1], one.map { $0 * 2 }).contains("neither 0 nor 1"))
        #expect(refusal("timestamp", rows: 1, [0, 8], words(.min)).contains("years 0001"))
        #expect(try decode("timestamp", rows: 1, [1, 8], words(0, .min))["x"]?[0] == .null)
        #expect(refusal("tensor<float32, 3>", rows: 1, [0, 16, 0, 8], words(0, 2, 0)).contains("shape"))
        #expect(refusal(.string("tensor<float32, \(Int.max)x\(Int.max)>"), rows: 1, [0, 16, 0, 8], words(0, 2, 0)).contains("shape"))
        let twice: JSON = ["name": "x", "type": "int64", "buffers": [0, 8]]
        #expect(throws: KeelError.self) { try TableFrame.decode(["rows": 1, "columns": [twice, twice]], words(1, 2)) }
        #expect(throws: KeelError.self) { try TableFrame.decode(["rows": 5, "columns": []], words(1)) }
        #expect(throws: KeelError.self) { try TableFrame.decode("x", []) }
    }

    @Test("texts are UTF-8, each for itself")
    func texts() {
        let smile = Array("é".utf8)
        #expect(refusal("string", rows: 1, [0, 16, 2], words(0, 2) + [0xff, 0xfe, 0, 0, 0, 0, 0, 0]).contains("not UTF-8"))
        // Two halves of one character are no texts, though all bytes together are one.
        #expect(refusal("string", rows: 2, [0, 24, 2], words(0, 1, 2) + smile + [0, 0, 0, 0, 0, 0]).contains("row 1 begins within"))
    }

    @Test("bytes that were changed anywhere make an error or another table, and never end the process", arguments: 0..<150)
    func mutated(seed: UInt64) throws {
        var random = Seeded(seed)
        let (layout, body) = encoded(try Self.table(&random))
        let text = layout.bytes
        for _ in 0..<40 {
            var (header, bytes) = (text, body)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                switch Int.random(in: 0..<5, using: &random) {
                case 0 where !bytes.isEmpty:
                    bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
                case 1 where !bytes.isEmpty: bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
                case 2: bytes += (0..<8).map { _ in UInt8.random(in: 0...255, using: &random) }
                case 3 where !header.isEmpty:
                    header[Int.random(in: header.indices, using: &random)] = UInt8.random(in: 32...126, using: &random)
                default:
                    // Numbers are what counts are made of.
                    let digits = header.indices.filter { header[$0] >= 48 && header[$0] <= 57 }
                    if let at = digits.randomElement(using: &random) { header.insert(contentsOf: "9999".utf8, at: at) }
                }
            }
            guard let json = try? JSON.parse(header) else { continue }
            do {
                let table = try TableFrame.decode(json, bytes)
                // What is taken can be read and written again.
                #expect(Self.rows(table).count == table.rowCount)
                _ = encoded(table)
            } catch { #expect(error.code == .contractViolation) }
        }
    }
}
