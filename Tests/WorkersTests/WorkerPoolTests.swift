import Contracts
import Foundation
import Testing
import Workers

@Suite("Workers", .enabled(if: TestPython.isThere, "scripts/bootstrap --tests installs the Python"))
struct WorkerPoolTests {
    private static let double = """
        import pandas as pd
        def predict(data, params=None):
            return data * (params or {}).get("by", 2)
        """

    @Test("a model is called with a table and answers with one")
    func answers() async throws {
        let pool = try await pool(Self.double)
        try await pool.start()
        let input = try table(["x": Column(.float64, .float64([1, 2.5])), "n": Column(.int64, .int64([1, .max / 4]))])
        let answer = try pool.call(input, until: soon())
        #expect(answer.names == ["x", "n"])
        #expect(answer["x"]?.buffer == .float64([2, 5]) && answer["n"]?.buffer == .int64([2, .max / 4 * 2]))
        #expect(try pool.call(input, params: ["by": 3], until: soon())["x"]?.buffer == .float64([3, 7.5]))
        try pool.ping(until: soon())
        #expect(pool.status.ready == 1 && pool.status.calls == 2 && pool.status.failures == 0 && pool.status.starts == 1)
        await pool.stop()
        let error = #expect(throws: KeelError.self) { try pool.call(input, until: soon()) }
        #expect(error?.code == .unavailable)
    }
}
