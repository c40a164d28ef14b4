import Contracts
import Foundation
import Testing
import Workers

@Suite("What a model takes and gives", .enabled(if: TestPython.isThere, "scripts/bootstrap --tests installs the Python"))
struct WorkerTypesTests {
    /// Answers with what the Python expression in the parameter `do` gives; `data` is what the model was called with.
    private static let evaluator = """
        import numpy as np, pandas as pd, datetime, decimal
        import scipy.sparse
        def predict(data, params=None):
            return eval(params["do"])
        """

    private static let shared = Task {
        let pool = try await pool(evaluator)
        try await pool.start()
        return pool
    }

    private func ask(_ code: String, _ table: Table? = nil) async throws -> Table {
        let input = try table ?? Table([("x", Column(.int64, .int64([1])))])
        return try await Self.shared.value.ask(input, params: ["do": .string(code)])
    }

    private func text(_ code: String, _ table: Table) async throws -> String {
        try await ask("[repr(\(code))]", table)["predictions"]?[0].text ?? ""
    }

    @Test("a column of every type becomes what pandas has for it, and comes back as it was")
    func back() async throws {
        let values: [(DataType, [Value])] = [
            (.bool, [true, false]), (.int32, [1, -7]), (.int64, [.int(.min), .int(1 << 53 + 1)]),
            (.float32, [.double(Double(Float(0.1))), 2]),
            (.float64, [0.1, .double(.infinity)]), (.string, ["", "naïve 日本"]), (.bytes, [.bytes([0, 255]), .bytes([])]),
            (.timestamp, [.timestamp(Timestamp(microseconds: 1)), .timestamp(Timestamp(microseconds: -1))]),
            (.list(.int64), [.list([1, 2]), .list([3])]), (.list(.string), [.list(["a", "b"]), .list(["c"])]),
        ]
        var pairs = try values.map { (name: "\($0.0)", column: try Column($0.0, values: $0.1)) }
        pairs.append((name: "tensor", column: try Column(.tensor(.float32, shape: [2]), values: [.list([1, 2]), .list([3, 4])])))
        let table = try Table(pairs)
        let back = try await ask("data", table)
        #expect(back.names == table.names)
        for name in table.names where name != "tensor" {
            #expect(back[name]?.type == table[name]?.type, "\(name)")
            #expect((0..<2).map { back[name]?[$0] } == (0..<2).map { table[name]?[$0] }, "\(name)")
        }
        // A column of arrays in a data frame is a list of numbers.
        #expect(back["tensor"]?[1] == .list([3.0, 4.0]))
        #expect(
            try await text("[str(d) for d in data.dtypes]", table)
                == "['bool', 'int32', 'int64', 'float32', 'float64', 'object', 'object', 'datetime64[us]', 'object', 'object', 'object']")
    }

    @Test("a missing value is what pandas has for it, and comes back missing")
    func missing() async throws {
        let types: [(DataType, Value)] = [
            (.bool, true), (.int32, 1), (.int64, .int(1 << 53 + 1)), (.string, "a"), (.bytes, .bytes([1])),
            (.timestamp, .timestamp(Timestamp(seconds: 1))),
            (.list(.int64), .list([1])),
        ]
        let table = try Table(types.map { (name: "\($0.0)", column: try Column($0.0, values: [$0.1, .null])) })
        let back = try await ask("data", table)
        for (type, value) in types {
            #expect(back["\(type)"]?.type == type, "\(type)")
            #expect(back["\(type)"]?[0] == value && back["\(type)"]?[1] == .null, "\(type)")
        }
        #expect(
            try await text("[str(d) for d in data.dtypes]", table)
                == "['boolean', 'Int32', 'Int64', 'object', 'object', 'datetime64[us]', 'object']")
        let floats = try Table([("f", try Column(.float32, values: [1, .null])), ("d", try Column(.date, values: [.date(1), .null]))])
        #expect(
            try await text("[str(d) for d in data.dtypes] + data.isna().values.tolist()", floats)
                == "['float32', 'datetime64[s]', [False, False], [True, True]]")
    }

    @Test("what a model gives becomes columns")
    func results() async throws {
        func column(_ code: String, _ name: String = "predictions") async throws -> Column? { try await ask(code)[name] }
        let cases: [(code: String, type: DataType, values: [Value])] = [
            ("[1, 2]", .int64, [1, 2]), ("[1, None]", .int64, [1, .null]), ("[1, 2.5]", .float64, [1.0, 2.5]),
            ("[True, None]", .bool, [true, .null]),
            ("['a', None]", .string, ["a", .null]), ("['a', float('nan')]", .string, ["a", .null]), ("5", .int64, [5]),
            ("'text'", .string, ["text"]),
            ("np.float32(2.5)", .float32, [2.5]), ("np.array([1, 2], dtype='int8')", .int32, [1, 2]),
            ("np.array([1, 2], dtype='uint32')", .int64, [1, 2]),
            ("np.array([1.5], dtype='float16')", .float32, [1.5]), ("np.array([b'ab'])", .bytes, [.bytes([97, 98])]),
            ("np.array(['a', 'bc'])", .string, ["a", "bc"]),
            ("np.array(['1970-01-02', 'NaT'], dtype='datetime64[ns]')", .timestamp, [.timestamp(Timestamp(day: 1)), .null]),
            ("[datetime.date(1970, 1, 2)]", .date, [.date(1)]), ("[decimal.Decimal('1.5')]", .float64, [1.5]),
            (
                "[datetime.datetime(1970, 1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))]", .timestamp,
                [.timestamp(Timestamp(seconds: 0))]
            ),
            ("pd.Series([1, None], dtype='Int64')", .int64, [1, .null]), ("pd.Series(['a', 'b'], dtype='category')", .string, ["a", "b"]),
            ("pd.Series(['a', None], dtype='string')", .string, ["a", .null]),
            ("pd.Series([1.5, None], dtype='Float32')", .float32, [1.5, .null]),
            ("pd.Series(pd.to_datetime(['1970-01-01T01:00+01:00']))", .timestamp, [.timestamp(Timestamp(seconds: 0))]),
            ("np.ma.array([1, 2], mask=[False, True])", .int64, [1, .null]),
            ("np.array([[1, 2], [3, 4]])", .tensor(.int64, shape: [2]), [.list([1, 2]), .list([3, 4])]),
            ("np.zeros((1, 2, 2), dtype='float32')", .tensor(.float32, shape: [2, 2]), [.list([0.0, 0.0, 0.0, 0.0])]),
            ("np.array([['a', 'b']])", .tensor(.string, shape: [2]), [.list(["a", "b"])]),
            ("scipy.sparse.csr_matrix([[0.0, 1.0]])", .tensor(.float64, shape: [2]), [.list([0.0, 1.0])]),
            ("[[1, 2], [3, 4]]", .tensor(.int64, shape: [2]), [.list([1, 2]), .list([3, 4])]),
            ("[[1], [2, 3]]", .list(.int64), [.list([1]), .list([2, 3])]),
            ("[np.zeros(2), np.ones(2)]", .tensor(.float64, shape: [2]), [.list([0.0, 0.0]), .list([1.0, 1.0])]),
            ("[['a'], []]", .list(.string), [.list(["a"]), .list([])]),
            ("(np.int64(3), np.int64(4))", .int64, [3, 4]), ("[]", .string, []), ("[None]", .string, [.null]),
            ("[[{'a': 1}]]", .list(.string), [.list(["{\"a\": 1}"])]),
        ]
        for (code, type, values) in cases {
            let column = try await column(code)
            #expect(column?.type == type, "\(code)")
            #expect(column.map { column in (0..<column.count).map { column[$0] } } == values, "\(code)")
        }
        #expect(try await column("pd.Series([1.0], name='price')", "price")?.type == .float64)
        let frame = try await ask("pd.DataFrame({'label': ['a', 'b'], 'score': np.array([0.5, 0.25], dtype='float32'), 3: [1, 2]})")
        #expect(frame.names == ["label", "score", "3"] && frame["score"]?.type == .float32)
        let dictionary = try await ask("{'a': np.array([1, 2]), 'b': ['x', 'y'], 'c': pd.Series([True, False])}")
        #expect(dictionary.names == ["a", "b", "c"] && dictionary.rowCount == 2 && dictionary["c"]?.type == .bool)
        let records = try await ask("[{'a': 1, 'b': 'x'}, {'a': 2}]")
        #expect(records["a"]?.type == .int64 && records["b"]?[1] == .null)
        #expect(try await ask("np.array([(1, 2.5)], dtype=[('a', 'i4'), ('b', 'f8')])")["b"]?[0] == 2.5)
        let nan = try await ask("[1.5, float('nan')]")["predictions"]
        #expect(nan?.isValid(1) == true, "NaN among floats is a value, as in an array")
        #expect(try await ask("np.array([1.0, np.nan])")["predictions"]?.isValid(1) == true)
    }

    @Test("what no column can hold is an error that says so")
    func refused() async throws {
        for (code, says) in [
            ("[1, 'a']", "int, string"), ("[2 ** 63]", "beyond int64"), ("np.array([2 ** 64 - 1], dtype='uint64')", "beyond int64"),
            ("[1j]", "complex"),
            ("np.array([1j])", "complex128"), ("{'a': [1, 2], 'b': [1]}", "rows"),
            ("pd.DataFrame([[1, 2]], columns=['a', 'a'])", "two columns of one name"),
            ("np.zeros((2, 0))", "no value"), ("[object()]", "object"), ("[['a', 1]]", "int, string"),
            ("{'a': pd.DataFrame({'x': [1], 'y': [2]})}", "table within a table"),
            ("np.array(['9999-12-31'], dtype='datetime64[D]') + 400", "years 0001"),
        ] {
            let error = try await #require(throws: KeelError.self, "\(code)") { try await ask(code) }
            #expect(error.code == .invalidArgument && error.message.contains(says), "\(code): \(error)")
        }
    }
}
