import Contracts
import HTTPTypes
import Hummingbird
import WebAPI

extension Response {
    /// A JSON answer.
    init(_ json: JSON, status: HTTPResponse.Status = .ok) {
        let bytes = json.bytes
        self.init(
            status: status, headers: [.contentType: "application/json", .contentLength: String(bytes.count)],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}

extension Request {
    /// The body as JSON; an empty body is an empty object.
    func json(upTo bytesMax: Int = 16 << 20) async throws -> JSON {
        let bytes = try await bytes(upTo: bytesMax)
        guard !bytes.isEmpty else { return .object([]) }
        return try await Blocking.unlessSmall(bytes.count) { try JSON.parse(bytes) }
    }

    func bytes(upTo bytesMax: Int) async throws -> [UInt8] {
        Array(buffer: try await collected(upTo: bytesMax, hint: "send it in parts"))
    }

    func instant(_ name: String) throws(KeelError) -> Timestamp? {
        guard let text = query(name) else { return nil }
        guard let time = Timestamp(text) else {
            throw .invalid("'\(text.prefix(60))' is not an instant", hint: "2013-04-01 or 2013-04-01T10:00:00Z, in UTC", path: name)
        }
        return time
    }

    /// A whole number that is not negative.
    func count(_ name: String) throws(KeelError) -> Int? {
        guard let text = query(name) else { return nil }
        guard let count = Int(text), count >= 0 else { throw .invalid("'\(text.prefix(40))' is not a whole number from 0 up", path: name) }
        return count
    }

    /// Whether a parameter is `true`; it is not when it is left out.
    func flag(_ name: String) throws(KeelError) -> Bool {
        guard let text = query(name) else { return false }
        guard text == "true" || text == "false" else { throw .invalid("must be true or false", path: name) }
        return text == "true"
    }

    func limit(standard: Int, max: Int = 1000) throws(KeelError) -> Int {
        guard let text = query("limit") else { return standard }
        guard let limit = Int(text), (1...max).contains(limit) else { throw .invalid("must be 1 to \(max)", path: "limit") }
        return limit
    }
}

extension KeelContext {
    func name(_ parameter: String = "name") throws -> String {
        let name = try parameters.require(parameter)
        try Identifier.check(name: name, path: parameter)
        return name
    }
}

extension APIRoutes.Subject {
    /// `Dataset/clicks`: a thing whose name the path says.
    static func named(_ kind: String, by parameter: String = "name") -> Self { Self { "\(kind)/\(try $0.name(parameter))" } }
    /// `Endpoint/delay`, `Endpoint/delay@staging`: a thing that the path names with its environment, which is production when it names none.
    static func placed(_ kind: String) -> Self { Self { try $0.thing(kind).subject } }
    static let model = Self { "Model/\(try $0.modelName())" }
}

/// Maps every error to its status and Keel's error body; what is not a `KeelError` is logged whole and shown as an internal one.
public struct ErrorMiddleware: RouterMiddleware {
    public init() {}

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as HTTPError where error.status == .notFound {
            return Response(
                ErrorBody.json(.notFound("there is no route \(request.method) \(request.uri.path.prefix(200))")), status: .notFound)
        } catch let error as HTTPError where error.status == .methodNotAllowed {
            var response = Response(ErrorBody.json(.invalid(error.body ?? "this method is not allowed here")), status: .methodNotAllowed)
            response.headers[.allow] = error.headers[.allow]
            return response
        } catch {
            let keel = KeelError.shown(error)
            if keel.code == .internal || keel.code == .corrupted {
                context.logger.error("\(request.method) \(request.uri.path): \(keel)", metadata: ["cause": "\(error)"])
            }
            var response = Response(ErrorBody.json(keel), status: keel.code.status)
            if keel.code == .unavailable || keel.code == .tooManyRequests { response.headers[.retryAfter] = "1" }
            return response
        }
    }
}
