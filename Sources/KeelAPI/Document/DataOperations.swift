import WebAPI

private let family = "Data and features"

let dataOperations: [APIOperation] = [
    .init(
        "POST", "/api/v1/datasets/{name}/ingest", family, "Reads a file into a new snapshot; progress and the result are lines of JSON",
        query: [
            .init("file", "The file's name, which tells its format: .csv, .parquet, .jsonl, also compressed"),
            .init("member", "Which file of a zip archive that holds several"),
            .init("overwrite", .flag, "Whether the file's rows replace all others; earlier snapshots stay readable"),
            .init("from", .instant, "Only rows from this event time on"), .init("until", .instant, "Only rows before this event time"),
        ], body: .bytes, bodyType: "application/octet-stream", answer: .text, answerType: "application/x-ndjson", errors: [422]),
    .init(
        "GET", "/api/v1/datasets/{name}/snapshots", family, "The snapshots of a dataset, newest first",
        query: [.init("before", .integer, "Only snapshots before this number"), .limit(100)],
        answer: ["snapshots": .list(.named("SnapshotSummary"))]),
    .init(
        "GET", "/api/v1/datasets/{name}/snapshots/{number}", family, "A snapshot with its schema, files and profile",
        answer: [
            "dataset": .text, "number": .integer, "digest": .text, "rows": .integer, "quarantined": .integer, "createdAt": .integer,
            "schema": .named("DatasetSchema"),
            "files": .list(["path": .text, "rows": .integer, "bytes": .integer, "digest": .text]), "parent?": .integer,
            "eventTimes?": .list(.integer), "profile?": .named("Profile"),
        ], errors: [400]),
    .init(
        "GET", "/api/v1/datasets/{name}/quarantine", family, "The rows that broke the dataset's contract, with the reason",
        query: [
            .init("snapshot", .integer, "Of this snapshot; the newest unless given"), .init("after", .integer, "After this row"),
            .limit(100),
        ],
        answer: ["rows": .list(["source": .text, "line": .integer, "reason": .text, "raw": .text])]),
    .init(
        "POST", "/api/v1/datasets/{name}/events", family, "Pushes events; good ones are durable when this returns",
        body: ["rows": .list(.map(.any))],
        answer: ["accepted": .integer, "rejected": .list(["index": .integer, "reason": .text])], errors: [503]),
    .init(
        "POST", "/api/v1/datasets/{name}/seal", family, "Makes a snapshot of the stream's events",
        answer: ["snapshot": .nullable(.named("SnapshotSummary"))]),
    .init(
        "POST", "/api/v1/features/verify", family, "Compares features as served with the same features computed offline",
        body: ["endpoint": .text, "sample?": .integer],
        answer: [
            "rows": .integer, "skipped": .integer, "inexact": .integer, "compared": .integer, "undecided": .integer, "differences": .integer,
            "examples": .list(["id": .text, "feature": .text, "online": .nullable(.number), "offline": .nullable(.number)]),
        ], errors: [404, 409]),
    .init(
        "POST", "/api/v1/features/{name}/read", family, "The features of some entities now",
        body: ["rows": .list(.map(.any))],
        answer: ["rows": .list(.map(.any))]),
]

let dataShapes: [(String, Shape)] = [
    (
        "SnapshotSummary",
        [
            "number": .integer, "rows": .integer, "quarantined": .integer, "from": .nullable(.instant), "until": .nullable(.instant),
            "created": .instant, "digest": .text,
        ]
    ),
    (
        "DatasetSchema",
        [
            "columns": .list([
                "name": .text, "type": .text, "nullable?": .flag, "range?": .list(.nullable(.number)), "oneOf?": .list(.text),
                "pattern?": .text,
                "unit?": .text, "personal?": .flag,
            ]), "key?": .list(.text), "eventTime?": .text, "label?": .text,
        ]
    ),
    (
        "Profile",
        [
            "rows": .integer,
            "columns": .list([
                "name": .text, "type": .text, "count": .integer, "nulls": .integer, "distinct": .integer,
                "distinctSketch": ["dense?": .text, "sparse?": .text],
                "top": ["error": .integer, "text": .flag, "values": .list(.list(.any))], "min?": .number, "max?": .number, "mean?": .number,
                "squares?": .number, "quantiles?": ["count": .integer, "coin": .text, "levels": .list(.text)],
            ]),
        ]
    ),
]
