"""What was answered is logged: over kills, on a full disk, at a stop."""
import concurrent.futures
import json
import os
import pathlib
import random
import resource
import socket
import sqlite3
import threading
import time

import pytest
import requests

import bundles
from servers import Keel

KILLS = 20


@pytest.fixture
def stump(tmp_path):
    keel = Keel().start()
    bundles.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost")
    yield keel
    if keel.process.poll() is None:
        keel.kill()


def logged(keel):
    """How often each prediction id is in the table of the stopped server."""
    database = sqlite3.connect(f"{keel.home}/keel.sqlite")
    try:
        return dict(database.execute("SELECT id, count(*) FROM predictions GROUP BY id").fetchall())
    finally:
        database.close()


@pytest.mark.parametrize("durability", ["buffered", "acknowledged"])
def test_d4_no_answered_prediction_is_lost_in_a_kill(tmp_path, durability):
    keel = Keel().start()
    bundles.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost", log=f"{{ durability: {durability} }}")
    answered, asked = set(), 0
    for _ in range(KILLS // 2):
        def ask(client, start, server=keel):
            with requests.Session() as session:
                for i in range(100_000):
                    ids = [f"{start}-{client}-{i}-{row}" for row in range(2)]
                    try:
                        answer = session.post(f"{server.url}/v2/models/stump/infer", json=bundles.question([0.0, 1.0], ids=ids), timeout=60)
                    except requests.RequestException:
                        return
                    assert answer.status_code == 200, answer.text
                    answered.update(ids)
        threads = [threading.Thread(target=ask, args=(client, asked), daemon=True) for client in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.1, 0.6))
        keel.kill()
        for thread in threads:
            thread.join(timeout=60)
        asked += 1
        keel = Keel(home=keel.home).start()
    keel.stop()
    rows = logged(keel)
    assert len(answered) > 100
    assert not answered - rows.keys(), "a prediction that was answered is not in the log"
    assert set(rows.values()) == {1}, "a prediction is in the log twice"


def full_disk(keel, is_full):
    """No file of the server may grow any more: what it writes fails as on a full disk."""
    limit = 1 if is_full else resource.RLIM_INFINITY
    resource.prlimit(keel.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def test_d5_a_full_disk_refuses_at_once_and_every_wait_ends(stump):
    def ask(i):
        return stump.post("/v2/models/stump/infer", bundles.question([0.0], ids=[f"q{i}"]))
    assert ask(0).status_code == 200
    full_disk(stump, True)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = [answer.result() for answer in [pool.submit(ask, i) for i in range(1, 300)]]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert {answer.status_code for answer in refused} == {503}
        assert all(answer.headers["Retry-After"] == "1" for answer in refused)
        assert stump.get("/health").status_code == 200
    # Those few are answered that came before the first append failed; they are safe in the ring.
    assert ask(300).status_code == 503
    answered = {f"q{i}" for i, answer in enumerate(answers, 1) if answer.status_code == 200}
    assert stump.post("/api/v1/labels", {"labels": [{"id": "q0", "value": 1}]}).status_code == 503
    full_disk(stump, False)
    for _ in range(100):
        if ask(1).status_code == 200:
            break
        time.sleep(0.1)
    else:
        # A disk that refused a sync is not trusted until the server starts again.
        stump.stop()
        stump.start()
        assert ask(1).status_code == 200
    label = stump.post("/api/v1/labels", {"labels": [{"id": "q0", "value": 1}]})
    assert label.status_code == 200 and label.json()["joined"] == 1, label.text
    stump.stop()
    assert set(logged(stump)) == answered | {"q0", "q1"}


def in_the_ring(stump):
    """Ids that were answered while the disk was full; then the server is killed."""
    assert stump.post("/v2/models/stump/infer", bundles.question([0.0])).status_code == 200
    time.sleep(0.5)
    full_disk(stump, True)
    ids = [f"r{i}" for i in range(200)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda i: stump.post("/v2/models/stump/infer", bundles.question([0.0], ids=[i])), ids)
        answered = {i for i, answer in zip(ids, answers) if answer.status_code == 200}
    stump.kill()
    assert answered
    return answered


# In the first page: the mark, where the oldest record begins, and the same with all bits turned.
@pytest.mark.parametrize("offset", [None, 0, 9, 15, 20])
def test_what_is_only_in_the_ring_survives_a_kill_and_a_damaged_first_page(stump, offset):
    answered = in_the_ring(stump)
    ring = pathlib.Path(stump.home, "predictions/ring")
    if offset is not None:
        content = bytearray(ring.read_bytes())
        content[offset] ^= 0x10
        ring.write_bytes(content)
    again = Keel(home=stump.home).start()
    again.stop()
    rows = logged(again)
    assert answered <= rows.keys() and set(rows.values()) == {1}


@pytest.mark.parametrize("place", ["a link", "a folder", "a fifo"])
def test_something_else_in_the_rings_place_is_left_alone_and_named(stump, tmp_path, place):
    stump.stop()
    ring = pathlib.Path(stump.home, "predictions/ring")
    ring.unlink()
    target = tmp_path / "important"
    target.write_text("important")
    {"a link": lambda: ring.symlink_to(target), "a folder": ring.mkdir, "a fifo": lambda: os.mkfifo(ring)}[place]()
    again = Keel(home=stump.home).start()
    assert "ring" in again.get("/api/v1/damage").text
    assert again.post("/v2/models/stump/infer", bundles.question([0.0], ids=["q"])).status_code == 200
    again.stop()
    assert "q" in logged(again) and target.read_text() == "important"


def test_a_body_that_ends_early_is_not_predicted_from(stump):
    body = json.dumps(bundles.question([1.0], ids=["cut"])).encode()
    with socket.create_connection(("127.0.0.1", stump.port), timeout=20) as s:
        s.sendall(f"POST /v2/models/stump/infer HTTP/1.1\r\nHost: 127.0.0.1:{stump.port}\r\nContent-Length: {len(body) + 100}\r\n\r\n".encode() + body)
        s.shutdown(socket.SHUT_WR)
        answer = s.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1
    stump.stop()
    assert "cut" not in logged(stump)


def test_d6_a_stop_ends_on_a_full_disk_and_says_what_is_not_written(tmp_path):
    keel = Keel(environment={"KEEL_SHUTDOWN_DEADLINE": "3s"}).start()
    bundles.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost")
    for i in range(50):
        assert keel.post("/v2/models/stump/infer", bundles.question([0.0], ids=[f"q{i}"])).status_code == 200
    full_disk(keel, True)
    keel.process.terminate()
    keel.process.wait(timeout=30)
    again = Keel(home=keel.home).start()
    again.stop()
    assert set(logged(again)) >= {f"q{i}" for i in range(50)}


def test_d6_a_reader_that_stands_still_does_not_hold_a_stop(tmp_path):
    keel = Keel(environment={"KEEL_SHUTDOWN_DEADLINE": "4s"}).start()
    content = random.randbytes(64 << 20)
    answer = requests.put(f"{keel.url}/api/2.0/mlflow-artifacts/artifacts/0/big", data=content, timeout=60)
    assert answer.status_code == 200
    readers = []
    for _ in range(5):
        reader = socket.create_connection(("127.0.0.1", keel.port))
        reader.sendall(f"GET /api/2.0/mlflow-artifacts/artifacts/0/big HTTP/1.1\r\nHost: 127.0.0.1:{keel.port}\r\n\r\n".encode())
        assert reader.recv(100).startswith(b"HTTP/1.1 200")
        readers.append(reader)
    keel.process.terminate()
    keel.process.wait(timeout=20)
    for reader in readers:
        reader.close()


def test_v6_a_label_says_what_became_of_it(stump):
    unknown = stump.cli("label", "nobody", "1", check=False)
    assert unknown.returncode == 1 and "no prediction 'nobody' is logged yet" in unknown.stdout + unknown.stderr
    assert stump.post("/v2/models/stump/infer", bundles.question([1.0], ids=["known"])).status_code == 200
    assert stump.cli("label", "known", "1").returncode == 0
    # The label that came first joins when its prediction is logged.
    assert stump.post("/v2/models/stump/infer", bundles.question([1.0], ids=["nobody"])).status_code == 200
    stump.stop()
    labels = dict(sqlite3.connect(f"{stump.home}/keel.sqlite").execute("SELECT id, label FROM predictions"))
    assert labels == {"known": 1.0, "nobody": 1.0}
