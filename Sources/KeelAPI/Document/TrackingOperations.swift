import Platform
import Tracking

private let tracking = "Experiments and runs"
private let registry = "Models"

private let page: [APIOperation.Parameter] = [.limit(100), .init("page", "The token of the page, from `next` of the answer before")]
private let search: [APIOperation.Parameter] = [
    .init("filter", "What to look for, in MLflow's filter language"), .init("order", .list(.text), "What to order by: `metrics.auc DESC`"),
]
private let state = APIOperation.Parameter("state", .word(["active", "deleted", "all"]), "Which to see; active ones unless given")
private let experiments = APIOperation.Parameter("experiment", .list(.text), "The id of an experiment; at least one")

let trackingOperations: [APIOperation] = [
    .init(
        "GET", "/api/v1/experiments", tracking, "Looks for experiments", .trackingRead, query: search + [state] + page,
        answer: ["experiments": .list(.named("Experiment")), "next": .nullable(.text)]),
    .init(
        "POST", "/api/v1/experiments", tracking, "Makes an experiment", .trackingWrite,
        body: ["name": .text, "artifacts?": .text, "tags?": .map(.text)], status: 201, answer: ["id": .text]),
    .init("GET", "/api/v1/experiments/{id}", tracking, "An experiment", .trackingRead, answer: .named("Experiment"), errors: [400]),
    .init(
        "PATCH", "/api/v1/experiments/{id}", tracking, "Renames an experiment or sets tags", .trackingWrite,
        body: ["name?": .text, "tags?": .map(.text)], answer: [:]),
    .init("DELETE", "/api/v1/experiments/{id}", tracking, "Puts an experiment into the bin", .trackingWrite, answer: [:], errors: [400]),
    .init("POST", "/api/v1/experiments/{id}/restore", tracking, "Takes an experiment out of the bin", .trackingWrite, answer: [:], errors: [400]),
    .init(
        "GET", "/api/v1/tracking/runs", tracking, "Looks for runs", .trackingRead, query: [experiments] + search + [state] + page,
        answer: ["runs": .list(.named("Run")), "next": .nullable(.text)]),
    .init(
        "POST", "/api/v1/tracking/runs", tracking, "Starts a run", .trackingWrite,
        body: ["experiment": .text, "name?": .text, "tags?": .map(.text), "started_at?": .instant], status: 201, answer: .named("Run"), errors: [404]),
    .init("GET", "/api/v1/tracking/runs/{id}", tracking, "A run", .trackingRead, answer: .named("Run")),
    .init(
        "PATCH", "/api/v1/tracking/runs/{id}", tracking, "Changes a run's status, end or name", .trackingWrite,
        body: ["status?": .word(RunStatus.allCases.map(\.rawValue)), "ended_at?": .instant, "name?": .text], answer: .named("Run")),
    .init("DELETE", "/api/v1/tracking/runs/{id}", tracking, "Puts a run into the bin", .trackingWrite, answer: [:], errors: [400]),
    .init("POST", "/api/v1/tracking/runs/{id}/restore", tracking, "Takes a run out of the bin", .trackingWrite, answer: [:], errors: [400]),
    .init(
        "POST", "/api/v1/tracking/runs/{id}/log", tracking, "Logs metrics, params and tags together: all or none", .trackingWrite,
        body: [
            "metrics?": .list(["key": .text, "value": .number, "at?": .instant, "step?": .integer]), "params?": .map(.text), "tags?": .map(.text),
        ], answer: [:]),
    .init(
        "GET", "/api/v1/tracking/runs/{id}/metrics", tracking, "The shape of a metric's history: the lowest and highest value of each part", .trackingRead,
        query: [.init("key", "The metric's name; needed"), .init("points", "At most about so many points, 2 to 10000; 1000 when not given")],
        answer: ["key": .text, "count": .integer, "points": .list(.named("Point"))]),
    .init(
        "GET", "/api/v1/tracking/runs/{id}/history", tracking, "Every value of a metric", .trackingRead,
        query: [
            .init("key", "The metric's name; needed"), .limit(1000, most: 25_000), .init("page", "The token of the page, from `next` of the answer before"),
        ], answer: ["points": .list(.named("Point")), "next": .nullable(.text)]),
    .init(
        "GET", "/api/v1/tracking/models", tracking, "Looks for models that runs have logged", .trackingRead, query: [experiments] + search + page,
        answer: ["models": .list(.named("LoggedModel")), "next": .nullable(.text)]),
    .init("GET", "/api/v1/tracking/models/{id}", tracking, "A model that a run has logged", .trackingRead, answer: .named("LoggedModel")),
    .init(
        "GET", "/api/v1/models", registry, "Looks for registered models", .registryRead,
        query: [
            .init("filter", "What to look for, in MLflow's filter language"),
            .init("at", .instant, "What there was at this instant, by the ledger; the filter does not apply then"),
        ] + page,
        answer: ["models": .list(.named("Model")), "next": .nullable(.text)]),
    .init("GET", "/api/v1/models/{name}", registry, "A registered model", .registryRead, answer: .named("Model")),
    .init(
        "GET", "/api/v1/models/{name}/versions", registry, "The versions of a model", .registryRead, query: page,
        answer: ["versions": .list(.named("ModelVersion")), "next": .nullable(.text)]),
    .init(
        "GET", "/api/v1/models/{name}/versions/{version}", registry, "A version of a model", .registryRead, answer: .named("ModelVersion"),
        errors: [400]),
    .init(
        "GET", "/api/v1/models/{name}/history", registry, "Every change of a model, newest first: who, when, from what to what", .registryRead,
        query: [
            .init("version", .integer, "Only what concerns this version"), .init("before", .integer, "Only events before this number"), .limit(100),
        ], answer: ["events": .list(.named("ModelChange")), "next": .nullable(.integer)]),
    .init(
        "GET", "/api/v1/models/{name}/versions/{version}/card", registry, "The model card, in Markdown with Hugging Face's metadata", .registryRead,
        answer: .text, answerType: "text/markdown", errors: [400]),
    .init(
        "GET", "/api/v1/webhooks", registry, "Webhooks, each with its last delivery", .webhooksManage, query: page,
        answer: ["webhooks": .list(.named("Webhook")), "next": .nullable(.text)]),
    .init(
        "GET", "/api/v1/webhooks/{id}/deliveries", registry, "What a webhook was sent, newest first", .webhooksManage,
        query: [.init("before", "Only deliveries before this id"), .limit(100)],
        answer: ["deliveries": .list(.named("WebhookDelivery")), "next": .nullable(.text)]),
]

let trackingShapes: [(String, Shape)] = [
    (
        "Experiment",
        [
            "id": .text, "name": .text, "state": .text, "artifacts": .text, "created_at": .instant, "updated_at": .instant, "tags": .map(.text),
        ]
    ),
    ("Point", ["value": .nullable(.number), "step": .integer, "at": .instant]),
    (
        "Run",
        [
            "id": .text, "name": .text, "experiment": .text, "user": .text, "status": .word(RunStatus.allCases.map(\.rawValue)), "state": .text,
            "artifacts": .text, "started_at": .instant, "ended_at": .nullable(.instant), "metrics": .map(.named("Point")), "params": .map(.text),
            "tags": .map(.text), "datasets": .list(["name": .text, "digest": .text]), "models": .list(.text),
        ]
    ),
    (
        "LoggedModel",
        [
            "id": .text, "name": .text, "experiment": .text, "run": .nullable(.text), "type": .nullable(.text), "status": .text, "artifacts": .text,
            "created_at": .instant, "updated_at": .instant, "params": .map(.text), "tags": .map(.text),
            "metrics": .list(["key": .text, "value": .nullable(.number), "step": .integer, "run": .text, "dataset": .nullable(.text)]),
        ]
    ),
    (
        "Model",
        [
            "name": .text, "description": .text, "created_at": .instant, "updated_at": .instant, "tags": .map(.text), "aliases": .map(.integer),
            "versions?": .list(["version": .integer, "stage": .text]),
        ]
    ),
    (
        "ModelVersion",
        [
            "model": .text, "version": .integer, "uri": .text, "source": .text, "run": .nullable(.text), "logged_model": .nullable(.text),
            "stage": .text, "description": .text, "by": .text, "created_at": .instant, "updated_at": .instant, "tags": .map(.text),
            "aliases": .list(.text), "location": .text, "run_link": .nullable(.text), "signature": .nullable(.any), "file": .nullable(.any),
        ]
    ),
    (
        "ModelChange",
        [
            "seq": .integer, "at": .instant, "by": .text, "persona": .text, "request_id": .text, "kind": .text, "subject": .text, "data": .any,
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
