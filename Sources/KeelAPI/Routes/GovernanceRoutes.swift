import Contracts
import Governance
import Hummingbird
import Platform
import Storage

/// Resources, ledger and tokens.
func addGovernanceRoutes(to router: some RouterMethods<KeelContext>, _ platform: Platform) {
    router.post("/plan") { request, context -> Response in
        let grant = try await context.authorize(.resourcesRead)
        let changes = try await platform.plan(try ResourceList.decode(try await request.json()), by: grant)
        return Response(["changes": .array(changes.map(\.json))])
    }
    router.post("/apply") { request, context -> Response in
        let grant = try await context.authorize(.resourcesApply)
        return Response(try await platform.apply(try ResourceList.decode(try await request.json()), by: grant).json)
    }
    router.get("/resources/:kind") { _, context -> Response in
        let grant = try await context.authorize(.resourcesRead)
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
    router.get("/resources/:kind/:name") { _, context -> Response in try await describe(context, platform) }
    router.post("/resources/:kind/:name/restore") { request, context -> Response in
        let grant = try await context.authorize(.resourcesApply)
        let body = try await request.json()
        return try await restore(resource(context), revision(of: body), grant, platform)
    }
    router.get("/ledger") { request, context -> Response in
        _ = try await context.authorize(.ledgerRead)
        let (after, limit) = (Int64(request.query("after") ?? "0") ?? 0, try request.limit(standard: 200, max: 10_000))
        let (kind, subject) = (request.query("kind"), request.query("subject"))
        let events = try await platform.database.read { try $0.ledgerEvents(after: after, kind: kind, subject: subject, limit: limit) }
        return Response(["events": .array(events.map(\.json)), "next": events.count == limit ? .int(events[limit - 1].seq) : .null])
    }
    router.get("/ledger/verify") { _, context -> Response in
        _ = try await context.authorize(.ledgerRead)
        let check = try await platform.database.read { try $0.verifyLedger() }
        var answer: JSON = ["events": .int(check.events), "head": .string(check.head)]
        if let broken = check.broken {
            answer["seq"] = .int(broken.seq)
            answer["problem"] = .string(broken.problem)
        }
        return Response(answer)
    }
    router.post("/tokens") { request, context -> Response in
        let grant = try await context.authorize(.tokensManage)
        let reader = try FieldReader(try await request.json(), path: "")
        let (name, persona) = (try reader.string("name"), try reader.word("persona") as Persona)
        let expires = try reader.optionalSpan("expires")
        try reader.finish()
        let issued = try await platform.tokens.create(name: name, persona: persona, expires: expires.map { .systemNow() + $0 }, by: grant)
        return Response(["token": issued.token.json, "secret": .string(issued.secret)])
    }
    router.get("/tokens") { _, context -> Response in
        let grant = try await context.authorize(.tokensManage)
        return Response(["tokens": .array(try await platform.tokens.list(by: grant).map(\.json))])
    }
    router.delete("/tokens/:name") { _, context -> Response in
        let name = try context.name()
        let grant = try await context.authorize(.tokensManage, on: "Token/\(name)")
        try await platform.tokens.revoke(name, by: grant)
        return Response([:])
    }
}

func kind(_ context: KeelContext) throws -> String {
    let word = try context.parameters.require("kind")
    return try KindName.kind(word, of: Declarations.kinds)
}

private func resource(_ context: KeelContext) throws -> (kind: String, name: String) { (try kind(context), try context.name()) }

private func describe(_ context: KeelContext, _ platform: Platform) async throws -> Response {
    let grant = try await context.authorize(.resourcesRead)
    let (kind, name) = try resource(context)
    let stored = try await platform.resources.get(kind, name, by: grant)
    let revisions = try await platform.resources.revisions(kind, name, environment: stored.resource.environment, by: grant)
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
