import Platform
import WebAPI

private let family = "Inference"
private let tensor: Shape = ["name": .text, "datatype": .text, "shape": .list(.integer), "data": .list(.any), "parameters?": .map(.any)]
private let column: Shape = ["name": .text, "datatype": .text, "shape": .list(.integer)]
private let predictions: Shape = ["predictions": .list(.number), "ids": .list(.text), "release": .text]
/// One of MLflow's forms of a table.
private let table: Shape = [
    "dataframe_split?": .any, "dataframe_records?": .list(.map(.any)), "instances?": .any, "inputs?": .any, "params?": .map(.any),
]

/// The Open Inference Protocol and MLflow's scoring protocol.
public let inferenceOperations: [APIOperation] = [
    .init(
        "GET", "/v2", family, "The server's name, version and extensions",
        answer: ["name": .text, "version": .text, "extensions": .list(.text)]),
    .init("GET", "/v2/health/live", family, "Whether the server lives"),
    .init("GET", "/v2/health/ready", family, "Whether the server is ready"),
    .init(
        "GET", "/v2/models/{name}", family, "An endpoint's inputs and outputs",
        answer: ["name": .text, "versions": .list(.text), "platform": .text, "inputs": .list(column), "outputs": .list(column)]),
    .init("GET", "/v2/models/{name}/ready", family, "Whether an endpoint is ready"),
    .init(
        "GET", "/v2/models/{name}/versions/{version}", family, "An endpoint's inputs and outputs, when it serves this model version",
        answer: ["name": .text, "versions": .list(.text), "platform": .text, "inputs": .list(column), "outputs": .list(column)]),
    .init("GET", "/v2/models/{name}/versions/{version}/ready", family, "Whether an endpoint serves this model version"),
    .init(
        "POST", "/v2/models/{name}/versions/{version}/infer", family, "Predicts with this model version",
        body: ["id?": .text, "inputs": .list(tensor), "outputs?": .any, "parameters?": .map(.any)],
        answer: ["model_name": .text, "model_version": .text, "id?": .text, "parameters": .map(.any), "outputs": .list(tensor)],
        errors: [422, 503, 504]),
    .init(
        "POST", "/v2/models/{name}/infer", family, "Predicts",
        body: ["id?": .text, "inputs": .list(tensor), "outputs?": .any, "parameters?": .map(.any)],
        answer: ["model_name": .text, "model_version": .text, "id?": .text, "parameters": .map(.any), "outputs": .list(tensor)],
        errors: [422, 503, 504]),
    .init(
        "POST", "/endpoints/{name}/invocations", family, "Predicts, in MLflow's scoring protocol", body: table,
        answer: predictions,
        errors: [415, 422, 503, 504]),
    .init(
        "POST", "/invocations", family, "Predicts with the only endpoint, in MLflow's scoring protocol", body: table,
        answer: predictions,
        errors: [415, 422, 503, 504]),
]
