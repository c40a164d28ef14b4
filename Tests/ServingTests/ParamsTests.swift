import Contracts
import Serving
import Testing

@Suite("Params of a request")
struct ParamsTests {
    private let params: [Signature.Parameter] = [
        .init("temperature", .float64, standard: 0.5), .init("top", .int64, standard: 3), .init("style", .string, standard: "plain"),
        .init("stop", .list(.string), standard: .list(["."])), .init("since", .timestamp, standard: .null), .init("strict", .bool, standard: false),
    ]

    @Test("a model gets all of its params: those that the caller set, and the standard of the others")
    func filled() throws {
        let given: JSON = ["top": 5.0, "temperature": 1, "stop": ["a", "b"], "since": "2026-01-01", "strict": true]
        #expect(
            try Signature.values(of: params, given) == [
                "temperature": 1.0, "top": 5, "style": "plain", "stop": ["a", "b"], "since": "2026-01-01T00:00:00Z", "strict": true,
            ])
        let standard = try Signature.values(of: params, .null)
        #expect(standard["temperature"] == 0.5 && standard["stop"] == ["."] && standard["since"] == .null)
        #expect(try Signature.values(of: params, ["top": nil])["top"] == 3, "null is as good as nothing")
        #expect(try Signature.values(of: [], .null) == .null)
    }

    @Test(
        "a value of another type is refused by its name",
        arguments: [
            ("temperature", "hot"), ("temperature", true), ("top", 1.5), ("top", true), ("style", 1), ("stop", "a"), ("stop", [1]), ("since", "yesterday"),
            ("strict", 1),
        ] as [(String, JSON)])
    func mistyped(name: String, value: JSON) throws {
        let error = #expect(throws: KeelError.self) { try Signature.values(of: params, .object([JSON.Member(name, value)])) }
        #expect(error?.code == .invalidArgument && error?.path == "params.\(name)")
    }

    @Test("a param that the model does not have is refused, with the one that may be meant")
    func unknown() throws {
        let error = #expect(throws: KeelError.self) { try Signature.values(of: params, ["temprature": 1]) }
        #expect(error?.path == "params.temprature" && error?.hint == "did you mean 'temperature'?")
        #expect(#expect(throws: KeelError.self) { try Signature.values(of: [], ["x": 1]) }?.hint == "its signature has no params")
    }
}
