"""Datasets, features, pipelines and triggers of several workspaces, by the real command: the same names everywhere, and neither learns of the other."""
import json
import pathlib
import time
import uuid

import pytest
import requests

import project
from servers import Keel

RESOURCES = project.RESOURCES
PROGRAM = """
apiVersion: keel/v1
kind: Pipeline
metadata: { name: program }
spec:
  steps:
    - name: look
      uses: python
      with:
        code: |
          import json, os, time, urllib.request
          # The server is killed during this attempt.
          if os.environ["KEEL_ATTEMPT"] == "%s": time.sleep(100)
          def get(path):
              request = urllib.request.Request(os.environ["KEEL_URL"] + path, headers={"Authorization": "Bearer " + os.environ["KEEL_TOKEN"]})
              return json.load(urllib.request.urlopen(request))
          json.dump({
              "workspaces": [os.environ["KEEL_WORKSPACE"], os.environ["MLFLOW_WORKSPACE"]],
              "runs": [r["id"] for r in get("/api/v1/runs")["runs"]],
              "snapshots": len(get("/api/v1/datasets/clicks/snapshots")["snapshots"]),
          }, open(os.environ["KEEL_OUTPUT"], "w"))
"""
TRIGGER = """
apiVersion: keel/v1
kind: Trigger
metadata: { name: retrain }
spec: { when: [dataset/clicks snapshot], run: %s }
"""


@pytest.fixture(scope="module")
def server():
    server = Keel(environment={"KEEL_AUTH_REFUSALS": "1000000"}).start()
    yield server
    server.stop()


@pytest.fixture
def teams(server):
    """Two new workspaces."""
    names = [f"team-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        server.cli("workspaces", "create", name)
    return names


def apply(server, folder, workspace, text=RESOURCES):
    file = folder / "project.yaml"
    file.write_text(text)
    return server.cli("apply", file, "--workspace", workspace)


def ingest(server, folder, workspace, rows):
    file = folder / "clicks.csv"
    file.write_text(project.csv(rows))
    return server.json("ingest", "clicks", file, "--workspace", workspace)


def inside(workspace):
    return {"headers": {"Keel-Workspace": workspace}}


def clicks(server, workspace, user="u1", at="2024-06-01T00:00:00Z"):
    body = {"rows": [{"user": user, "at": at, "price": 1.0}]}
    said = server.post("/api/v1/features/buying/read", body, **inside(workspace))
    return said.json()["rows"][0]["clicks_1h"] if said.status_code == 200 else said.status_code


def push(server, workspace, *ids, user="u1"):
    rows = [{"id": i, "user": user, "at": "2024-05-31T23:59:00Z", "price": 5.0, "bought": 1} for i in ids]
    said = server.post("/api/v1/datasets/clicks/events", {"rows": rows}, **inside(workspace))
    assert said.status_code == 200, said.text
    return said.json()["accepted"]


def finished(server, workspace, run):
    for _ in range(1200):
        said = server.get(f"/api/v1/runs/{run}", **inside(workspace)).json()
        if said["state"] != "running":
            assert said["state"] == "succeeded", json.dumps(said)
            return said
        time.sleep(0.05)
    raise AssertionError("the run does not end")


def start(server, workspace, pipeline, **body):
    said = server.post(f"/api/v1/pipelines/{pipeline}/runs", body, **inside(workspace))
    assert said.status_code == 202, said.text
    return said.json()["run"]


def step(run, name):
    return next(s for s in run["steps"] if s["name"] == name)


def test_the_same_names_train_side_by_side(server, teams, tmp_path):
    a, b = teams
    for team, count in [(a, 600), (b, 900)]:
        apply(server, tmp_path, team)
        assert ingest(server, tmp_path, team, project.rows(count))["rows"] == count
    # A key that is new here is known there.
    assert push(server, a, 700) == 1 and push(server, b, 700) == 0 and push(server, b, 2000, 2001) == 2
    assert (clicks(server, a), clicks(server, b)) == (1, 2)
    done = {}
    for team in teams:
        done[team] = finished(server, team, start(server, team, "train"))
        assert step(done[team], "register")["outputs"]["model"] == "models:/buying/1"
    sizes = [sum(step(done[t], "examples")["outputs"][p]["rows"] for p in ("train", "holdout")) for t in teams]
    assert sizes == [601, 902]
    # The inputs of the second run are those of the first, of its own workspace.
    again = finished(server, a, start(server, a, "train"))
    assert step(again, "fit")["state"] == "cached" and done[a]["id"] in step(again, "fit")["cache"]
    card = server.get("/api/v1/models/buying/versions/1/card", **inside(b))
    assert card.status_code == 200 and '| clicks | snapshot 2 |' in card.text, card.text
    listed = server.get("/api/v1/runs", **inside(b)).json()["runs"]
    assert [r["id"] for r in listed] == [done[b]["id"]]
    # And what was stored is in force again after a crash.
    server.kill()
    server.start()
    assert (clicks(server, a), clicks(server, b)) == (1, 2)
    assert push(server, a, 700) == 0 and push(server, a, 2000) == 1
    assert clicks(server, a) == 2


def test_a_program_of_a_pipeline_acts_in_its_workspace_and_goes_on_there_after_a_crash(server, teams, tmp_path):
    team, _ = teams
    apply(server, tmp_path, team, RESOURCES + "---" + PROGRAM % 1)
    ingest(server, tmp_path, team, project.rows(10))
    run = start(server, team, "program")
    deadline = time.time() + 30
    while step(server.get(f"/api/v1/runs/{run}", **inside(team)).json(), "look")["state"] != "running" and time.time() < deadline:
        time.sleep(0.05)
    server.kill()
    server.start()
    outputs = step(finished(server, team, run), "look")["outputs"]
    assert outputs == {"workspaces": [team, team], "runs": [run], "snapshots": 1}
    events = server.get("/api/v1/ledger?kind=pipeline.", **inside(team)).json()["events"]
    assert "pipeline.run.resumed" in {e["kind"] for e in events}


def test_a_trigger_hears_of_its_own_workspace(server, teams, tmp_path):
    a, b = teams
    for team in teams:
        apply(server, tmp_path, team, RESOURCES + "---" + PROGRAM % 0 + "---" + TRIGGER % "program")
    ingest(server, tmp_path, a, project.rows(10))
    deadline = time.time() + 60
    while not (runs := server.get("/api/v1/runs", **inside(a)).json()["runs"]) and time.time() < deadline:
        time.sleep(0.1)
    assert len(runs) == 1 and "dataset/clicks snapshot" in runs[0]["reason"]
    assert step(finished(server, a, runs[0]["id"]), "look")["outputs"]["workspaces"] == [a, a]
    assert server.get("/api/v1/runs", **inside(b)).json()["runs"] == []
    assert server.post("/api/v1/triggers/retrain/pause", {}, **inside(b)).status_code == 200
    states = [server.get("/api/v1/triggers", **inside(t)).json()["triggers"][0]["state"] for t in teams]
    assert states == ["active", "paused"]


# Each route of these modules that names something, with what it is asked; NAME is a name, RUN the id of a run.
ROUTES = [
    ("GET", "/api/v1/datasets/NAME/snapshots", None), ("GET", "/api/v1/datasets/NAME/snapshots/1", None),
    ("GET", "/api/v1/datasets/NAME/quarantine", None), ("GET", "/api/v1/datasets/NAME/quarantine?snapshot=1", None),
    ("POST", "/api/v1/datasets/NAME/events", {"rows": [{"id": 1}]}), ("POST", "/api/v1/datasets/NAME/seal", {}),
    ("POST", "/api/v1/datasets/NAME/ingest?file=x.csv", {}), ("POST", "/api/v1/features/NAME/read", {"rows": [{"user": "u1"}]}),
    ("POST", "/api/v1/pipelines/NAME/runs", {}), ("GET", "/api/v1/runs?pipeline=NAME", None), ("GET", "/api/v1/runs/RUN", None),
    ("POST", "/api/v1/runs/RUN/cancel", {}), ("GET", "/api/v1/runs/RUN/steps/look/log", None), ("GET", "/api/v1/triggers", None),
    ("POST", "/api/v1/triggers/NAME/pause", {}), ("POST", "/api/v1/triggers/NAME/resume", {}), ("GET", "/api/v1/damage", None),
] + [("GET", f"/api/v1/resources/{kind}/NAME", None) for kind in ["Dataset", "Entity", "FeatureView", "FeatureService", "Pipeline", "Trigger"]]


def test_the_wrong_workspace_learns_nothing_on_any_route(server, teams, tmp_path):
    a, b = teams
    # One name for everything, so that each route has something to find in the right workspace.
    kinds = [
        "kind: Dataset\nmetadata: { name: secrets }\nspec: { key: [id], columns: [{ name: id, type: int64 }, { name: user, type: string }, { name: at, type: timestamp }], eventTime: at }",
        "kind: Entity\nmetadata: { name: secrets }\nspec: { keys: { user: string } }",
        "kind: FeatureView\nmetadata: { name: secrets }\nspec: { source: secrets, entity: secrets, features: [{ name: n, aggregate: count, window: 1h }] }",
        "kind: FeatureService\nmetadata: { name: secrets }\nspec: { features: [secrets] }",
        "kind: Pipeline\nmetadata: { name: secrets }\nspec: { steps: [{ name: look, uses: shell, with: { run: echo hi } }] }",
        "kind: Trigger\nmetadata: { name: secrets }\nspec: { when: [schedule 0 0 1 1 *], run: secrets }",
    ]
    apply(server, tmp_path, a, "\n---\n".join("apiVersion: keel/v1\n" + k for k in kinds))
    file = tmp_path / "secrets.csv"
    file.write_text("id,user,at\n1,u1,2024-01-01T00:00:00Z\nx,u1,2024-01-01T00:00:00Z\n")
    server.json("ingest", "secrets", file, "--workspace", a)
    run = start(server, a, "secrets")
    finished(server, a, run)
    token = server.cli("tokens", "create", "b-" + b, "--persona", "owner", "--workspace", b).stdout.strip()

    def ask(method, path, body, name, run, workspace=None):
        headers = {"Authorization": "Bearer " + token} if workspace is None else {"Keel-Workspace": workspace}
        path = path.replace("NAME", name).replace("RUN", run)
        return requests.request(method, server.url + path, json=body, headers=headers, timeout=60)

    def words(said, name, run):
        return said.status_code, said.text.replace(name, "NAME").replace(run, "RUN")

    nothing, nobody = "nothings", str(uuid.uuid4())
    found = 0
    for method, path, body in ROUTES:
        foreign = ask(method, path, body, "secrets", run)
        unknown = ask(method, path, body, nothing, nobody)
        assert words(foreign, "secrets", run) == words(unknown, nothing, nobody), (method, path)
        assert run not in foreign.text or foreign.status_code == 404, (method, path, foreign.text)
        if method == "GET" and ask(method, path, body, "secrets", run, a).status_code == 200:
            found += 1
    assert found >= 12, "in the right workspace there is something to find"
    # Nor by another header, nor by a plan that guesses.
    refused = requests.get(server.url + "/api/v1/runs", headers={"Authorization": "Bearer " + token, "Keel-Workspace": a}, timeout=60)
    absent = requests.get(server.url + "/api/v1/runs", headers={"Authorization": "Bearer " + token, "Keel-Workspace": "no-such-team"}, timeout=60)
    assert refused.status_code == absent.status_code == 403
    assert words(refused, a, run) == words(absent, "no-such-team", run)
    file = tmp_path / "reach.yaml"
    file.write_text("apiVersion: keel/v1\nkind: Trigger\nmetadata: { name: reach }\nspec: { when: [dataset/secret snapshot], run: secret }")
    said = server.cli("plan", file, "--workspace", b, check=False)
    assert said.returncode != 0 and "secrets" not in said.stdout + said.stderr


def test_damage_is_told_in_its_workspace(server, teams, tmp_path):
    a, b = teams
    for team in teams:
        apply(server, tmp_path, team)
        ingest(server, tmp_path, team, project.rows(50))
    files = list(pathlib.Path(server.home, "lake", "datasets", "@" + a, "clicks").glob("*.parquet"))
    assert len(files) == 1
    server.kill()
    kept = files[0].read_bytes()
    files[0].unlink()
    server.start()
    told = {t: [d["subject"] for d in server.json("get", "damage", "--workspace", t)["damage"]] for t in [a, b]}
    assert set(told[a]) == {"Dataset/clicks"} and told[b] == []
    everything = {(d["workspace"], d["subject"]) for d in server.json("get", "damage")["damage"]}
    assert (a, "Dataset/clicks") in everything and not any(w == b for w, _ in everything)
    assert f'subject="{a}:Dataset/clicks"' in server.get("/metrics").text
    scientist = server.cli("tokens", "create", "dan-" + a, "--persona", "data-scientist").stdout.strip()
    bearer = {"headers": {"Authorization": "Bearer " + scientist}}
    assert a not in server.get("/api/v1/damage", **bearer).text and a not in server.get("/metrics", **bearer).text
    file = tmp_path / "more.csv"
    file.write_text(project.csv(project.rows(1, start=90)))
    codes = {t: server.cli("ingest", "clicks", file, "--workspace", t, check=False).returncode for t in teams}
    assert codes[a] != 0 and codes[b] == 0
    server.kill()
    files[0].write_bytes(kept)
    server.start()
    assert server.json("get", "damage", "--workspace", a)["damage"] == []
    assert server.cli("ingest", "clicks", file, "--workspace", a).returncode == 0


def test_a_workspace_goes_when_nothing_is_in_it(server, teams, tmp_path):
    team, _ = teams
    apply(server, tmp_path, team)
    ingest(server, tmp_path, team, project.rows(20))
    push(server, team, 5000)
    said = server.cli("workspaces", "delete", team, check=False)
    assert said.returncode != 0 and "rows of the datasets clicks" in said.stderr
    server.cli("delete", "Dataset", "clicks", "--cascade", "--yes", "--workspace", team)
    for kind, name in [("Entity", "user"), ("FeatureView", "asked")]:
        server.cli("delete", kind, name, "--cascade", "--yes", "--workspace", team)
    said = server.cli("workspaces", "delete", team, check=False)
    assert said.returncode != 0 and "resources" not in said.stderr and "rows of the datasets clicks" in said.stderr, said.stderr
    server.cli("delete", "Dataset", "clicks", "--data", "--yes", "--workspace", team)
    server.cli("workspaces", "delete", team)
    assert not list(pathlib.Path(server.home, "lake", "datasets").glob(f"@{team}/*"))


def test_the_server_is_managed_from_default(server, teams):
    for said in [server.get("/api/v1/backup", **inside(teams[0])), server.post("/api/v1/verify", {}, **inside(teams[0])), server.get("/metrics", **inside(teams[0]))]:
        assert said.status_code == 403 and "all workspaces" in said.text, said.text
