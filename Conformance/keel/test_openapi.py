"""`/openapi.json` is a valid OpenAPI 3.1 document and says what the router does, both ways."""
import re

import jsonschema
import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

from documented import check, document, operations

# Actions that every persona has.
EVERYONE = {"features.read"}
# Answered on the connection's own event loop, before the router.
HOT = {("POST", "/v2/models/{name}/infer"), ("POST", "/v2/models/{name}/versions/{version}/infer")}
# MLflow's protocol is described in docs/mlflow.md. The console's pages are for people (docs/console.md).
MLFLOW = re.compile(r"^/console|^/(api/[23]\.0|ajax-api|gateway/|get-artifact|model-versions/|graphql|static-files|build/|v1/traces)|^/$|\*\*")


def listed(url):
    return {(route["method"], re.sub(r"/:(\w+)", r"/{\1}", route["path"])) for route in requests.get(url + "/api/v1/routes", timeout=30).json()}


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
        # The Open Inference Protocol has a text where Keel's own API has an object.
        error = answer.json() if path.startswith("/v2") else answer.json()["error"]
        assert error["code"] == "invalid_argument"
    assert requests.get(url + "/api/v1/nothing", timeout=30).status_code == 404


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
