import Contracts
import Governance
import Hummingbird
import Platform
import Storage

/// Resources, ledger and tokens.
func addGovernanceRoutes(to routes: APIRoutes, _ platform: Platform) {
    routes.post("/plan", .resourcesRead) { request, _, grant in
        let changes = try await platform.plan(try ResourceList.decode(try await request.json()), by: grant)
        return Response(["changes": .array(changes.map(\.json))])
    }
    routes.post("/apply", .resourcesApply) { request, _, grant in
        return Response(try await platform.apply(try ResourceList.decode(try await request.json()), by: grant).json)
    }
    routes.get("/resources/:kind", .resourcesRead) { _, context, grant in
        let kind = try KeelAPI.kind(context)
        let stored = try await platform.resources.get(kind, by: grant)
        return Response([
            "resources": .array(
                stored.map { item in
                    [
                        "name": .string(item.resource.name), "environment": item.resource.environment.map(JSON.string) ?? .null,
                        "revision": .int(item.revision), "digest": .string(item.digest.hex),
                    ]
                })
        ])
    }
    routes.get("/resources/:kind/:name", .resourcesRead) { _, context, grant in try await describe(resource(context), grant, platform) }
    routes.post("/resources/:kind/:name/restore", .resourcesApply) { request, context, grant in
        let body = try await request.json()
        return try await restore(resource(context), revision(of: body), grant, platform)
    }
    routes.get("/ledger", .ledgerRead) { request, _, _ in
        let (after, limit) = (Int64(request.query("after") ?? "0") ?? 0, try request.limit(standard: 200, max: 10_000))
        let (kind, subject) = (request.query("kind"), request.query("subject"))
        let events = try await platform.database.read { try $0.ledgerEvents(after: after, kind: kind, subject: subject, limit: limit) }
        let raw = request.query("raw") == "true"
        return Response(["events": .array(events.map { raw ? $0.rawJSON : $0.json }), "next": events.count == limit ? .int(events[limit - 1].seq) : .null])
    }
    routes.get("/ledger/verify", .ledgerRead) { _, _, grant in Response(try await platform.verifyLedger(grant)) }
    routes.get("/ledger/checkpoint", .ledgerRead) { _, _, grant in Response(try await platform.checkpoints.checkpoint(grant).json) }
    routes.post("/tokens", .tokensManage) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let (name, persona) = (try reader.string("name"), try reader.word("persona") as Persona)
        let expires = try reader.optionalSpan("expires")
        try reader.finish()
        let issued = try await platform.tokens.create(name: name, persona: persona, expires: expires.map { .systemNow() + $0 }, by: grant)
        return Response(["token": issued.token.json, "secret": .string(issued.secret)])
    }
    routes.get("/tokens", .tokensManage) { _, _, grant in
        return Response(["tokens": .array(try await platform.tokens.list(by: grant).map(\.json))])
    }
    routes.delete("/tokens/:name", .tokensManage, on: .named("Token")) { _, context, grant in
        let name = try context.name()
        try await platform.tokens.revoke(name, by: grant)
        return Response([:])
    }
}

func kind(_ context: KeelContext) throws -> String {
    let word = try context.parameters.require("kind")
    return try KindName.kind(word, of: Declarations.kinds)
}

private func resource(_ context: KeelContext) throws -> (kind: String, name: String) { (try kind(context), try context.name()) }

private func describe(_ resource: (kind: String, name: String), _ grant: Grant, _ platform: Platform) async throws -> Response {
    let stored = try await platform.resources.get(resource.kind, resource.name, by: grant)
    let revisions = try await platform.resources.revisions(
        resource.kind, resource.name, environment: stored.resource.environment, by: grant)
    return Response(["resource": stored.resource.json, "revision": .int(stored.revision), "revisions": .array(revisions.map(\.json))])
}

private func restore(_ resource: (kind: String, name: String), _ revision: Int64, _ grant: Grant, _ platform: Platform) async throws
    -> Response
{
    let result = try await platform.restore(resource.kind, resource.name, revision: revision, by: grant)
    return Response(result.json)
}

private func revision(of body: JSON) throws -> Int64 {
    let reader = try FieldReader(body, path: "")
    let revision = try reader.int("revision")
    try reader.finish()
    return Int64(revision)
}
