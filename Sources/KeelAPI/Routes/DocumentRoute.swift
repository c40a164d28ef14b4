import Contracts
import Hummingbird
import WebAPI

/// Adds `/openapi.json`: this API's operations and those of the others. A test compares it with the router, both ways.
public func addDocumentRoute(to routes: APIRoutes, version: String, others: [APIOperation]) {
    let operations =
        serverOperations + governanceOperations + dataOperations + pipelineOperations + trackingOperations + modelOperations
        + importOperations + servingOperations
    let shapes = governanceShapes + dataShapes + operatingShapes + trackingShapes + modelShapes
    let demands = routes.demands
    // Not the others: protocols such as the Open Inference Protocol leave their queries open.
    demands.enforce(operations)
    // Made when it is asked for: routes that are registered later are in it as well.
    routes.get("/openapi.json", .serverRead) { _, _, _ in
        let document = try OpenAPIDocument.json(version: version, operations: operations + others, shapes: shapes, demands: demands).bytes
        return Response(
            status: .ok, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: ByteBuffer(bytes: document)))
    }
}
