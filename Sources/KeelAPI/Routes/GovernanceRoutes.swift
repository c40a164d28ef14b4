import Contracts
import Governance
import Hummingbird
import Platform
import Storage
import WebAPI
import Workflows

/// Resources, ledger and tokens.
func addGovernanceRoutes(to routes: APIRoutes, _ platform: Platform) {
    routes.post("/plan", .resourcesRead, on: .each) { request, _, grant in
        let changes = try await platform.deploying.plan(try ResourceList.decode(try await request.json()), by: grant)
        return Response(["changes": .array(changes.map(\.json))])
    }
    routes.post("/apply", .resourcesApply, on: .each) { request, _, grant in
        return Response(try await platform.deploying.apply(try ResourceList.decode(try await request.json()), by: grant))
    }
    routes.get("/resources/:kind", .resourcesRead, on: .each) { _, context, grant in
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
    routes.get("/resources/:kind/:name", .resourcesRead, on: .each) { _, context, grant in try await describe(resource(context), grant, platform) }
    routes.post("/resources/:kind/:name/restore", .resourcesApply, on: .each) { request, context, grant in
        let body = try await request.json()
        let named = try resource(context)
        return Response(
            try await platform.applying.restore(
                named.kind, named.name, environment: named.environment, revision: revision(of: body), by: grant
            ).json)
    }
    routes.delete("/resources/:kind/:name", .resourcesApply, on: .each) { request, context, grant in
        let named = try resource(context)
        let deletion = try await platform.applying.delete(
            named.kind, named.name, environment: named.environment ?? request.query("environment") ?? ResourceRef(named.kind, named.name).environment?.rawValue,
            cascade: try request.flag("cascade"),
            data: try request.flag("data"),
            isRehearsal: try request.flag("dry_run"), by: grant)
        return Response(deletion.json)
    }
    routes.get("/ledger", .ledgerRead) { request, context, grant in
        // The whole chain is every workspace's.
        let isWhole = try request.flag("all")
        if isWhole { try await context.authorize(.ledgerAudit).requireServer() }
        return try await events(request, platform.database, in: isWhole ? nil : grant.workspace)
    }
    routes.get("/ledger/verify", .ledgerRead) { _, _, grant in Response(try await platform.verifying.ledger(grant)) }
    routes.get("/ledger/checkpoint", .ledgerRead) { _, _, grant in Response(try await platform.checkpoints.checkpoint(grant).json) }
    routes.get("/access/explain", .workspacesRead) { request, context, grant in
        let who = request.query("who") ?? grant.caller.name
        let word = request.query("verb") ?? ""
        guard let action = Action(rawValue: word) else {
            throw KeelError.invalid(
                "'\(word.prefix(60))' is not an action", hint: nearest(word, in: Action.allCases.map(\.rawValue)).map { "did you mean '\($0)'?" },
                path: "verb")
        }
        let asking = who == grant.caller.name ? grant : try await context.authorize(.accessManage)
        let explanation = try await platform.policy.explain(
            who, groups: request.queries("group"), may: action, on: request.query("what") ?? "*", tokens: platform.tokens, by: asking)
        return Response(explanation.json)
    }
    routes.get("/workspaces", .workspacesRead) { _, _, grant in
        Response(["workspaces": .array(try await platform.workspaces.list(by: grant).map(\.json))])
    }
    routes.post("/workspaces", .workspacesManage) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let name = try reader.string("name")
        let description = try reader.optionalString("description") ?? ""
        try reader.finish()
        return Response(try await platform.workspaces.create(name, description: description, by: grant).json)
    }
    routes.patch("/workspaces/:name", .workspacesManage, on: .named("Workspace")) { request, context, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let description = try reader.string("description")
        try reader.finish()
        return Response(try await platform.workspaces.update(try context.name(), description: description, by: grant).json)
    }
    routes.delete("/workspaces/:name", .workspacesManage, on: .named("Workspace")) { _, context, grant in
        try await platform.workspaces.delete(try context.name(), by: grant)
        return Response([:])
    }
    routes.post("/tokens", .tokensManage, on: .each) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let name = try reader.string("name")
        let persona: Persona = try reader.word("persona", default: .member, among: Persona.allCases.filter { $0 != .system })
        let scope = try reader.optionalObject("scope").map { (inner) throws(KeelError) in try TokenScope(inner) }
        let actsFor = try reader.optionalString("acts_for")
        let isEndless = reader.optional("expires")?.string == "never"
        let life = isEndless ? nil : try reader.optionalSpan("expires") ?? TokenService.standardLife
        try reader.finish()
        let issued = try await platform.tokens.create(
            name: name, persona: persona, scope: scope, actsFor: actsFor, expires: life.map { platform.database.clock.now() + $0 }, by: grant)
        return Response(["token": issued.token.json, "secret": .string(issued.secret)])
    }
    routes.post("/tokens/:name/rotate", .tokensManage, on: .named("Token")) { request, context, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let overlap = try reader.optionalSpan("overlap") ?? .hours(1)
        let life = try reader.optionalSpan("expires")
        try reader.finish()
        let issued = try await platform.tokens.rotate(
            try context.name(), overlap: overlap, expires: life.map { platform.database.clock.now() + $0 }, by: grant)
        return Response(["token": issued.token.json, "secret": .string(issued.secret)])
    }
    routes.get("/tokens", .tokensManage, on: .each) { _, _, grant in
        return Response(["tokens": .array(try await platform.tokens.list(by: grant).map(\.json))])
    }
    routes.delete("/tokens/:name", .tokensManage, on: .named("Token")) { _, context, grant in
        let name = try context.name()
        try await platform.tokens.revoke(name, by: grant)
        return Response([:])
    }
}

private func events(_ request: Request, _ database: Database, in workspace: WorkspaceID?) async throws -> Response {
    let limit = try request.limit(standard: 200, max: 10_000)
    let order = request.query("order") ?? "oldest"
    guard order == "oldest" || order == "newest" else { throw KeelError.invalid("must be oldest or newest", path: "order") }
    let after = try request.seq("after") ?? 0
    let before = try request.seq("before") ?? .max
    let since = try request.instant("since")
    let kind = request.query("kind")
    let subject = request.query("subject")
    let events = try await database.read(in: workspace) { db in
        let start = try since.map { max(after, try db.ledgerSeq(at: Timestamp(microseconds: $0.microseconds - 1))) } ?? after
        return try db.ledgerEvents(
            after: start, before: before, newestFirst: order == "newest", kind: kind, subject: subject, limit: limit)
    }
    let raw = try request.flag("raw")
    return Response([
        "events": .array(events.map { raw ? $0.rawJSON : $0.json }), "next": events.count == limit ? .int(events[limit - 1].seq) : .null,
    ])
}

extension Request {
    fileprivate func seq(_ name: String) throws(KeelError) -> Int64? {
        guard let text = query(name) else { return nil }
        guard let seq = Int64(text), seq >= 0 else { throw .invalid("'\(text.prefix(40))' is not the number of an event", path: name) }
        return seq
    }
}

func kind(_ context: KeelContext) throws -> String {
    let word = try context.parameters.require("kind")
    return try KindName.kind(word, of: ResourceKinds.names)
}

/// What the path names. The environment is that of `delay@staging`, and nil for `delay`, which may be in any one.
private func resource(_ context: KeelContext) throws -> (kind: String, name: String, environment: String?) {
    let kind = try kind(context)
    let ref = try context.thing(kind)
    let isNamed = try ref.environment != nil && context.parameters.require("name") != ref.name
    return (kind, ref.name, isNamed ? ref.environment?.rawValue : nil)
}

private func describe(_ resource: (kind: String, name: String, environment: String?), _ grant: Grant, _ platform: Platform) async throws -> Response {
    let stored = try await platform.resources.get(resource.kind, resource.name, environment: resource.environment, by: grant)
    let revisions = try await platform.resources.revisions(
        resource.kind, resource.name, environment: stored.resource.environment, by: grant)
    let needing = try await platform.applying.dependents(of: stored.resource.ref(in: grant.workspace), by: grant)
    let status = try await platform.applying.status(of: stored.resource, by: grant)
    // The last of what happened to it; who may not read the ledger sees none of it.
    let mayRead = grant.caller.may(.ledgerRead, on: nil)
    let events = mayRead ? try await platform.database.read(in: grant.workspace) { try $0.ledgerEvents(on: stored.resource.ref(in: grant.workspace).subject, before: .max, limit: 10) } : []
    return Response([
        "resource": stored.resource.json, "revision": .int(stored.revision), "revisions": .array(revisions.map(\.json)),
        "status": .object(status.map { JSON.Member($0.name, .string($0.value)) }),
        "needed_by": .array(needing.map { ["id": .string($0.id), "field": .string($0.field)] }), "events": .array(events.map(\.json)),
    ])
}

private func revision(of body: JSON) throws -> Int64 {
    let reader = try FieldReader(body, path: "")
    let revision = try reader.int("revision")
    try reader.finish()
    return Int64(revision)
}
