import Contracts
import Hummingbird
import Platform

/// Adds `/openapi.json`: this door's operations and those of the others. A test compares it with the router, both ways.
public func addDocumentRoute(to router: Router<KeelContext>, version: String, others: [APIOperation]) {
    let operations =
        serverOperations + governanceOperations + dataOperations + pipelineOperations + trackingOperations + modelOperations
        + importOperations + servingOperations
    let shapes = governanceShapes + dataShapes + operatingShapes + trackingShapes + modelShapes
    let document = OpenAPIDocument.json(version: version, operations: operations + others, shapes: shapes).bytes
    router.get("/openapi.json") { _, context -> Response in
        _ = try await context.authorize(.serverRead)
        return Response(
            status: .ok, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: ByteBuffer(bytes: document)))
    }
}
