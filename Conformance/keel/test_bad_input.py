"""Bad input of any kind: a clear error that names the place, nothing lost, nothing half done."""
import gzip
import io
import zipfile

import pytest

import project


@pytest.fixture(scope="module")
def keel(tmp_path_factory):
    from servers import Keel
    server = Keel().start()
    folder = tmp_path_factory.mktemp("project")
    project.apply(server, folder)
    project.ingest(server, folder, project.csv(project.rows(2000)))
    server.cli("run", "train")
    yield server
    assert server.json("ledger", "verify").get("problem") is None
    server.stop()


def quarantine(keel):
    return keel.get("/api/v1/datasets/clicks/quarantine").json()["rows"]


def snapshot(keel):
    return keel.json("get", "snapshots", "clicks")["snapshots"][0]


def test_rows_that_break_the_contract_are_quarantined_with_line_and_reason(keel, tmp_path):
    before = snapshot(keel)["rows"]
    text = b"id,user,at,price,bought\n" + b"".join([
        b"900001,u1,2024-05-01T00:00:00Z,5,1\n",
        b"900002,u1,yesterday,5,1\n",
        b"900003,u1,2024-05-01T00:00:00Z,inf,1\n",
        b"900004,u1,2024-05-01T00:00:00Z,5\n",
        b"900005,u\xff,2024-05-01T00:00:00Z,5,1\n",
        b"900006," + b"x" * 10_000_000 + b",2024-05-01T00:00:00Z,5,1\n",
        b"900001,u1,2024-05-01T00:00:00Z,5,1\n",
        b"900008,u1,2024-05-01T00:00:00Z,5,7\n",
        b"900009,u1,2024-05-01T00:00:00Z,NaN,1\n",
        b'900010,"u, ""one""",2024-05-01T00:00:00Z,5,1\n',
    ])
    project.ingest(keel, tmp_path, text)
    assert snapshot(keel)["rows"] == before + 2
    rows = quarantine(keel)
    assert sorted(r["line"] for r in rows) == [3, 4, 5, 6, 7, 8, 9, 10], rows
    assert all(r["reason"] for r in rows)


@pytest.mark.parametrize("name,content,word", [
    ("a.csv", b"id,user,at,price\n1,u,2024-01-01,3\n", "bought"),
    ("a.csv", b"id,user,at,price,bought,colour\n", "colour"),
    ("a.csv", b"", "empty"),
    ("a.csv.gz", gzip.compress(b"id,user,at,price,bought\n" * 1000, mtime=0)[:40], ""),
    ("a.csv.zip", b"PK\x03\x04 not a zip", ""),
    ("a.parquet", b"PAR1 truncated", "Parquet"),
    ("a.txt", b"hello", "hello"),
])
def test_files_that_cannot_be_read_change_nothing(keel, tmp_path, name, content, word):
    before = snapshot(keel)
    done = project.ingest(keel, tmp_path, content, name=name, check=False)
    assert done.returncode != 0 and word in done.stderr, done.stdout + done.stderr
    assert snapshot(keel) == before


def test_a_zip_bomb_is_refused(keel, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", b"0" * 400_000_000)
    done = project.ingest(keel, tmp_path, buffer.getvalue(), name="bomb.csv.zip", check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("change,word,place", [
    (("window: 1h", "windwo: 1h"), "windwo", "spec.features[0].window"),
    (("uses: gate,", "uses: gaet,"), "gate", "steps"),
    (("data: $examples,", "data: $release,"), "→", "steps"),
    (("kind: Entity", "kind: Entitty"), "Entity", "kind"),
    (("of: price, window", "of: prize, window"), "price", "habits"),
    (("features: buying\n  rollout", "features: bying\n  rollout"), "buying", "Endpoint"),
    (("type: float64, range", "type: flaot64, range"), "float64", "columns"),
    (("metadata: { name: user }", "metadata: { name: ../../user }"), "name", "metadata.name"),
    (("shares: [50%, 100%]", "shares: [150%]"), "%", "rollout"),
    (('"errors > 5%"', '"erors > 5%"'), "errors", "rollbackWhen"),
    (("limitations: few", "limitation: few"), "limitations", "spec.limitation"),
    (("license: mit", "license: MIT License"), "apache-2.0", "spec.license"),
    (("{ name: card }", "{ name: card, environment: production }"), "environment", "metadata.environment"),
    (("spec: { model: buying, license", "spec: { model: 'a/b', license"), "a/b", "spec.model"),
])
def test_mistakes_in_yaml_are_named_and_nothing_is_applied(keel, tmp_path, change, word, place):
    before = keel.json("get", "pipelines")
    text = project.RESOURCES + project.CARD
    assert change[0] in text
    done = project.apply(keel, tmp_path, text.replace(*change), check=False)
    assert done.returncode == 1, done.stdout
    assert word in done.stderr and place in done.stderr, done.stderr
    assert keel.json("get", "pipelines") == before


@pytest.mark.parametrize("yaml", ["a: [", "apiVersion: keel/v1", "- 1", "apiVersion: keel/v2\nkind: Entity\nmetadata: {name: x}\nspec: {}", "&a [*a]"])
def test_broken_yaml_is_an_error(keel, tmp_path, yaml):
    done = project.apply(keel, tmp_path, yaml, check=False)
    assert done.returncode == 1 and "error" in done.stderr


def broken(edit):
    body = project.question()
    edit(body)
    return body


@pytest.mark.parametrize("body,word", [
    (broken(lambda b: b["inputs"].pop()), "price"),
    (broken(lambda b: b["inputs"].append({"name": "colour", "datatype": "BYTES", "shape": [1], "data": ["red"]})), "colour"),
    (broken(lambda b: b["inputs"][2].update(datatype="BYTES", data=["cheap"])), "price"),
    (broken(lambda b: b["inputs"][2].update(shape=[2])), "shape"),
    (broken(lambda b: b["inputs"][2].update(datatype="FP99")), "FP99"),
    (broken(lambda b: b["inputs"][1].update(data=["yesterday"])), "at"),
    (broken(lambda b: b.update(inputs=[])), "inputs"),
    (broken(lambda b: b.update(extra=1)), "extra"),
    (broken(lambda b: b["inputs"][0].pop("name")), "name"),
    (broken(lambda b: b["parameters"].update(ids=["a", "b"])), "ids"),
])
def test_requests_that_break_the_contract_are_refused(keel, body, word):
    answer = keel.post("/v2/models/buying/infer", body)
    assert answer.status_code in (400, 422), answer.text
    assert word in answer.json()["error"], answer.text


@pytest.mark.parametrize("text", ['{"inputs":', '{"inputs": [NaN]}', "[" * 100_000, "", "null", '{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1e999]}]}', "\xff"])
def test_malformed_bodies_are_errors(keel, text):
    import requests
    for path in ["/v2/models/buying/infer", "/endpoints/buying/invocations", "/api/v1/labels", "/api/v1/datasets/clicks/events", "/api/v1/apply"]:
        answer = requests.post(keel.url + path, data=text.encode("latin-1"), headers={"Content-Type": "application/json"}, timeout=30)
        assert 400 <= answer.status_code < 500, f"{path}: {answer.status_code} {answer.text}"
    assert keel.post("/v2/models/buying/infer", project.question()).status_code == 200


def test_a_label_with_an_unreadable_instant_is_refused_and_none_is_kept(keel):
    assert keel.post("/v2/models/buying/infer", project.question(["labelled"])).status_code == 200
    labels = [{"id": "labelled", "value": 1}, {"id": "labelled", "value": 1, "at": "yesterday"}]
    answer = keel.post("/api/v1/labels", {"labels": labels})
    assert answer.status_code == 400 and answer.json()["error"]["path"] == "labels[1].at", answer.text
    assert keel.post("/api/v1/labels", {"labels": labels[:1]}).json()["joined"] == 1
    assert keel.post("/api/v1/labels", {"labels": [{"id": "labelled", "value": 1, "at": 5}]}).status_code == 400


@pytest.mark.parametrize("path,parameter", [
    ("/api/v1/datasets/clicks/snapshots?before=x", "before"), ("/api/v1/datasets/clicks/quarantine?snapshot=one", "snapshot"),
    ("/api/v1/datasets/clicks/quarantine?after=-1", "after"), ("/api/v1/ledger?kin=x", "kin"), ("/api/v1/runs?limti=3", "limti"),
    ("/api/v1/models?since=2024-01-01", "since"), ("/api/v1/endpoints/buying/performance?from=spring", "from"),
])
def test_parameters_that_would_be_passed_over_are_refused(keel, path, parameter):
    answer = keel.get(path)
    assert answer.status_code == 400 and answer.json()["error"]["path"] == parameter, answer.text


def test_a_body_where_none_is_taken_is_refused(keel):
    assert keel.post("/api/v1/endpoints/buying/promote", {"release": 1}).status_code == 400


def test_unknown_things_are_not_found(keel):
    for path in ["/v2/models/byuing", "/api/v1/datasets/x/snapshots", "/api/v1/endpoints/x/releases", "/api/v1/nothing", "/api/v1/runs/x"]:
        assert keel.get(path).status_code == 404, path
    assert keel.post("/v2/models/byuing/infer", project.question()).status_code == 404


def test_pushed_rows_that_break_the_contract_are_named(keel):
    rows = project.rows(3, start=800000)
    rows[1]["price"] = -5
    rows[2]["colour"] = "red"
    answer = keel.post("/api/v1/datasets/clicks/events", {"rows": rows}).json()
    assert answer["accepted"] == 1
    assert [(r["index"], word in r["reason"]) for r, word in zip(answer["rejected"], ["price", "colour"])] == [(1, True), (2, True)]


def test_a_truncated_model_is_refused_and_the_old_one_goes_on(keel, tmp_path):
    import pathlib
    keel.cli("run", "train", "--with", "trees=14", "--with", "endpoint=buying")
    version = keel.get("/api/2.0/mlflow/registered-models/alias?name=buying&alias=challenger").json()["model_version"]
    bundle = keel.get(f"/api/v1/models/buying/versions/{version['version']}/evidence").json()["bundle"]["subject"]
    import json
    root = pathlib.Path(keel.home, "objects", "content")
    manifest = json.loads((root / bundle[:2] / bundle).read_text())
    digest = manifest["files"][0]["digest"]
    model = root / digest[:2] / digest
    model.write_bytes(model.read_bytes()[:100])
    done = keel.cli("release", "buying", f"models:/buying/{version['version']}", check=False)
    assert done.returncode == 1 and "not what was stored" in done.stderr, done.stderr
    assert keel.post("/v2/models/buying/infer", project.question()).status_code == 200


def test_a_full_disk_keeps_nothing_half(tmp_path):
    import os
    import subprocess
    from servers import Keel
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], capture_output=True).returncode != 0:
        pytest.skip("this machine cannot mount a small disk")
    try:
        server = Keel(home=str(disk)).start()
        project.apply(server, tmp_path)
        project.ingest(server, tmp_path, project.csv(project.rows(2000)))
        before = server.json("get", "snapshots", "clicks")["snapshots"]
        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/ballast", "bs=1M", "count=12"], capture_output=True)
        done = project.ingest(server, tmp_path, project.csv(project.rows(20000, start=50000)), check=False)
        assert done.returncode != 0 and "full" in done.stderr, done.stderr
        (disk / "ballast").unlink()
        assert server.json("get", "snapshots", "clicks")["snapshots"] == before
        project.ingest(server, tmp_path, project.csv(project.rows(2000, start=50000)))
        assert server.json("get", "snapshots", "clicks")["snapshots"][0]["rows"] == before[0]["rows"] + 2000
        assert server.json("ledger", "verify").get("problem") is None
        server.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)])


def test_the_body_limit_of_an_endpoint_is_its_own(keel, tmp_path):
    limited = project.RESOURCES.replace("  features: buying\n  rollout", "  features: buying\n  limits: { bodyBytes: 1000 }\n  rollout")
    assert limited != project.RESOURCES
    project.apply(keel, tmp_path, limited)
    large = project.question([f"q{i}" for i in range(100)])
    records = {"dataframe_records": [{"user": "u1", "at": "2024-06-01T00:00:00Z", "price": 1.0}] * 100}
    assert keel.post("/v2/models/buying/infer", large).status_code == 413
    assert keel.post("/endpoints/buying/invocations", records).status_code == 413
    assert keel.post("/v2/models/buying/infer", project.question()).status_code == 200
    project.apply(keel, tmp_path)
    assert keel.post("/v2/models/buying/infer", large).status_code == 200
