import Contracts
import Importing
import Registry
import Tracking
import WebAPI

private let imports = "Imports"

/// `{"source": NAME, "items": […]}`
private func batch(_ item: Shape) -> Shape { ["source": .text, "items": .list(item)] }
/// A thing of the other store with all its fields, as `keel import` writes it.
private let record = Shape.map(.any)
private let states: Shape = ["items": .list(.word(ImportState.allCases.map(\.rawValue)))]

let importOperations: [APIOperation] = [
    .init(
        "POST", "/api/v1/imports/tracking/experiments", imports, "Brings experiments of another store, and says which of Keel's they are",
        body: ["source": .text, "items": .list(record), "rehearsal?": .flag],
        answer: ["items": .list(["id": .text, "to": .text, "state": .text, "joined": .flag])]),
    .init(
        "POST", "/api/v1/imports/tracking/runs", imports, "Brings runs without the history of their metrics",
        body: batch(record), answer: [:]),
    .init(
        "POST", "/api/v1/imports/tracking/logged-models", imports, "Brings logged models without their metrics",
        body: batch(record), answer: [:]),
    .init(
        "POST", "/api/v1/imports/tracking/evaluation-datasets", imports, "Brings evaluation datasets without their records",
        body: batch(record), answer: [:]),
    .init(
        "POST", "/api/v1/imports/tracking/evaluation-records", imports, "Brings records of evaluation datasets",
        body: batch(record), answer: [:]),
    .init(
        "POST", "/api/v1/imports/tracking/{kind}/check", imports, "How runs and other things of another store stand to Keel's",
        body: batch(.list(.text)), answer: states),
    .init(
        "POST", "/api/v1/imports/tracking/{kind}/points", imports, "Adds measurements to the history of runs or logged models",
        body: batch(.list(.any)), answer: ["added": .integer]),
    .init(
        "POST", "/api/v1/imports/tracking/{kind}/fingerprints", imports, "The fingerprint of each metric of runs or logged models",
        body: batch(.text), answer: ["items": .map(.map(.text))]),
    .init(
        "POST", "/api/v1/imports/artifacts/digests", imports, "Size and SHA-256 of artifacts", body: batch(.text),
        answer: ["items": .list(.nullable(["bytes": .integer, "digest": .text]))]),
    .init(
        "POST", "/api/v1/imports/artifacts", imports, "Notes in the ledger that artifacts were brought",
        body: ["source": .text, "files": .integer, "bytes": .integer], answer: [:]),
    .init(
        "POST", "/api/v1/imports/registry/models", imports, "Brings registered models without their versions",
        body: batch(record), answer: [:]),
    .init(
        "POST", "/api/v1/imports/registry/versions", imports, "Brings versions of models under their numbers",
        body: batch(record), answer: [:]),
    .init(
        "POST", "/api/v1/imports/registry/aliases", imports, "Makes the aliases of models what they are in another registry",
        body: batch(record), answer: [:]),
    .init(
        "POST", "/api/v1/imports/registry/{kind}/check", imports, "How models, versions or aliases of another registry stand to Keel's",
        body: batch(.list(.text)), answer: states),
]
