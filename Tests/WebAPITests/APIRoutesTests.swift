import Contracts
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Synchronization
import Testing
import WebAPI

private final class Notes: Sendable {
    private let texts = Mutex<[String]>([])
    func add(_ text: String) { texts.withLock { $0.append(text) } }
    var all: [String] { texts.withLock { $0 } }
}

/// Puts a caller of this persona into the context and notes denials; without a persona there is no caller.
private struct Persons: MiddlewareProtocol {
    let persona: Persona?
    let notes: Notes

    func handle(_ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response) async throws -> Response {
        var context = context
        context.access = persona.map { persona in
            RequestAccess(caller: Caller(name: "ada", persona: persona)) { [notes] in notes.add("denied \($0.name) \($1.rawValue) \($2)") }
        }
        do { return try await next(request, context) } catch { return Response(status: KeelError.wrapping(error).code.status) }
    }
}

/// What a route of `webhooks.manage` on a thing with a short name answers, and what happened.
private func ask(_ path: String, as persona: Persona?) async throws -> (status: Int, notes: [String]) {
    let (router, notes) = (Router(context: KeelContext.self), Notes())
    router.add(middleware: Persons(persona: persona, notes: notes))
    let subject = APIRoutes.Subject { context in
        let name = try context.parameters.require("name")
        guard name.count < 9 else { throw KeelError.invalid("the name is long") }
        return "Thing/\(name)"
    }
    APIRoutes(router).group("/api").post("/things/:name", .webhooksManage, on: subject) { _, _, grant in
        notes.add("granted \(grant.caller.name) \(grant.action.rawValue) \(grant.subject)")
        return Response(status: .ok)
    }
    let status = try await Application(router: router).test(.router) { client in
        try await client.execute(uri: path, method: .post) { $0.status.code }
    }
    return (status, notes.all)
}

@Suite("Routes of the API")
struct APIRoutesTests {
    @Test("the handler gets the grant of the route's action on the route's subject")
    func granted() async throws {
        let answer = try await ask("/api/things/a", as: .owner)
        #expect(answer.status == 200)
        #expect(answer.notes == ["granted ada webhooks.manage Thing/a"])
    }

    @Test("who may not is refused before the handler runs, and it is recorded")
    func denied() async throws {
        let answer = try await ask("/api/things/a", as: .service)
        #expect(answer.status == 403)
        #expect(answer.notes == ["denied ada webhooks.manage Thing/a"])
    }

    @Test("a request without a caller is refused")
    func unauthenticated() async throws {
        let answer = try await ask("/api/things/a", as: nil)
        #expect(answer.status == 401)
        #expect(answer.notes.isEmpty)
    }

    @Test("a subject that is not valid is refused before the permission is asked for")
    func subject() async throws {
        let answer = try await ask("/api/things/a-long-name", as: .service)
        #expect(answer.status == 400)
        #expect(answer.notes.isEmpty)
    }

    @Test(
        "what a described route would pass over is refused: an unknown parameter, a body where none is taken",
        arguments: [
            ("/things?limit=3&state=a+b", "", 200), ("/things?limt=3", "", 400), ("/things?limit=3&x", "", 400), ("/things", "{}", 200),
            ("/things", #"{"to": 3}"#, 400), ("/things", "x", 400), ("/things", String(repeating: " ", count: 5000), 413),
            ("/open?x=1", "{\"a\":1}", 200),
        ])
    func passedOver(path: String, body: String, status: Int) async throws {
        let router = Router(context: KeelContext.self)
        router.add(middleware: Persons(persona: .owner, notes: Notes()))
        let routes = APIRoutes(router)
        for route in ["/things", "/open"] { routes.post(route, .webhooksManage) { _, _, _ in Response(status: .ok) } }
        routes.demands.enforce([
            APIOperation("POST", "/things", "Things", "What it does", query: [.limit(10), .init("state", "Its state")])
        ])
        let answer = try await Application(router: router).test(.router) { client in
            try await client.execute(uri: path, method: .post, body: ByteBuffer(string: body)) { Int($0.status.code) }
        }
        #expect(answer == status)
    }

    @Test("the document states what each route asks, and has no operation without a route")
    func document() throws {
        let routes = APIRoutes(Router(context: KeelContext.self))
        routes.noteOpen(.get, "/open")
        routes.getForEveryCaller("/anyone") { _, _ in Response(status: .ok) }
        routes.group("/things").delete("/:name", .tokensManage) { _, _, _ in Response(status: .ok) }
        routes.note(.post, "/elsewhere/:name", .predict)
        let described = [("GET", "/open"), ("GET", "/anyone"), ("DELETE", "/things/{name}"), ("POST", "/elsewhere/{name}")]
        let operations = described.map { APIOperation($0.0, $0.1, "Things", "What it does") }
        let paths = try OpenAPIDocument.json(version: "1", operations: operations, shapes: [], demands: routes.demands)["paths"]
        let found = described.map { paths?[$0.1]?[$0.0.lowercased()] }
        #expect(found.map { $0?["x-keel-action"]?.string } == [nil, nil, "tokens.manage", "predictions.create"])
        #expect(found.map { $0?["security"] == [] } == [true, false, false, false])
        #expect(found.map { $0?["responses"]?["401"] != nil } == [false, true, true, true])
        #expect(found.map { $0?["responses"]?["403"] != nil } == [false, false, true, true])

        let stray = [APIOperation("PUT", "/things/{name}", "Things", "What it does")]
        #expect(throws: KeelError.self) {
            _ = try OpenAPIDocument.json(version: "1", operations: stray, shapes: [], demands: routes.demands)
        }
    }
}
