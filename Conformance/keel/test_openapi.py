"""`/openapi.json` is a valid OpenAPI 3.1 document and says what the router does, both ways."""
import json
import pathlib
import re
import tempfile
import uuid

import jsonschema
import pytest
import requests
import yaml
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param
from openapi_spec_validator import OpenAPIV31SpecValidator

import project
from servers import Keel

# Actions that every persona has.
EVERYONE = {"features.read"}
# Answered on the connection's own event loop, before the router.
HOT = {("POST", "/v2/models/{name}/infer")}
# MLflow's protocol is described in docs/mlflow.md.
MLFLOW = re.compile(r"^/(api/[23]\.0|ajax-api|gateway/|get-artifact|model-versions/|graphql|static-files|build/|v1/traces)|^/$|\*\*")


def document(url, token=None):
    answer = requests.get(url + "/openapi.json", headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(url):
    return {(route["method"], re.sub(r":(\w+)", r"{\1}", route["path"])) for route in requests.get(url + "/api/v1/routes", timeout=30).json()}


def operations(described):
    return {(method.upper(), path): operation for path, methods in described["paths"].items() for method, operation in methods.items()}


def test_the_document_is_valid(url):
    OpenAPIV31SpecValidator(document(url)).validate()


def test_every_route_is_in_the_document_and_every_path_of_the_document_is_a_route(url):
    routes = {route for route in listed(url) if not MLFLOW.search(route[1])} | HOT | {("GET", "/api/v1/routes")}
    assert set(operations(document(url))) == routes


def test_every_operation_is_whole(url):
    ids = set()
    for (method, path), operation in operations(document(url)).items():
        assert operation["summary"] and operation["tags"], path
        assert operation["operationId"] not in ids, path
        ids.add(operation["operationId"])
        named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path)), path
        success = [status for status in operation["responses"] if status.startswith("2")]
        assert len(success) == 1, path
        if "x-keel-action" in operation:
            assert {"401", "403"} <= set(operation["responses"]), path


def test_no_route_refuses_for_another_action_than_the_document_says(guarded):
    """The stated action is the one that the route was registered with; what a handler asks for besides must not be refused to anyone who has that."""
    server, tokens = guarded
    described = document(server.url, tokens["owner"])
    assert len(operations(described)) > 60
    for (method, path), operation in operations(described).items():
        refused = set()
        for persona, token in tokens.items():
            # What is refused changes nothing; what an owner may do with an empty body might.
            if persona == "owner" and method != "GET":
                continue
            answer = requests.request(method, server.url + re.sub(r"\{\w+\}", "x", path), headers={"Authorization": f"Bearer {token}"},
                                      json=None if method == "GET" else {}, timeout=30)
            if answer.status_code == 403:
                refused.add(re.search(r"may not (\S+) on", answer.text)[1])
        asked = operation.get("x-keel-action")
        assert refused == ({asked} if asked and asked not in EVERYONE else set()), f"{method} {path}"


def test_a_wrong_method_is_told_the_right_ones(url):
    for method, path, allowed in [("DELETE", "/api/v1/experiments", "GET, POST"), ("PUT", "/api/v1/models/x", "DELETE, GET, PATCH"),
                                  ("GET", "/v2/models/x/infer", "POST"), ("POST", "/openapi.json", "GET")]:
        answer = requests.request(method, url + path, timeout=30)
        assert (answer.status_code, answer.headers.get("Allow")) == (405, allowed), (method, path, answer.text)
        assert answer.json()["error"]["code"] == "invalid_argument"
    assert requests.get(url + "/api/v1/nothing", timeout=30).status_code == 404


@pytest.fixture(scope="module")
def filled(url):
    """Names of things that are there, for every parameter of a path."""
    client = MlflowClient(url, url)
    experiment = client.create_experiment("openapi-" + uuid.uuid4().hex, tags={"team": "ops"})
    run = client.create_run(experiment, run_name="first").info.run_id
    client.log_batch(run, [Metric("auc", v, 1, s) for s, v in enumerate([0.5, float("nan"), float("inf"), -1e-30])], [Param("depth", "3")])
    client.log_inputs(run, [DatasetInput(Dataset("train", "d1", "local", "x"), [])])
    client.create_run(experiment)
    client.set_terminated(run)
    logged = client.create_logged_model(experiment, name="m", source_run_id=run, params={"a": "b"}, tags={"t": "u"}).model_id
    client.log_metric(run, "auc", 0.6, step=9, model_id=logged, dataset_name="train", dataset_digest="d1")
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "MLmodel").write_text(json.dumps({
        "flavors": {"python_function": {"loader_module": "x"}}, "model_uuid": "u", "run_id": run, "signature": {
            "inputs": json.dumps([{"type": "double", "name": "a", "required": True}, {"type": "object", "properties": {}, "name": "o", "required": False}]),
            "outputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}]), "params": None}}))
    client.log_artifacts(run, str(folder), "model")
    name = "openapi/".replace("/", "-") + uuid.uuid4().hex
    client.create_registered_model(name, {"team": "ops"}, "what it is for")
    client.create_model_version(name, client.get_run(run).info.artifact_uri + "/model", run, tags={"v": "1"})
    client.set_registered_model_alias(name, "champion", 1)
    assert requests.get(f"{url}/api/v1/models/{name}/versions/1").json()["file"]["flavors"] == ["python_function"]
    return {"experiments": experiment, "runs": run, "tracking/models": logged, "models": name, "version": "1"}


def test_answers_have_the_shapes_that_the_document_says(url, filled):
    """Every GET of experiments, runs, models and the ledger: no field less, and none more."""
    described = document(url)
    queries = {"/api/v1/tracking/runs": {"experiment": filled["experiments"]}, "/api/v1/tracking/models": {"experiment": filled["experiments"]},
               "/api/v1/tracking/runs/{id}/metrics": {"key": "auc"}, "/api/v1/tracking/runs/{id}/history": {"key": "auc"}}
    others = ["/api/v1/ledger", "/api/v1/ledger/verify", "/api/v1/tokens", "/api/v1/runs", "/api/v1/endpoints", "/api/v1/routes", "/openapi.json"]
    checked = set()
    for (method, path), operation in operations(described).items():
        content = operation["responses"].get("200", {}).get("content", {}).get("application/json")
        if method != "GET" or not content or not (re.match(r"/api/v1/(experiments|tracking|models)", path) or path in others):
            continue
        where = path.replace("/tracking/models/{id}", "/tracking/models/" + filled["tracking/models"]).replace("/runs/{id}", "/runs/" + filled["runs"])
        where = where.replace("/experiments/{id}", "/experiments/" + filled["experiments"]).replace("{name}", filled["models"]).replace("{version}", "1")
        assert "{" not in where, path
        answer = requests.get(url + where, params=queries.get(path), timeout=30)
        assert answer.status_code == 200, (path, answer.text)
        check(answer.json(), content["schema"], described["components"]["schemas"])
        checked.add(path)
    assert len(checked) >= 18, checked
    # What lists show has been there, not only empty lists.
    for path, field in [("/api/v1/experiments", "experiments"), (f"/api/v1/models/{filled['models']}/history", "events"), ("/api/v1/ledger", "events")]:
        assert requests.get(url + path).json()[field], path


@pytest.fixture(scope="module")
def operating(tmp_path_factory):
    """A server with a dataset, a trained model and an endpoint that has answered."""
    server, folder = Keel().start(), tmp_path_factory.mktemp("project")
    project.apply(server, folder)
    project.ingest(server, folder, project.csv(project.rows(2000)) + "x,u1,2024-01-01T00:00:00Z,1,1\n")
    assert server.json("run", "train")["state"] == "succeeded"
    server.post("/v2/models/buying/infer", project.question(["a", "b"])).raise_for_status()
    server.post("/api/v1/labels", {"labels": [{"id": "a", "value": 1}, {"id": "b", "value": 0}]}).raise_for_status()
    yield server
    server.stop()


def test_answers_of_the_operating_side_have_the_shapes_that_the_document_says(operating):
    described = document(operating.url)
    run = operating.get("/api/v1/runs").json()["runs"][0]["id"]
    dataset = {"name": "clicks"}
    resource = yaml.safe_load(project.RESOURCES.split("---")[0])
    calls = [
        ("GET", "/api/v1/resources/{kind}", {"kind": "datasets"}, None), ("GET", "/api/v1/resources/{kind}/{name}", {"kind": "datasets", **dataset}, None),
        ("POST", "/api/v1/plan", {}, {"resources": [resource]}), ("POST", "/api/v1/apply", {}, {"resources": [resource]}),
        ("GET", "/api/v1/datasets/{name}/snapshots", dataset, None), ("GET", "/api/v1/datasets/{name}/snapshots/{number}", {"number": "1", **dataset}, None),
        ("GET", "/api/v1/datasets/{name}/quarantine", dataset, None), ("POST", "/api/v1/datasets/{name}/events", dataset, {"rows": project.rows(3, 9000) + [{}]}),
        ("POST", "/api/v1/datasets/{name}/seal", dataset, {}), ("GET", "/api/v1/runs", {}, None), ("GET", "/api/v1/runs/{id}", {"id": run}, None),
        ("GET", "/api/v1/endpoints", {}, None), ("GET", "/api/v1/endpoints/{name}/releases", {"name": "buying"}, None),
        ("GET", "/api/v1/endpoints/{name}/performance", {"name": "buying"}, None), ("GET", "/v2/models/{name}", {"name": "buying"}, None),
        ("GET", "/v2", {}, None), ("POST", "/v2/models/{name}/infer", {"name": "buying"}, project.question()),
        ("POST", "/api/v1/features/{name}/read", {"name": "buying"}, {"rows": [{"user": "u1", "at": "2024-06-01T00:00:00Z", "price": 3}]}),
        ("POST", "/api/v1/features/verify", {}, {"endpoint": "buying"}), ("POST", "/api/v1/gc", {}, {"dry_run": True}),
        ("GET", "/api/v1/ledger", {}, None),
    ]
    for method, path, names, body in calls:
        where = re.sub(r"\{(\w+)\}", lambda m: names[m[1]], path)
        answer = requests.request(method, operating.url + where, json=body, timeout=60)
        assert answer.status_code < 300, (path, answer.text)
        operation = described["paths"][path][method.lower()]
        schemas = described["components"]["schemas"]
        check(answer.json(), operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"], schemas)
        if body is not None and "requestBody" in operation:
            check(body, operation["requestBody"]["content"]["application/json"]["schema"], schemas)


def test_errors_have_the_shape_that_the_document_says(url):
    described = document(url)
    for path, status in [("/api/v1/experiments/99999999", 404), ("/api/v1/experiments?limit=x", 400), ("/api/v1/models/none", 404), ("/api/v1/nothing", 404)]:
        answer = requests.get(url + path, timeout=30)
        assert answer.status_code == status, answer.text
        check(answer.json(), {"$ref": "#/components/schemas/Error"}, described["components"]["schemas"])


def test_the_check_of_shapes_can_fail(url):
    named = document(url)["components"]["schemas"]
    point = {"value": None, "step": 1, "at": "2026-01-01T00:00:00Z"}
    check(point, {"$ref": "#/components/schemas/Point"}, named)
    for wrong in ({**point, "more": 1}, {"value": 1, "step": 1}, {**point, "step": "1"}, {**point, "at": "soon"}):
        with pytest.raises(jsonschema.ValidationError):
            check(wrong, {"$ref": "#/components/schemas/Point"}, named)


def closed(schema):
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: {k: closed(v) for k, v in value.items()} if key == "properties" else closed(value) for key, value in schema.items()}
    return inner | {"additionalProperties": False} if "properties" in schema else inner


formats = jsonschema.FormatChecker(formats=[])
formats.checks("date-time")(lambda text: not isinstance(text, str) or bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text)))


def check(value, schema, named):
    whole = {"components": {"schemas": {name: closed(shape) for name, shape in named.items()}}} | closed(schema)
    jsonschema.Draft202012Validator(whole, format_checker=formats).validate(value)
