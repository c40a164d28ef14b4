import Pipelines
import Serving
import WebAPI
import Workflows

private let pipelines = "Pipelines"
private let serving = "Endpoints and monitors"
private let server = "Server"
private let signatureRule = Shape.word(EndpointSpec.SignatureRule.allCases.map(\.rawValue))

let pipelineOperations: [APIOperation] = [
    .init(
        "POST", "/api/v1/pipelines/{name}/runs", pipelines, "Starts a run",
        body: ["parameters?": .map(.any), "cache?": .flag, "now?": .instant], status: 202, answer: ["run": .text]),
    .init(
        "GET", "/api/v1/runs", pipelines, "Runs of pipelines, newest first",
        query: [
            .init("pipeline", "Only of this pipeline"),
            .init("state", .word(PipelineRun.State.allCases.map(\.rawValue)), "Only in this state"),
            .init("before", "Only runs before this id"), .limit(50),
        ], answer: ["runs": .list(.named("PipelineRun"))]),
    .init("GET", "/api/v1/runs/{id}", pipelines, "A run with its steps; the beginning of an id is enough", answer: .named("PipelineRun")),
    .init(
        "POST", "/api/v1/runs/{id}/cancel", pipelines, "Cancels a run: its programs are ended", answer: .named("PipelineRun"), errors: [409]
    ),
    .init(
        "GET", "/api/v1/runs/{id}/steps/{step}/log", pipelines, "Lines of a step's log, of all its attempts",
        query: [
            .init("from", .integer, "From this byte on: the next of the page before"),
            .init("tail", .integer, "The last so many lines instead"),
        ], answer: ["lines": .list(.text), "next": .integer, "size": .integer, "left_out": .integer]),
    .init("GET", "/api/v1/triggers", pipelines, "The triggers as they stand", answer: ["triggers": .list(.named("Trigger"))]),
    .init(
        "POST", "/api/v1/triggers/{name}/pause", pipelines, "Stops a trigger from firing until it is resumed", answer: .named("Trigger"),
        errors: [409]),
    .init("POST", "/api/v1/triggers/{name}/resume", pipelines, "Lets a trigger fire again", answer: .named("Trigger"), errors: [409]),
]

let servingOperations: [APIOperation] = [
    .init(
        "GET", "/api/v1/endpoints", serving, "The endpoints that serve, with their releases",
        answer: ["endpoints": .list(["name": .text, "environment": .text, "phase": .text, "releases": .list(.named("ServedRelease"))])]),
    .init(
        "GET", "/api/v1/endpoints/{name}/releases", serving, "The releases of an endpoint",
        answer: [
            "releases": .list([
                "number": .integer, "model": .text, "gate": .text, "state": .text, "created": .instant, "by": .text, "digest": .text,
                "promoted_from": .nullable(.named("PromotedFrom")),
            ])
        ]),
    .init(
        "POST", "/api/v1/endpoints/{name}/releases", serving, "Releases a model, or with from what serves in another environment, with its evidence; force also one that its gate refused",
        body: ["model?": .text, "from?": .text, "release?": .integer, "force?": .flag, "reason?": .text, "signature?": signatureRule], answer: .named("Release"),
        errors: [409, 422]),
    .init(
        "POST", "/api/v1/endpoints/{name}/deploy", serving, "Serves a registered model: declares the endpoint when there is none, tries the model, releases it",
        body: [
            "model": .text, "features?": .text, "runner?": .word(ModelBinding.Runner.allCases.map(\.rawValue)), "reason?": .text,
            "signature?": signatureRule,
        ],
        answer: .named("Deployment"), errors: [409, 422]),
    .init(
        "POST", "/api/v1/endpoints/{name}/rollback", serving, "Goes back to the release before, or to a number",
        body: ["to?": .integer, "reason?": .text, "expecting?": seenServing], answer: .named("Release"), errors: [409]),
    .init(
        "POST", "/api/v1/endpoints/{name}/promote", serving, "Ends a rollout by hand", body: ["reason?": .text, "expecting?": seenServing],
        answer: .named("Release"), errors: [409]),
    .init(
        "POST", "/api/v1/endpoints/{name}/rollout/pause", serving,
        "Keeps a rollout in its stage until it is resumed; a condition that becomes true still takes the candidate back",
        body: ["reason?": .text, "expecting?": seenServing], answer: .named("Rollout"), errors: [409]),
    .init(
        "POST", "/api/v1/endpoints/{name}/rollout/resume", serving, "Lets a paused rollout move on",
        body: ["reason?": .text, "expecting?": seenServing], answer: .named("Rollout"), errors: [409]),
    .init(
        "GET", "/api/v1/endpoints/{name}/performance", serving, "Metrics of predictions with labels, by month",
        query: [.init("from", .instant, "From this event time on"), .init("until", .instant, "Before this event time")],
        answer: ["months": .list(.named("MonthOfPredictions"))]),
    .init(
        "POST", "/api/v1/query", serving, "Answers one SELECT over the logged predictions of the endpoints that the caller may read",
        body: ["sql": .text, "rows?": .integer, "seconds?": .integer],
        answer: [
            "columns": .list(["name": .text, "type": .text]), "rows": .list(.list(.any)), "truncated": .flag, "notes": .list(.text),
        ], errors: [409, 429, 504]),
    .init(
        "POST", "/api/v1/labels", serving, "Says what really happened, to the predictions of each id on every endpoint",
        body: ["labels": .list(["id": .text, "value": .any, "at?": .instant])], answer: labelled, errors: [503]),
    .init(
        "POST", "/api/v1/endpoints/{name}/labels", serving, "Says what really happened, to the predictions of one endpoint",
        body: ["labels": .list(["id": .text, "value": .any, "at?": .instant])], answer: labelled, errors: [503]),
    .init(
        "GET", "/api/v1/monitors/{name}/windows", serving, "The windows of a monitor, newest first", query: [.limit(200)],
        answer: ["windows": .list(.named("MonitorWindow"))]),
]

/// What the caller saw serving: when something else does by now, nothing is changed.
private let seenServing: Shape = ["stable?": .nullable(.integer), "candidate?": .nullable(.integer)]

private let labelled: Shape = [
    "accepted": .integer, "joined": .integer, "unknown": .integer, "unknown_kept_days": .integer,
    "rejected": .list(["index": .integer, "reason": .text]),
]

let serverOperations: [APIOperation] = [
    .init("GET", "/health", server, "Whether the server answers", answer: .text, answerType: "text/plain"),
    .init("GET", "/version", server, "The version of MLflow whose protocol is spoken", answer: .text, answerType: "text/plain"),
    .init("GET", "/metrics", server, "Counters for Prometheus", answer: .text, answerType: "text/plain"),
    .init(
        "POST", "/api/v1/gc", server, "Removes for good what is in the bin and content that nothing refers to",
        body: [
            "older_than?": .text, "run_ids?": .list(.text), "experiment_ids?": .list(.text), "logged_model_ids?": .list(.text),
            "dry_run?": .flag,
        ],
        answer: [
            "dry_run": .flag, "objects": .integer, "bytes": .integer, "model_folders": .integer,
            "items": .list([
                "kind": .text, "id": .text, "name": .text, "deleted_at": .instant, "files": .integer, "bytes": .integer,
                "kept_for": .nullable(.text),
                "artifacts_elsewhere": .nullable(.text),
            ]),
        ]),
    .init(
        "POST", "/api/v1/verify", server, "Compares all that is stored with its digests; progress and the result are lines of JSON",
        answer: .text, answerType: "application/x-ndjson"),
    .init(
        "GET", "/api/v1/damage", server, "What is stored and not what it was, and so disabled; and identity providers whose keys cannot be fetched",
        answer: ["damage": .list(["subject": .text, "workspace": .text, "what": .text, "hint": .nullable(.text), "since": .instant])]),
    .init(
        "GET", "/api/v1/backup", server, "A backup of the whole home folder, as a tar archive; it holds the server's keys",
        answer: .text, answerType: "application/x-tar"),
    .init("GET", "/api/v1/routes", server, "Every route of the server", answer: .list(["method": .text, "path": .text])),
    .init("GET", "/openapi.json", server, "This document", answer: .map(.any)),
]

let operatingShapes: [(String, Shape)] = [
    (
        "PipelineRun",
        [
            "id": .text, "pipeline": .text, "state": .word(PipelineRun.State.allCases.map(\.rawValue)), "reason": .text, "now": .instant,
            "parameters": .map(.any), "started_at": .instant, "finished_at?": .instant, "error?": .text,
            "steps?": .list(.named("PipelineStep")),
        ]
    ),
    (
        "PipelineStep",
        [
            "name": .text, "uses": .text, "state": .word(StepRun.State.allCases.map(\.rawValue)), "attempts": .integer,
            "interruptions?": .integer, "last_line?": .text, "cache?": .text,
            "started_at?": .instant, "finished_at?": .instant, "progress?": .number, "message?": .text, "error?": .text,
            "outputs?": .map(.any),
        ]
    ),
    (
        "Trigger",
        [
            "name": .text, "state": .word(["active", "paused"]), "when": .list(.text), "run": .text, "author": .text,
            "fired_at": .nullable(.instant), "paused_at": .nullable(.instant), "paused_by": .nullable(.text),
        ]
    ),
    (
        "Rollout",
        [
            "endpoint": .text, "stable": .nullable(.integer), "candidate": .nullable(.integer),
            "paused": .nullable(["at": .instant, "by": .text, "reason": .text]),
        ]
    ),
    (
        "ServedRelease",
        [
            "number": .integer, "role": .text, "model": .text, "share": .text, "requests": .integer, "p50_us": .nullable(.number),
            "p99_us": .nullable(.number), "errors": .text, "drift": .nullable(.number),
            "drift_rows": .nullable(.integer), "step": .nullable(.text),
            "parts": .list(["model": .text, "runs": .integer, "mean_us": .nullable(.number)]),
        ]
    ),
    (
        "MonthOfPredictions",
        [
            "month": .text, "predictions": .integer, "labels": .integer, "auc?": .nullable(.number), "logloss?": .number,
            "calibration?": .number, "accuracy?": .number,
            "mean_score?": .number, "mean_label?": .number, "unusable?": .integer, "note?": .text,
        ]
    ),
    (
        "MonitorWindow",
        [
            "monitor": .text, "endpoint": .text, "kind": .text, "from": .instant, "until": .instant, "release": .integer, "rows": .integer,
            "total_rows": .integer, "late": .integer, "value": .nullable(.number), "alerted": .flag,
            "columns": .list([
                "name": .text, "psi": .number, "calibratedThreshold": .number, "drifted": .flag, "counts": .list(.integer),
                "reference": .list(.number),
            ]), "metrics": .map(.nullable(.number)), "reference": .map(.number), "notes": .list(.text),
        ]
    ),
    (
        "Release",
        [
            "release": .integer, "endpoint": .text, "model": .text, "version": .text, "bundle": .text, "features": .nullable(.text),
            "gate": .text,
            "created_at": .instant, "created_by": .text, "digest": .text, "promoted_from?": .named("PromotedFrom"), "parts?": .list(.text),
        ]
    ),
    (
        "Deployment",
        [
            "release": .integer, "endpoint": .text, "model": .text, "version": .text, "uri": .text, "bundle": .text, "features": .nullable(.text),
            "gate": .text, "created_at": .instant, "created_by": .text, "digest": .text, "endpoint_created": .flag, "runner?": .text,
            "example?": .nullable(["rows": .integer, "compared": .flag]), "state": .word(["stable", "rollout", "idle"]), "candidate?": .integer,
            "warnings?": .list(.text), "signed_by?": .list(.text),
        ]
    ),
    (
        "PromotedFrom",
        [
            "endpoint": .text, "release": .integer, "digest": .text,
            "evidence": [
                "created_by": .text, "created_at": .instant, "deployed_at": .nullable(.instant), "predictions": .integer, "labels": .integer,
                "promoted_by?": .text, "promoted_at?": .instant, "reason?": .nullable(.text), "numbers?": .any,
                "monitor?": [
                    "monitor": .text, "kind": .word(["drift", "performance"]), "until": .instant, "rows": .integer, "value": .nullable(.number),
                    "alerted": .flag,
                ],
            ],
        ]
    ),
]
