"""What MLflow's own tests once found: each is asked of Keel and of a real MLflow server."""
import json
import uuid

import pytest
import requests

A = "/api/2.0/mlflow/"


@pytest.fixture(params=["keel", "mlflow"])
def server(request, url, mlflow_reference):
    return url if request.param == "keel" else mlflow_reference.url


def post(server, path, **body):
    return requests.post(server + A + path, json=body, timeout=60)


def unique(word="x"):
    return word + uuid.uuid4().hex


def experiment(server, location=None):
    made = post(server, "experiments/create", name=unique(), **({"artifact_location": location} if location else {}))
    assert made.status_code == 200, made.text
    return made.json()["experiment_id"]


def run(server, experiment_id="0"):
    return post(server, "runs/create", experiment_id=experiment_id, start_time=1, user_id="x").json()["run"]["info"]


@pytest.mark.parametrize("location,root", [
    ("s3://bucket/p?x=1", "s3://bucket/p/ID?x=1"), ("s3://bucket/p/", "s3://bucket/p/ID"), ("s3://bucket", "s3://bucket/ID"),
    ("s3://bucket/p/?x=1&y=2", "s3://bucket/p/ID?x=1&y=2"), ("file:///abs/p", "file:///abs/p/ID"), ("/abs/p", "/abs/p/ID"), ("/abs/p/", "/abs/p/ID"),
    ("mlflow-artifacts:/x/", "mlflow-artifacts:/x/ID"), ("mlflow-artifacts:/x?y=1", "mlflow-artifacts:/x/ID?y=1"), ("mlflow-artifacts:/", "mlflow-artifacts:/ID"),
    ("mlflow-artifacts:///", "mlflow-artifacts:/ID"), ("s3://bucket/p;v?x=1", "s3://bucket/p;v/ID?x=1")])
def test_mlflow_5_1_what_is_of_a_run_goes_before_the_query_after_one_slash(server, location, root):
    made = experiment(server, location)
    info = run(server, made)
    assert info["artifact_uri"] == root.replace("ID", info["run_id"] + "/artifacts")
    model = post(server, "logged-models", experiment_id=made, name="m").json()["model"]["info"]
    assert model["artifact_uri"] == root.replace("ID", f"models/{model['model_id']}/artifacts")


@pytest.mark.parametrize("location", ["relative/place", "./relative/place", "file:relative/place"])
def test_mlflow_5_1_a_relative_location_becomes_an_absolute_one(server, location):
    made = experiment(server, location)
    kept = requests.get(server + A + "experiments/get", params={"experiment_id": made}, timeout=60).json()["experiment"]["artifact_location"]
    assert kept.endswith("/relative/place") and kept.startswith("file:///" if location.startswith("file:") else "/")


@pytest.mark.parametrize("location,words", [("s3://bucket/p?x=..", "Invalid query string"), ("x" * 2049, "Invalid artifact path length. The length of the artifact path cannot be greater than 2048 characters.")])
def test_mlflow_5_1_a_location_that_climbs_or_is_too_long_is_refused(server, location, words):
    refused = post(server, "experiments/create", name=unique(), artifact_location=location)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE") and refused.json()["message"].startswith(words)


@pytest.mark.parametrize("location", ["mlflow-artifacts:/", "mlflow-artifacts:///", "mlflow-artifacts:", "mlflow-artifacts:/a8?x=1"])
def test_a8_each_run_has_a_folder_of_its_own(url, location):
    made = experiment(url, location)
    first, second = run(url, made), run(url, made)
    for info, text in [(first, b"first"), (second, b"second")]:
        path = info["artifact_uri"].removeprefix("mlflow-artifacts:/").split("?")[0]
        assert requests.put(f"{url}/api/2.0/mlflow-artifacts/artifacts/{path}/file.txt", data=text, timeout=60).status_code == 200
    for info, text in [(first, b"first"), (second, b"second")]:
        got = requests.get(url + "/get-artifact", params={"run_id": info["run_id"], "path": "file.txt"}, timeout=60)
        assert got.content == text
        listed = requests.get(url + A + "artifacts/list", params={"run_id": info["run_id"]}, timeout=60).json()
        assert [f["path"] for f in listed["files"]] == ["file.txt"]


def dataset(name, digest="1", **more):
    return {"dataset": {"name": name, "digest": digest, "source_type": "local", "source": "x"} | more}


def test_mlflow_5_2_datasets_stay_in_the_order_in_which_they_were_logged(url):
    run_id = run(url)["run_id"]
    names = [f"{c}{i}" for i in range(20) for c in "zam"]
    for start in range(0, len(names), 7):
        assert post(url, "runs/log-inputs", run_id=run_id, datasets=[dataset(n) for n in names[start:start + 7]]).status_code == 200
    # Logged again, one stays where it was.
    post(url, "runs/log-inputs", run_id=run_id, datasets=[dataset("m19"), dataset("z0")])
    got = requests.get(url + A + "runs/get", params={"run_id": run_id}, timeout=60).json()["run"]["inputs"]["dataset_inputs"]
    assert [d["dataset"]["name"] for d in got] == names


def test_mlflow_5_2_there_is_no_limit_on_the_number_of_datasets(server):
    run_id = run(server)["run_id"]
    assert post(server, "runs/log-inputs", run_id=run_id, datasets=[dataset(f"d{i}") for i in range(1500)]).status_code == 200
    got = requests.get(server + A + "runs/get", params={"run_id": run_id}, timeout=60).json()["run"]["inputs"]["dataset_inputs"]
    assert len(got) == 1500


@pytest.mark.parametrize("field,limit", [("name", 500), ("digest", 36), ("source", 65_535), ("schema", 1_048_575), ("profile", 16_777_215 // 4)])
def test_mlflow_5_2_the_parts_of_a_dataset_have_mlflows_limits(server, field, limit):
    run_id = run(server)["run_id"]
    fits = post(server, "runs/log-inputs", run_id=run_id, datasets=[dataset("d") | {"dataset": dataset("d")["dataset"] | {field: "x" * limit}}])
    assert fits.status_code == 200, fits.text[:300]
    if field == "profile":
        return  # One character more than its limit is more than a body may hold.
    long = post(server, "runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset("d")["dataset"] | {field: "x" * (limit + 1)}}])
    assert (long.status_code, long.json()["message"]) == (400, f"'{field}' exceeds the maximum length of {limit} characters")


@pytest.mark.parametrize("field,limit", [("key", 255), ("value", 500)])
def test_mlflow_5_2_tags_of_a_dataset_have_mlflows_limits(server, field, limit):
    run_id = run(server)["run_id"]
    for length, status in [(limit, 200), (limit + 1, 400)]:
        tag = {"key": "k", "value": "v"} | {field: "x" * length}
        said = post(server, "runs/log-inputs", run_id=run_id, datasets=[dataset("d", str(length)) | {"tags": [tag]}])
        assert said.status_code == status, said.text[:300]
    assert said.json()["message"] == f"'{field}' exceeds the maximum length of {limit} characters"


def test_mlflow_5_3_models_are_ordered_by_a_metric_of_a_dataset_known_by_its_digest(server):
    made = experiment(server)
    run_id = run(server, made)["run_id"]
    models = []
    for first, second in [(0.1, 0.9), (0.5, 0.5), (0.9, 0.1)]:
        model = post(server, "logged-models", experiment_id=made, name="m").json()["model"]["info"]["model_id"]
        for digest, value, at in [("d1", first, 1), ("d2", second, 2)]:
            said = post(server, "runs/log-metric", run_id=run_id, key="auc", value=value, timestamp=at, model_id=model, dataset_name="d", dataset_digest=digest)
            assert said.status_code == 200, said.text
        models.append(model)

    def order(**by):
        found = post(server, "logged-models/search", experiment_ids=[made], order_by=[{"field_name": "metrics.auc", "ascending": True} | by])
        return [m["info"]["model_id"] for m in found.json()["models"]]
    assert order(dataset_digest="d1") == models
    assert order(dataset_digest="d2") == models[::-1] == order()
    assert order(dataset_name="d", dataset_digest="d1") == models


def test_mlflow_5_4_a_prompt_that_is_too_long_is_called_a_prompt(server):
    name = unique()
    prompt = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    post(server, "registered-models/create", name=name, tags=[prompt])

    def make(key, length):
        return post(server, "model-versions/create", name=name, source="dummy-source", tags=[prompt, {"key": key, "value": "x" * length}])
    assert make("mlflow.prompt.text", 100_000).status_code == 200
    assert make("mlflow.prompt.text", 100_001).json()["message"] == "Prompt text exceeds max length of 100000 characters."
    assert make("other", 100_001).json()["message"] == "'value' exceeds the maximum length of 100000 characters"
    again = post(server, "model-versions/set-tag", name=name, version="1", key="mlflow.prompt.text", value="x" * 100_001)
    assert again.json()["message"] == "Prompt text exceeds max length of 100000 characters."


@pytest.mark.parametrize("path", ["../x", "..", "a/../b", "/x", "%2e%2e/x", "x/../../y"])
def test_mlflow_5_4_a_path_that_climbs_is_invalid_in_mlflows_words(server, path):
    run_id = run(server)["run_id"]
    for answer in [requests.get(server + A + "artifacts/list", params={"run_id": run_id, "path": path}, timeout=60),
                   requests.get(server + "/api/2.0/mlflow-artifacts/artifacts", params={"path": path}, timeout=60),
                   requests.get(server + "/get-artifact", params={"run_id": run_id, "path": path}, timeout=60)]:
        assert (answer.status_code, answer.json()["error_code"], answer.json()["message"]) == (400, "INVALID_PARAMETER_VALUE", "Invalid path")


@pytest.mark.parametrize("source", ["/etc/x", "file:///etc/x", "../x", "x"])
@pytest.mark.parametrize("owner", [{}, {"run_id": "0" * 32}, {"run_id": "nope"}])
def test_mlflow_5_4_a_local_source_is_refused_in_mlflows_words(server, source, owner):
    name = unique()
    post(server, "registered-models/create", name=name)
    said = post(server, "model-versions/create", name=name, source=source, **owner).json()["message"]
    assert said.startswith(f"Invalid model version source: '{source}'.")
    assert ("The run_id request parameter must identify the resource that contains the source." in said) == bool(owner)
    assert ("To use a local path as a model version source, the run_id request parameter has to be specified" in said) == (not owner)


def test_mlflow_5_4_the_default_experiment_stays(url):
    refused = post(url, "experiments/delete", experiment_id="0")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert run(url)["experiment_id"] == "0"


def test_mlflow_5_5_a_logged_model_names_its_versions_as_json_with_spaces(server):
    name = unique("ü ")
    post(server, "registered-models/create", name=name)
    model = post(server, "logged-models", experiment_id="0", name="m").json()["model"]["info"]["model_id"]
    for _ in range(2):
        assert post(server, "model-versions/create", name=name, source=f"models:/{model}", model_id=model).status_code == 200
    tags = requests.get(server + A + "logged-models/" + model, timeout=60).json()["model"]["info"]["tags"]
    assert tags == [{"key": "mlflow.modelVersions", "value": json.dumps([{"name": name, "version": 1}, {"name": name, "version": 2}])}]


# Asked by MLflow's web page alone; `test_routes.py` holds all of them against `docs/mlflow.md`.
@pytest.mark.parametrize("method,path", [
    ("GET", "2.0/mlflow/gateway-proxy"), ("POST", "2.0/mlflow/gateway-proxy"), ("GET", "2.0/mlflow/get-trace-artifact"), ("GET", "3.0/mlflow/get-trace-artifact"),
    ("POST", "2.0/mlflow/runs/create-promptlab-run"), ("POST", "3.0/mlflow/demo/delete"), ("POST", "3.0/mlflow/demo/generate"),
    ("GET", "3.0/mlflow/gateway/provider-config"), ("GET", "3.0/mlflow/gateway/secrets/config"), ("GET", "3.0/mlflow/gateway/supported-models"),
    ("GET", "3.0/mlflow/gateway/supported-providers"), ("POST", "3.0/mlflow/genai/evaluate/invoke"), ("POST", "3.0/mlflow/issues/invoke"),
    ("PATCH", "3.0/mlflow/jobs/cancel/x"), ("GET", "3.0/mlflow/jobs/x"), ("POST", "3.0/mlflow/scorer/invoke"), ("GET", "3.0/mlflow/ui-telemetry"),
    ("POST", "3.0/mlflow/ui-telemetry"), ("POST", "3.0/jobs"), ("POST", "3.0/jobs/search"), ("GET", "3.0/mlflow/assistant/config")])
def test_mlflow_5_6_routes_of_mlflows_page_are_501(url, method, path):
    said = requests.request(method, f"{url}/ajax-api/{path}", json=None if method == "GET" else {}, timeout=60)
    assert (said.status_code, said.json()["error_code"]) == (501, "NOT_IMPLEMENTED"), said.text
