"""Experiments, runs and models through Keel's own API; MLflow's clients see the same things."""
import uuid

import mlflow
import pytest
import requests
from mlflow import MlflowClient


@pytest.fixture
def api(url):
    def call(method, path, body=None, status=200, **query):
        answer = requests.request(method, f"{url}/api/v1{path}", json=body, params=query, timeout=30)
        assert answer.status_code == status, answer.text
        return answer.json()
    return call


@pytest.fixture
def experiment(api):
    return api("POST", "/experiments", {"name": "native-" + uuid.uuid4().hex, "tags": {"team": "ops"}}, 201)["id"]


def test_an_experiment_lives_and_is_restored(api, experiment, url):
    api("PATCH", f"/experiments/{experiment}", {"name": "renamed-" + experiment, "tags": {"stage": "two"}})
    found = api("GET", f"/experiments/{experiment}")
    assert found["name"] == "renamed-" + experiment and found["tags"] == {"stage": "two", "team": "ops"}
    assert MlflowClient(url).get_experiment(experiment).tags == found["tags"]
    api("DELETE", f"/experiments/{experiment}")
    assert experiment in [e["id"] for e in api("GET", "/experiments", state="deleted")["experiments"]]
    api("POST", f"/experiments/{experiment}/restore")
    assert api("GET", f"/experiments/{experiment}")["state"] == "active"


def test_a_run_is_logged_found_and_paged(api, experiment, url):
    ids = []
    for i in range(5):
        run = api("POST", "/tracking/runs", {"experiment": experiment, "name": f"r{i}", "started_at": "2026-01-01T00:00:00Z"}, 201)
        api("POST", f"/tracking/runs/{run['id']}/log", {"metrics": [{"key": "auc", "value": i / 10, "step": s} for s in range(3)], "params": {"i": str(i)}})
        ids.append(run["id"])
    page = api("GET", "/tracking/runs", experiment=experiment, order="metrics.auc DESC", limit=2)
    seen = [r["id"] for r in page["runs"]]
    while page["next"]:
        page = api("GET", "/tracking/runs", experiment=experiment, order="metrics.auc DESC", limit=2, page=page["next"])
        seen += [r["id"] for r in page["runs"]]
    assert seen == ids[::-1]
    assert [r["name"] for r in api("GET", "/tracking/runs", experiment=experiment, filter="params.i = '3'")["runs"]] == ["r3"]
    assert [p["step"] for p in api("GET", f"/tracking/runs/{ids[4]}/history", key="auc")["points"]] == [0, 1, 2]
    api("PATCH", f"/tracking/runs/{ids[0]}", {"status": "FINISHED", "ended_at": "2026-01-01T01:00:00Z"})
    assert MlflowClient(url).get_run(ids[0]).info.status == "FINISHED"
    assert MlflowClient(url).get_run(ids[1]).data.metrics == {"auc": 0.1}


def test_models_are_read_with_their_versions(api, experiment, url):
    client = MlflowClient(url, url)
    name = "native-" + uuid.uuid4().hex
    client.create_registered_model(name, {"team": "ops"}, "what it is for")
    client.create_model_version(name, "s3://bucket/x")
    client.set_registered_model_alias(name, "champion", 1)
    assert api("GET", f"/models/{name}")["aliases"] == {"champion": 1}
    assert [v["version"] for v in api("GET", f"/models/{name}/versions")["versions"]] == [1]
    assert api("GET", f"/models/{name}/versions/1")["aliases"] == ["champion"]
    assert name in [m["name"] for m in api("GET", "/models", filter=f"name = '{name}'")["models"]]
    logged = client.create_logged_model(experiment, name="m", params={"a": "b"})
    assert [m["id"] for m in api("GET", "/tracking/models", experiment=experiment)["models"]] == [logged.model_id]
    assert api("GET", f"/tracking/models/{logged.model_id}")["params"] == {"a": "b"}


@pytest.mark.parametrize("method,path,body,query,field", [
    ("POST", "/experiments", {"nmae": "x"}, {}, "nmae"), ("POST", "/experiments", {"name": "x", "tags": {"a": 1}}, {}, "tags"),
    ("GET", "/experiments", None, {"state": "gone"}, "state"), ("GET", "/tracking/runs", None, {}, "experiment"),
    ("GET", "/experiments", None, {"limit": "0"}, "limit"), ("POST", "/tracking/runs", {"experiment": "0", "started_at": "soon"}, {}, "started_at"),
])
def test_a_wrong_field_is_named(url, method, path, body, query, field):
    answer = requests.request(method, f"{url}/api/v1{path}", json=body, params=query, timeout=30)
    assert answer.status_code == 400 and field in answer.text, answer.text
