import Contracts
import Datasets
import FeatureStore
import Foundation
import Hummingbird
import Platform
import WebAPI

/// Datasets, their snapshots and streams, and features.
func addDataRoutes(to routes: APIRoutes, _ platform: Platform) {
    routes.post("/datasets/:name/ingest", .datasetsIngest, on: .named("Dataset")) { request, context, grant in
        let name = try context.name()
        let from = try request.instant("from")
        let until = try request.instant("until")
        let overwrite = try request.flag("overwrite")
        let member = request.query("member")
        // The name only tells the format; the bytes are spooled under a name of our own.
        let file = (request.query("file") ?? "upload.csv").split(separator: "/").last.map(String.init) ?? "upload.csv"
        try MemoryReservation.take(MemoryReservation.uploadBytes, for: .uploads)
        let memory = try MemoryReservation.take(MemoryReservation.ingestBytes, for: .ingest)
        let spooled = try await platform.ingesting.spool(
            request.body.map { Array(buffer: $0) }, named: file, bytesMax: platform.configuration.bodyBytesMax)
        return Response.progress { report in
            defer { withExtendedLifetime(memory) { spooled.remove() } }
            return try await platform.ingesting.ingest(
                name, spooled: spooled, member: member, from: from, until: until, overwrite: overwrite, grant: grant,
                progress: report)
        }
    }
    routes.get("/datasets/:name/snapshots", .datasetsRead, on: .named("Dataset")) { request, context, grant in
        let name = try context.name()
        let before = try request.count("before")
        let snapshots = try await platform.data.snapshots(name, before: before, limit: try request.limit(standard: 100), grant: grant)
        return Response(["snapshots": .array(snapshots.map(summary))])
    }
    routes.get("/datasets/:name/snapshots/:number", .datasetsRead, on: .named("Dataset")) { _, context, grant in
        let name = try context.name()
        guard let number = Int(try context.parameters.require("number")) else {
            throw KeelError.invalid("a snapshot is named by its number", path: "number")
        }
        guard let snapshot = try await platform.data.snapshot(ResourceRef("Dataset", name, in: grant.workspace), number) else {
            throw KeelError.notFound("dataset '\(name)' has no snapshot \(number)")
        }
        return Response(snapshot.json)
    }
    routes.get("/datasets/:name/quarantine", .datasetsRead, on: .named("Dataset")) { request, context, grant in
        let name = try context.name()
        var number = try request.count("snapshot")
        if number == nil { number = try await platform.data.snapshot(ResourceRef("Dataset", name, in: grant.workspace))?.number }
        guard let number else { throw KeelError.notFound("dataset '\(name)' has no snapshot yet") }
        let after = try request.count("after") ?? 0
        let rows = try await platform.data.quarantine(
            dataset: name, snapshot: number, after: after, limit: try request.limit(standard: 100), grant: grant)
        return Response([
            "rows": .array(
                rows.map {
                    ["source": .string($0.source), "line": .int(Int64($0.line)), "reason": .string($0.reason), "raw": .string($0.raw)]
                })
        ])
    }
    routes.post("/datasets/:name/events", .eventsPush, on: .named("Dataset")) { request, context, grant in
        let name = try context.name()
        let result = try await platform.ingesting.push(name, try await request.bytes(upTo: 16 << 20), grant)
        return Response([
            "accepted": .int(Int64(result.accepted.rowCount)),
            "rejected": .array(result.rejected.map { ["index": .int(Int64($0.index)), "reason": .string($0.reason)] }),
        ])
    }
    routes.post("/datasets/:name/seal", .datasetsIngest, on: .named("Dataset")) { _, context, grant in
        let name = try context.name()
        let snapshot = try await platform.data.seal(dataset: name, grant: grant)
        return Response(["snapshot": snapshot.map(summary) ?? .null])
    }
    routes.post("/features/verify", .predictionsRead, on: .each) { request, context, grant in
        _ = try await context.authorize(.featuresRead)
        let reader = try FieldReader(try await request.json(), path: "")
        let endpoint = try ResourceRef("Endpoint", qualifiedName: reader.string("endpoint"), in: grant.workspace, path: "endpoint")
        try grant.require(.predictionsRead, on: endpoint)
        let sample = try reader.optionalInt("sample") ?? 5000
        try reader.finish()
        return Response(try await platform.parity.verify(endpoint: endpoint, sample: min(max(sample, 1), 100_000), grant))
    }
    routes.post("/features/:name/read", .featuresRead, on: .named("FeatureService")) { request, context, grant in
        let name = try context.name()
        let reader = try FieldReader(try await request.json(), path: "")
        let rows = try reader.required("rows")
        try reader.finish()
        let table = try platform.parity.read(rows, service: name, grant)
        return Response([
            "rows": .array(
                (0..<table.rowCount).map { i in .object(zip(table.names, table.row(i)).map { JSON.Member($0, JSON($1)) }) })
        ])
    }
}

/// A snapshot without its profile and files.
private func summary(_ snapshot: Snapshot) -> JSON {
    [
        "number": .int(Int64(snapshot.number)), "rows": .int(Int64(snapshot.rowCount)),
        "quarantined": .int(Int64(snapshot.quarantinedCount)),
        "from": snapshot.eventTimes.map { .string($0.lowerBound.description) } ?? .null,
        "until": snapshot.eventTimes.map { .string($0.upperBound.description) } ?? .null,
        "created": .string(snapshot.createdAt.description),
        "digest": .string(snapshot.digest.hex),
    ]
}
