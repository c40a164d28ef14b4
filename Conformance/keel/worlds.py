"""A workspace's content for the walks: one of everything, made under one name."""
import json
import string
import time

import yaml

import project

MLFLOW, V3 = "/api/2.0/mlflow/", "/api/3.0/mlflow/"
HOOKED = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]

DATA = """
apiVersion: keel/v1
kind: Dataset
metadata: { name: $name-dataset }
spec:
  eventTime: at
  key: [id]
  columns: [{ name: id, type: int64 }, { name: user, type: string }, { name: at, type: timestamp }, { name: price, type: float64 }]
---
apiVersion: keel/v1
kind: Entity
metadata: { name: $name-entity }
spec: { keys: { user: string } }
---
apiVersion: keel/v1
kind: FeatureView
metadata: { name: $name-view }
spec: { entity: $name-entity, source: $name-dataset, features: [{ name: clicks_1h, aggregate: count, window: 1h }] }
---
apiVersion: keel/v1
kind: FeatureService
metadata: { name: $name-service }
spec: { at: at, features: [$name-view] }
---
apiVersion: keel/v1
kind: Pipeline
metadata: { name: $name-pipeline }
spec: { steps: [{ name: log, uses: python, with: { code: "print('$name')" } }] }
---
apiVersion: keel/v1
kind: Trigger
metadata: { name: $name-trigger }
spec: { when: schedule 0 4 1 1 *, run: $name-pipeline }
"""
SERVING = """
apiVersion: keel/v1
kind: Endpoint
metadata: { name: $name-endpoint, environment: production }
spec: { features: $name-service }
---
apiVersion: keel/v1
kind: Monitor
metadata: { name: $name-monitor, environment: production }
spec: { endpoint: $name-endpoint, window: 1h, drift: { columns: [score], minimumRows: 2 } }
"""


def resources(text, **names):
    return {"resources": list(yaml.safe_load_all(string.Template(text).substitute(names)))}


def make(server, workspace, name):
    """One of everything, by the local owner. Returns its names, by the words of walk.txt."""
    def ask(method, path, body=None):
        return server.json(method, path, body, workspace=workspace)

    names = {thing: f"{name}-{thing}" for thing in ("model", "card", "role", "binding", "token")} | {"name": name, "workspace": workspace}
    # Names of tokens are said once for the whole server.
    names["token"] += "-" + workspace
    experiment = names["experiment"] = ask("POST", MLFLOW + "experiments/create", {"name": name, "tags": [{"key": "team", "value": "t"}]})["experiment_id"]
    info = ask("POST", MLFLOW + "runs/create", {"experiment_id": experiment, "run_name": name, "tags": [{"key": "team", "value": "t"}]})["run"]["info"]
    run = names["run"] = info["run_id"]
    ask("POST", MLFLOW + "runs/log-batch", {
        "run_id": run, "metrics": [{"key": "loss", "value": 1, "timestamp": 1, "step": 0}], "params": [{"key": "depth", "value": "3"}], "tags": []})
    deleted = names["deleted_run"] = ask("POST", MLFLOW + "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    ask("POST", MLFLOW + "runs/delete", {"run_id": deleted})
    folder = names["folder"] = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
    ask("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{folder}/notes/a.txt", name.encode())
    names["logged"] = ask("POST", MLFLOW + "logged-models", {
        "experiment_id": experiment, "name": name, "source_run_id": run, "tags": [{"key": "team", "value": "t"}]})["model"]["info"]["model_id"]
    names["upload"] = ask("POST", f"/api/2.0/mlflow-artifacts/mpu/create/{folder}", {"path": "big.bin", "num_parts": 1})["upload_id"]

    evaluation = names["evaluation"] = ask("POST", V3 + "datasets/create", {
        "name": name, "experiment_ids": [experiment], "tags": json.dumps({"team": "t"})})["dataset"]["dataset_id"]
    ask("POST", V3 + f"datasets/{evaluation}/records", {"records": json.dumps([{"inputs": {"q": name}}])})
    names["record"] = json.loads(ask("GET", V3 + f"datasets/{evaluation}/records")["records"])[0]["dataset_record_id"]

    model, tags = names["model"], [{"key": "team", "value": "t"}]
    ask("POST", MLFLOW + "registered-models/create", {"name": model, "tags": tags})
    ask("POST", MLFLOW + "model-versions/create", {"name": model, "source": f"{info['artifact_uri']}/notes", "run_id": run, "tags": tags})
    ask("POST", MLFLOW + "registered-models/alias", {"name": model, "alias": "champion", "version": "1"})
    names["webhook"] = ask("POST", MLFLOW + "webhooks", {
        "name": name, "url": server.keel.url + "/nobody", "events": HOOKED, "status": "DISABLED"})["webhook"]["webhook_id"]

    ask("POST", "/api/v1/tokens", {"name": names["token"], "persona": "member"})
    ask("POST", "/api/v1/apply", resources("""
        {apiVersion: keel/v1, kind: ModelCard, metadata: {name: $card}, spec: {model: $model, license: mit}}
        ---
        {apiVersion: keel/v1, kind: Role, metadata: {name: $role}, spec: {actions: [registry.read]}}
        ---
        {apiVersion: keel/v1, kind: RoleBinding, metadata: {name: $binding}, spec: {role: $role, tokens: [$token]}}
        """.replace("\n        ", "\n"), **names))
    names["offer"] = ask("POST", f"/api/v1/models/{model}/versions/1/offers", {"workspace": "elsewhere"})["id"]
    ask("POST", "/api/v1/apply", resources(DATA + "---" + SERVING, name=name))
    ask("POST", f"/api/v1/datasets/{name}-dataset/events", {"rows": [{"id": 1, "user": "u1", "at": "2024-01-01T00:00:00Z", "price": 1.5}]})
    ask("POST", f"/api/v1/datasets/{name}-dataset/seal")
    run = names["pipeline_run"] = ask("POST", f"/api/v1/pipelines/{name}-pipeline/runs", {})["run"]
    wait(server, workspace, run)
    return names | {thing: f"{name}-{thing}" for thing in ("dataset", "service", "pipeline", "trigger", "endpoint", "monitor")}


def predicted(server, workspace, name):
    """Releases a model of the small project to the endpoint of `name`, and asks it once. Returns the id of the prediction."""
    def ask(method, path, body=None):
        return server.json(method, path, body, workspace=workspace)

    endpoint = f"{name}-endpoint"
    declared = project.RESOURCES.replace("name: buying, environment", f"name: {endpoint}, environment")
    ask("POST", "/api/v1/apply", {"resources": list(yaml.safe_load_all(declared))})
    ask("POST", "/api/v1/datasets/clicks/events", {"rows": project.rows(500)})
    ask("POST", "/api/v1/datasets/clicks/seal")
    done = wait(server, workspace, ask("POST", "/api/v1/pipelines/train/runs", {"parameters": {"trees": 3, "endpoint": endpoint}})["run"])
    assert done["state"] == "succeeded", done
    ask("POST", f"/v2/models/{endpoint}/infer", project.question([f"{name}-prediction"]))
    return f"{name}-prediction"


def wait(server, workspace, run):
    while (found := server.json("GET", f"/api/v1/runs/{run}", workspace=workspace))["state"] in ("queued", "running"):
        time.sleep(0.02)
    return found


def state(server, workspace, worlds):
    """Everything of a workspace that a caller can see, as its owner sees it."""
    seen = {}

    def look(path, body=None):
        answer = server.ask("POST" if body else "GET", path, body, workspace=workspace)
        seen[path, json.dumps(body)] = answer.status, answer.text

    look(MLFLOW + "experiments/search?max_results=1000&view_type=ALL")
    experiments = [world["experiment"] for world in worlds]
    look(MLFLOW + "runs/search", {"experiment_ids": experiments, "run_view_type": "ALL"})
    look(MLFLOW + "logged-models/search", {"experiment_ids": experiments})
    for path in ("registered-models/search", "model-versions/search", "webhooks"):
        look(MLFLOW + path)
    look(V3 + "datasets/search", {"experiment_ids": experiments})
    for path in ("tokens", "workspaces", "runs", "triggers", "endpoints", "webhooks", "offers"):
        look("/api/v1/" + path)
    for kind in ("modelcards", "roles", "rolebindings", "datasets", "featureservices", "pipelines", "triggers", "endpoints", "monitors"):
        look("/api/v1/resources/" + kind)
    for world in worlds:
        look(f"/api/2.0/mlflow-artifacts/artifacts?path={world['folder']}")
        look(f"/api/2.0/mlflow-artifacts/artifacts/{world['folder']}/notes/a.txt")
        look(MLFLOW + f"metrics/get-history?run_id={world['run']}&metric_key=loss")
        look(V3 + f"datasets/{world['evaluation']}/records")
        look(f"/api/v1/models/{world['model']}")
        look(f"/api/v1/datasets/{world.get('dataset')}/snapshots")
        look(f"/api/v1/endpoints/{world.get('endpoint')}/releases")
    events = server.json("GET", "/api/v1/ledger?limit=10000", workspace=workspace)["events"]
    # Refusals are events of the workspace of whoever was refused, and logins of all.
    seen["ledger"] = [event for event in events if not event["kind"].startswith("access.")]
    return seen
