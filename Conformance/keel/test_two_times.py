"""Events that come late: what was served before them is no difference, and no training set gives a model what nobody knew at the time."""
import json
import pathlib
import threading

import pytest
import requests

import project
from servers import Keel

PREDICT, EVENTS = "/api/v1/endpoints/buying/predict", "/api/v1/datasets/clicks/events"
USERS = [f"u{i}" for i in range(20)]


@pytest.fixture
def keel(tmp_path):
    keel = Keel().start()
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(500)))
    keel.cli("run", "train")
    yield keel
    keel.stop()


def click(number, user, at):
    return {"id": 100_000 + number, "user": user, "at": at, "price": 7.5, "bought": 0}


def push(keel, rows):
    answer = keel.post(EVENTS, {"rows": rows})
    assert answer.status_code == 200 and answer.json()["accepted"] == len(rows), answer.text


def predict(keel, at, name, users=USERS):
    rows = [{"user": u, "at": at, "price": 3} for u in users]
    answer = keel.post(PREDICT, {"rows": rows, "ids": [f"{name}-{u}" for u in users], "features": True})
    assert answer.status_code == 200, answer.text
    return [p["features"]["clicks_1h"] for p in answer.json()["predictions"]]


def verify(keel, reads):
    answer = keel.post("/api/v1/features/verify", {"endpoint": "buying"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["rows"] + found["inexact"] == reads and found["skipped"] == 0, found
    assert found["differences"] == 0, found["examples"]
    return found


def test_late_events_are_no_difference(keel, tmp_path):
    at = "2026-01-01T12:00:00Z"
    push(keel, [click(i, u, "2026-01-01T11:50:00Z") for i, u in enumerate(USERS)])
    assert predict(keel, at, "before") == [1] * 20
    push(keel, [click(100 + i, u, "2026-01-01T11:40:00Z") for i, u in enumerate(USERS[:10])])
    assert predict(keel, at, "after") == [2] * 10 + [1] * 10
    assert verify(keel, 40)["inexact"] == 0
    # A file that is ingested changes what is asked afterwards, and not what was asked before.
    file = tmp_path / "late.jsonl"
    file.write_text("".join(json.dumps(click(200 + i, u, "2026-01-01T11:30:00Z")) + "\n" for i, u in enumerate(USERS[:5])))
    keel.cli("ingest", "clicks", file)
    assert predict(keel, at, "ingested") == [3] * 5 + [2] * 5 + [1] * 10
    verify(keel, 60)
    keel.kill()
    keel.start()
    push(keel, [click(300 + i, u, "2026-01-01T11:20:00Z") for i, u in enumerate(USERS)])
    assert predict(keel, at, "again") == [4] * 5 + [3] * 5 + [2] * 10
    verify(keel, 80)


def test_reads_during_pushes_are_exact(keel):
    at, stop, pushed = "2026-01-01T12:00:00Z", threading.Event(), [0]

    def late():
        with requests.Session() as session:
            while not stop.is_set() and pushed[0] < 20_000:
                rows = [click(1000 + pushed[0] + i, u, f"2026-01-01T11:{(pushed[0] // 20) % 59:02}:30Z") for i, u in enumerate(USERS)]
                assert session.post(keel.url + EVENTS, json={"rows": rows}, timeout=60).json()["accepted"] == 20
                pushed[0] += 20

    thread = threading.Thread(target=late)
    thread.start()
    counts = [predict(keel, at, f"r{i}") for i in range(200)]
    stop.set()
    thread.join()
    assert counts[-1][0] > counts[0][0], "no push came between"
    assert verify(keel, 4000)["inexact"] == 0


def examples(keel):
    """The rows of the newest training set, both parts, without the split. Means are rounded: they depend on the order of their terms."""
    import pyarrow.parquet as pq
    newest = sorted(pathlib.Path(keel.home, "lake", "training").glob("*.parquet"), key=lambda f: f.stat().st_mtime)[-2:]
    rows = [row for f in newest for row in pq.read_table(f).to_pylist()]
    return [json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}, default=str, sort_keys=True) for row in rows]


def test_a_training_set_has_nothing_that_was_not_known(keel, tmp_path):
    before = examples(keel)
    assert len(before) == 500
    rows = project.rows(500)
    # Another click at the time of each of some examples. That it happened is known from today on.
    push(keel, [click(i, r["user"], r["at"]) for i, r in enumerate(rows[100:200])])
    run = keel.json("run", "train", "--no-cache", check=False)
    after = examples(keel)
    assert len(after) == 600
    assert set(before) <= set(after), "an example has a click that nobody knew then"
    assert outputs(keel, run)["known"] == {"clicks": {"rows": 600, "assumed": 500, "ahead": 0}}
    # A contract whose rows say when they became known is believed.
    file = tmp_path / "known.yaml"
    file.write_text(project.RESOURCES.replace("eventTime: at", "eventTime: at\n  knownAt: at"))
    keel.cli("apply", file)
    run = keel.json("run", "train", "--no-cache", check=False)
    assert not set(before) <= set(examples(keel))
    assert outputs(keel, run)["known"] == {"clicks": {"rows": 600, "assumed": 0, "ahead": 0}}


def outputs(keel, run):
    """What the training-set step of a run put out."""
    shown = keel.get(f"/api/v1/runs/{run['id']}").json()
    return next(step["outputs"] for step in shown["steps"] if step["name"] == "examples")
