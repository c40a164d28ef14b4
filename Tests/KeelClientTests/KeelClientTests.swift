import Contracts
import Hummingbird
import HummingbirdTesting
import KeelClient
import NIOCore
import Synchronization
import Testing

/// Runs `body` with a client of a server on this machine.
private func withServer(
    token: String? = nil, _ routes: (Router<BasicRequestContext>) -> Void, _ body: @escaping @Sendable (KeelClient) async throws -> Void
) async throws {
    let router = Router()
    routes(router)
    try await Application(router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0))).test(.live) { server in
        let client = try KeelClient(url: "http://127.0.0.1:\(try #require(server.port))", token: token)
        try await body(client)
        await client.close()
    }
}

private func answer(_ json: JSON, _ status: HTTPResponse.Status = .ok, type: String = "application/json") -> Response {
    Response(status: status, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(bytes: json.bytes)))
}

private final class Collected: Sendable {
    private let parts = Mutex<[[UInt8]]>([])
    func add(_ part: [UInt8]) { parts.withLock { $0.append(part) } }
    var all: [[UInt8]] { parts.withLock { $0 } }
}

@Suite("The client")
struct KeelClientTests {
    @Test("what is asked arrives as it was sent, with the token, and the answer comes back")
    func exchange() async throws {
        try await withServer(token: "s3cret") { router in
            router.post("/echo") { request, _ in
                let body = try await request.body.collect(upTo: 1 << 20)
                return answer([
                    "body": try JSON.parse(Array(buffer: body)), "token": .string(request.headers[.authorization] ?? ""),
                    "type": .string(request.headers[.contentType] ?? ""), "query": .string(request.uri.query ?? ""),
                ])
            }
        } _: { client in
            // More than once: the connection is kept.
            for i in 0..<3 {
                let echo = try await client.json(.POST, "/echo?a=b%20c", ["n": .int(Int64(i)), "text": "ü"])
                #expect(
                    echo == [
                        "body": ["n": .int(Int64(i)), "text": "ü"], "token": "Bearer s3cret", "type": "application/json",
                        "query": "a=b%20c",
                    ])
            }
        }
    }

    @Test("a server that speaks HTTP/1.1 alone answers no HTTP/2, and neither does one that is not there")
    func http2() async throws {
        try await withServer { _ in } _: { client in #expect(await client.answersHTTP2() == false) }
        #expect(await (try KeelClient(url: "http://127.0.0.1:1")).answersHTTP2() == false)
    }

    @Test("an error of the server is thrown with its code, hint, place, and the others beside it")
    func errors() async throws {
        try await withServer { router in
            router.get("/keel") { _, _ in
                answer(
                    [
                        "error": [
                            "code": "not_found", "message": "there is no model 'm'", "hint": "did you mean 'n'?", "path": "spec.model",
                            "also": [["code": "invalid_argument", "message": "and this"]],
                        ]
                    ], .notFound)
            }
            router.get("/mlflow") { _, _ in answer(["error_code": "RESOURCE_ALREADY_EXISTS", "message": "there is one"], .badRequest) }
            router.get("/other") { _, _ in answer(["what": "ever"], .badGateway) }
        } _: { client in
            let error = await #expect(throws: KeelError.self) { _ = try await client.json(.GET, "/keel") }
            #expect(error?.code == .notFound && error?.message == "there is no model 'm'")
            #expect(error?.hint == "did you mean 'n'?" && error?.path == "spec.model")
            #expect(error?.also.map(\.message) == ["and this"])
            let mlflow = await #expect(throws: KeelError.self) { _ = try await client.json(.GET, "/mlflow") }
            #expect(mlflow?.code == .alreadyExists && mlflow?.message == "there is one")
            let other = await #expect(throws: KeelError.self) { _ = try await client.json(.GET, "/other") }
            #expect(other?.code == .internal && other?.message.contains("502") == true)
        }
    }

    @Test("lines of an answer are told as they come and are not in its body")
    func lines() async throws {
        try await withServer { router in
            router.get("/lines") { _, _ in
                Response(
                    status: .ok, headers: [.contentType: "application/x-ndjson"],
                    body: ResponseBody { writer in
                        // Cut where no line ends.
                        for part in ["{\"a\":1}\n{\"a\"", ":2}\n", "{\"a\":3}"] { try await writer.write(ByteBuffer(string: part)) }
                        try await writer.finish(nil)
                    })
            }
        } _: { client in
            let told = Collected()
            let response = try await client.send(.GET, "/lines") { told.add($0) }
            #expect(told.all.map { String(decoding: $0, as: UTF8.self) } == ["{\"a\":1}", "{\"a\":2}"])
            #expect(String(decoding: response.body, as: UTF8.self) == "{\"a\":3}")
        }
    }

    @Test("an upload comes in parts; one whose source ends early is an error, and the client goes on")
    func upload() async throws {
        try await withServer { router in
            router.put("/file") { request, _ in
                var bytes = 0
                var sum = 0
                for try await part in request.body {
                    bytes += part.readableBytes
                    sum += part.readableBytesView.reduce(0) { $0 + Int($1) }
                }
                return answer(["bytes": .int(Int64(bytes)), "sum": .int(Int64(sum))])
            }
        } _: { client in
            var left = 40
            let whole = try await client.upload(.PUT, "/file", bytes: 40 * 100_000) {
                left -= 1
                return left >= 0 ? [UInt8](repeating: UInt8(left), count: 100_000) : nil
            }
            #expect(try KeelClient.decode(whole) == ["bytes": 4_000_000, "sum": .int(Int64((0..<40).reduce(0, +) * 100_000))])

            var parts = 1
            let error = await #expect(throws: KeelError.self) {
                _ = try await client.upload(.PUT, "/file", bytes: 500) {
                    parts -= 1
                    return parts >= 0 ? [1, 2, 3] : nil
                }
            }
            #expect(error?.message.contains("changed while it was sent") == true)
            let again = try await client.upload(.PUT, "/file", bytes: 0) { nil }
            #expect(again.status == 200)
        }
    }

    @Test("a download is told in parts; a refusal comes whole")
    func download() async throws {
        try await withServer { router in
            router.get("/file") { _, _ in
                Response(
                    status: .ok,
                    body: ResponseBody { writer in
                        for i in 0..<20 { try await writer.write(ByteBuffer(repeating: UInt8(i), count: 50_000)) }
                        try await writer.finish(nil)
                    })
            }
            router.get("/none") { _, _ in answer(["error": ["code": "not_found", "message": "gone"]], .notFound) }
        } _: { client in
            let told = Collected()
            let response = try await client.download("/file") { told.add($0) }
            #expect(response.status == 200 && response.body.isEmpty)
            #expect(told.all.flatMap { $0 } == (0..<20).flatMap { [UInt8](repeating: UInt8($0), count: 50_000) })
            let refused = try await client.download("/none") { _ in Issue.record("a part of a refusal") }
            #expect(throws: KeelError.self) { try KeelClient.decode(refused) }
        }
    }

    @Test("requests that are sent behind each other are answered in their order")
    func pipelining() async throws {
        try await withServer { router in
            router.post("/slow") { request, _ in
                let body = try await request.body.collect(upTo: 100)
                let number = Int(String(buffer: body)) ?? 0
                if number % 3 == 0 { try await Task.sleep(for: .milliseconds(5)) }
                return answer(.int(Int64(number)))
            }
        } _: { client in
            var answers: [EventLoopFuture<KeelClient.Response>] = []
            for i in 0..<20 { answers.append(try await client.enqueue(.POST, "/slow", body: Array(String(i).utf8))) }
            var numbers: [String] = []
            for answer in answers { numbers.append(String(decoding: try await answer.get().body, as: UTF8.self)) }
            #expect(numbers == (0..<20).map(String.init))
        }
    }

    @Test("a server that does not answer is an error that says where it was looked for")
    func unreachable() async throws {
        let client = try KeelClient(url: "http://127.0.0.1:1")
        let error = await #expect(throws: KeelError.self) { _ = try await client.json(.GET, "/") }
        #expect(error?.code == .unavailable && error?.message == "no server answers at http://127.0.0.1:1")
    }

    @Test(
        "an address that is none is refused",
        arguments: ["localhost:7070", "ftp://x", "http://", "http://x:0", "http://x:70000", "http://a:b:c"])
    func malformed(url: String) {
        let error = #expect(throws: KeelError.self) { try KeelClient(url: url) }
        #expect(error?.code == .invalidArgument)
    }
}
