import Contracts
import Testing
import Workflows

@Suite("Examples that are logged with a model")
struct ExampleFileTests {
    private let fields = [Field("t", .tensor(.float64, shape: [-1, 2]))]

    @Test("rows of nested lists are tensors of their shape")
    func nested() throws {
        let json = try #require(ExampleFile.json(Array(#"{"inputs": [[[1, 2], [3, NaN]], [[5, 6], [7, 8]]]}"#.utf8)))
        let table = try #require(ExampleFile.table(json, fields))
        #expect(table["t"]?.type == .tensor(.float64, shape: [2, 2]))
        #expect(table["t"]?[1] == .list([5.0, 6.0, 7.0, 8.0]))
    }

    /// The first list of each level is long: together they say more values than a number can count, and hold few thousand.
    @Test("lists of different lengths are no tensor, whatever their first ones say")
    func ragged() throws {
        var inner = "[" + Array(repeating: "1", count: 600).joined(separator: ",") + "]"
        for _ in 0..<7 { inner = "[" + inner + String(repeating: ",[]", count: 599) + "]" }
        let json = try #require(ExampleFile.json(Array("[\(inner)]".utf8)))
        #expect(ExampleFile.table(json, fields) == nil)
    }
}
