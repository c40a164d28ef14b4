"""kill -9 at random moments: what was acknowledged is there afterwards, and nothing is half done."""
import random
import threading
import time

import requests

import project
from servers import Keel

ROUNDS = 6


def killed_while(keel, work):
    """Runs `work` in a thread, kills the server at a random moment, and starts it again on the same home."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(random.uniform(0.0, 0.5))
    keel.kill()
    thread.join(timeout=60)
    again = Keel(home=keel.home).start()
    assert again.json("ledger", "verify").get("problem") is None
    return again


def test_push(tmp_path):
    keel = Keel().start()
    project.apply(keel, tmp_path)
    acknowledged, position = set(), 0
    for _ in range(ROUNDS):
        def push(server=keel):
            nonlocal position
            while True:
                batch = project.rows(20, start=position)
                position += 20
                try:
                    answer = server.post("/api/v1/datasets/clicks/events", {"rows": batch})
                except requests.RequestException:
                    return
                if answer.status_code == 200:
                    rejected = {r["index"] for r in answer.json()["rejected"]}
                    acknowledged.update(r["id"] for i, r in enumerate(batch) if i not in rejected)
        keel = killed_while(keel, push)
    assert len(acknowledged) > 200
    snapshot = keel.post("/api/v1/datasets/clicks/seal").json()["snapshot"]
    # Rows whose answer the kill cut off may be there; every row that was acknowledged must be.
    assert len(acknowledged) <= snapshot["rows"] <= position
    again = keel.post("/api/v1/datasets/clicks/events", {"rows": [r for r in project.rows(position) if r["id"] in acknowledged]}).json()
    assert again["accepted"] == 0, "a row that was acknowledged is not in the snapshot"
    keel.stop()


def test_ingest(tmp_path):
    keel = Keel().start()
    project.apply(keel, tmp_path)
    expected, position = 0, 0
    for _ in range(ROUNDS):
        file = tmp_path / "part.csv"
        file.write_text(project.csv(project.rows(20000, start=position)))
        keel = killed_while(keel, lambda server=keel, file=file: server.cli("ingest", "clicks", file, check=False))
        snapshots = keel.json("get", "snapshots", "clicks")["snapshots"]
        rows = snapshots[0]["rows"] if snapshots else 0
        assert rows in (expected, expected + 20000), "an ingest is half done"
        if rows == expected:
            keel.cli("ingest", "clicks", file)
        expected += 20000
        position += 20000
    keel.stop()


def test_apply(tmp_path):
    keel = Keel().start()
    project.apply(keel, tmp_path)
    small, large = project.RESOURCES, project.RESOURCES.replace("trees: 10", "trees: 11").replace("requests: 20", "requests: 30")

    def state(server):
        trees = server.json("describe", "pipeline", "train")["resource"]["spec"]["parameters"]["trees"]
        shadow = server.json("describe", "endpoint", "buying")["resource"]["spec"]["rollout"]["shadow"]["requests"]
        return trees, shadow

    for i in range(ROUNDS):
        keel = killed_while(keel, lambda server=keel, i=i: project.apply(server, tmp_path, large if i % 2 == 0 else small, check=False))
        assert state(keel) in [(10, 20), (11, 30)], "an apply is half done"
    keel.stop()


def test_what_an_apply_stored_before_a_kill_is_in_force_after_it(tmp_path):
    keel = Keel().start()
    project.apply(keel, tmp_path)
    # Enough rows that a changed view takes its time to be made ready.
    project.ingest(keel, tmp_path, project.csv(project.rows(30000)))
    trigger = """
---
apiVersion: keel/v1
kind: Trigger
metadata: { name: TRIGGER }
spec: { when: ["dataset/clicks snapshot"], run: train }
"""
    applied = 0
    for i in range(2 * ROUNDS):
        view = project.RESOURCES.replace("clicks_1h, aggregate: count, window: 1h", f"clicks_{i}, aggregate: count, window: {i + 1}h")
        changed = view + trigger.replace("TRIGGER", f"t{i}")
        before = keel.json("describe", "featureview", "habits")["revision"]
        keel = killed_while(keel, lambda server=keel, changed=changed: project.apply(server, tmp_path, changed, check=False))
        view = keel.json("describe", "featureview", "habits")
        names = [each["name"] for each in view["resource"]["spec"]["features"]]
        answer = keel.post("/api/v1/features/buying/read", {"rows": [{"user": "u1", "at": "2024-01-01T00:00:00Z", "price": 1}]})
        assert answer.status_code == 200, answer.text
        assert set(names) <= set(answer.json()["rows"][0]), (names, answer.json())
        stored = {each["name"] for each in keel.json("get", "triggers")["triggers"]}
        assert (f"t{i}" in stored) == (view["revision"] == before + 1), "an apply is half in force"
        assert keel.get("/api/v1/damage").json()["damage"] == []
        applied += view["revision"] - before
    assert 0 < applied, "no kill came late enough to see an apply through"
    keel.stop()


def test_rollout(tmp_path):
    keel = Keel().start()
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(2000)))
    keel.cli("run", "train")
    keel.cli("run", "train", "--with", "trees=12")
    asked = 0
    for _ in range(ROUNDS):
        def ask(server=keel):
            nonlocal asked
            while True:
                asked += 1
                try:
                    answer = server.post("/v2/models/buying/infer", project.question([f"q{asked}"]))
                except requests.RequestException:
                    return
                assert answer.status_code == 200, answer.text
        keel = killed_while(keel, ask)
        releases = keel.json("releases", "buying")["releases"]
        assert [r["state"] for r in releases].count("stable") == 1
    for _ in range(200):
        keel.post("/v2/models/buying/infer", project.question([f"z{time.time_ns()}"]))
    time.sleep(1)
    promoted = [e for e in keel.json("ledger", "--kind", "release.promoted", "--oldest")["events"] if e["subject"] == "Endpoint/buying"]
    assert [e["data"]["release"] for e in promoted] == [1, 2], "the rollout went on after the kills, once"
    keel.stop()


def test_d12_register_and_release_happen_once_however_often_a_run_is_resumed(tmp_path):
    keel = Keel().start()
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(2000)))
    # What comes before is cached from here on: a run is little more than gate, register and release.
    keel.cli("run", "train")
    for _ in range(24):
        def start(server=keel):
            try:
                server.post("/api/v1/pipelines/train/runs", {})
            except requests.RequestException:
                return
        thread = threading.Thread(target=start, daemon=True)
        thread.start()
        time.sleep(random.uniform(0.0, 0.25))
        keel.kill()
        thread.join(timeout=60)
        keel = Keel(home=keel.home).start()
    deadline = time.monotonic() + 120
    while any(r["state"] in ("running", "pending") for r in keel.json("get", "runs")["runs"]) and time.monotonic() < deadline:
        time.sleep(0.2)
    runs = keel.json("get", "runs")["runs"]
    assert len(runs) > 5 and {r["state"] for r in runs} == {"succeeded"}, runs

    def events(kind):
        return keel.json("ledger", "--kind", kind, "--limit", "1000")["events"]
    bound = [e["data"]["run"] for e in events("model.version.bundle")]
    assert sorted(bound) == sorted(r["id"] for r in runs), "a run registered more than one version, or none"
    assert len(events("model.version.created")) == len(runs)
    released = [e["data"]["version"] for e in events("release.created")]
    assert sorted(map(int, released)) == list(range(1, len(runs) + 1)), "a run made more than one release, or none"
    for run in runs:
        tracked = keel.post("/api/2.0/mlflow/runs/search", {
            "experiment_ids": [e["experiment_id"] for e in keel.post("/api/2.0/mlflow/experiments/search", {"max_results": 10}).json()["experiments"]],
            "filter": f"tags.`keel.pipeline_run` = '{run['id']}'"}).json()["runs"]
        assert [r["info"]["status"] for r in tracked] == ["FINISHED"]
    assert keel.json("ledger", "verify").get("problem") is None
    keel.stop()
