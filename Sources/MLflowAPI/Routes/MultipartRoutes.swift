import Contracts
import HTTPTypes
import Hummingbird
import Tracking
import WebAPI

/// MLflow's uploads in parts through the proxy: `create` gives an address for each part, the client puts the parts there, `complete` joins them.
func addMultipartRoutes(_ group: RouterGroup<KeelContext>, _ tracking: TrackingService) {
    group.post("mpu/create/**") { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingWrite)
            let fields = try await MLflowRoutes.fields(of: request, context, .post)
            let path = try target(request, fields, "create")
            let parts = try fields.optionalInt("num_parts") ?? 1
            let upload = try await tracking.beginUpload(path: path, parts: Int(clamping: parts), grant)
            let base = address(of: request)
            return object([
                ("upload_id", .string(upload.id)),
                (
                    "credentials",
                    .array(
                        (1...upload.parts).map { part in
                            [
                                "url": .string("\(base)/\(upload.id)/\(part)?signature=\(upload.signature(part: part))"),
                                "part_number": .int(Int64(part)),
                                "headers": [:],
                            ]
                        })
                ),
            ])
        }
    }
    group.post("mpu/complete/**") { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingWrite)
            let fields = try await MLflowRoutes.fields(of: request, context, .post)
            let path = try target(request, fields, "complete")
            var parts: [(number: Int, digest: String)] = []
            for part in try fields.objects("parts") {
                let etag = try part.optionalText("etag") ?? ""
                parts.append((Int(clamping: try part.optionalInt("part_number") ?? 0), etag.filter { $0 != "\"" }))
            }
            try await tracking.completeUpload(id: fields.text("upload_id"), path: path, parts: parts, grant)
            return .object([])
        }
    }
    group.post("mpu/abort/**") { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingWrite)
            let fields = try await MLflowRoutes.fields(of: request, context, .post)
            let path = try target(request, fields, "abort")
            try await tracking.abortUpload(id: fields.text("upload_id"), path: path, grant)
            return .object([])
        }
    }
}

/// The addresses of parts. A client that puts a part shows no token: the address is the permission, made for one part of one upload, for a day.
/// So this stands before the authentication of all other routes.
public func addUploadPartRoutes(to router: some RouterMethods<KeelContext>, tracking: TrackingService) {
    router.put("\(partsPath)/{upload}/{part}") { request, context in
        do {
            let (upload, part) = (try context.parameters.require("upload"), Int(try context.parameters.require("part")) ?? 0)
            let signature = Query.pairs(request.uri.query ?? "").first { $0.key == "signature" }?.value ?? ""
            let grant = try await tracking.grant(upload: upload, part: part, signature: signature)
            try MemoryReservation.take(MemoryReservation.uploadBytes, for: .uploads)
            let stored = try await tracking.putPart(
                upload: upload, part: part, declaredBytes: request.declaredBytes, parts: request.body.map(\.readableBytesView), grant)
            return Response(status: .ok, headers: [.eTag: "\"\(stored.digest.hex)\"", .contentLength: "0"])
        } catch { return MLflowRoutes.failure(error) }
    }
}

private let partsPath: RouterPath = "/api/2.0/mlflow-artifacts/mpu/parts"

/// The path of the artifact: the folder is in the request's path, the file's name is that of the file on the client's machine.
private func target(_ request: Request, _ fields: MLflowRequest, _ word: String) throws(KeelError) -> String {
    let folder = try artifactPath(of: request, after: "mpu/\(word)")
    let name = ArtifactWire.fileName(try fields.text("path"))
    return folder.isEmpty ? name : "\(folder)/\(name)"
}

/// Where parts go, at the name by which the client reached this server.
private func address(of request: Request) -> String {
    let forwarded = HTTPField.Name("X-Forwarded-Proto").flatMap { request.headers[$0] }
    let scheme = forwarded?.lowercased() == "https" ? "https" : HTTPConnection.current?.scheme ?? "http"
    return "\(scheme)://\(request.head.authority ?? "127.0.0.1")\(partsPath)"
}
