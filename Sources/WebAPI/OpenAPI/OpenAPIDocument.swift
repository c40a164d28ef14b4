import Contracts

/// The OpenAPI 3.1 document of what the APIs list.
public enum OpenAPIDocument {
    private static let errors: [(status: Int, name: String, about: String)] = [
        (400, "Invalid", "The request is not valid; the error says where"), (401, "Unauthenticated", "No token, or one that is not valid"),
        (403, "Denied", "The caller may not do this"), (404, "NotFound", "There is no such thing"),
        (409, "Conflict", "The state of the thing does not allow this now"), (413, "TooLarge", "The body is too large"),
        (415, "UnsupportedMediaType", "The body's type is not accepted"), (422, "ContractViolation", "The data breaks its contract"),
        (503, "Unavailable", "A limit is reached; trying later may succeed"), (504, "DeadlineExceeded", "It took too long"),
    ]

    static func errorName(_ status: Int) -> String { errors.first { $0.status == status }?.name ?? "Invalid" }

    /// - Parameters:
    ///   - shapes: those that `Shape.named` refers to.
    ///   - demands: what the routes of the operations ask of their callers.
    /// - Throws: `internal` when an operation has no route.
    public static func json(
        version: String, operations: [APIOperation], shapes: [(String, Shape)], demands: RouteDemands
    ) throws(KeelError) -> JSON {
        var paths: [(path: String, methods: [JSON.Member])] = []
        for operation in operations {
            let member = JSON.Member(
                operation.method.lowercased(), operation.json(try demands.demand(of: operation.method, operation.path)))
            if let i = paths.firstIndex(where: { $0.path == operation.path }) {
                paths[i].methods.append(member)
            } else {
                paths.append((operation.path, [member]))
            }
        }
        let failures = errors.map { error in
            JSON.Member(
                error.name,
                ["description": .string(error.about), "content": ["application/json": ["schema": Shape.named("Error").schema]]])
        }
        let fields: [(String, Shape)] = [
            ("code", .word(KeelError.Code.allCases.map(\.rawValue))), ("message", .text), ("hint?", .text), ("path?", .text),
        ]
        let error: Shape = ["error": .object(fields + [("also?", .list(.object(fields)))])]
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Keel", "version": .string(version),
                "description": "Keel's own API and the Open Inference Protocol. MLflow's protocol is described in docs/mlflow.md.",
                "license": ["name": "Apache 2.0", "identifier": "Apache-2.0"],
            ],
            "servers": [["url": "/"]], "security": [["bearer": []], ["basic": []]],
            "tags": .array(families(operations).map { ["name": .string($0)] }),
            "paths": .object(paths.map { JSON.Member($0.path, .object($0.methods)) }),
            "components": [
                "schemas": .object([JSON.Member("Error", error.schema)] + shapes.map { JSON.Member($0.0, $0.1.schema) }),
                "responses": .object(failures),
                "securitySchemes": [
                    "bearer": ["type": "http", "scheme": "bearer", "description": "A token that keel tokens create makes"],
                    "basic": ["type": "http", "scheme": "basic", "description": "Any name, with the token as password"],
                ],
            ],
        ]
    }

    private static func families(_ operations: [APIOperation]) -> [String] {
        operations.map(\.family).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }
}
