import Platform
import Registry
import WebAPI

private let family = "Models"
private let stage = Shape.word(ModelStage.allCases.map(\.rawValue))

/// A column as an `MLmodel` file describes it; `type` is null when the contract has no word for it.
private let fileColumn: Shape = ["name": .nullable(.text), "type": .nullable(.text), "written": .text, "required": .flag]

let modelOperations: [APIOperation] = [
    .init(
        "GET", "/api/v1/models", family, "Looks for registered models",
        query: [
            .init("filter", "What to look for, in MLflow's filter language"),
            .init("at", .instant, "What there was at this instant, by the ledger; the filter does not apply then"),
        ] + page,
        answer: ["models": .list(.named("Model")), "next": .nullable(.text)]),
    .init("GET", "/api/v1/models/{name}", family, "A registered model", answer: .named("Model"), errors: [400]),
    .init(
        "GET", "/api/v1/models/{name}/versions", family, "The versions of a model", query: page,
        answer: ["versions": .list(.named("ModelVersion")), "next": .nullable(.text)]),
    .init("GET", "/api/v1/models/{name}/versions/{version}", family, "A version of a model", answer: .named("ModelVersion"), errors: [400]),
    .init(
        "POST", "/api/v1/models", family, "Makes a registered model",
        body: ["name": .text, "description?": .text, "tags?": .map(.text)], status: 201, answer: .named("Model")),
    .init("PATCH", "/api/v1/models/{name}", family, "Describes a model anew", body: ["description": .text], answer: .named("Model")),
    .init("POST", "/api/v1/models/{name}/rename", family, "Gives a model another name", body: ["name": .text], answer: .named("Model")),
    .init(
        "DELETE", "/api/v1/models/{name}", family, "Removes a model with all its versions, if nothing uses one",
        answer: [:],
        errors: [400, 409]),
    .init("PUT", "/api/v1/models/{name}/tags/{key}", family, "Sets a tag of a model", body: ["value": .text], answer: [:]),
    .init("DELETE", "/api/v1/models/{name}/tags/{key}", family, "Removes a tag of a model", answer: [:], errors: [400]),
    .init(
        "PUT", "/api/v1/models/{name}/aliases/{alias}", family,
        "Moves an alias to a version; with `expecting` only if it stands at that version now, or at none (null)",
        body: ["version": .integer, "expecting?": .nullable(.integer)], answer: ["before": .nullable(.integer)], errors: [409]),
    .init("DELETE", "/api/v1/models/{name}/aliases/{alias}", family, "Removes an alias, if it is there", answer: [:], errors: [400]),
    .init(
        "POST", "/api/v1/models/{name}/versions", family,
        "Registers a version: of a run's artifacts, a logged model, another version, or what lies elsewhere",
        body: [
            "source": .text, "run?": .text, "run_link?": .text, "logged_model?": .text, "description?": .text, "tags?": .map(.text),
            "create_model?": .flag,
        ], status: 201, answer: .named("ModelVersion")),
    .init(
        "PATCH", "/api/v1/models/{name}/versions/{version}", family, "Describes a version anew",
        body: ["description": .text],
        answer: .named("ModelVersion")),
    .init(
        "DELETE", "/api/v1/models/{name}/versions/{version}", family,
        "Removes a version, if nothing uses it; its number is never given again", answer: [:], errors: [400, 409]),
    .init(
        "POST", "/api/v1/models/{name}/versions/{version}/stage", family, "Moves a version to a stage",
        body: ["stage": stage, "archive_others?": .flag], answer: .named("ModelVersion")),
    .init(
        "PUT", "/api/v1/models/{name}/versions/{version}/tags/{key}", family, "Sets a tag of a version",
        body: ["value": .text], answer: [:]),
    .init(
        "DELETE", "/api/v1/models/{name}/versions/{version}/tags/{key}", family, "Removes a tag of a version", answer: [:], errors: [400]),
    .init(
        "GET", "/api/v1/models/{name}/history", family, "Every change of a model, newest first: who, when, from what to what",
        query: [
            .init("version", .integer, "Only what concerns this version"), .init("before", .integer, "Only events before this number"),
            .limit(100),
        ], answer: ["events": .list(.named("ModelChange")), "next": .nullable(.integer)]),
    .init(
        "GET", "/api/v1/models/{name}/versions/{version}/card", family, "The model card, in Markdown with Hugging Face's metadata",
        answer: .text, answerType: "text/markdown", errors: [400]),
    .init(
        "GET", "/api/v1/models/{name}/versions/{version}/evidence", family,
        "What Keel recorded of a version: training, evaluation, gate, bundle and approvals",
        answer: [
            "bundle": .named("Evidence"), "gate": .nullable(.named("Evidence")), "evaluation": .nullable(.named("Evidence")),
            "training": .nullable(.named("Evidence")), "approvals": .list(.named("Evidence")),
            "signatures": .list(.named("Evidence")),
        ], errors: [400, 409]),
    .init(
        "GET", "/api/v1/models/{name}/versions/{version}/manifest", family,
        "What is signed of a version: a text with the paths and digests of its files", answer: ["manifest": .text, "digest": .text], errors: [400, 409]),
    .init(
        "POST", "/api/v1/models/{name}/versions/{version}/signatures", family,
        "Keeps a signature of the manifest's text: Ed25519, in base64, with the public key",
        body: ["key": .text, "signature": .text], status: 201, answer: .named("Evidence"), errors: [400, 409]),
    .init(
        "POST", "/api/v1/models/{name}/versions/{version}/approvals", family,
        "Takes responsibility for a version that somebody else registered",
        body: ["reason": .text], status: 201, answer: .named("Evidence"), errors: [400, 409]),
    .init(
        "POST", "/api/v1/models/{name}/versions/{version}/offers", family, "Lets another workspace have a version, if it accepts",
        body: ["workspace": .text, "note?": .text], status: 201, answer: .named("ModelOffer"), errors: [400]),
    .init(
        "GET", "/api/v1/offers", family, "The offers that this workspace made, and those made to it, the newest first",
        answer: ["offers": .list(.named("ModelOffer"))]),
    .init(
        "GET", "/api/v1/offers/{id}", family, "An offer, with the version and what Keel recorded of it",
        answer: ["offer": .named("ModelOffer"), "version": .named("ModelVersion"), "evidence": .nullable(.any)], errors: [409]),
    .init(
        "POST", "/api/v1/offers/{id}/accept", family, "Takes an offered version over as the next version of a model here",
        body: ["model?": .text], status: 201, answer: .named("ModelVersion"), errors: [400, 409]),
    .init(
        "DELETE", "/api/v1/offers/{id}", family, "Ends an offer: its side withdraws it, the other declines it", answer: .named("ModelOffer"),
        errors: [409]),
    .init(
        "GET", "/api/v1/webhooks", family, "Webhooks, each with its last delivery", query: page,
        answer: ["webhooks": .list(.named("Webhook")), "next": .nullable(.text)]),
    .init(
        "GET", "/api/v1/webhooks/{id}/deliveries", family, "What a webhook was sent, newest first",
        query: [.init("before", "Only deliveries before this id"), .limit(100)],
        answer: ["deliveries": .list(.named("WebhookDelivery")), "next": .nullable(.text)]),
]

let modelShapes: [(String, Shape)] = [
    (
        "ModelOffer",
        [
            "id": .text, "from": .text, "to": .text, "model": .text, "version": .integer, "note": .text, "offered_by": .text,
            "offered_at": .instant, "expires_at": .instant, "state": .word(ModelOffer.State.allCases.map(\.rawValue)),
            "accepted_as": .nullable(.text), "decided_by": .nullable(.text), "decided_at": .nullable(.instant),
        ]
    ),
    (
        "Evidence",
        [
            "id": .text, "kind": .text, "subject": .text, "model": .nullable(.text), "version": .nullable(.integer),
            "run": .nullable(.text),
            "step": .nullable(.text), "verdict": .nullable(.text), "data": .any, "by": .text, "at": .instant,
        ]
    ),
    (
        "Model",
        [
            "name": .text, "description": .text, "created_at": .instant, "updated_at": .instant, "tags": .map(.text),
            "aliases": .map(.integer), "latest_version": .nullable(.integer),
            "versions?": .list(["version": .integer, "stage": stage]),
        ]
    ),
    (
        "ModelVersion",
        [
            "model": .text, "version": .integer, "uri": .text, "source": .text, "run": .nullable(.text), "logged_model": .nullable(.text),
            "stage": stage, "description": .text, "by": .text, "created_at": .instant, "updated_at": .instant, "tags": .map(.text),
            "aliases": .list(.text), "location": .text, "run_link": .nullable(.text),
            "signature": .nullable(.named("Signature")), "file": .nullable(.named("ModelFile")),
        ]
    ),
    (
        "Signature",
        [
            "inputs": .list(["name": .text, "type": .text, "nullable": .flag, "categories?": .list(.text), "optional?": .flag]),
            "outputs": .list(["name": .text, "type": .text]),
            "params?": .list(["name": .text, "type": .text, "default": .any]), "primary?": .text,
        ]
    ),
    (
        "ModelFile",
        [
            "flavors": .list(.text), "settings": .map(.map(.text)), "inputs": .list(fileColumn), "outputs": .list(fileColumn),
            "params": .list(["name": .text, "type": .text, "default": .text]), "input_example": .nullable(.text),
            "input_example_type": .nullable(.text), "bytes": .nullable(.integer), "uuid": .nullable(.text), "run_id": .nullable(.text),
            "model_id": .nullable(.text), "mlflow_version": .nullable(.text), "created": .nullable(.text), "problem": .nullable(.text),
        ]
    ),
    (
        "ModelChange",
        [
            "seq": .integer, "at": .instant, "by": .text, "persona": .text, "request_id": .text, "kind": .text, "subject": .text,
            "data": .map(.any),
        ]
    ),
    (
        "Webhook",
        [
            "id": .text, "name": .text, "url": .text, "description": .text, "events": .list(.text), "status": .text, "signed": .flag,
            "created": .instant, "updated": .instant, "last_delivery": .nullable(.named("WebhookDelivery")),
        ]
    ),
    (
        "WebhookDelivery",
        [
            "id": .text, "event": .text, "seq": .integer, "state": .word(["pending", "delivered", "failed"]), "attempts": .integer,
            "answer": .nullable(.integer), "error": .nullable(.text), "due": .instant, "created": .instant, "updated": .instant,
        ]
    ),
]
