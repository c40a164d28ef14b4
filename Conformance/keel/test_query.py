"""The prediction log in the lake and `keel query`: nothing is lost or doubled over kills, and a query reads what its caller may read and no more."""
import concurrent.futures
import json
import os
import pathlib
import random
import socket
import threading
import time

import pytest
import requests

import bundles
from servers import Keel

KILLS = 20
# Predictions are written to the lake as they come, so that kills fall between all steps of an export.
HASTY = {"KEEL_PREDICTIONS_EXPORT": "1ms"}


def files(keel):
    folder = pathlib.Path(keel.home, "lake", "predictions")
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def rows(keel, sql, **options):
    answer = keel.post("/api/v1/query", {"sql": sql}, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


@pytest.fixture(scope="module")
def stump(tmp_path_factory):
    keel = Keel(environment=HASTY).start()
    bundles.serve(keel, tmp_path_factory.mktemp("stump"), "stump", bundles.stump(), "xgboost")
    for i in range(5):
        assert keel.post("/v2/models/stump/infer", bundles.question([float(i)], ids=[f"q{i}"])).status_code == 200
    assert keel.post("/api/v1/labels", {"labels": [{"id": "q1", "value": 1}]}).status_code == 200
    yield keel
    keel.stop()


def test_no_prediction_and_no_label_is_lost_or_doubled_over_kills(tmp_path):
    keel = Keel(environment=HASTY).start()
    bundles.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost")
    answered, labelled = set(), set()
    for turn in range(KILLS):
        def ask(client, server=keel, turn=turn):
            with requests.Session() as session:
                for i in range(100_000):
                    ids = [f"{turn}-{client}-{i}-{row}" for row in range(2)]
                    try:
                        answer = session.post(f"{server.url}/v2/models/stump/infer", json=bundles.question([0.0, 1.0], ids=ids), timeout=60)
                        assert answer.status_code == 200, answer.text
                        answered.update(ids)
                        if i % 5 == 0:
                            answer = session.post(f"{server.url}/api/v1/labels", json={"labels": [{"id": ids[0], "value": 1}]}, timeout=60)
                            assert answer.status_code == 200, answer.text
                            labelled.add(ids[0])
                    except requests.RequestException:
                        return
        threads = [threading.Thread(target=ask, args=(client,), daemon=True) for client in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.1, 0.8))
        keel.kill()
        for thread in threads:
            thread.join(timeout=60)
        keel = Keel(home=keel.home, environment=HASTY).start()
        # Right after the start a part is in files and a part is not.
        found = keel.post("/api/v1/query", {"sql": "SELECT count(*), count(DISTINCT id), count(label) FROM stump"}).json()
        assert found["notes"] == []
        count, distinct, labels = found["rows"][0]
        assert count == distinct >= len(answered), (turn, found, len(answered))
        assert labels >= len(labelled), (turn, found, len(labelled))
    assert len(files(keel)) > KILLS // 2, "nothing was exported: the test shows nothing"
    everything = keel.post("/api/v1/query", {"sql": "SELECT id, label FROM stump", "rows": 100_000}).json()
    assert not everything["truncated"]
    ids = [row[0] for row in everything["rows"]]
    assert len(ids) == len(set(ids)) and answered <= set(ids)
    assert labelled <= {row[0] for row in everything["rows"] if row[1] == 1.0}
    damage = keel.get("/api/v1/damage").json()["damage"]
    assert damage == [], damage
    assert keel.cli("doctor", "--deep").returncode == 0
    keel.stop()


def test_the_answer_has_the_newest_rows_and_each_form_of_output(stump):
    sql = "SELECT id, x, score > 0.4 AS high, label FROM stump WHERE id LIKE 'q%' ORDER BY id LIMIT 2"
    assert rows(stump, sql) == [["q0", 0.0, False, None], ["q1", 1.0, True, 1]]
    assert stump.cli("query", sql, "--csv").stdout == "id,x,high,label\nq0,0.0,false,\nq1,1.0,true,1\n"
    assert stump.json("query", sql)["rows"] == [["q0", 0.0, False, None], ["q1", 1.0, True, 1.0]]
    table = stump.cli("query", sql, "--limit", 1)
    assert "q0" in table.stdout and "q1" not in table.stdout and "there are more" in table.stderr
    columns = [c["name"] for c in stump.json("query", "SELECT * FROM stump LIMIT 1")["columns"]]
    assert columns == ["id", "release", "model", "version", "event_time", "asked_at", "shadow", "score", "label", "label_at", "latency_ns", "request",
                       "x", "output_score"]


CLASSES = """
apiVersion: keel/v1
kind: Endpoint
metadata: { name: species }
spec:
  rollout: { canary: { shares: [100%] } }
  label: { within: 2h }
---
apiVersion: keel/v1
kind: Monitor
metadata: { name: species }
spec: { endpoint: species, window: 1h, performance: { label: { within: 1h }, metric: accuracy, minimumLabels: 2, alertWhen: "accuracy < 0.9" } }
"""


def test_labels_of_any_type_stand_beside_their_predictions_and_classes_have_an_accuracy(stump, tmp_path):
    path = tmp_path / "species.yaml"
    path.write_text(CLASSES)
    stump.cli("apply", path)
    # It answers with the classes 0 and 2.
    bundle = bundles.store(stump, "species", bundles.stump(0.0, 2.0), "xgboost", output=("class", "int64"))
    bundles.register(stump, tmp_path, "species", bundle)
    assert bundles.release(stump, "species").status_code == 200
    ids = [f"s{i}" for i in range(4)]
    assert stump.post("/v2/models/species/infer", bundles.question([0.0, 1.0, 1.0, 0.0], ids=ids)).status_code == 200
    for id, label in [("s0", "0"), ("s1", "2"), ("s2", "1")]:
        assert "has its label" in stump.cli("label", id, label).stdout
    sql = "SELECT id, class, label, typeof(label) FROM species ORDER BY id"
    assert rows(stump, sql) == [["s0", 0, 0, "BIGINT"], ["s1", 2, 2, "BIGINT"], ["s2", 2, 1, "BIGINT"], ["s3", 0, None, "BIGINT"]]
    month, = stump.get("/api/v1/endpoints/species/performance").json()["months"]
    assert month["labels"] == 3 and month["accuracy"] == pytest.approx(2 / 3)
    # A text is no class of this model: it is kept, and left out.
    stump.cli("label", "s3", "setosa")
    assert rows(stump, sql)[3] == ["s3", 0, "setosa", "VARCHAR"] and rows(stump, sql)[1][2] == "2"
    month, = stump.get("/api/v1/endpoints/species/performance").json()["months"]
    assert month["labels"] == 3 and month["unusable"] == 1 and "setosa" in month["note"]
    stump.cli("label", "s3", "1", "--text")
    assert rows(stump, sql)[3] == ["s3", 0, "1", "VARCHAR"]
    stump.cli("label", "s3", "true")
    assert rows(stump, "SELECT label FROM species WHERE id = 's3'") == [["true"]]
    for value in [None, [1], {"a": 1}, "", "x" * 1001]:
        answer = stump.post("/api/v1/labels", {"labels": [{"id": "s3", "value": value}]})
        assert answer.status_code == 400 and answer.json()["error"]["path"] == "labels[0].value", answer.text


def test_a_label_after_the_horizon_of_its_endpoint_is_refused(stump):
    ids = {"id": "s0", "value": 2}
    late = stump.post("/api/v1/labels", {"labels": [ids | {"at": "2100-01-01T00:00:00Z"}]}).json()
    assert late["accepted"] == 0 and "later than 2h" in late["rejected"][0]["reason"] and "label.within" in late["rejected"][0]["reason"]
    assert stump.post("/api/v1/labels", {"labels": [ids]}).json()["joined"] == 1


def test_a_backup_has_the_files_and_a_damaged_one_is_named(tmp_path):
    keel = Keel(environment=HASTY).start()
    bundles.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost")
    assert keel.post("/v2/models/stump/infer", bundles.question([0.0, 1.0], ids=["a", "b"])).status_code == 200
    for _ in range(100):
        if files(keel):
            break
        time.sleep(0.1)
    archive = tmp_path / "backup.tar"
    archive.write_bytes(keel.get("/api/v1/backup").content)
    before = files(keel)
    keel.stop()
    home = tmp_path / "restored"
    restored = Keel(home=str(home), environment=HASTY)
    keel.cli("restore", archive, "--home", home)
    restored.start()
    assert files(restored) >= before and rows(restored, "SELECT id FROM stump ORDER BY id") == [["a"], ["b"]]
    assert restored.cli("doctor", "--deep").returncode == 0
    path = next(pathlib.Path(home, "lake", "predictions").rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "Endpoint/stump" in restored.cli("doctor", "--deep", check=False).stdout
    answer = restored.post("/api/v1/query", {"sql": "SELECT * FROM stump"})
    assert answer.json()["error"]["code"] == "corrupted" and str(home) not in answer.text
    restored.stop()


REFUSED = [
    "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "SELECT * FROM glob('/**')", "COPY stump TO '/tmp/keel-out.csv'",
    "INSTALL httpfs", "LOAD httpfs", "ATTACH '/tmp/keel-x.db'", "SET memory_limit='100GB'", "PRAGMA database_list", "SELECT 1; SELECT 2",
    "SELECT current_setting('allowed_paths')", "SELECT getenv('HOME')", "SELECT * FROM duckdb_settings()", "SELECT * FROM sqlite_master",
    "SELECT * FROM read_parquet('https://example.com/x.parquet')", "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM parquet_metadata('x')",
    "SELECT * FROM delay@staging", "CREATE TABLE t AS SELECT 1", "WITH a AS (FROM duckdb_views), duckdb_views AS (SELECT 1) FROM a", "SELECT ?", "SELECT * FROM \"stump'; DROP VIEW stump; --\"", "CALL pragma_version()",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_a_query_reads_nothing_but_what_it_is_offered(stump, sql):
    answer = stump.post("/api/v1/query", {"sql": sql})
    assert answer.status_code in (400, 404), answer.text
    error = answer.json()["error"]
    assert error["path"] == "sql" or "SQL" in error["message"], error
    assert "root:" not in answer.text and stump.home not in answer.text


GREEDY = [
    # One value of gigabytes, which the engine's own limit does not see.
    "SELECT repeat('x', 10000000000)", "SELECT length(repeat('x', 3000000000))", "SELECT len(range(2000000000))", "SELECT len(list_resize([1], 2000000000))",
    "WITH RECURSIVE t AS (SELECT 'xxxxxxxx' AS s UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t",
    "SELECT list(a.range || 'x') FROM range(1000000) a, range(10000) b",
    "SELECT DISTINCT a.range * 1000003 + b.range FROM range(1000000) a, range(1000) b",
]
ENDLESS = [
    "SELECT max(hash(range)) FROM range(1000000000000)",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "SELECT count(*) FROM range(100000000) t WHERE regexp_matches(repeat(range::VARCHAR, 100), '(a?){200}a{200}|(.*x){20}')",
]


@pytest.mark.parametrize("sql", GREEDY)
def test_a_query_that_takes_too_much_memory_ends_and_the_server_goes_on(stump, sql):
    answer = stump.post("/api/v1/query", {"sql": sql, "seconds": 20})
    assert answer.status_code in (412, 409, 422, 400, 504), answer.text
    status = pathlib.Path(f"/proc/{stump.process.pid}/status").read_text()
    resident = int(status.split("VmHWM:")[1].split()[0])
    assert resident < 1 << 20, f"the server itself took {resident} KiB"
    assert rows(stump, "SELECT count(*) FROM stump WHERE id = 'q1'") == [[1]]


@pytest.mark.parametrize("sql", ENDLESS)
def test_a_query_that_never_ends_is_ended(stump, sql):
    start = time.monotonic()
    answer = stump.post("/api/v1/query", {"sql": sql, "seconds": 2})
    # A recursion may meet the limit of memory first.
    assert answer.status_code == 504 or "memory" in answer.text, answer.text
    assert time.monotonic() - start < 8
    assert rows(stump, "SELECT count(*) FROM stump WHERE id = 'q1'") == [[1]]


def test_more_queries_of_one_caller_than_two_at_once_are_told_to_wait(stump):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: stump.post("/api/v1/query", {"sql": ENDLESS[0], "seconds": 2}).status_code, range(6)))
    assert sorted(set(answers)) == [429, 504] and answers.count(504) >= 2
    assert rows(stump, "SELECT 1") == [[1]]
    assert not [name for name in os.listdir(f"{stump.home}/work") if name.startswith("query-")]


def test_one_callers_endless_queries_keep_no_other_from_asking(guarded):
    server, tokens = guarded
    ask = lambda persona, sql, seconds: server.post(
        "/api/v1/query", {"sql": sql, "seconds": seconds}, headers={"Authorization": f"Bearer {tokens[persona]}"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        endless = [pool.submit(ask, "data-scientist", ENDLESS[0], 8) for _ in range(4)]
        time.sleep(2)
        start = time.monotonic()
        assert ask("owner", "SELECT 1", 30).status_code == 200
        assert not all(one.done() for one in endless) and time.monotonic() - start < 6
        assert sorted(one.result().status_code for one in endless) == [429, 429, 504, 504]


def test_a_query_ends_when_its_client_leaves(stump):
    """The places of the server are free again long before the limit of time."""
    def processes():
        return [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if b"query-worker\0" + stump.home.encode() in read(path)]

    def read(path):
        try:
            return path.read_bytes()
        except OSError:
            return b""
    body = json.dumps({"sql": ENDLESS[0], "seconds": 300}).encode()
    clients = []
    for _ in range(2):
        client = socket.create_connection(("127.0.0.1", stump.port))
        client.sendall(b"POST /api/v1/query HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (stump.port, len(body)) + body)
        clients.append(client)
    deadline = time.monotonic() + 60
    while len(processes()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert stump.post("/api/v1/query", {"sql": "SELECT 1"}).status_code == 429
    for client in clients:
        client.close()
    deadline = time.monotonic() + 20
    while processes():
        assert time.monotonic() < deadline, "the queries go on"
        time.sleep(0.1)
    assert rows(stump, "SELECT 1") == [[1]]
    assert not [name for name in os.listdir(f"{stump.home}/work") if name.startswith("query-")]


def test_limits_that_cannot_be_are_refused(stump):
    for body, place in [({"sql": "SELECT 1", "rows": 0}, "rows"), ({"sql": "SELECT 1", "seconds": 301}, "seconds"), ({}, "sql"),
                        ({"sql": "SELECT '" + "x" * 70_000 + "'"}, "sql"), ({"sql": "SELECT \0 1"}, "sql"), ({"sql": "SELECT 1", "memory": 1}, "memory")]:
        answer = stump.post("/api/v1/query", body)
        assert answer.status_code == 400 and place in json.dumps(answer.json()), answer.text
    deep = stump.post("/api/v1/query", {"sql": "SELECT " + "(" * 20_000 + "1" + ")" * 20_000})
    assert deep.status_code in (400, 412, 409), deep.text


def test_only_who_may_read_predictions_queries_them(guarded):
    server, tokens = guarded
    for persona, status in [("owner", 200), ("data-scientist", 200), ("service", 403)]:
        answer = server.post("/api/v1/query", {"sql": "SELECT 1"}, headers={"Authorization": f"Bearer {tokens[persona]}"})
        assert answer.status_code == status, (persona, answer.text)
