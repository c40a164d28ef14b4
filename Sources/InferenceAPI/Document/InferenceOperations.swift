import Platform
import WebAPI

private let family = "Inference"
private let tensor: Shape = ["name": .text, "datatype": .text, "shape": .list(.integer), "data": .list(.any), "parameters?": .map(.any)]
private let column: Shape = ["name": .text, "datatype": .text, "shape": .list(.integer)]
private let metadata: Shape = [
    "name": .text, "versions": .list(.text), "platform": .text, "inputs": .list(column), "outputs": .list(column),
]
private let configured: Shape = ["name": .text, "data_type": .text, "dims": .list(.integer), "reshape?": ["shape": .list(.integer)]]
private let configuration: Shape = [
    "name": .text, "platform": .text, "backend": .text, "version_policy": .map(.any), "max_batch_size": .integer, "input": .list(configured),
    "output": .list(configured),
]
private let ready: Shape = ["name": .text, "ready": .flag]
private let duration: Shape = ["count": .integer, "ns": .integer]
private let statistics: Shape = [
    "model_stats": .list([
        "name": .text, "version": .text, "last_inference": .integer, "inference_count": .integer, "execution_count": .integer,
        "inference_stats": [
            "success": duration, "fail": duration, "queue": duration, "compute_input": duration, "compute_infer": duration,
            "compute_output": duration, "cache_hit": duration, "cache_miss": duration,
        ], "response_stats": .map(.any), "batch_stats": .list(.any), "memory_usage": .list(.any),
    ])
]
private let inference: Shape = ["id?": .text, "model_name?": .text, "inputs": .list(tensor), "outputs?": .any, "parameters?": .map(.any)]
private let inferred: Shape = [
    "model_name": .text, "model_version": .text, "id?": .text, "parameters": .map(.any), "outputs": .list(tensor),
]
private let modelStatus: Shape = ["name": .text, "ready": .flag, "model_version_status": .list(.map(.any))]
private let rows: Shape = ["instances?": .list(.any), "inputs?": .any, "signature_name?": .text]
private let answered: Shape = ["predictions?": .list(.any), "outputs?": .any]
private let predictions: Shape = ["predictions": .list(.any), "ids": .list(.text), "release": .text]
/// One of MLflow's forms of a table.
private let table: Shape = [
    "dataframe_split?": .any, "dataframe_records?": .list(.map(.any)), "instances?": .any, "inputs?": .any, "params?": .map(.any),
]
private let failures = [415, 422, 503, 504]

/// The Open Inference Protocol, V1, MLflow's scoring protocol and Keel's own.
public let inferenceOperations: [APIOperation] = [
    .init(
        "GET", "/v2", family, "The server's name, version and extensions",
        answer: ["name": .text, "version": .text, "extensions": .list(.text)]),
    .init("GET", "/v2/health/live", family, "Whether the server lives", answer: ["live": .flag]),
    .init("GET", "/v2/health/ready", family, "Whether the server is ready", answer: ["ready": .flag]),
    .init("GET", "/v2/models/{name}", family, "An endpoint's inputs and outputs", answer: metadata),
    .init("GET", "/v2/models/{name}/ready", family, "Whether an endpoint is ready", answer: ready),
    .init("GET", "/v2/models/{name}/config", family, "An endpoint as Triton configures models", answer: configuration),
    .init("GET", "/v2/models/{name}/stats", family, "What an endpoint's answers took, since each release was loaded", answer: statistics),
    .init("GET", "/v2/models/stats", family, "What the answers of all endpoints took that the caller may ask", answer: statistics),
    .init(
        "GET", "/v2/models/{name}/versions/{version}", family, "An endpoint's inputs and outputs, when it serves this model version",
        answer: metadata),
    .init("GET", "/v2/models/{name}/versions/{version}/ready", family, "Whether an endpoint serves this model version", answer: ready),
    .init(
        "GET", "/v2/models/{name}/versions/{version}/config", family, "An endpoint as Triton configures models, when it serves this model version",
        answer: configuration),
    .init("GET", "/v2/models/{name}/versions/{version}/stats", family, "What the answers of this model version took", answer: statistics),
    .init(
        "POST", "/v2/models/{name}/versions/{version}/infer", family, "Predicts with this model version", body: inference, answer: inferred,
        errors: failures),
    .init("POST", "/v2/models/{name}/infer", family, "Predicts", body: inference, answer: inferred, errors: failures),
    .init(
        "POST", "/v2/repository/index", family, "The endpoints that the caller may ask, with their versions", body: ["ready?": .flag],
        answer: .list(["name": .text, "version": .text, "state": .word(["READY", "UNAVAILABLE"]), "reason": .text])),
    .init(
        "POST", "/v2/repository/models/{name}/load", family, "Whether an endpoint serves; models are not loaded but released",
        body: ["parameters?": .map(.any)]),
    .init(
        "POST", "/v2/repository/models/{name}/unload", family, "Is refused, with what takes an endpoint away", body: ["parameters?": .map(.any)]),
    .init("GET", "/v1/models", family, "The endpoints that serve", answer: ["models": .list(.text)]),
    .init("GET", "/v1/models/{name}", family, "The model versions that an endpoint serves", answer: modelStatus),
    .init("GET", "/v1/models/{name}/versions/{version}", family, "Whether an endpoint serves this model version", answer: modelStatus),
    .init("POST", "/v1/models/{name}:predict", family, "Predicts, in the V1 protocol", body: rows, answer: answered, errors: failures),
    .init(
        "POST", "/v1/models/{name}/versions/{version}:predict", family, "Predicts with this model version, in the V1 protocol", body: rows,
        answer: answered, errors: failures),
    .init("GET", "/ping", family, "Whether the server lives, in MLflow's scoring protocol"),
    .init(
        "POST", "/endpoints/{name}/invocations", family, "Predicts, in MLflow's scoring protocol; a body of text/csv is taken too", body: table,
        answer: predictions, errors: failures),
    .init(
        "POST", "/invocations", family, "Predicts with the only endpoint, in MLflow's scoring protocol; a body of text/csv is taken too", body: table,
        answer: predictions, errors: failures),
    .init(
        "POST", "/api/v1/endpoints/{name}/predict", family,
        "Predicts rows of the keys and request columns of the features, or of the model's inputs; features shows what the model was given",
        body: ["rows": .list(.map(.any)), "ids?": .list(.text), "params?": .map(.any), "version?": .text, "features?": .flag],
        answer: ["predictions": .list(.map(.any)), "endpoint": .text, "release": .integer, "model": .text, "version": .text], errors: failures),
]
