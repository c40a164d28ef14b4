import Contracts
import Hummingbird
import Importing
import Platform
import Registry
import Tracking
import WebAPI

/// What an import of a foreign store is made of: ask how its things stand to Keel's, send those that are new, compare again.
///
/// Bodies are `{"source": NAME, "items": […]}`; the items are the records of `ImportRecord`.
func addImportRoutes(to routes: APIRoutes, _ platform: Platform) {
    addTrackingImportRoutes(routes, platform.tracking)
    addRegistryImportRoutes(routes, platform.registry)
}

package func addTrackingImportRoutes(_ routes: APIRoutes, _ tracking: TrackingService) {
    routes.post("/imports/tracking/experiments", .trackingWrite) { request, _, grant in
        let batch = try await ImportBatch(request)
        let places = try await tracking.importExperiments(
            try batch.records(ForeignExperiment.self), from: batch.source, isRehearsal: batch.isRehearsal, grant)
        return Response([
            "items": .array(
                places.map {
                    ["id": .string($0.foreignID), "to": .string($0.id), "state": .string($0.state.rawValue), "joined": .bool($0.joined)]
                })
        ])
    }
    routes.post("/imports/tracking/runs", .trackingWrite) { request, _, grant in
        let batch = try await ImportBatch(request)
        try await tracking.importRuns(try batch.records(Run.self), from: batch.source, grant)
        return Response([:])
    }
    routes.post("/imports/tracking/logged-models", .trackingWrite) { request, _, grant in
        let batch = try await ImportBatch(request)
        try await tracking.importLoggedModels(try batch.records(ForeignModel.self), from: batch.source, grant)
        return Response([:])
    }
    routes.post("/imports/tracking/evaluation-datasets", .trackingWrite) { request, _, grant in
        let batch = try await ImportBatch(request)
        try await tracking.importEvaluationDatasets(try batch.records(EvaluationDataset.self), from: batch.source, grant)
        return Response([:])
    }
    routes.post("/imports/tracking/evaluation-records", .trackingWrite) { request, _, grant in
        let batch = try await ImportBatch(request)
        try await tracking.importEvaluationRecords(try batch.records(EvaluationRecord.self), from: batch.source, grant)
        return Response([:])
    }
    routes.post("/imports/tracking/:kind/check", .trackingRead) { request, context, grant in
        let kind: TrackingImportKind = try context.word("kind")
        let batch = try await ImportBatch(request)
        return Response(try ImportBatch.states(await tracking.checkImport(kind, batch.digests(), from: batch.source, grant)))
    }
    routes.post("/imports/tracking/:kind/points", .trackingWrite) { request, context, grant in
        let kind: TrackingImportKind = try context.word("kind")
        let batch = try await ImportBatch(request)
        let points = try batch.items.map { try MetricPoint(record: $0) }
        return Response(["added": .int(Int64(try await tracking.importPoints(points, to: kind, from: batch.source, grant)))])
    }
    routes.post("/imports/tracking/:kind/fingerprints", .trackingRead) { request, context, grant in
        let kind: TrackingImportKind = try context.word("kind")
        let prints = try await tracking.importFingerprints(kind, try await ImportBatch(request).texts(), grant)
        return Response([
            "items": .object(prints.map { id, keys in JSON.Member(id, .object(keys.map { JSON.Member($0, .string($1.text)) })) })
        ])
    }
    routes.post("/imports/artifacts/digests", .trackingRead) { request, _, grant in
        let found = try await tracking.artifactDigests(try await ImportBatch(request).texts(), grant)
        return Response([
            "items": .array(found.map { item in item.map { ["bytes": .int($0.bytes), "digest": .string($0.digest.hex)] } ?? .null })
        ])
    }
    routes.post("/imports/artifacts", .trackingWrite) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let (source, files, bytes) = (try reader.string("source"), try reader.int("files"), try reader.int("bytes"))
        try reader.finish()
        try await tracking.recordImportedArtifacts(from: source, files: Int64(files), bytes: Int64(bytes), grant)
        return Response([:])
    }
}

package func addRegistryImportRoutes(_ routes: APIRoutes, _ registry: RegistryService) {
    routes.post("/imports/registry/models", .registryWrite) { request, _, grant in
        let batch = try await ImportBatch(request)
        try await registry.importModels(try batch.records(ForeignRegisteredModel.self), from: batch.source, grant)
        return Response([:])
    }
    routes.post("/imports/registry/versions", .registryWrite) { request, _, grant in
        let batch = try await ImportBatch(request)
        try await registry.importVersions(try batch.records(ModelVersion.self), from: batch.source, grant)
        return Response([:])
    }
    routes.post("/imports/registry/aliases", .registryWrite) { request, _, grant in
        let batch = try await ImportBatch(request)
        try await registry.importAliases(try batch.records(ForeignAliases.self), from: batch.source, grant)
        return Response([:])
    }
    routes.post("/imports/registry/:kind/check", .registryRead) { request, context, grant in
        let kind: RegistryImportKind = try context.word("kind")
        let batch = try await ImportBatch(request)
        return Response(try ImportBatch.states(await registry.checkImport(kind, batch.digests(), from: batch.source, grant)))
    }
}

/// The body of an import's call.
private struct ImportBatch {
    let source: String
    let items: [JSON]
    let isRehearsal: Bool
    static let bytesMax = 64 << 20

    init(_ request: Request) async throws {
        let reader = try FieldReader(try await request.json(upTo: ImportBatch.bytesMax), path: "")
        source = try reader.string("source")
        isRehearsal = try reader.optionalBool("rehearsal") ?? false
        guard let items = try reader.required("items").array else { throw reader.failure("items", "must be a list") }
        self.items = items
        try reader.finish()
    }

    func records<Record: ImportRecord>(_ type: Record.Type) throws -> [Record] {
        try items.enumerated().map { i, item in
            do { return try Record(record: item) } catch { throw KeelError.wrapping(error).at("items[\(i)]") }
        }
    }

    /// `[[id, digest], …]`
    func digests() throws -> [(id: String, digest: Digest)] {
        try items.map { item in
            guard let id = item[0]?.string, let digest = item[1]?.string.flatMap({ Digest(hex: $0) }) else {
                throw KeelError.invalid("an item is [id, SHA-256]", path: "items")
            }
            return (id, digest)
        }
    }

    func texts() throws -> [String] {
        try items.map { item in
            guard let text = item.string else { throw KeelError.invalid("an item is a text", path: "items") }
            return text
        }
    }

    static func states(_ states: [ImportState]) -> JSON { ["items": .array(states.map { .string($0.rawValue) })] }
}

extension KeelContext {
    /// A path component that is one of the words of an enumeration.
    fileprivate func word<T: RawRepresentable & CaseIterable>(_ parameter: String) throws -> T where T.RawValue == String {
        let text = try parameters.require(parameter)
        guard let word = T(rawValue: text) else {
            throw KeelError.notFound(
                "'\(text.prefix(60))' is not known here", hint: "one of \(T.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return word
    }
}
