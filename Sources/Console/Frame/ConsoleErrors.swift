import Contracts
import HTTPTypes
import Hummingbird
import WebAPI

/// Shows errors under `/console` as pages to browsers. Others get them in the shape of Keel's API.
public struct ConsoleErrorMiddleware: RouterMiddleware {
    private let console: Console

    public init(_ console: Console) { self.console = console }

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        let path = request.uri.path
        guard path == "/console" || path.hasPrefix("/console/"), request.headers[.accept]?.contains("text/html") == true else {
            return try await next(request, context)
        }
        do {
            return try await next(request, context)
        } catch let error as HTTPError {
            let keel: KeelError =
                error.status == .notFound
                ? .notFound("there is no page \(path.prefix(200))") : .invalid(error.body ?? "this cannot be asked")
            return try page(of: keel, error.status, request)
        } catch {
            let keel = KeelError.shown(error)
            if keel.code == .internal || keel.code == .corrupted {
                context.logger.error("\(request.method) \(path): \(keel)", metadata: ["cause": "\(error)"])
            }
            return try page(of: keel, keel.code.status, request)
        }
    }

    private func page(of error: KeelError, _ status: HTTPResponse.Status, _ request: Request) throws -> Response {
        if status == .unauthorized, request.method == .get {
            return try console.signInPage(to: SignIn.destination(request.uri.description), problem: error, status: status)
        }
        let view: View = [
            "status": status.code, "message": error.message, "hint": error.hint ?? false, "field": error.path ?? false,
            "others": error.also.map { ["message": $0.message, "hint": $0.hint ?? false] as View },
            // The page that the form was on, to go back to.
            "back": ConsoleErrorMiddleware.back(request) ?? false,
        ]
        guard let caller = try? HTTPConnection.current?.caller() else {
            return try console.renderBare("error", title: "Error", view, status: status)
        }
        return try console.render(Page("Error", in: nil, template: "error", view), request, caller, status: status)
    }

    /// The path of the referring page, when it is one of the console's.
    private static func back(_ request: Request) -> String? {
        guard let name = HTTPField.Name("Referer"), let text = request.headers[name], let start = text.range(of: "/console") else {
            return nil
        }
        let path = String(text[start.lowerBound...])
        return SignIn.destination(path) == path ? path : nil
    }
}
