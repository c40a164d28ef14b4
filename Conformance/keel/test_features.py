"""Features while their data changes: the old ones answer until the new ones are there, and examples without a time can be trained on."""
import json
import pathlib
import random
import shutil
import threading

import pytest
import requests

from servers import Keel

RESOURCES = """
apiVersion: keel/v1
kind: Dataset
metadata: { name: visits }
spec:
  eventTime: at
  columns: [{ name: user, type: string }, { name: at, type: timestamp }, { name: pages, type: float64 }]
---
apiVersion: keel/v1
kind: Entity
metadata: { name: user }
spec: { keys: { user: string } }
---
apiVersion: keel/v1
kind: FeatureView
metadata: { name: habits }
spec: { entity: user, source: visits, features: [{ name: visits, aggregate: count, window: 3650d }] }
---
apiVersion: keel/v1
kind: FeatureService
metadata: { name: users }
spec: { features: [habits] }
"""


@pytest.fixture
def server(tmp_path):
    with_home = Keel()
    with_home.start()
    yield with_home
    with_home.stop()


def apply(server, tmp_path, text):
    file = tmp_path / "resources.yaml"
    file.write_text(text)
    return server.json("apply", file)


def plan(server, tmp_path, text):
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    return server.json("plan", file)


def visits(server, *users):
    return [row["visits"] for row in server.post("/api/v1/features/users/read", {"rows": [{"user": u} for u in users]}).json()["rows"]]


def ingest(server, tmp_path, name, rows):
    file = tmp_path / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return server.json("ingest", "visits", file)


def rows(count, user="ann", start=0):
    return [{"user": user, "at": f"2024-01-01T{i // 3600 % 24:02}:{i // 60 % 60:02}:{i % 60:02}Z", "pages": i % 7} for i in range(start, start + count)]


def test_d3_d15_the_old_features_answer_until_the_new_ones_are_there(server, tmp_path):
    apply(server, tmp_path, RESOURCES)
    ingest(server, tmp_path, "first.jsonl", rows(50_000))
    seen, stop, pushed = [], threading.Event(), [0]

    def ask():
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(server.url + "/api/v1/features/users/read", json={"rows": [{"user": "ann"}]}, timeout=60)
                seen.append(answer.json()["rows"][0]["visits"] if answer.status_code == 200 else answer.status_code)

    def push():
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(server.url + "/api/v1/datasets/visits/events", json={"rows": rows(1, "bob")}, timeout=60)
                assert answer.status_code == 200, answer.text
                pushed[0] += answer.json()["accepted"]

    threads = [threading.Thread(target=f) for f in (ask, push)]
    for thread in threads:
        thread.start()
    ingest(server, tmp_path, "more.jsonl", rows(10, start=50_000))
    apply(server, tmp_path, RESOURCES.replace("window: 3650d }", "window: 3650d }, { name: pages, aggregate: sum, of: pages, window: 24h }"))
    assert server.post("/api/v1/datasets/visits/seal", {}).status_code == 200
    ingest(server, tmp_path, "again.jsonl", rows(10, start=50_010))
    stop.set()
    for thread in threads:
        thread.join()
    # Every answer is one that was true at some time, and none is older than one before it.
    assert set(seen) <= {50_000, 50_010, 50_020} and seen == sorted(seen), set(seen)
    assert visits(server, "ann", "bob") == [50_020, pushed[0]]
    server.kill()
    server.start()
    assert visits(server, "ann", "bob") == [50_020, pushed[0]]


def test_d3_an_apply_that_does_not_touch_a_view_keeps_its_state(server, tmp_path):
    apply(server, tmp_path, RESOURCES)
    ingest(server, tmp_path, "first.jsonl", rows(10))
    wider = RESOURCES.replace("type: float64 }]", "type: float64 }, { name: device, type: string, nullable: true }]")
    effects = [e for change in plan(server, tmp_path, wider)["changes"] for e in change.get("effects", [])]
    assert effects == ["column 'device' is new: the 10 rows stored before read as null in it"]


def test_g4_a_new_nullable_column_is_null_in_older_rows(server, tmp_path):
    apply(server, tmp_path, RESOURCES)
    ingest(server, tmp_path, "first.jsonl", rows(10))
    assert server.post("/api/v1/datasets/visits/events", {"rows": rows(2)}).json()["accepted"] == 2
    wider = RESOURCES.replace("type: float64 }]", "type: float64 }, { name: device, type: string, nullable: true }]").replace(
        "window: 3650d }", "window: 3650d }, { name: device, of: device }")
    effects = [e for change in plan(server, tmp_path, wider)["changes"] for e in change.get("effects", [])]
    assert "column 'device' is new: the 10 rows stored before read as null in it" in effects
    assert any("view 'habits' are made anew" in e for e in effects)
    apply(server, tmp_path, wider)
    assert server.post("/api/v1/features/users/read", {"rows": [{"user": "ann"}]}).json()["rows"][0] == {"user": "ann", "visits": 12, "device": None}
    ingest(server, tmp_path, "second.jsonl", [row | {"device": "tablet"} for row in rows(200, start=10)])
    server.kill()
    server.start()
    assert server.post("/api/v1/features/users/read", {"rows": [{"user": "ann"}]}).json()["rows"][0] == {"user": "ann", "visits": 212, "device": "tablet"}
    apply(server, tmp_path, """
apiVersion: keel/v1
kind: Pipeline
metadata: { name: p }
spec: { steps: [{ name: examples, uses: training-set, with: { labels: visits, label: "pages > 3", features: [device], keep: [user] } }] }
""")
    run = server.json("run", "p")
    assert run["state"] == "succeeded", run


def test_a_damaged_file_takes_its_own_features_away_and_nothing_else(server, tmp_path):
    other = RESOURCES.replace("visits", "calls").replace("habits", "talks").replace("users", "callers")
    apply(server, tmp_path, RESOURCES + "---" + other.replace("""kind: Entity
metadata: { name: user }
spec: { keys: { user: string } }
---
apiVersion: keel/v1
""", ""))
    ingest(server, tmp_path, "first.jsonl", rows(10))
    assert server.post("/api/v1/datasets/calls/events", {"rows": rows(3)}).json()["accepted"] == 3
    server.stop()
    [file] = pathlib.Path(server.home, "lake", "datasets", "visits").glob("*.parquet")
    file.write_bytes(b"PAR1" + b"\xff" * 100)
    # With a checkpoint the features need the file no more; it is named all the same.
    server.start()
    assert visits(server, "ann") == [10]
    assert "Dataset/visits" in {d["subject"] for d in server.get("/api/v1/damage").json()["damage"]}
    server.stop()
    shutil.rmtree(f"{server.home}/features")
    server.start()
    assert server.post("/api/v1/features/users/read", {"rows": [{"user": "ann"}]}).status_code == 503
    answer = server.post("/api/v1/features/callers/read", {"rows": [{"user": "ann"}]})
    assert answer.json()["rows"][0]["calls"] == 3, answer.text


def test_g3_columns_and_features_that_differ_in_case_alone_are_refused_at_plan(server, tmp_path):
    for wrong, names in [(RESOURCES.replace("name: pages", "name: User"), ("user", "User")),
                         (RESOURCES.replace("{ name: visits, aggregate", "{ name: User, aggregate"), ("user", "User"))]:
        file = tmp_path / "wrong.yaml"
        file.write_text(wrong)
        refused = server.cli("plan", file, check=False)
        assert refused.returncode != 0 and all(f"'{n}'" in refused.stderr + refused.stdout for n in names), refused


def test_v6_features_are_read_for_a_list_of_rows_or_refused(server, tmp_path):
    apply(server, tmp_path, RESOURCES)
    ingest(server, tmp_path, "first.jsonl", rows(3) + rows(2, "bob"))
    answer = server.json("features", "read", "users", '[{"user": "ann"}, {"user": "bob"}]')
    assert [row["visits"] for row in answer["rows"]] == [3, 2]
    for wrong in ['[[{"user": "ann"}]]', "[1]", '"ann"', "[]", '[{"user": "ann"}, null]', "{"]:
        refused = server.cli("features", "read", "users", wrong, check=False)
        assert refused.returncode != 0, (wrong, refused.stdout)


TRAINING = """
apiVersion: keel/v1
kind: Dataset
metadata: { name: patients }
spec:
  key: [id]
  columns:
    - { name: id, type: int64 }
    - { name: clinic, type: string }
    - { name: age, type: float64 }
    - { name: dose, type: float64, nullable: true }
    - { name: smoker, type: bool }
    - { name: ill, type: int32, oneOf: ["0", "1"] }
---
apiVersion: keel/v1
kind: Pipeline
metadata: { name: train }
spec:
  steps:
    - { name: examples, uses: training-set, with: { labels: patients, label: "ill = 1", SPLIT } }
    - { name: fit, uses: gradient-boosting, with: { data: $examples, trees: 20, depth: 3 } }
    - { name: evaluate, uses: evaluate, with: { model: $fit.candidate, data: $examples.holdout } }
    - { name: gate, uses: gate, with: { metrics: $evaluate, require: ["auc >= 0.7"] } }
    - { name: register, uses: register, with: { model: $fit.model, name: ill, metrics: $evaluate, gate: $gate } }
"""


def patients(count):
    draw = random.Random(3)
    out = []
    for i in range(count):
        age, smoker = draw.uniform(18, 90), draw.random() < 0.3
        ill = draw.random() < min(0.95, age / 120 + (0.3 if smoker else 0))
        out.append({"id": i, "clinic": f"c{draw.randrange(40)}", "age": round(age, 1), "dose": None if i % 9 == 0 else i % 5, "smoker": smoker, "ill": int(ill)})
    return out


def parts(server):
    """The rows of the newest training set, by part."""
    import pyarrow.parquet as pq
    folder = pathlib.Path(server.home, "lake", "training")
    newest = sorted(folder.glob("*.parquet"), key=lambda f: f.stat().st_mtime)[-2:]
    return {("train" if "-train" in f.name else "holdout"): pq.read_table(f).to_pylist() for f in newest}


@pytest.mark.parametrize("split", ["split: random, seed: 7, holdout: 25%", "split: stratified, holdout: 25%", "split: grouped, groupBy: clinic, holdout: 25%, features: [age, smoker, dose]"])
def test_examples_without_a_time_are_trained_on_evaluated_and_registered(server, tmp_path, split):
    apply(server, tmp_path, TRAINING.replace("SPLIT", split))
    file = tmp_path / "patients.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in patients(2000)))
    server.json("ingest", "patients", file)
    run = server.json("run", "train")
    assert run["state"] == "succeeded", run
    found = parts(server)
    train, holdout = found["train"], found["holdout"]
    assert len(train) + len(holdout) == 2000 and "ill" not in train[0] and "id" not in train[0]
    if "grouped" in split:
        assert not {r["clinic"] for r in train} & {r["clinic"] for r in holdout}
    else:
        assert abs(len(holdout) - 500) < 80
    if "stratified" in split:
        rate = lambda rows: sum(r["label"] for r in rows) / len(rows)
        assert abs(rate(train) - rate(holdout)) < 0.005
    # The same examples are always parted the same way.
    again = server.json("run", "train", "--no-cache")
    assert again["state"] == "succeeded" and parts(server) == found
    version = server.get("/api/2.0/mlflow/model-versions/get", params={"name": "ill", "version": "1"}).json()["model_version"]
    assert version["version"] == "1"


def test_examples_without_a_time_need_a_split(server, tmp_path):
    file = tmp_path / "wrong.yaml"
    for split in ["holdout: 20%", "split: time", "split: grouped", "split: grouped, groupBy: clinik", "split: random, groupBy: clinic", "split: randm"]:
        file.write_text(TRAINING.replace("SPLIT", split))
        refused = server.cli("plan", file, check=False)
        assert refused.returncode != 0 and ("split" in refused.stderr or "clinik" in refused.stderr), (split, refused.stderr)
