"""What the two servers say of bad requests: the same status, the same code and the same words, but for the differences named here."""
import json

import pytest
import requests

A = "/api/2.0/mlflow/"
D = "/api/3.0/mlflow/datasets/"
JSON_TYPE = "application/json"

# (method, path, body or text, query, content type)
REQUESTS = {
    "no type": ("POST", A + "experiments/create", {"name": "x"}, None, None),
    "other type": ("POST", A + "experiments/create", {"name": "x"}, None, "text/plain"),
    "form": ("POST", A + "runs/search", "a=b", None, "application/x-www-form-urlencoded"),
    "null body": ("POST", A + "experiments/create", "null", None, JSON_TYPE),
    "empty body": ("POST", A + "experiments/create", "", None, JSON_TYPE),
} | {
    f"{method} {path} {json.dumps(body)} {query or ''}".strip(): (method, path, body, query, JSON_TYPE)
    for method, path, body, query in [
        *[("POST", A + "experiments/create", body, None) for body in [
            {}, {"name": 5}, {"name": None}, {"name": ""}, {"name": ["a"]}, {"name": {"a": 1}}, {"name": True}, {"name": "y", "tags": "x"},
            {"name": "y", "artifact_location": 7}]],
        ("GET", A + "experiments/get", None, None),
        ("GET", A + "experiments/get", None, {"experiment_id": "abc"}),
        ("GET", A + "experiments/get", None, {"experiment_id": "99999"}),
        ("GET", A + "experiments/get-by-name", None, None),
        ("GET", A + "experiments/get-by-name", None, {"experiment_name": "nothing of this name"}),
        *[("POST", A + "experiments/search", body, None) for body in [
            {"max_results": "x"}, {"max_results": 0}, {"max_results": -1}, {"max_results": 50001}, {"max_results": 5, "order_by": "name"}]],
        ("GET", A + "experiments/search", None, {"max_results": "x"}),
        ("POST", A + "experiments/delete", {}, None),
        ("POST", A + "experiments/delete", {"experiment_id": "99999"}, None),
        ("POST", A + "experiments/delete", {"experiment_id": 5}, None),
        ("POST", A + "experiments/restore", {"experiment_id": "99999"}, None),
        ("POST", A + "experiments/update", {}, None),
        ("POST", A + "experiments/update", {"experiment_id": "99999", "new_name": "x"}, None),
        ("POST", A + "experiments/set-experiment-tag", {"experiment_id": "0"}, None),
        ("POST", A + "experiments/set-experiment-tag", {"experiment_id": "0", "key": 5, "value": "x"}, None),
        ("POST", A + "experiments/delete-experiment-tag", {"experiment_id": "0", "key": "nothing"}, None),
        ("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", {}, None),
        ("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": [str(i) for i in range(21)]}, None),
        ("POST", A + "runs/create", {"experiment_id": "99999"}, None),
        ("POST", A + "runs/create", {"experiment_id": 5}, None),
        ("POST", A + "runs/create", {"experiment_id": "0", "start_time": "x"}, None),
        ("GET", A + "runs/get", None, None),
        ("GET", A + "runs/get", None, {"run_id": "nothing"}),
        *[("POST", A + "runs/update", body, None) for body in [
            {}, {"run_id": "nothing"}, {"run_id": "nothing", "end_time": "soon"}, {"run_id": "nothing", "run_name": 5}]],
        ("POST", A + "runs/delete", {}, None),
        ("POST", A + "runs/delete", {"run_id": "nothing"}, None),
        ("POST", A + "runs/restore", {"run_id": "nothing"}, None),
        *[("POST", A + "runs/log-metric", {"run_id": "nothing"} | body, None) for body in [
            {"key": "a"}, {"value": 1, "timestamp": 1}, {"key": "a", "value": 1}, {"key": "a", "value": "x", "timestamp": 1},
            {"key": "a", "value": 1, "timestamp": "x"}, {"key": "a", "value": 1, "timestamp": 1, "step": "x"},
            {"key": "a", "value": 1, "timestamp": 1}]],
        ("POST", A + "runs/log-parameter", {"run_id": "nothing"}, None),
        ("POST", A + "runs/log-parameter", {"run_id": "nothing", "key": "a", "value": 5}, None),
        ("POST", A + "runs/set-tag", {"run_id": "nothing"}, None),
        ("POST", A + "runs/set-tag", {"run_id": "nothing", "key": "a", "value": {}}, None),
        ("POST", A + "runs/delete-tag", {"run_id": "nothing"}, None),
        ("POST", A + "runs/log-batch", {}, None),
        ("POST", A + "runs/log-batch", {"run_id": "nothing", "metrics": 5}, None),
        ("POST", A + "runs/log-inputs", {}, None),
        ("POST", A + "runs/log-inputs", {"run_id": "nothing", "datasets": 5}, None),
        ("POST", A + "runs/outputs", {"run_id": "nothing"}, None),
        ("POST", A + "runs/outputs", {"run_id": "nothing", "models": []}, None),
        ("POST", A + "runs/log-model", {"run_id": "nothing"}, None),
        ("POST", A + "runs/log-model", {"run_id": "nothing", "model_json": "{"}, None),
        ("POST", A + "runs/log-model", {"run_id": "nothing", "model_json": '{"flavors": {}, "run_id": "a", "utc_time_created": "b"}'}, None),
        *[("POST", A + "runs/search", body, None) for body in [
            {"experiment_ids": 5}, {"experiment_ids": ["abc"]}, {"experiment_ids": ["0"], "max_results": "x"},
            {"experiment_ids": ["0"], "max_results": 0}, {"experiment_ids": ["0"], "filter": 5}]],
        ("GET", A + "metrics/get-history", None, None),
        ("GET", A + "artifacts/list", None, None),
        ("POST", A + "logged-models", {}, None),
        ("POST", A + "logged-models", {"experiment_id": "99999", "name": "m"}, None),
        ("POST", A + "logged-models", {"experiment_id": "0", "name": "a/b"}, None),
        ("GET", A + "logged-models/m-nothing", None, None),
        ("DELETE", A + "logged-models/m-nothing", None, None),
        ("PATCH", A + "logged-models/m-nothing/tags", {"tags": [{"key": "a", "value": "b"}]}, None),
        ("DELETE", A + "logged-models/m-nothing/tags/a", None, None),
        ("POST", A + "logged-models/search", {}, None),
        ("POST", A + "logged-models/search", {"experiment_ids": [5]}, None),
        ("POST", A + "logged-models/search", {"experiment_ids": ["0"], "order_by": [{"field_name": "params.x"}]}, None),
        ("POST", A + "logged-models/search", {"experiment_ids": ["0"], "max_results": "x"}, None),
        ("POST", D + "create", {}, None),
        ("POST", D + "create", {"name": 5}, None),
        ("GET", D + "d-nothing", None, None),
        ("POST", D + "d-nothing/records", {}, None),
        ("POST", D + "d-nothing/records", {"records": []}, None),
        ("PATCH", D + "d-nothing/tags", {}, None),
        ("POST", D + "search", {"max_results": -1}, None),
    ]
}



def ask(url, method, path, body, query, content_type):
    data = body if isinstance(body, str) or body is None else json.dumps(body)
    answer = requests.request(method, url + path, data=data, params=query, timeout=60,
                              headers={} if content_type is None else {"Content-Type": content_type})
    said = answer.json()
    return answer.status_code, said["error_code"], said["message"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request_is_refused_in_mlflows_words(name, url, mlflow_reference):
    assert ask(url, *REQUESTS[name]) == ask(mlflow_reference.url, *REQUESTS[name])


# Where MLflow's server fails with 500 and a page of HTML, or guesses, Keel says what is wrong.
STRICTER = [
    ("POST", A + "experiments/create", "{not json", "INVALID_PARAMETER_VALUE", 400),
    ("POST", A + "experiments/create", "[1, 2]", "INVALID_PARAMETER_VALUE", 400),
    ("POST", A + "runs/create", '{"experiment_id": "0", "tags": {"a": 1}}', "INVALID_PARAMETER_VALUE", 400),
    ("POST", A + "runs/log-batch", '{"run_id": "nothing", "params": [5]}', "INVALID_PARAMETER_VALUE", 400),
    ("POST", A + "experiments/search", '{"max_results": 5, "view_type": "NOTHING"}', "INVALID_PARAMETER_VALUE", 400),
    ("POST", A + "runs/update", '{"run_id": "nothing", "status": "WRONG"}', "INVALID_PARAMETER_VALUE", 400),
    ("POST", D + "d-nothing/records", '{"records": "[]"}', "RESOURCE_DOES_NOT_EXIST", 404),
    ("POST", D + "d-nothing/records", '{"records": "{"}', "INVALID_PARAMETER_VALUE", 400),
    ("GET", D + "d-nothing/records", None, "RESOURCE_DOES_NOT_EXIST", 404),
    ("PATCH", D + "d-nothing/tags", '{"tags": "{"}', "INVALID_PARAMETER_VALUE", 400),
    ("GET", A + "nothing", None, "ENDPOINT_NOT_FOUND", 404),
    ("POST", "/ajax-api/3.0/mlflow/nothing", "{}", "ENDPOINT_NOT_FOUND", 404),
    ("PUT", A + "experiments/create", "{}", "BAD_REQUEST", 405),
    ("GET", D + "create/and/more", None, "ENDPOINT_NOT_FOUND", 404),
]


@pytest.mark.parametrize("method,path,body,code,status", STRICTER)
def test_where_mlflow_fails_or_guesses_the_error_is_clear(method, path, body, code, status, url):
    assert ask(url, method, path, body, None, JSON_TYPE)[:2] == (status, code)


def test_a_wrong_method_is_told_the_right_ones(url):
    answer = requests.put(url + A + "experiments/search", json={})
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, POST"


def test_no_bad_request_has_changed_anything(url):
    names = [e["name"] for e in requests.get(url + A + "experiments/search", params={"max_results": 1000}).json()["experiments"]]
    assert "x" not in names and "y" not in names


def test_a_request_for_another_workspace_lands_nowhere(url):
    body = {"name": "of another workspace"}
    answer = requests.post(url + A + "experiments/create", json=body, headers={"X-MLFLOW-WORKSPACE": "team"})
    assert answer.status_code == 403 and answer.json()["error_code"] == "PERMISSION_DENIED"
    assert requests.get(url + A + "experiments/get-by-name", params={"experiment_name": body["name"]}).status_code == 404
    assert requests.get(url + A + "experiments/get", params={"experiment_id": "0"}, headers={"X-MLFLOW-WORKSPACE": "default"}).status_code == 200
