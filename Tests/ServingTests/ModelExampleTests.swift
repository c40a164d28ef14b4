import Contracts
import Serving
import Testing

@Suite("Rows to try a model that has no example")
struct ModelExampleTests {
    private func made(_ type: DataType) -> Table? { ModelExample.made(for: Signature(inputs: [Signature.Input("x", type)], outputs: [])) }

    @Test("an input has rows of its type and shape")
    func plain() throws {
        #expect(try #require(made(.tensor(.float32, shape: [3, 2])))["x"]?[1] == .list(Array(repeating: 1.0, count: 6)))
        #expect(made(.float64)?.rowCount == 8)
    }

    @Test("a shape that is free, too large, or larger than a number can count has none", arguments: [[-1], [1 << 30], [1 << 40, 1 << 40], [2, .max]])
    func large(shape: [Int]) {
        #expect(made(.tensor(.float32, shape: shape)) == nil)
    }
}
