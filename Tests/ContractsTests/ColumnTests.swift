import Contracts
import Testing

@Suite struct ColumnTests {
    @Test func aRowThatDoesNotFitLeavesTheTableAsItWas() throws {
        var table = Table(emptyOf: [Field("id", .int32), Field("tags", .list(.string)), Field("x", .float64)])
        try table.append(row: [1, .list(["a", nil]), 2])
        let error = #expect(throws: KeelError.self) { try table.append(row: [2, .list(["b", 3]), 1.5]) }
        #expect(error?.path == "tags[1]")
        #expect(throws: KeelError.self) { try table.append(row: [.int(1 << 40), .list([]), 1.5]) }
        #expect(table.rowCount == 1)
        try table.append(row: [nil, .list(["c"]), nil])
        #expect(table.row(0) == [1, .list(["a", nil]), 2.0])
        #expect(table.row(1) == [nil, .list(["c"]), nil])
    }

    @Test("a shape of more values than a number can count is refused as any other that does not fit", arguments: [[1 << 40, 1 << 40], [2, .max]])
    func hugeShapes(shape: [Int]) throws {
        let rows = Column(.tensor(.float64, shape: [2]), .list(offsets: [0, 2], values: Column(.float64, .float64([1, 2]))))
        let error = #expect(throws: KeelError.self) { try rows.converted(to: .tensor(.float64, shape: shape), name: "x") }
        #expect(error?.code == .contractViolation && error?.path == "x")
        // Also one that a table without rows says of itself.
        let none = Column(.tensor(.float64, shape: shape), .list(offsets: [0], values: Column(.float64)))
        #expect(throws: KeelError.self) { try none.converted(to: .tensor(.float64, shape: [2]), name: "x") }
    }

    @Test("numbers become float32 by whole columns as they would one by one")
    func floats() throws {
        let largest = Double(Float.greatestFiniteMagnitude)
        // What rounds down to the largest float fits, what rounds up to infinity does not.
        let fitting: [Double] = [0, -0.0, 1.5, 1e-50, largest, -largest, largest.nextUp, .infinity, -.infinity, 16_777_217]
        let column = try Column(.float64, values: fitting.map(Value.double) + [.null])
        let floats = try column.converted(to: .float32, name: "x")
        #expect(floats.type == .float32 && (0..<floats.count).map { floats[$0] } == fitting.map { .double(Double(Float($0))) } + [.null])
        for value in [1e39, -1e39, largest * (1 + 1e-7)] {
            let error = #expect(throws: KeelError.self) { try Column(.float64, .float64([1, value])).converted(to: .float32, name: "x") }
            #expect(error?.code == .invalidArgument && error?.path == "x[1]")
        }
        let whole: [Int64] = [0, 16_777_217, 9_007_199_791_611_905, .max, .min]
        #expect(try Column(.int64, .int64(whole)).converted(to: .float32, name: "x") == Column(.float32, .float32(whole.map { Float(Double($0)) })))
    }

    @Test("a float beyond 2⁵³ is no whole number: it stands for several")
    func wholeNumbers() throws {
        let exact: [Double] = [0, -1, 9_007_199_254_740_992, -9_007_199_254_740_992]
        #expect(try Column(.float64, .float64(exact)).converted(to: .int64, name: "n") == Column(.int64, .int64(exact.map { Int64($0) })))
        for value in [9_007_199_254_740_994, -0x1p63, 0x1p63, 0.5] {
            #expect(throws: KeelError.self) { try Column(.float64, .float64([value])).converted(to: .int64, name: "n") }
        }
    }

    /// Appending must not copy what is there: with a copy each time these would take hours.
    @Test func columnsGrowInConstantTimeARow() throws {
        var table = Table(emptyOf: [Field("id", .int64), Field("name", .string), Field("tags", .list(.int64))])
        for i in 0..<200_000 { try table.append(row: [.int(Int64(i)), "a text of some length", .list([.int(Int64(i))])]) }
        #expect(table.rowCount == 200_000)
        #expect(table.row(199_999) == [199_999, "a text of some length", .list([199_999])])
    }
}
