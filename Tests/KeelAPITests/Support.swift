import Contracts
import Foundation
import Hummingbird
import HummingbirdTesting
import KeelAPI
import NIOCore
import Storage
import Testing
import Tracking
import WebAPI

/// Makes every request the owner's.
private struct Owner: MiddlewareProtocol {
    func handle(_ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response) async throws -> Response {
        var context = context
        context.access = RequestAccess(caller: Caller(name: "ada", persona: .owner)) { _, _, _ in }
        return try await next(request, context)
    }
}

/// The API over a tracking service of its own.
struct TrackingAPI {
    let tracking: TrackingService
    private let router: Router<KeelContext>

    init() async throws {
        let folder = NSTemporaryDirectory() + "keel-api-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate(
            Ledger.migrations + TrackingTables.migrations + TrackingTables.importMigrations, backupFolder: folder + "/backups")
        tracking = TrackingService(database: database, objects: try FolderObjectStore(root: folder + "/objects"))
        router = Router(context: KeelContext.self)
        router.add(middleware: ErrorMiddleware())
        router.add(middleware: Owner())
        let routes = APIRoutes(router).group("/api/v1")
        addTrackingRoutes(to: routes, tracking)
        addRunRoutes(to: routes, tracking)
    }

    struct Answer: Sendable {
        let status: Int
        let body: JSON
    }

    func ask(_ method: HTTPRequest.Method, _ path: String, _ body: JSON? = nil) async throws -> Answer {
        try await Application(router: router).test(.router) { client in
            try await client.execute(
                uri: "/api/v1" + path, method: method, body: body.map { ByteBuffer(bytes: $0.bytes) }
            ) { response in
                Answer(status: Int(response.status.code), body: try JSON.parse(Array(buffer: response.body)))
            }
        }
    }
}
