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


def test_an_experiment_is_changed_whole_or_not_at_all(api, experiment, url):
    other = api("POST", "/experiments", {"name": "taken-" + experiment}, 201)["id"]
    before = api("GET", f"/experiments/{experiment}")
    events = len(api("GET", "/ledger", subject=f"Experiment/{experiment}")["events"])
    api("PATCH", f"/experiments/{experiment}", {"name": "taken-" + experiment, "tags": {"a": "b"}}, 400)
    api("PATCH", f"/experiments/{experiment}", {"name": "fine-" + experiment, "tags": {"a": "b", "bad" * 200: "x"}}, 400)
    assert api("GET", f"/experiments/{experiment}") == before
    assert len(api("GET", "/ledger", subject=f"Experiment/{experiment}")["events"]) == events
    api("DELETE", f"/experiments/{other}")
    api("PATCH", f"/experiments/{other}", {"tags": {"a": "b"}}, 400)
    api("PATCH", f"/experiments/{other}", {"name": "x" + other}, 409)


def test_models_are_made_changed_and_removed(api, url):
    name, client = "native é-" + uuid.uuid4().hex, MlflowClient(url, url)
    path = "/models/" + requests.utils.quote(name)
    assert api("POST", "/models", {"name": name, "description": "d", "tags": {"team": "ops"}}, 201)["tags"] == {"team": "ops"}
    api("POST", "/models", {"name": name}, 400)
    assert api("PATCH", path, {"description": "better"})["description"] == "better"
    api("PUT", f"{path}/tags/a%2Fb", {"value": "1"})
    assert client.get_registered_model(name).tags == {"team": "ops", "a/b": "1"}
    api("DELETE", f"{path}/tags/a%2Fb")
    made = api("POST", f"{path}/versions", {"source": "s3://bucket/one", "description": "first", "tags": {"k": "v"}}, 201)
    assert (made["version"], made["tags"], made["uri"]) == (1, {"k": "v"}, f"models:/{name}/1")
    api("POST", f"{path}/versions", {"source": "s3://bucket/two"}, 201)
    assert api("PUT", f"{path}/aliases/champion", {"version": 1, "expecting": None}) == {"before": None}
    api("PUT", f"{path}/aliases/champion", {"version": 2, "expecting": None}, 409)
    api("PUT", f"{path}/aliases/champion", {"version": 2, "expecting": 2}, 409)
    assert api("PUT", f"{path}/aliases/champion", {"version": 2, "expecting": 1}) == {"before": 1}
    assert client.get_model_version_by_alias(name, "champion").version == "2"
    api("PUT", f"{path}/aliases/champion", {"version": 9}, 404)
    assert api("PATCH", f"{path}/versions/1", {"description": "changed"})["description"] == "changed"
    api("PUT", f"{path}/versions/1/tags/ok", {"value": "yes"})
    api("DELETE", f"{path}/versions/1/tags/k")
    assert api("GET", f"{path}/versions/1")["tags"] == {"ok": "yes"}
    assert api("POST", f"{path}/versions/1/stage", {"stage": "Production"})["stage"] == "Production"
    api("POST", f"{path}/versions/1/stage", {"stage": "Best"}, 400)
    api("DELETE", f"{path}/aliases/champion")
    api("DELETE", f"{path}/versions/1")
    api("GET", f"{path}/versions/1", status=404)
    renamed = api("POST", f"{path}/rename", {"name": name + "-2"})["name"]
    kinds = [e["kind"] for e in api("GET", f"/models/{requests.utils.quote(renamed)}/history")["events"]][::-1]
    assert kinds[:2] == ["model.created", "model.updated"] and kinds[-1] == "model.renamed", kinds
    api("DELETE", "/models/" + requests.utils.quote(renamed))
    api("GET", "/models/" + requests.utils.quote(renamed), status=404)


def test_two_who_move_an_alias_at_once_do_not_both_win(api, url):
    from concurrent.futures import ThreadPoolExecutor
    name = "race-" + uuid.uuid4().hex
    for i in range(4):
        api("POST", f"/models/{name}/versions", {"source": f"s3://b/{i}", "create_model": True}, 201)
    api("PUT", f"/models/{name}/aliases/champion", {"version": 1})
    move = lambda v: requests.put(f"{url}/api/v1/models/{name}/aliases/champion", json={"version": v, "expecting": 1}, timeout=30).status_code
    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(move, [2, 3, 4])) == [200, 409, 409]


def test_models_from_the_command_line(shared_keel, url, tmp_path):
    keel, name = shared_keel, "cli-" + uuid.uuid4().hex
    client = MlflowClient(url, url)
    run = client.create_run("0").info.run_id
    assert name in keel.cli("models", "create", name, "--description", "d", "--tag", "team=ops").stdout
    assert keel.cli("models", "register", name, f"runs:/{run}/model", "--alias", "challenger").stdout == f"models:/{name}/1, challenger\n"
    logged = client.create_logged_model("0", name="m").model_id
    client.finalize_logged_model(logged, "READY")
    assert keel.json("models", "register", name, f"models:/{logged}")["logged_model"] == logged
    assert client.get_model_version(name, "1").run_id == run
    assert "is version 2" in keel.cli("models", "alias", f"{name}/2", "champion", "--from", "none").stdout
    refused = keel.cli("models", "alias", f"{name}/1", "champion", "--from", "none", check=False)
    assert refused.returncode != 0 and "stands at version 2" in refused.stderr
    keel.cli("models", "tag", f"{name}/2", "validated=yes", "by=mia")
    keel.cli("models", "tag", f"{name}/2", "by", "--remove")
    keel.cli("models", "tag", name, "stage=two")
    assert client.get_model_version(name, "2").tags == {"validated": "yes"} and client.get_registered_model(name).tags == {"team": "ops", "stage": "two"}
    keel.cli("models", "alias", name, "champion", "--remove")
    keel.cli("models", "delete", f"{name}/1")
    assert [v["version"] for v in requests.get(f"{url}/api/v1/models/{name}/versions").json()["versions"]] == [2]
    keel.cli("models", "delete", name)
    gone = keel.cli("models", "delete", name, check=False)
    assert gone.returncode != 0 and "not found" in gone.stderr
    for wrong, words in [(["alias", name, "champion"], "NAME/VERSION"), (["tag", name, "x"], "KEY=VALUE"), (["alias", "x/1", "a", "--from", "y"], "--from")]:
        done = keel.cli("models", *wrong, check=False)
        assert done.returncode != 0 and words in done.stderr, done.stderr


@pytest.mark.parametrize("method,path,body,query,field", [
    ("POST", "/experiments", {"nmae": "x"}, {}, "nmae"), ("POST", "/experiments", {"name": "x", "tags": {"a": 1}}, {}, "tags"),
    ("GET", "/experiments", None, {"state": "gone"}, "state"), ("GET", "/tracking/runs", None, {}, "experiment"),
    ("GET", "/experiments", None, {"limit": "0"}, "limit"), ("POST", "/models", {"nmae": "x"}, {}, "nmae"), ("PUT", "/models/x/aliases/a", {}, {}, "version"),
    ("POST", "/models/x/versions", {"source": "s3://x", "tags": {"a": 1}}, {}, "tags"),
    ("PATCH", "/models/x", {"description": "d", "name": "y"}, {}, "name"), ("POST", "/tracking/runs", {"experiment": "0", "started_at": "soon"}, {}, "started_at"),
])
def test_a_wrong_field_is_named(url, method, path, body, query, field):
    answer = requests.request(method, f"{url}/api/v1{path}", json=body, params=query, timeout=30)
    assert answer.status_code == 400 and field in answer.text, answer.text
