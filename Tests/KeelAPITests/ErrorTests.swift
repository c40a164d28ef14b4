import Contracts
import Hummingbird
import HummingbirdTesting
import KeelAPI
import Testing
import WebAPI

private struct Foreign: Error {}

/// What the API answers when a handler throws.
private func answer(to error: any Error & Sendable) async throws -> (status: Int, body: JSON, retryAfter: String?) {
    let router = Router(context: KeelContext.self)
    router.add(middleware: ErrorMiddleware())
    router.get("/") { _, _ -> Response in throw error }
    return try await Application(router: router).test(.router) { client in
        try await client.execute(uri: "/", method: .get) { response in
            (Int(response.status.code), try JSON.parse(Array(buffer: response.body)), response.headers[.retryAfter])
        }
    }
}

@Suite("Errors of the API")
struct ErrorTests {
    @Test("each code has its status, and the body says code, message, hint and place", arguments: KeelError.Code.allCases)
    func codes(code: KeelError.Code) async throws {
        let found = try await answer(to: KeelError(code, "what is wrong", hint: "what to do", path: "spec.x"))
        #expect(found.status == Int(code.status.code))
        #expect(
            found.body == ["error": ["code": .string(code.rawValue), "message": "what is wrong", "hint": "what to do", "path": "spec.x"]])
        #expect((found.retryAfter != nil) == (code == .unavailable || code == .tooManyRequests))
    }

    @Test("errors that were found together are told together")
    func also() async throws {
        let joined = try #require(KeelError.joined([.invalid("a", path: "x"), .notFound("b"), .invalid("c", path: "y")]))
        let body = try await answer(to: joined).body["error"]
        #expect(body?["message"] == "a" && body?["also"]?.array?.map { $0["message"]?.string } == ["b", "c"])
    }

    @Test("a foreign error is an internal one, in the same body")
    func foreign() async throws {
        let found = try await answer(to: Foreign())
        #expect(found.status == 500 && found.body["error"]?["code"] == "internal")
    }

    @Test("a route that is not there and a verb that is not taken have Keel's body too")
    func routes() async throws {
        let router = Router(context: KeelContext.self)
        router.add(middleware: ErrorMiddleware())
        router.get("/there") { _, _ in Response(status: .ok) }
        let answer = try await Application(router: router).test(.router) { client in
            try await client.execute(uri: "/nowhere", method: .get) {
                (Int($0.status.code), try JSON.parse(Array(buffer: $0.body)))
            }
        }
        #expect(answer.0 == 404 && answer.1["error"]?["message"] == "there is no route GET /nowhere")
    }
}

@Suite("Bodies of the API")
struct BodyTests {
    @Test("a list of resources names each that cannot be read, all at once")
    func resources() throws {
        let good: JSON = ["apiVersion": "keel/v1", "kind": "Dataset", "metadata": ["name": "a"], "spec": [:]]
        #expect(try ResourceList.decode(["resources": [good]]).map(\.id) == ["Dataset/a"])
        let error = #expect(throws: KeelError.self) {
            try ResourceList.decode(["resources": [good, ["kind": "Dataset", "metadata": ["name": "b"], "spec": [:]], ["x": 1]]])
        }
        let places = [error?.path] + (error?.also.map(\.path) ?? [])
        #expect(places.count == 2 && places[0]?.hasPrefix("Dataset/b") == true && places[1]?.hasPrefix("resources[2]") == true, "\(places)")
        #expect(throws: KeelError.self) { try ResourceList.decode(["resources": [], "also": 1]) }
        #expect(throws: KeelError.self) { try ResourceList.decode(["resources": .array(Array(repeating: good, count: 1001))]) }
    }

    @Test("people name kinds in the singular, the plural and any case")
    func kinds() throws {
        let kinds = ["Dataset", "Entity", "ModelCard"]
        for (word, kind) in [("dataset", "Dataset"), ("Datasets", "Dataset"), ("entities", "Entity"), ("modelcards", "ModelCard")] {
            #expect(try KindName.kind(word, of: kinds) == kind)
        }
        let error = #expect(throws: KeelError.self) { try KindName.kind("datset", of: kinds) }
        #expect(error?.code == .notFound && error?.hint == "did you mean 'datasets'?")
    }
}
