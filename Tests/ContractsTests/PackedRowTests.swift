import Contracts
import TestSupport
import Testing

@Suite("Rows in their short form")
struct PackedRowTests {
    private static func value(_ random: inout Seeded, depth: Int = 0) -> Value {
        switch Int.random(in: 0...(depth < 3 ? 10 : 9), using: &random) {
        case 0: .null
        case 1: .bool(.random(using: &random))
        case 2: .int(.random(in: -200...200, using: &random))
        case 3: .int(.random(in: .min ... .max, using: &random))
        case 4: .double(Double(Float.random(in: -1e6...1e6, using: &random)))
        case 5: .double(.random(in: -1e300...1e300, using: &random))
        case 6: .string(String(repeating: "é", count: .random(in: 0...9, using: &random)))
        case 7: .bytes((0..<Int.random(in: 0...9, using: &random)).map { _ in .random(in: .min ... .max, using: &random) })
        case 8: .date(.random(in: -100_000...100_000, using: &random))
        case 9: .timestamp(Timestamp(microseconds: .random(in: -1_000_000_000_000...1_000_000_000_000, using: &random)))
        default: .list((0..<Int.random(in: 0...4, using: &random)).map { _ in value(&random, depth: depth + 1) })
        }
    }

    @Test("any values come back as they were; NaN is a missing value")
    func roundTrip() throws {
        var random = Seeded(11)
        for _ in 0..<2000 {
            let row = (0..<Int.random(in: 0...12, using: &random)).map { _ in PackedRowTests.value(&random) }
            #expect(try PackedRow(row).values() == row)
        }
        #expect(try PackedRow([.double(.nan), .double(-.infinity)]).values() == [.null, .double(-.infinity)])
    }

    @Test("a row of a table is packed as its values are")
    func tables() throws {
        let columns: [(String, DataType, [Value])] = [
            ("a", .float64, [0.1, nil]), ("b", .int32, [7, 300]), ("c", .string, ["x", nil]), ("d", .timestamp, [.timestamp(.init(microseconds: 5)), nil]),
            ("e", .tensor(.float32, shape: [2]), [.list([1.5, 2.5]), .list([3, 4])]), ("f", .bool, [true, false]), ("g", .date, [.date(3), nil]),
        ]
        let table = try Table(try columns.map { (name: $0.0, column: try Column($0.1, values: $0.2)) })
        for i in 0..<2 {
            #expect(PackedRow(table, row: i) == PackedRow(table.row(i)))
            #expect(try PackedRow(table, row: i).values() == table.row(i))
        }
        // A row of floats takes a byte more than each.
        #expect(PackedRow([1.5, 0.25, -3.0]).bytes.count == 15)
    }

    @Test("damaged bytes are an error and never a crash")
    func damage() throws {
        var random = Seeded(12)
        var refused = 0
        for _ in 0..<20_000 {
            var bytes = PackedRow((0..<4).map { _ in PackedRowTests.value(&random) }).bytes
            for _ in 0..<2 where !bytes.isEmpty { bytes[.random(in: 0..<bytes.count, using: &random)] = .random(in: .min ... .max, using: &random) }
            do { _ = try PackedRow(bytes: Array(bytes.dropLast(.random(in: 0...2, using: &random)))).values() } catch { refused += 1 }
        }
        #expect(refused > 5000)
        // A list that says it is longer than all memory.
        #expect(throws: KeelError.self) { try PackedRow(bytes: [11, 0xff, 0xff, 0xff, 0xff]).values() }
    }
}

@Suite("Columns as other types")
struct ConversionTests {
    @Test("what an API parses becomes the type of a signature, and what does not fit is named by its row")
    func conversions() throws {
        func convert(_ type: DataType, _ values: [Value], to wanted: DataType) throws -> [Value] {
            let column = try Column(type, values: values).converted(to: wanted, name: "c")
            // The shape of a column is that of its rows; only a signature has free dimensions.
            #expect(column.type == wanted || wanted == .tensor(.float32, shape: [-1]) && column.type == .tensor(.float32, shape: [2]))
            return (0..<column.count).map { column[$0] }
        }
        #expect(try convert(.int64, [1, nil], to: .float64) == [1.0, nil])
        #expect(try convert(.float64, [2.0, 3.0], to: .int32) == [2, 3])
        #expect(try convert(.int64, [0, 1], to: .bool) == [false, true])
        #expect(try convert(.string, ["2013-04-01T00:00:00Z"], to: .timestamp) == [.timestamp(Timestamp("2013-04-01T00:00:00Z")!)])
        #expect(try convert(.float64, [nil, nil], to: .string) == [nil, nil])
        #expect(try convert(.float64, [1.5], to: .tensor(.float32, shape: [1])) == [.list([1.5])])
        #expect(try convert(.tensor(.float64, shape: [1]), [.list([1.5]), .list([2])], to: .float32) == [1.5, 2.0])
        #expect(try convert(.tensor(.int64, shape: [2]), [.list([1, 2])], to: .tensor(.float32, shape: [-1])) == [.list([1.0, 2.0])])
        func error(_ type: DataType, _ values: [Value], to wanted: DataType) throws -> KeelError {
            try #require(throws: KeelError.self) { _ = try Column(type, values: values).converted(to: wanted, name: "c") }
        }
        #expect(try error(.int64, [1, 9_007_199_254_740_993], to: .float64).path == "c[1]")
        #expect(try error(.float64, [1.0, 1.5], to: .int64).code == .invalidArgument)
        #expect(try error(.float64, [1e39], to: .float32).path == "c")
        #expect(try error(.string, ["a"], to: .float64).code == .contractViolation)
        #expect(try error(.tensor(.float64, shape: [3]), [.list([1, 2, 3])], to: .tensor(.float64, shape: [2])).code == .contractViolation)
    }

    @Test("rows of several tables in one, and apart again, are what they were")
    func joining() throws {
        var random = Seeded(5)
        let types: [DataType] = [.bool, .int32, .int64, .float32, .float64, .string, .timestamp, .list(.string), .tensor(.float64, shape: [2])]
        func value(_ type: DataType) -> Value {
            switch type {
            case .bool: .bool(.random(using: &random))
            case .string: .string("t\(Int.random(in: 0...99, using: &random))")
            case .timestamp: .timestamp(Timestamp(microseconds: .random(in: 0...99, using: &random)))
            case .list(let element): .list((0..<Int.random(in: 0...3, using: &random)).map { _ in value(element) })
            case .tensor(let element, let shape): .list((0..<shape.reduce(1, *)).map { _ in value(element) })
            case .float32, .float64: .double(Double(Int.random(in: 0...99, using: &random)))
            default: .int(.random(in: 0...99, using: &random))
            }
        }
        for _ in 0..<50 {
            let tables = try (0..<3).map { _ in
                let rows = Int.random(in: 0...5, using: &random)
                return try Table(
                    try types.enumerated().map { i, type in
                        (name: "c\(i)", column: try Column(type, values: (0..<rows).map { _ in Int.random(in: 0...4, using: &random) == 0 ? .null : value(type) }))
                    })
            }
            let joined = Table(joining: tables)
            #expect(joined.rowCount == tables.reduce(0) { $0 + $1.rowCount })
            var start = 0
            for table in tables {
                let part = joined.rows(start..<start + table.rowCount)
                #expect((0..<table.rowCount).allSatisfy { part.row($0) == table.row($0) } && part.rowCount == table.rowCount)
                start += table.rowCount
            }
        }
    }
}
