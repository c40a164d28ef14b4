import Platform
import WebAPI

private let family = "Resources, ledger and tokens"

let governanceOperations: [APIOperation] = [
    .init(
        "POST", "/api/v1/plan", family, "What applying these resources would change",
        body: ["resources": .list(.named("Resource"))],
        answer: ["changes": .list(.named("ResourceChange"))]),
    .init(
        "POST", "/api/v1/apply", family, "Applies resources, all or none", body: ["resources": .list(.named("Resource"))],
        answer: .named("Applied"), errors: [409]),
    .init(
        "GET", "/api/v1/resources/{kind}", family, "The resources of a kind",
        answer: ["resources": .list(["name": .text, "environment": .nullable(.text), "revision": .integer, "digest": .text])]),
    .init(
        "GET", "/api/v1/resources/{kind}/{name}", family, "A resource with its revisions",
        answer: [
            "resource": .named("Resource"), "revision": .integer, "revisions": .list(.named("ResourceRevision")),
            "status": .map(.text), "needed_by": .list(["id": .text, "field": .text]), "events": .list(.named("LedgerEvent")),
        ]),
    .init(
        "POST", "/api/v1/resources/{kind}/{name}/restore", family, "Applies an earlier revision again",
        body: ["revision": .integer], answer: .named("Applied"), errors: [409]),
    .init(
        "DELETE", "/api/v1/resources/{kind}/{name}", family, "Deletes a resource; its revisions stay",
        query: [
            .init("environment", "Of which environment, when it is in several"),
            .init("cascade", .flag, "Whether to delete everything that names it too, and what is in use"),
            .init("data", .flag, "Whether to remove the rows of datasets that go, for good"),
            .init("dry_run", .flag, "Whether to list only what would go"),
        ], answer: .named("Deletion"), errors: [409]),
    .init(
        "GET", "/api/v1/ledger", family, "Events of the ledger",
        query: [
            .init("order", .word(["oldest", "newest"]), "Which come first; the oldest unless given"),
            .init("after", .integer, "Only events after this number"), .init("before", .integer, "Only events before this number"),
            .init("since", .instant, "Only events at this instant or later"),
            .init("kind", "Only events of this kind; one that ends in '.' is a prefix"),
            .init("subject", "Only events of this thing, as Kind/name"),
            .init("all", .flag, "The events of all workspaces, for whoever may audit the server; without it those of the caller's"),
            .init("raw", .flag, "The data of each event as the text that its hash covers"), .limit(200, most: 10_000),
        ], answer: ["events": .list(.named("LedgerEvent")), "next": .nullable(.integer)]),
    .init(
        "GET", "/api/v1/ledger/verify", family, "Whether the ledger's chain of digests holds, and is the one that was signed",
        answer: ["events": .integer, "head": .text, "seq?": .integer, "problem?": .text, "refused_tokens": .list(.text)]),
    .init(
        "GET", "/api/v1/ledger/checkpoint", family, "The end of the ledger, signed with the server's Ed25519 key",
        answer: ["seq": .integer, "hash": .text, "at": .instant, "public_key": .text, "signature": .text]),
    .init(
        "GET", "/api/v1/access/explain", family, "Which role, role binding or limit lets somebody do something, or that none does",
        query: [
            .init("who", "A token's name, or issuer:subject; the caller unless given"),
            .init("group", "A group the person is in, as issuer:group; may be repeated"), .init("verb", "The action: releases.deploy"),
            .init("what", "Kind/name or Kind/name@environment; everything unless given"),
        ],
        answer: [
            "who": .text, "action": .text, "subject": .text, "workspace": .text, "allowed": .flag, "because": .text, "roles": .list(.text),
        ]),
    .init(
        "GET", "/api/v1/workspaces", family, "The workspaces in which the caller has a role; all of them for whoever manages them",
        answer: ["workspaces": .list(.named("Workspace"))]),
    .init(
        "POST", "/api/v1/workspaces", family, "Makes a workspace; its name is used once", body: ["name": .text, "description?": .text],
        answer: .named("Workspace")),
    .init(
        "PATCH", "/api/v1/workspaces/{name}", family, "Changes what a workspace is described as", body: ["description": .text],
        answer: .named("Workspace")),
    .init("DELETE", "/api/v1/workspaces/{name}", family, "Deletes a workspace that holds nothing", answer: [:], errors: [409]),
    .init(
        "POST", "/api/v1/tokens", family, "Makes a token; its secret is shown once",
        body: [
            "name": .text, "persona?": .text, "expires?": .text, "acts_for?": .text,
            "scope?": ["actions?": .list(.text), "environments?": .list(.text), "kinds?": .list(.text), "names?": .list(.text)],
        ], answer: ["token": .named("Token"), "secret": .text]),
    .init(
        "POST", "/api/v1/tokens/{name}/rotate", family,
        "Gives a token another secret; the one until now stays good for `overlap`, 1h unless given",
        body: ["overlap?": .text, "expires?": .text], answer: ["token": .named("Token"), "secret": .text], errors: [409]),
    .init("GET", "/api/v1/tokens", family, "The tokens, without their secrets", answer: ["tokens": .list(.named("Token"))]),
    .init("DELETE", "/api/v1/tokens/{name}", family, "Revokes a token", answer: [:]),
]

let governanceShapes: [(String, Shape)] = [
    ("Resource", ["apiVersion": .text, "kind": .text, "metadata": .map(.any), "spec": .map(.any)]),
    (
        "ResourceChange",
        [
            "id": .text, "environment?": .text, "change": .word(["new", "changed", "unchanged"]), "revision": .integer, "digest": .text,
            "differences": .list(["path": .text, "old": .any, "new": .any]), "effects?": .list(.text),
        ]
    ),
    (
        "Deletion",
        [
            "items": .list([
                "id": .text, "environment": .nullable(.text), "revision": .integer, "needs": .nullable(.text), "holds": .list(.text),
                "in_use": .nullable(.text),
            ]), "stays": .list(.text), "revision": .nullable(.integer), "ledger_seq": .nullable(.integer),
        ]
    ),
    (
        "Applied",
        [
            "revision": .integer, "ledger_seq": .nullable(.integer), "changes": .list(.named("ResourceChange")),
            "deployments?": .list(.named("Deployment")), "warnings?": .list(.text),
        ]
    ),
    (
        "ResourceRevision",
        ["revision": .integer, "digest": .text, "apply": .integer, "at": .instant, "by": .text, "resource": .named("Resource")]
    ),
    (
        "LedgerEvent",
        [
            "seq": .integer, "at": .instant, "caller": .text, "persona": .text, "workspace": .text, "request_id": .text, "kind": .text,
            "subject": .text, "data": .any, "actors?": .list(.text), "hash": .text,
        ]
    ),
    ("Workspace", ["name": .text, "description": .text, "created_at": .instant, "created_by": .text]),
    (
        "Token",
        [
            "name": .text, "persona": .text, "workspace": .text, "scope": .any, "acts_for": .nullable(.text), "created_at": .instant,
            "created_by": .text, "expires_at": .nullable(.instant), "revoked_at": .nullable(.instant), "previous_until": .nullable(.instant),
            "last_used_at": .nullable(.instant),
        ]
    ),
]
