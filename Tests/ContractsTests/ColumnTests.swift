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

    /// Appending must not copy what is there: with a copy each time these would take hours.
    @Test func columnsGrowInConstantTimeARow() throws {
        var table = Table(emptyOf: [Field("id", .int64), Field("name", .string), Field("tags", .list(.int64))])
        for i in 0..<200_000 { try table.append(row: [.int(Int64(i)), "a text of some length", .list([.int(Int64(i))])]) }
        #expect(table.rowCount == 200_000)
        #expect(table.row(199_999) == [199_999, "a text of some length", .list([199_999])])
    }
}
