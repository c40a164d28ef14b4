"""Online features start from a file: what a start reads does not grow with the history, and what it answers is what all of the history would."""
import glob
import hashlib
import json
import os
import random
import re
import shutil
import threading
import time

import pytest
import requests

from servers import Keel

RESOURCES = """
apiVersion: keel/v1
kind: Dataset
metadata: { name: visits }
spec:
  eventTime: at
  columns: [{ name: user, type: string }, { name: at, type: timestamp }, { name: pages, type: int64 }, { name: page, type: string }]
---
apiVersion: keel/v1
kind: Entity
metadata: { name: user }
spec: { keys: { user: string } }
---
apiVersion: keel/v1
kind: FeatureView
metadata: { name: habits }
spec:
  entity: user
  source: visits
  features:
    - { name: visits, aggregate: count, window: 3650d }
    - { name: pages, aggregate: sum, of: pages, window: 3650d }
    - { name: different, aggregate: count_distinct, of: page, window: 3650d }
    - { name: last_page, of: page }
---
apiVersion: keel/v1
kind: FeatureService
metadata: { name: users }
spec: { features: [habits] }
"""
USERS = [f"u{i}" for i in range(30)]


def row(i, draw):
    # Of two rows at one second the later one is the last.
    return {"user": draw.choice(USERS), "at": f"2024-01-{1 + i // 86400:02}T{i // 3600 % 24:02}:{i // 60 % 60:02}:{i % 60:02}Z",
            "pages": draw.randrange(9), "page": f"p{draw.randrange(50)}"}


def rows(count, start=0):
    draw = random.Random(start)
    return [row(start + i, draw) for i in range(count)]


def expected(history):
    out = {u: {"user": u, "visits": 0, "pages": None, "different": 0, "last_page": None} for u in USERS}
    pages = {u: set() for u in USERS}
    for r in history:
        one = out[r["user"]]
        pages[r["user"]].add(r["page"])
        one.update(visits=one["visits"] + 1, pages=(one["pages"] or 0) + r["pages"], different=len(pages[r["user"]]), last_page=r["page"])
    return [out[u] for u in USERS]


def read(server):
    answer = server.post("/api/v1/features/users/read", {"rows": [{"user": u} for u in USERS]})
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def push(server, rows):
    for i in range(0, len(rows), 100):
        answer = server.post("/api/v1/datasets/visits/events", {"rows": rows[i:i + 100]})
        assert answer.status_code == 200 and answer.json()["accepted"] == len(rows[i:i + 100]), answer.text


def metric(server, name):
    return float(re.search(rf'^{name}{{dataset="visits"}} (\S+)$', server.get("/metrics").text, re.MULTILINE)[1])


def history_rows(server):
    """Rows of history that this start has read."""
    return metric(server, "keel_feature_history_rows_total")


def apply(server, tmp_path, text=RESOURCES):
    file = tmp_path / "resources.yaml"
    file.write_text(text)
    server.cli("apply", file)


def ingest(server, tmp_path, rows, *options):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    server.cli("ingest", "visits", file, *options)


def state(server):
    return os.path.join(server.home, "features", "visits.state")


def written(server):
    """Waits until a file holds everything."""
    deadline = time.monotonic() + 60
    while metric(server, "keel_feature_checkpoint_behind_bytes") > 0 or not os.path.exists(state(server)):
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.05)


@pytest.fixture
def server(tmp_path):
    server = Keel()
    server.start()
    apply(server, tmp_path)
    yield server
    if server.process.poll() is None:
        server.stop()


def test_d15_a_start_reads_only_what_came_after_the_checkpoint(server, tmp_path):
    history = rows(3000)
    ingest(server, tmp_path, history[:1000])
    push(server, history[1000:])
    server.stop()
    server.start()
    assert (read(server), history_rows(server)) == (expected(history), 0)
    more = rows(70, 3000)
    push(server, more)
    server.kill()
    server.start()
    assert (read(server), history_rows(server)) == (expected(history + more), 70)
    # A seal changes where the rows are, and nothing else: the Parquet files are not read.
    server.post("/api/v1/datasets/visits/seal")
    server.kill()
    server.start()
    assert (read(server), history_rows(server)) == (expected(history + more), 70)
    server.stop()
    server.start()
    assert (read(server), history_rows(server)) == (expected(history + more), 0)


def test_d15_checkpoints_are_written_while_events_are_pushed(tmp_path):
    server = Keel(environment={"KEEL_FEATURES_CHECKPOINT": "1000"}).start()
    apply(server, tmp_path)
    history = rows(5000)
    push(server, history[:4000])
    written(server)
    push(server, history[4000:])
    server.kill()
    server.start()
    assert read(server) == expected(history)
    assert history_rows(server) <= 1000
    server.stop()


def test_d15_a_checkpoint_of_other_rows_or_definitions_is_not_used(server, tmp_path):
    history = rows(500)
    push(server, history)
    server.stop()
    stale = tmp_path / "stale"
    shutil.copy(state(server), stale)
    server.start()

    def start_with_stale(expected_rows):
        server.kill()
        os.makedirs(os.path.dirname(state(server)), exist_ok=True)
        shutil.copy(stale, state(server))
        server.start()
        assert history_rows(server) == expected_rows
        # It fits nothing: it is gone.
        assert server.get("/api/v1/damage").json()["damage"] == []
    ingest(server, tmp_path, rows(200, 500))
    history += rows(200, 500)
    start_with_stale(700)
    assert read(server) == expected(history)
    ingest(server, tmp_path, rows(300, 1000), "--overwrite")
    history = rows(300, 1000)
    assert read(server) == expected(history)
    start_with_stale(300)
    assert read(server) == expected(history)
    # Removed and made again, with as many rows as the checkpoint has.
    server.cli("delete", "dataset", "visits", "--cascade", "--data", "--yes")
    assert not os.path.exists(state(server))
    apply(server, tmp_path)
    history = rows(700, 5000)
    push(server, history)
    start_with_stale(700)
    assert read(server) == expected(history)
    # Another definition of the same view.
    server.stop()
    shutil.copy(state(server), stale)
    server.start()
    changed = RESOURCES.replace("name: pages, aggregate: sum", "name: pages, aggregate: max")
    apply(server, tmp_path, changed)
    start_with_stale(700)
    most = {}
    for r in history:
        most[r["user"]] = max(most.get(r["user"], 0), r["pages"])
    assert [r["pages"] for r in read(server)] == [most.get(u) for u in USERS]


@pytest.mark.parametrize("manner", ["flip", "cut", "longer", "empty", "garbage", "older"])
def test_d15_a_damaged_checkpoint_is_named_and_the_features_are_made_from_all_rows(server, manner):
    history = rows(1000)
    push(server, history)
    server.stop()
    draw = random.Random(manner)
    with open(state(server), "rb") as file:
        content = bytearray(file.read())
    place = draw.randrange(len(content))
    if manner == "flip":
        content[place] ^= 1 << draw.randrange(8)
    elif manner == "older":
        # Whole, and of a format that this version does not know.
        content[7] -= 1
        content[-64:] = hashlib.sha256(content[:-64]).hexdigest().encode()
    else:
        content = {"cut": content[:place], "longer": content + content, "empty": b"", "garbage": draw.randbytes(len(content))}[manner]
    with open(state(server), "wb") as file:
        file.write(content)
    for is_first in [True, False]:
        server.start()
        assert (read(server), history_rows(server)) == (expected(history), 1000 if is_first else 0)
        named = [d["subject"] for d in server.get("/api/v1/damage").json()["damage"]]
        assert named == (["Features/visits"] if is_first and manner != "older" else [])
        server.stop()


def test_d15_a_checkpoint_that_the_stream_has_left_behind_is_not_used(server, tmp_path):
    history = rows(400)
    push(server, history)
    server.stop()
    shutil.rmtree(os.path.join(server.home, "streams"))
    server.start()
    # The stream ends before the place of the checkpoint: what it held is lost, and the features do not pretend otherwise.
    assert read(server) == expected([])
    push(server, rows(10))
    assert read(server) == expected(rows(10))


def test_d15_backups_leave_checkpoints_out_and_restore_without_them(server, tmp_path):
    history = rows(300)
    push(server, history)
    server.stop()
    server.start()
    push(server, rows(20, 300))
    server.cli("backup", tmp_path / "b.tar")
    server.stop()
    home = tmp_path / "restored"
    server.cli("restore", tmp_path / "b.tar", "--home", home)
    assert not (home / "features").exists()
    again = Keel(home=str(home)).start()
    assert (read(again), history_rows(again)) == (expected(history + rows(20, 300)), 320)
    again.stop()


def test_d15_kill_at_random_moments_of_pushing_sealing_and_writing_checkpoints(tmp_path):
    draw = random.Random(1)
    # A checkpoint for every push, nearly.
    server = Keel(environment={"KEEL_FEATURES_CHECKPOINT": "1"}).start()
    apply(server, tmp_path)
    history, used = [], 0
    for round in range(8):
        ended = threading.Event()
        sent = []

        def work(first=len(history)):
            with requests.Session() as session:
                while not ended.is_set():
                    batch = rows(20, first + 20 * len(sent))
                    sent.append(batch)
                    try:
                        assert session.post(f"{server.url}/api/v1/datasets/visits/events", json={"rows": batch}, timeout=60).status_code == 200
                        if len(sent) % 25 == 0:
                            session.post(f"{server.url}/api/v1/datasets/visits/seal", timeout=60)
                    except requests.RequestException:
                        return
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(draw.uniform(0.5, 3.0))
        server.kill()
        ended.set()
        thread.join(timeout=60)
        # A file that was being written has no name yet; one that a start finds is whole.
        server.start()
        assert not [d for d in server.get("/api/v1/damage").json()["damage"] if d["subject"].startswith("Features/")]
        assert not glob.glob(os.path.join(server.home, "features", "*.tmp"))
        found = read(server)
        # The last push may be there without an answer.
        whole, without = history + sum(sent, []), history + sum(sent[:-1], [])
        assert found in (expected(whole), expected(without)), f"round {round}"
        history = whole if found == expected(whole) else without
        used += history_rows(server) < len(history)
    assert used >= 4, "no start went on from a checkpoint"
    server.stop()
    # Without any checkpoint the same is answered.
    shutil.rmtree(os.path.join(server.home, "features"))
    server.start()
    assert (read(server), history_rows(server)) == (expected(history), len(history))
    server.stop()
