"""What routes answer is what `/openapi.json` says: each operation is called for real, but for those that are listed with a reason."""
import http.server
import json
import pathlib
import re
import tempfile
import threading
import time
import uuid

import pytest
import requests
import yaml
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param

import project
from documented import answers, call, check, check_answer, document, operations
from mlflow_store import fill
from receiver import LAPTOP
from servers import Keel

# Operations whose good answers no test holds against their schemas, and why not.
UNCHECKED = {
    ("GET", "/api/v1/backup"): "an archive, which test_backup.py restores",
    ("POST", "/api/v1/models/{name}/versions/{version}/signatures"): "it takes a key: serving/test_signed_models.py",
    ("POST", "/api/v1/models/{name}/versions/{version}/approvals"): "nobody approves what he registered, and there is one caller here: test_evidence.py",
    ("POST", "/api/v1/endpoints/{name}/deploy"): "it needs a model with its files: Conformance/serving/test_deploy.py",
    ("POST", "/v2/repository/models/{name}/unload"): "it is always refused: test_triton_client.py",
}

TRACKING = [
    call("POST", "/api/v1/experiments", {"name": "$fresh", "tags": {"team": "ops"}}, learns=("made", "id")), call("GET", "/api/v1/experiments"),
    call("GET", "/api/v1/experiments/{id}", id="$experiment"), call("PATCH", "/api/v1/experiments/{id}", {"tags": {"stage": "two"}}, id="$made"),
    call("DELETE", "/api/v1/experiments/{id}", id="$made"), call("POST", "/api/v1/experiments/{id}/restore", id="$made"),
    call("POST", "/api/v1/tracking/runs", {"experiment": "$made", "name": "r", "tags": {"a": "b"}, "started_at": "2026-01-01T00:00:00Z"}, learns=("started", "id")),
    call("POST", "/api/v1/tracking/runs/{id}/log", {"metrics": [{"key": "auc", "value": 0.5, "step": 1}], "params": {"a": "b"}, "tags": {"c": "d"}}, id="$started"),
    call("PATCH", "/api/v1/tracking/runs/{id}", {"status": "FINISHED", "ended_at": "2026-01-01T01:00:00Z", "name": "other"}, id="$started"),
    call("DELETE", "/api/v1/tracking/runs/{id}", id="$started"), call("POST", "/api/v1/tracking/runs/{id}/restore", id="$started"),
    call("GET", "/api/v1/tracking/runs", query={"experiment": "$experiment"}), call("GET", "/api/v1/tracking/runs/{id}", id="$run"),
    call("GET", "/api/v1/tracking/runs/{id}/metrics", query={"key": "auc"}, id="$run"),
    call("GET", "/api/v1/tracking/runs/{id}/history", query={"key": "auc"}, id="$run"),
    call("GET", "/api/v1/tracking/models", query={"experiment": "$experiment"}), call("GET", "/api/v1/tracking/models/{id}", id="$logged"),
]
VERSION = "/api/v1/models/{name}/versions/{version}"
MODELS = [
    call("GET", "/api/v1/models"), call("GET", "/api/v1/models/{name}", name="$model"), call("GET", "/api/v1/models/{name}/versions", name="$model"),
    call("GET", VERSION, name="$model", version="1"), call("GET", VERSION + "/card", name="$model", version="1"),
    call("GET", "/api/v1/models/{name}/history", name="$model"),
    call("POST", "/api/v1/models", {"name": "$fresh", "description": "d", "tags": {"a": "b"}}), call("PATCH", "/api/v1/models/{name}", {"description": "e"}, name="$fresh"),
    call("PUT", "/api/v1/models/{name}/tags/{key}", {"value": "v"}, name="$fresh", key="a/b"), call("DELETE", "/api/v1/models/{name}/tags/{key}", name="$fresh", key="a/b"),
    call("POST", "/api/v1/models/{name}/versions", {"source": "s3://bucket/x", "description": "d", "tags": {"a": "b"}}, name="$fresh"),
    call("PATCH", VERSION, {"description": "e"}, name="$fresh", version="1"), call("POST", VERSION + "/stage", {"stage": "Staging"}, name="$fresh", version="1"),
    call("PUT", VERSION + "/tags/{key}", {"value": "v"}, name="$fresh", version="1", key="k"), call("DELETE", VERSION + "/tags/{key}", name="$fresh", version="1", key="k"),
    call("PUT", "/api/v1/models/{name}/aliases/{alias}", {"version": 1, "expecting": None}, name="$fresh", alias="champion"),
    call("DELETE", "/api/v1/models/{name}/aliases/{alias}", name="$fresh", alias="champion"),
    call("DELETE", VERSION, name="$fresh", version="1"), call("POST", "/api/v1/models/{name}/rename", {"name": "$other"}, name="$fresh"),
    call("DELETE", "/api/v1/models/{name}", name="$other"),
]
OFFERS = [
    call("POST", VERSION + "/offers", {"workspace": "$target", "note": "for you"}, learns=("offer", "id"), name="$model", version="1"),
    call("GET", "/api/v1/offers", workspace="$target"), call("GET", "/api/v1/offers/{id}", id="$offer", workspace="$target"),
    call("POST", "/api/v1/offers/{id}/accept", {"model": "taken"}, id="$offer", workspace="$target"),
    call("POST", VERSION + "/offers", {"workspace": "$target"}, learns=("second", "id"), name="$model", version="1"),
    call("DELETE", "/api/v1/offers/{id}", id="$second"),
]
SERVER = [
    call("GET", "/health"), call("GET", "/version"), call("GET", "/metrics"), call("GET", "/api/v1/routes"), call("GET", "/openapi.json"),
    call("GET", "/api/v1/ledger"), call("GET", "/api/v1/ledger/verify"),
    call("POST", "/api/v1/tokens", {"name": "$fresh", "persona": "service", "expires": "1d"}), call("GET", "/api/v1/tokens"),
    call("POST", "/api/v1/tokens/{name}/rotate", {"overlap": "5m"}, name="$fresh"),
    call("DELETE", "/api/v1/tokens/{name}", name="$fresh"),
    call("GET", "/api/v1/access/explain", query={"verb": "releases.deploy", "what": "Endpoint/x@staging"}),
    call("POST", "/api/v1/workspaces", {"name": "answers", "description": "d"}), call("GET", "/api/v1/workspaces"),
    call("PATCH", "/api/v1/workspaces/{name}", {"description": "e"}, name="answers"), call("DELETE", "/api/v1/workspaces/{name}", name="answers"),
    call("POST", "/api/v1/gc", {"dry_run": True}),
]
CLICKS = {"name": "clicks"}
RESOURCE = yaml.safe_load(project.RESOURCES.split("---")[0])
DATA = [
    call("POST", "/api/v1/plan", {"resources": [RESOURCE | {"metadata": {"name": "new"}}]}), call("POST", "/api/v1/apply", {"resources": [RESOURCE]}),
    call("GET", "/api/v1/resources/{kind}", kind="datasets"), call("GET", "/api/v1/resources/{kind}/{name}", kind="datasets", **CLICKS),
    call("POST", "/api/v1/resources/{kind}/{name}/restore", {"revision": 1}, kind="datasets", **CLICKS),
    call("DELETE", "/api/v1/resources/{kind}/{name}", query={"cascade": "true", "dry_run": "true"}, kind="datasets", **CLICKS),
    call("POST", "/api/v1/datasets/{name}/ingest", query={"file": "more.csv"}, raw=project.csv(project.rows(5, 5000)).encode(), **CLICKS),
    call("GET", "/api/v1/datasets/{name}/snapshots", **CLICKS), call("GET", "/api/v1/datasets/{name}/snapshots/{number}", number="1", **CLICKS),
    call("GET", "/api/v1/datasets/{name}/quarantine", query={"snapshot": 1}, **CLICKS),
    call("POST", "/api/v1/datasets/{name}/events", {"rows": project.rows(3, 9000) + [{}]}, **CLICKS), call("POST", "/api/v1/datasets/{name}/seal", **CLICKS),
    call("POST", "/api/v1/features/{name}/read", {"rows": [{"user": "u1", "at": "2024-06-01T00:00:00Z", "price": 3}]}, name="buying"),
    call("POST", "/api/v1/features/verify", {"endpoint": "buying"}),
]
BUYING = {"name": "buying"}
ROW = {"dataframe_records": [{"user": "u1", "at": "2024-06-01T00:00:00Z", "price": 3}]}
SERVING = [
    call("GET", "/v2"), call("GET", "/v2/health/live"), call("GET", "/v2/health/ready"), call("GET", "/v2/models/{name}", **BUYING),
    call("GET", "/v2/models/{name}/ready", **BUYING), call("POST", "/v2/models/{name}/infer", project.question(), **BUYING),
    call("GET", "/v2/models/{name}/versions/{version}", version="1", **BUYING),
    call("GET", "/v2/models/{name}/versions/{version}/ready", version="1", **BUYING),
    call("POST", "/v2/models/{name}/versions/{version}/infer", project.question(), version="1", **BUYING),
    call("POST", "/endpoints/{name}/invocations", ROW, **BUYING), call("POST", "/invocations", ROW), call("GET", "/ping"),
    call("GET", "/v2/models/{name}/config", **BUYING), call("GET", "/v2/models/{name}/versions/{version}/config", version="1", **BUYING),
    call("GET", "/v2/models/{name}/stats", **BUYING), call("GET", "/v2/models/{name}/versions/{version}/stats", version="1", **BUYING),
    call("GET", "/v2/models/stats"), call("POST", "/v2/repository/index", {}), call("POST", "/v2/repository/models/{name}/load", {}, **BUYING),
    call("GET", "/v1/models"), call("GET", "/v1/models/{name}", **BUYING), call("GET", "/v1/models/{name}/versions/{version}", version="1", **BUYING),
    call("POST", "/v1/models/{name}:predict", {"instances": ROW["dataframe_records"]}, **BUYING),
    call("POST", "/v1/models/{name}/versions/{version}:predict", {"instances": ROW["dataframe_records"]}, version="1", **BUYING),
    call("POST", "/api/v1/endpoints/{name}/predict", {"rows": ROW["dataframe_records"], "features": True}, **BUYING),
    call("POST", "/api/v1/labels", {"labels": [{"id": "a", "value": 1}, {"id": "nobody", "value": 0, "at": "2024-06-02T00:00:00Z"}]}),
    call("POST", "/api/v1/endpoints/{name}/labels", {"labels": [{"id": "a", "value": 1}]}, **BUYING),
    call("GET", "/api/v1/models/{name}/versions/{version}/evidence", version="1", **BUYING), call("GET", "/api/v1/damage"),
    call("GET", "/api/v1/models/{name}/versions/{version}/manifest", version="1", **BUYING),
    call("GET", "/api/v1/ledger/checkpoint"), call("POST", "/api/v1/verify"),
    call("GET", "/api/v1/endpoints"), call("POST", "/api/v1/endpoints/{name}/rollout/pause", {"reason": "to see"}, **BUYING),
    call("POST", "/api/v1/endpoints/{name}/rollout/resume", {"reason": "seen"}, **BUYING), call("POST", "/api/v1/endpoints/{name}/promote", **BUYING),
    call("POST", "/api/v1/endpoints/{name}/rollback", {"to": 1, "reason": "to see"}, **BUYING),
    call("POST", "/api/v1/endpoints/{name}/releases", {"model": "models:/buying/2", "reason": "again"}, **BUYING),
    call("GET", "/api/v1/endpoints/{name}/releases", **BUYING), call("GET", "/api/v1/endpoints/{name}/performance", **BUYING),
    call("POST", "/api/v1/query", {"sql": "SELECT id, label FROM buying", "rows": 10, "seconds": 20}),
    call("GET", "/api/v1/monitors/{name}/windows", **BUYING),
]
RUNS = [
    call("GET", "/api/v1/runs"), call("GET", "/api/v1/runs/{id}", id="$done"),
    call("POST", "/api/v1/pipelines/{name}/runs", {"parameters": {"trees": 2000}, "cache": False, "now": "2025-01-01T00:00:00Z"}, learns=("long", "run"), name="train"),
    call("POST", "/api/v1/runs/{id}/cancel", id="$long"),
    call("GET", "/api/v1/runs/{id}/steps/{step}/log", query={"from": 0, "tail": 5}, id="$done", step="register"),
    call("GET", "/api/v1/triggers"), call("POST", "/api/v1/triggers/{name}/pause", name="retrain"),
    call("POST", "/api/v1/triggers/{name}/resume", name="retrain"),
]
WEBHOOKS = [call("GET", "/api/v1/webhooks"), call("GET", "/api/v1/webhooks/{id}/deliveries", id="$webhook")]
IMPORTS = "/api/v1/imports/"

MONITOR = """
---
apiVersion: keel/v1
kind: Monitor
metadata: { name: buying }
spec:
  endpoint: buying
  window: 1h
  drift: { columns: [features, score], minimumRows: 2 }
  performance: { label: { within: 1h }, metric: auc, minimumLabels: 2, alertWhen: "auc < reference.auc - 0.01" }
---
apiVersion: keel/v1
kind: Trigger
metadata: { name: retrain }
spec: { when: schedule 0 4 1 1 *, run: train }
"""


def test_every_good_answer_is_checked_or_it_is_said_why_not(url):
    checked = {(each.method, each.path) for each in TRACKING + MODELS + OFFERS + SERVER + DATA + SERVING + RUNS + WEBHOOKS}
    said = set(operations(document(url)))
    # The test of imports makes sure that each of theirs is called.
    checked |= {operation for operation in said if operation[1].startswith(IMPORTS)}
    assert said - checked == set(UNCHECKED) and checked <= said and all(UNCHECKED.values())


@pytest.fixture(scope="module")
def known(url):
    """Names of things that are there, for the parameters of paths."""
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
    name = "openapi-" + uuid.uuid4().hex
    client.create_registered_model(name, {"team": "ops"}, "what it is for")
    client.create_model_version(name, client.get_run(run).info.artifact_uri + "/model", run, tags={"v": "1"})
    client.set_registered_model_alias(name, "champion", 1)
    assert requests.get(f"{url}/api/v1/models/{name}/versions/1").json()["file"]["flavors"] == ["python_function"]
    target = "target-" + uuid.uuid4().hex[:8]
    requests.post(url + "/api/v1/workspaces", json={"name": target}).raise_for_status()
    return {"target": target, "experiment": experiment, "run": run, "logged": logged, "model": name, "fresh": "fresh-" + uuid.uuid4().hex, "other": "other-" + uuid.uuid4().hex}


def test_answers_about_experiments_runs_and_models(url, known):
    given = answers(url, TRACKING + MODELS + OFFERS + SERVER, known)
    # What lists show has been there, not only empty lists.
    for path, field in [("/api/v1/experiments", "experiments"), ("/api/v1/tracking/runs", "runs"), ("/api/v1/tracking/models", "models"), ("/api/v1/models", "models"),
                        ("/api/v1/models/{name}/versions", "versions"), ("/api/v1/models/{name}/history", "events"), ("/api/v1/ledger", "events"),
                        ("/api/v1/tokens", "tokens"), ("/api/v1/offers", "offers"), ("/api/v1/tracking/runs/{id}/metrics", "points"), ("/api/v1/tracking/runs/{id}/history", "points")]:
        assert given["GET", path][field], path


def wait(body):
    for _ in range(600):
        if found := body():
            return found
        time.sleep(0.05)
    raise AssertionError("what was waited for did not come")


@pytest.fixture(scope="module")
def operating(tmp_path_factory):
    """A server with a dataset, two trained models, an endpoint in a rollout that was asked and labelled, a monitor and a webhook."""
    server, folder = Keel(environment=LAPTOP).start(), tmp_path_factory.mktemp("project")
    project.apply(server, folder, project.RESOURCES + MONITOR)
    project.ingest(server, folder, project.csv(project.rows(2000)) + "x,u1,2024-01-01T00:00:00Z,1,1\n")
    assert server.json("run", "train")["state"] == "succeeded"
    for day in (1, 2):
        ids = [f"{day}-{i}" for i in range(4)]
        for i, price in zip(ids, (1.0, 90.0, 2.0, 95.0)):
            server.post("/v2/models/buying/infer", project.question([i], at=f"2024-06-0{day}T00:10:00Z", price=price)).raise_for_status()
        server.post("/api/v1/labels", {"labels": [{"id": id, "value": i % 2} for i, id in enumerate(ids)]}).raise_for_status()
    windows = wait(lambda: len(found := server.get("/api/v1/monitors/buying/windows").json()["windows"]) >= 2 and found)
    assert {w["kind"] for w in windows} == {"drift", "performance"}
    assert server.json("run", "train", "--with", "trees=11")["state"] == "succeeded"
    yield server
    server.stop()


def test_answers_about_data_pipelines_and_endpoints(operating):
    done = operating.get("/api/v1/runs").json()["runs"][0]["id"]
    given = answers(operating.url, DATA + SERVING + RUNS, {"done": done})
    assert "error" not in given["POST", "/api/v1/datasets/{name}/ingest"][-1]
    for path, field in [("/api/v1/datasets/{name}/snapshots", "snapshots"), ("/api/v1/datasets/{name}/quarantine", "rows"), ("/api/v1/endpoints", "endpoints"),
                        ("/api/v1/endpoints/{name}/releases", "releases"), ("/api/v1/endpoints/{name}/performance", "months"),
                        ("/api/v1/monitors/{name}/windows", "windows"), ("/api/v1/runs", "runs"), ("/api/v1/runs/{id}", "steps")]:
        assert given["GET", path][field], path
    assert given["POST", "/api/v1/features/verify"]["compared"] and given["POST", "/api/v1/plan"]["changes"]


def test_answers_about_webhooks(operating):
    class Nobody(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    told = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nobody)
    threading.Thread(target=told.serve_forever, daemon=True).start()
    try:
        made = operating.post("/api/2.0/mlflow/webhooks", {
            "name": "told", "url": f"http://127.0.0.1:{told.server_port}/", "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}],
            "secret": "s"}).json()["webhook"]["webhook_id"]
        operating.post("/api/v1/models", {"name": "told"}).raise_for_status()
        wait(lambda: [d for d in operating.get(f"/api/v1/webhooks/{made}/deliveries").json()["deliveries"] if d["state"] == "failed"])
        given = answers(operating.url, WEBHOOKS, {"webhook": made})
    finally:
        told.shutdown()
    assert given["GET", "/api/v1/webhooks"]["webhooks"][0]["last_delivery"]["answer"] == 404
    assert len(given["GET", "/api/v1/webhooks/{id}/deliveries"]["deliveries"]) == 1


def test_answers_to_imports(keel, tmp_path):
    """What `keel import` is answered, seen on its way."""
    seen = []

    class Between(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length", "transfer-encoding", "connection")}
            answer = requests.request(self.command, keel.url + self.path, data=body, headers=kept, timeout=60)
            seen.append((self.command, self.path, body, answer))
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = pass_on

        def log_message(self, *_):
            pass

    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    fill(f"sqlite:///{tmp_path}/mlflow.db", artifacts, 10)
    between = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between)
    threading.Thread(target=between.serve_forever, daemon=True).start()
    try:
        keel.cli("import", "mlflow", "--backend", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts", artifacts,
                 environment={"KEEL_URL": f"http://127.0.0.1:{between.server_port}"})
    finally:
        between.shutdown()
        between.server_close()
    described = document(keel.url)
    said, checked = operations(described), set()
    for method, path, body, answer in seen:
        for operation in said:
            if operation[0] == method and path.startswith(IMPORTS) and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", operation[1]), path):
                check_answer(answer, f"{method} {path}", said[operation], described["components"]["schemas"])
                check(json.loads(body), said[operation]["requestBody"]["content"]["application/json"]["schema"], described["components"]["schemas"])
                checked.add(operation)
    assert checked == {operation for operation in said if operation[1].startswith(IMPORTS)}
