"""`/openapi.json` is a valid OpenAPI 3.1 document and says what the router does, both ways."""
import re

import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

# Answered on the connection's own event loop, before the router.
HOT = {("POST", "/v2/models/{name}/infer")}
# MLflow's protocol is described in docs/mlflow.md.
MLFLOW = re.compile(r"^/(api/[23]\.0|ajax-api|gateway/|get-artifact|model-versions/|graphql|static-files|build/|v1/traces)|^/$|\*\*")


def document(url):
    answer = requests.get(url + "/openapi.json", timeout=30)
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


def test_an_answer_has_the_shape_that_the_document_says(url):
    described = document(url)
    experiment = requests.post(url + "/api/v1/experiments", json={"name": "openapi", "tags": {"team": "ops"}}).json()["id"]
    run = requests.post(url + "/api/v1/tracking/runs", json={"experiment": experiment, "name": "first"}).json()
    requests.post(f"{url}/api/v1/tracking/runs/{run['id']}/log", json={
        "metrics": [{"key": "auc", "value": 0.5, "step": 1}], "params": {"depth": "3"}, "tags": {"x": "y"}}).raise_for_status()
    for path, query in [("/api/v1/experiments", {}), (f"/api/v1/experiments/{experiment}", {}), ("/api/v1/tracking/runs", {"experiment": experiment}),
                        (f"/api/v1/tracking/runs/{run['id']}", {}), (f"/api/v1/tracking/runs/{run['id']}/history", {"key": "auc"}),
                        ("/api/v1/models", {}), ("/api/v1/endpoints", {}), ("/api/v1/ledger", {}), ("/api/v1/tokens", {}), ("/api/v1/runs", {})]:
        template = re.sub(r"/(experiments|runs)/[0-9a-f]+", r"/\1/{id}", path)
        schema = described["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        answer = requests.get(url + path, params=query)
        assert answer.status_code == 200, answer.text
        check(answer.json(), schema, described["components"]["schemas"])


def check(value, schema, named):
    import jsonschema
    jsonschema.Draft202012Validator({"components": {"schemas": named}} | schema | {"$defs": {}}).validate(value)
