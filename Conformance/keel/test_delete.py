"""Resources that go: what depends on them, what is in use, and what stays."""
import os
import threading
import time

import pytest
import requests

import project
from servers import Keel


@pytest.fixture
def keel(tmp_path):
    server = Keel().start()
    project.apply(server, tmp_path)
    yield server
    server.stop()


def names(keel, kind):
    return [each["name"] for each in keel.json("get", kind)["resources"]]


def test_what_is_needed_is_refused_and_named(keel):
    done = keel.cli("delete", "dataset", "clicks", check=False)
    assert done.returncode == 1
    for dependent in ["FeatureView/habits", "FeatureService/buying", "Endpoint/buying", "Pipeline/train"]:
        assert dependent in done.stderr, done.stderr
    assert "--cascade" in done.stderr
    assert names(keel, "datasets") == ["clicks"]
    done = keel.cli("delete", "dataset", "clicks", "--cascade", check=False)
    assert done.returncode == 1 and "--yes" in done.stderr
    done = keel.cli("delete", "dataset", "clicks", "--cascade", "--dry-run")
    assert "FeatureView/habits" in done.stdout and names(keel, "datasets") == ["clicks"]
    assert keel.cli("delete", "dataset", "nothing", check=False).returncode == 1
    assert keel.cli("delete", "entity", "user", "--data", "--yes", check=False).returncode == 1


def test_a_leaf_goes_alone_and_its_revisions_continue(keel, tmp_path):
    keel.cli("delete", "pipeline", "train")
    assert names(keel, "pipelines") == [] and names(keel, "datasets") == ["clicks"]
    assert keel.json("ledger", "--kind", "resources.deleted")["events"][0]["data"]["deleted"][0]["id"] == "Pipeline/train"
    again = project.apply(keel, tmp_path)
    assert "Pipeline/train" in again.stdout
    assert keel.json("describe", "pipeline", "train")["revision"] == 2
    assert keel.json("ledger", "verify").get("problem") is None


def test_rows_are_kept_unless_said_otherwise(keel, tmp_path):
    project.ingest(keel, tmp_path, project.csv(project.rows(500)))
    keel.cli("delete", "dataset", "clicks", "--cascade", "--yes")
    project.apply(keel, tmp_path)
    assert [each["rows"] for each in keel.json("get", "snapshots", "clicks")["snapshots"]] == [500]

    lake = os.path.join(keel.home, "lake", "datasets", "clicks")
    assert os.listdir(lake)
    shown = keel.cli("delete", "dataset", "clicks", "--cascade", "--data", "--dry-run").stdout
    assert "500 rows" in shown
    keel.cli("delete", "dataset", "clicks", "--cascade", "--data", "--yes")
    assert not os.path.exists(lake)
    project.apply(keel, tmp_path)
    assert keel.json("get", "snapshots", "clicks")["snapshots"] == []
    project.ingest(keel, tmp_path, project.csv(project.rows(20)))
    keel.stop()
    keel.start()
    # clicks@1 was the rows that are gone, and stays that: numbers go on.
    assert [(each["number"], each["rows"]) for each in keel.json("get", "snapshots", "clicks")["snapshots"]] == [(2, 20)]
    assert [e["kind"] for e in keel.json("ledger", "--kind", "dataset.removed")["events"]] == ["dataset.removed"]


def test_a_removal_that_was_cut_off_is_completed_at_the_next_start(keel, tmp_path):
    project.ingest(keel, tmp_path, project.csv(project.rows(50)))
    keel.cli("delete", "dataset", "clicks", "--cascade", "--yes")
    keel.stop()
    # As a crash leaves it: the stream is aside, and nothing else is done.
    streams = os.path.join(keel.home, "streams")
    os.mkdir(os.path.join(streams, ".removed"))
    os.rename(os.path.join(streams, "clicks"), os.path.join(streams, ".removed", "clicks"))
    keel.start()
    assert os.listdir(os.path.join(streams, ".removed")) == []
    project.apply(keel, tmp_path)
    assert keel.json("get", "snapshots", "clicks")["snapshots"] == []


def test_an_endpoint_that_serves_goes_only_by_cascade(keel, tmp_path):
    project.ingest(keel, tmp_path, project.csv(project.rows(2000)))
    keel.cli("run", "train")
    done = keel.cli("delete", "endpoint", "buying", check=False)
    assert done.returncode == 1 and "it serves release 1" in done.stderr
    keel.cli("delete", "endpoint", "buying", "--cascade", "--yes")
    assert requests.post(keel.url + "/v2/models/buying/infer", json=project.question(), timeout=10).status_code == 404
    # The pipeline names the endpoint, so it went too; the model and its release stay. When the endpoint is there again it serves what is released to it.
    assert names(keel, "pipelines") == [] and keel.json("models", "list")["models"][0]["name"] == "buying"
    project.apply(keel, tmp_path)
    answer = requests.post(keel.url + "/v2/models/buying/infer", json=project.question(), timeout=10)
    assert answer.status_code >= 400 and "no release yet" in answer.text
    assert keel.cli("rollback", "buying", "--to", "1", check=False).returncode == 1
    assert keel.json("release", "buying", "models:/buying/1")["release"] == 1
    assert requests.post(keel.url + "/v2/models/buying/infer", json=project.question(), timeout=10).status_code == 200


def test_several_mistakes_are_one_answer_with_lines(keel, tmp_path):
    wrong = project.RESOURCES.replace("type: float64", "type: float65").replace("window: 1h", "windwo: 1h").replace("entity: user", "entity: usr")
    wrong = wrong.replace('rollbackWhen: ["errors > 5%"]', 'rollbackWhen: ["errors >"]')
    done = project.apply(keel, tmp_path, wrong, check=False)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    text = (tmp_path / "project.yaml").read_text().splitlines()
    for word, field in [("float65", "Dataset/clicks.spec.columns[3].type"), ("windwo", "FeatureView/habits.spec.features[0].window"),
                        ("errors >", "Endpoint/buying.spec.rollout.rollbackWhen[0]")]:
        number = next(i + 1 for i, line in enumerate(text) if word in line)
        assert any(f"project.yaml:{number}: {field}" in line for line in lines), (word, done.stderr)
    assert keel.json("describe", "dataset", "clicks")["revision"] == 1


def test_deletes_applies_pushes_and_seals_at_once_are_refused_or_done_and_never_fail(keel, tmp_path):
    file = tmp_path / "again.yaml"
    file.write_text(project.RESOURCES)
    ended, failures = threading.Event(), []

    def repeat(act):
        count = 0
        while not ended.is_set():
            failure = act(count)
            if failure:
                failures.append(failure)
            count += 1

    def cli(*arguments):
        done = keel.cli(*arguments, check=False)
        return done.stderr if "NSCocoa" in done.stderr or "could not" in done.stderr or "disabled" in done.stderr else None

    def call(path, body):
        answer = keel.post(path, body)
        return answer.text if answer.status_code >= 500 else None

    acts = [
        lambda _: cli("apply", file), lambda _: cli("apply", file), lambda _: cli("delete", "dataset", "clicks", "--cascade", "--yes", "--data"),
        lambda i: call("/api/v1/datasets/clicks/events", {"rows": project.rows(5, start=10 * i)}), lambda _: call("/api/v1/datasets/clicks/seal", {}),
    ]
    threads = [threading.Thread(target=repeat, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    time.sleep(4)
    ended.set()
    for thread in threads:
        thread.join()
    assert failures == []
    keel.cli("apply", file)
    assert keel.post("/api/v1/datasets/clicks/events", {"rows": project.rows(5, start=10**9)}).json()["accepted"] == 5
    assert keel.get("/api/v1/damage").json()["damage"] == []
