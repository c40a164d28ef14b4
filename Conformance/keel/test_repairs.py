"""Mistakes of users that must not outlive their correction: wrong contracts, wrong labels, changed definitions, empty variables."""
import hashlib
import json
import os
import sqlite3
import subprocess
import time

import pytest

import bundles
import project
from servers import KEEL, ROOT, Keel

SWAPPED = project.RESOURCES.replace("range: [0, 1000]", "range: [1000, 0]")


@pytest.fixture
def keel():
    server = Keel().start()
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A trained, released endpoint. Tests change only what they add to it."""
    server = Keel().start()
    folder = tmp_path_factory.mktemp("shop")
    project.apply(server, folder)
    project.ingest(server, folder, project.csv(project.rows(2000)))
    server.cli("run", "train")
    yield server
    server.stop()


def damage(keel):
    return [each["subject"] for each in keel.get("/api/v1/damage").json()["damage"]]


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value):
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def swap(value):
    """The same JSON with the ends of every range swapped."""
    if isinstance(value, list):
        return [swap(item) for item in value]
    if isinstance(value, dict):
        return {k: v[::-1] if k == "range" else swap(v) for k, v in value.items()}
    return value


def store_swapped(home):
    """Stores what a server before this rule took: a contract whose range begins above its end, as resource and in the snapshot."""
    with sqlite3.connect(f"{home}/keel.sqlite") as db:
        for table in ["resources", "resource_revisions"]:
            [body] = db.execute(f"SELECT body FROM {table} WHERE kind = 'Dataset'").fetchone()
            changed = swap(json.loads(body))
            db.execute(f"UPDATE {table} SET body = ?, digest = ? WHERE kind = 'Dataset'", (canonical(changed), digest(changed)))
        contract, quarantined = db.execute("SELECT contract, quarantined FROM data_snapshots").fetchone()
        changed = swap(json.loads(contract))
        files = [{"rows": r, "bytes": b, "digest": d} for r, b, d in db.execute("SELECT row_count, bytes, digest FROM data_files")]
        manifest = {"dataset": "clicks", "schema": changed, "quarantined": quarantined, "files": files}
        db.execute("UPDATE data_snapshots SET contract = ?, digest = ?", (canonical(changed), digest(manifest)))
    db.close()


def test_a_range_that_begins_above_its_end_is_refused_before_anything_changes(keel, tmp_path):
    for verb in ["plan", "apply"]:
        file = tmp_path / "swapped.yaml"
        file.write_text(SWAPPED)
        done = keel.cli(verb, file, check=False)
        assert done.returncode == 1 and "columns[3].range" in done.stderr and "begins above its end" in done.stderr, done.stderr
    assert keel.json("get", "datasets")["resources"] == []


@pytest.mark.parametrize("repair", ["apply", "delete"])
def test_a_swapped_range_that_an_older_server_stored_can_be_repaired_and_deleted(keel, tmp_path, repair):
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(50)))
    keel.stop()
    store_swapped(keel.home)
    keel.start()
    assert "Dataset/clicks" in damage(keel)
    if repair == "apply":
        project.apply(keel, tmp_path)
        assert damage(keel) == []
        assert [each["rows"] for each in keel.json("get", "snapshots", "clicks")["snapshots"]] == [50]
        project.ingest(keel, tmp_path, project.csv(project.rows(10, start=50)))
    else:
        shown = keel.cli("delete", "dataset", "clicks", "--cascade", "--data", "--dry-run").stdout
        assert "Dataset/clicks" in shown
        keel.cli("delete", "dataset", "clicks", "--cascade", "--data", "--yes")
        assert keel.json("get", "datasets")["resources"] == [] and damage(keel) == []


@pytest.mark.parametrize("repair", ["overwrite", "delete"])
def test_a_snapshot_that_cannot_be_read_hinders_neither_its_replacement_nor_its_deletion(keel, tmp_path, repair):
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(50)))
    keel.stop()
    with sqlite3.connect(f"{keel.home}/keel.sqlite") as db:
        db.execute("UPDATE data_snapshots SET contract = '{\"columns\": 7}'")
    db.close()
    keel.start()
    assert "Dataset/clicks" in damage(keel)
    # Another apply must not hide what is wrong.
    keel.cli("delete", "pipeline", "train")
    assert "Dataset/clicks" in damage(keel)
    assert project.ingest(keel, tmp_path, project.csv(project.rows(5, start=900)), check=False).returncode == 1
    if repair == "overwrite":
        keel.cli("ingest", "clicks", tmp_path / "clicks.csv", "--overwrite")
        assert "Dataset/clicks" not in damage(keel)
        project.ingest(keel, tmp_path, project.csv(project.rows(5, start=2000)))
        keel.stop()
        keel.start()
        assert "Dataset/clicks" not in damage(keel)
    else:
        keel.cli("delete", "dataset", "clicks", "--cascade", "--data", "--yes")
        assert damage(keel) == []
        project.apply(keel, tmp_path)
        project.ingest(keel, tmp_path, project.csv(project.rows(50)))


def test_a_label_that_is_neither_0_nor_1_is_counted_and_a_relabel_repairs(shop):
    answer = shop.post("/v2/models/buying/infer", project.question(ids=["right", "wrong"]))
    assert answer.status_code == 200, answer.text

    def label(**values):
        labels = [{"id": i, "value": v} for i, v in values.items()]
        answer = shop.post("/api/v1/labels", {"labels": labels})
        assert answer.status_code == 200, answer.text

    def month():
        answer = shop.get("/api/v1/endpoints/buying/performance")
        assert answer.status_code == 200, answer.text
        return answer.json()["months"][0]

    label(right=1, wrong=5)
    assert month()["labels"] == 1 and month()["unusable"] == 1 and "5" in month()["note"] and "logloss" in month(), month()
    label(wrong=0)
    assert month()["labels"] == 2 and "unusable" not in month(), month()


MONITOR = """
---
apiVersion: keel/v1
kind: Monitor
metadata: { name: buying }
spec: { endpoint: buying, window: 1d, performance: { label: { within: 1h } } }
"""


def test_a_label_that_a_monitor_cannot_measure_by_is_refused_and_the_others_are_kept(keel, tmp_path):
    project.apply(keel, tmp_path, project.RESOURCES + MONITOR)
    project.ingest(keel, tmp_path, project.csv(project.rows(2000)))
    keel.cli("run", "train")
    assert keel.post("/v2/models/buying/infer", project.question(ids=["right", "wrong"])).status_code == 200
    answer = keel.post("/api/v1/labels", {"labels": [{"id": "wrong", "value": 5}, {"id": "right", "value": 1}, {"id": "unknown", "value": 5}]}).json()
    assert [r["index"] for r in answer.pop("rejected")] == [0]
    assert answer == {"accepted": 2, "joined": 1, "unknown": 1, "unknown_kept_days": 30}
    done = keel.cli("label", "wrong", "0.5", check=False)
    assert done.returncode == 1 and "0.5 is neither 0 nor 1" in done.stderr, done.stdout + done.stderr
    assert keel.cli("label", "wrong", "0").returncode == 0
    month, = keel.get("/api/v1/endpoints/buying/performance").json()["months"]
    assert month["labels"] == 2 and "unusable" not in month, month


def test_reads_of_an_older_definition_are_skipped_and_counted(keel, tmp_path):
    before = project.RESOURCES.replace("spec: { at: at, features: [habits, asked] }", "spec: { features: [habits, asked] }")
    assert before != project.RESOURCES
    project.apply(keel, tmp_path, before)
    project.ingest(keel, tmp_path, project.csv(project.rows(2000)))
    keel.cli("run", "train")
    old = project.question(ids=["old"])
    old["inputs"] = [each for each in old["inputs"] if each["name"] != "at"]
    answer = keel.post("/v2/models/buying/infer", old)
    assert answer.status_code == 200, answer.text
    project.apply(keel, tmp_path)
    done = keel.cli("features", "verify", "buying", check=False)
    assert done.returncode == 1 and "none of the 1 logged predictions" in done.stderr, done.stderr
    assert keel.post("/v2/models/buying/infer", project.question(ids=["new"])).status_code == 200
    found = keel.json("features", "verify", "buying")
    assert (found["rows"], found["skipped"], found["differences"]) == (1, 1, 0), found


def test_the_token_list_says_when_and_in_which_state(keel):
    keel.cli("tokens", "create", "good", "--persona", "service", "--expires", "90d")
    short = keel.cli("tokens", "create", "short", "--persona", "service", "--expires", "1s").stdout.strip()
    keel.cli("tokens", "create", "gone", "--persona", "service", "--expires", "never")
    keel.cli("tokens", "revoke", "gone")
    time.sleep(1.1)
    lines = {line.split()[0]: line.split() for line in keel.cli("tokens", "list").stdout.splitlines()}
    assert [lines[name][2] for name in ["good", "short", "gone"]] == ["good", "expired", "revoked"], lines
    assert lines["good"][4] != "-" and lines["gone"][-2] == "-" and lines["good"][5] == "-", lines
    done = keel.cli("get", "endpoints", token=short, check=False)
    assert done.returncode == 1 and "the token expired at" in done.stderr, done.stderr
    assert "the token is not valid" in keel.cli("get", "endpoints", token=short[:-1] + "~", check=False).stderr
    assert keel.cli("get", "endpoints", environment={"KEEL_TOKEN": ""}).returncode == 0


def test_the_server_does_not_take_the_client_s_address_for_its_own(tmp_path):
    server = Keel(environment={"KEEL_URL": "http://elsewhere.invalid:1"}).start()
    (tmp_path / "p.yaml").write_text("""
apiVersion: keel/v1
kind: Pipeline
metadata: { name: told }
spec: { steps: [{ name: told, uses: shell, with: { run: "echo told $KEEL_URL" } }] }
""")
    server.cli("apply", tmp_path / "p.yaml")
    run = server.json("run", "told")
    assert f"told http://127.0.0.1:{server.port}" in server.cli("logs", run["id"]).stdout
    assert "elsewhere" not in server.log()
    server.stop()


def test_followed_logs_arrive_while_the_step_runs(keel, tmp_path):
    (tmp_path / "p.yaml").write_text("""
apiVersion: keel/v1
kind: Pipeline
metadata: { name: slow }
spec: { steps: [{ name: slow, uses: shell, with: { run: "echo first; sleep 20" } }] }
""")
    keel.cli("apply", tmp_path / "p.yaml")
    run = keel.post("/api/v1/pipelines/slow/runs", {}).json()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")} | {"KEEL_URL": keel.url}
    follower = subprocess.Popen([str(KEEL), "logs", run.get("id") or run["run"], "-f"], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    began = time.monotonic()
    assert follower.stdout.readline().strip() == "first"
    assert time.monotonic() - began < 15
    follower.kill()
    keel.cli("cancel", run.get("id") or run["run"])


def test_an_endpoint_says_why_it_does_not_serve(keel, tmp_path):
    bundles.endpoint(keel, tmp_path, "ill")
    for answer in [keel.get("/v2/models/ill"), keel.post("/v2/models/ill/infer", bundles.question([0.0]))]:
        assert answer.status_code in (400, 409) and "no release yet" in answer.text, answer.text
    bundles.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost")
    keel.stop()
    with sqlite3.connect(f"{keel.home}/keel.sqlite") as db:
        db.execute("UPDATE releases SET bundle = ? WHERE endpoint = 'stump'", ("0" * 64,))
    db.close()
    keel.start()
    assert "Endpoint/stump" in damage(keel)
    bundles.endpoint(keel, tmp_path, "other")
    assert "Endpoint/stump" in damage(keel)
    for answer in [keel.get("/v2/models/stump"), keel.post("/v2/models/stump/infer", bundles.question([0.0]))]:
        assert answer.status_code == 503 and "is disabled" in answer.text, answer.text


def test_get_shows_the_named_one_or_says_that_there_is_none(shop):
    assert [each["name"] for each in shop.json("get", "endpoint", "buying")["endpoints"]] == ["buying"]
    assert [each["name"] for each in shop.json("get", "featureviews", "habits")["resources"]] == ["habits"]
    for kind, typo, near in [("endpoint", "buyin", "buying"), ("datasets", "clics", "clicks"), ("runs", "trian", "train")]:
        done = shop.cli("get", kind, typo, check=False)
        assert done.returncode == 1 and f"did you mean '{near}'?" in done.stderr, done.stderr


def test_a_trigger_of_something_that_is_not_there_is_refused(shop, tmp_path):
    for when in ["monitor/nothing fires", "dataset/clics snapshot"]:
        (tmp_path / "t.yaml").write_text(f"""
apiVersion: keel/v1
kind: Trigger
metadata: {{ name: again }}
spec: {{ run: train, when: [{when}] }}
""")
        done = shop.cli("plan", tmp_path / "t.yaml", check=False)
        assert done.returncode == 1 and "there is no" in done.stderr and "when" in done.stderr, done.stderr


@pytest.mark.parametrize("step,place,words", [
    ("{ name: more, uses: gate, with: { metrics: $evaluate, require: ['auc >= 0.6', 'acu >= 0.6'] } }", "steps[6].with.require[1]", "did you mean 'auc'?"),
    ("{ name: more, uses: gate, with: { metrics: $evaluate, require: ['auc + 1'] } }", "steps[6].with.require[0]", "is not a condition"),
    ("{ name: more, uses: gate, with: { metrics: $evaluate, require: ['auc >= baseline.auc'] } }", "steps[6].with.require[0]", "names no baseline"),
    ("{ name: more, uses: gate, with: { metrics: $evaluate, require: ['slices.user.auc.min > 0'] } }", "steps[6].with.require[0]", "slices.user.auc.min"),
    ("{ name: more, uses: python, with: { script: Examples/nothing.py } }", "steps[6].with.script", "there is no script"),
])
def test_steps_that_can_only_fail_are_refused_at_plan(shop, tmp_path, step, place, words):
    text = project.RESOURCES.replace("endpoint: $endpoint } }", "endpoint: $endpoint } }\n    - " + step)
    assert text != project.RESOURCES
    (tmp_path / "p.yaml").write_text(text)
    done = shop.cli("plan", tmp_path / "p.yaml", check=False)
    assert done.returncode == 1 and place in done.stderr and words in done.stderr, done.stderr


def test_mistakes_in_yaml_are_named_in_one_line_and_cost_no_memory(shop, tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("apiVersion: keel/v1\nkind: Pipeline\nmetadata: { name: p }\nspec:\n  steps:\n    - { name: a, run: x, run: y }\n")
    done = shop.cli("plan", file, check=False)
    assert done.returncode == 1 and f"{file}:6: key 'run' twice" in done.stderr and "apiVersion" not in done.stderr, done.stderr
    bomb = "a: &a [" + ",".join("x" * 10) + "]\n"
    for before, this in zip("abcdefgh", "bcdefghi"):
        bomb += f"{this}: &{this} [{','.join(['*' + before] * 10)}]\n"
    file.write_text(bomb)
    done = subprocess.run(["prlimit", "--as=4000000000", str(KEEL), "plan", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "aliases" in done.stderr, done.stderr[-500:]


def test_a_file_of_which_no_row_is_kept_says_what_became_of_it(keel, tmp_path):
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(10)))
    (tmp_path / "bad.csv").write_text("id,user,at,price,bought\n1,u,never,5,1\n")
    done = keel.cli("ingest", "clicks", tmp_path / "bad.csv", check=False)
    assert done.returncode == 1 and "snapshot 2 was made and adds no rows" in done.stderr, done.stderr
    done = keel.cli("ingest", "clicks", tmp_path / "bad.csv", "--overwrite", check=False)
    assert done.returncode == 1 and "snapshot 3 was made and is empty" in done.stderr, done.stderr


@pytest.mark.parametrize("path", ["Examples/flights/resources", "Examples/clicks/resources.yaml"])
def test_the_examples_pass_the_plan(keel, path):
    assert "+ Dataset/" in keel.cli("plan", ROOT / path).stdout
