import Tracking
import WebAPI

private let tracking = "Experiments and runs"

let page: [APIOperation.Parameter] = [.limit(100), .init("page", "The token of the page, from `next` of the answer before")]
private let search: [APIOperation.Parameter] = [
    .init("filter", "What to look for, in MLflow's filter language"), .init("order", .list(.text), "What to order by: `metrics.auc DESC`"),
]
private let state = APIOperation.Parameter("state", .word(["active", "deleted", "all"]), "Which to see; active ones unless given")
private let experiments = APIOperation.Parameter("experiment", .list(.text), "The id of an experiment; at least one")

private let lifecycle = Shape.word(["active", "deleted"])

let trackingOperations: [APIOperation] = [
    .init(
        "GET", "/api/v1/experiments", tracking, "Looks for experiments", query: search + [state] + page,
        answer: ["experiments": .list(.named("Experiment")), "next": .nullable(.text)]),
    .init(
        "POST", "/api/v1/experiments", tracking, "Makes an experiment",
        body: ["name": .text, "artifacts?": .text, "tags?": .map(.text)], status: 201, answer: ["id": .text]),
    .init("GET", "/api/v1/experiments/{id}", tracking, "An experiment", answer: .named("Experiment"), errors: [400]),
    .init(
        "PATCH", "/api/v1/experiments/{id}", tracking, "Renames an experiment, sets tags, or both: all or none",
        body: ["name?": .text, "tags?": .map(.text)], answer: [:], errors: [409]),
    .init("DELETE", "/api/v1/experiments/{id}", tracking, "Puts an experiment into the bin", answer: [:], errors: [400]),
    .init("POST", "/api/v1/experiments/{id}/restore", tracking, "Takes an experiment out of the bin", answer: [:], errors: [400]),
    .init(
        "GET", "/api/v1/tracking/runs", tracking, "Looks for runs", query: [experiments] + search + [state] + page,
        answer: ["runs": .list(.named("Run")), "next": .nullable(.text)]),
    .init(
        "POST", "/api/v1/tracking/runs", tracking, "Starts a run",
        body: ["experiment": .text, "name?": .text, "tags?": .map(.text), "started_at?": .instant], status: 201, answer: .named("Run"),
        errors: [404]),
    .init("GET", "/api/v1/tracking/runs/{id}", tracking, "A run", answer: .named("Run")),
    .init(
        "PATCH", "/api/v1/tracking/runs/{id}", tracking, "Changes a run's status, end or name",
        body: ["status?": .word(RunStatus.allCases.map(\.rawValue)), "ended_at?": .instant, "name?": .text], answer: .named("Run")),
    .init("DELETE", "/api/v1/tracking/runs/{id}", tracking, "Puts a run into the bin", answer: [:], errors: [400]),
    .init("POST", "/api/v1/tracking/runs/{id}/restore", tracking, "Takes a run out of the bin", answer: [:], errors: [400]),
    .init(
        "POST", "/api/v1/tracking/runs/{id}/log", tracking, "Logs metrics, params and tags together: all or none",
        body: [
            "metrics?": .list(["key": .text, "value": .number, "at?": .instant, "step?": .integer]), "params?": .map(.text),
            "tags?": .map(.text),
        ], answer: [:]),
    .init(
        "GET", "/api/v1/tracking/runs/{id}/metrics", tracking, "The shape of a metric's history: the lowest and highest value of each part",
        query: [
            .init("key", "The metric's name; needed"),
            .init("points", .integer, "At most about so many points, 2 to 10000; 1000 when not given"),
        ],
        answer: ["key": .text, "count": .integer, "points": .list(.named("Point"))]),
    .init(
        "GET", "/api/v1/tracking/runs/{id}/history", tracking, "Every value of a metric",
        query: [
            .init("key", "The metric's name; needed"), .limit(1000, most: 25_000),
            .init("page", "The token of the page, from `next` of the answer before"),
        ], answer: ["points": .list(.named("Point")), "next": .nullable(.text)]),
    .init(
        "GET", "/api/v1/tracking/models", tracking, "Looks for models that runs have logged",
        query: [experiments] + search + page,
        answer: ["models": .list(.named("LoggedModel")), "next": .nullable(.text)]),
    .init("GET", "/api/v1/tracking/models/{id}", tracking, "A model that a run has logged", answer: .named("LoggedModel")),
]

let trackingShapes: [(String, Shape)] = [
    (
        "Experiment",
        [
            "id": .text, "name": .text, "state": lifecycle, "artifacts": .text, "created_at": .instant, "updated_at": .instant,
            "tags": .map(.text),
        ]
    ),
    ("Point", ["value": .nullable(.number), "step": .integer, "at": .instant]),
    (
        "Run",
        [
            "id": .text, "name": .text, "experiment": .text, "user": .text, "status": .word(RunStatus.allCases.map(\.rawValue)),
            "state": lifecycle,
            "artifacts": .text, "started_at": .instant, "ended_at": .nullable(.instant), "metrics": .map(.named("Point")),
            "params": .map(.text),
            "tags": .map(.text), "datasets": .list(["name": .text, "digest": .text]), "models": .list(.text),
        ]
    ),
    (
        "LoggedModel",
        [
            "id": .text, "name": .text, "experiment": .text, "run": .nullable(.text), "type": .nullable(.text),
            "status": .word(LoggedModelStatus.allCases.map(\.rawValue)), "artifacts": .text,
            "created_at": .instant, "updated_at": .instant, "params": .map(.text), "tags": .map(.text),
            "metrics": .list(["key": .text, "value": .nullable(.number), "step": .integer, "run": .text, "dataset": .nullable(.text)]),
        ]
    ),
]
