"""The card of a version that a pipeline trained: its evaluation by slice, its snapshots, its releases."""
import pytest
import requests
import yaml

import project
from servers import Keel


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    server = Keel().start()
    folder = tmp_path_factory.mktemp("project")
    text = project.RESOURCES.replace("data: $examples.holdout }", "data: $examples.holdout, slices: [user] }")
    # A value that no metric of MLflow could be named after.
    rows = [r | {"user": ["u, \"1\" | ü.5", "plain"][r["id"] % 2]} for r in project.rows(2000)]
    project.apply(server, folder, text + project.CARD)
    project.ingest(server, folder, project.csv([r | {"user": '"' + r["user"].replace('"', '""') + '"'} for r in rows]))
    server.cli("run", "train")
    yield server
    server.stop()


def card(server):
    answer = requests.get(f"{server.url}/api/v1/models/buying/versions/1/card")
    assert answer.status_code == 200, answer.text
    front, body = answer.text.split("---\n", 2)[1:]
    return yaml.safe_load(front), body


def test_the_evaluation_is_in_the_text_and_in_the_metadata_by_slice(trained):
    front, body = card(trained)
    whole, *parts = front["model-index"][0]["results"]
    assert {m["type"] for m in whole["metrics"]} == {"auc", "logloss", "brier", "calibration", "accuracy"}
    assert all(isinstance(m["value"], float) for m in whole["metrics"])
    users = {p["dataset"]["args"]["user"]: p["metrics"][0]["value"] for p in parts}
    assert "u, \"1\" | ü.5" in users and len(users) > 1 and all(0 <= v <= 1 for v in users.values())
    value = users["u, \"1\" | ü.5"]
    assert f'| user = u, "1" \\| ü.5 | auc | {value} |' in body
    assert "Not stated: metrics by slice: country" in body and "| rows |" not in body


def test_the_slices_are_the_evaluate_steps_own(trained):
    run = trained.json("get", "runs")["runs"][0]
    steps = {s["name"]: s for s in trained.get(f"/api/v1/runs/{run['id']}").json()["steps"]}
    values = steps["evaluate"]["outputs"]["slices"]["user"]["auc"]["values"]
    parts = card(trained)[0]["model-index"][0]["results"][1:]
    assert {p["dataset"]["args"]["user"]: p["metrics"][0]["value"] for p in parts} == values


def test_snapshots_run_gate_and_releases_with_who_and_when(trained):
    _, body = card(trained)
    for text in ["| input | mean_price_24h | float64 | no |", "| flavours | xgboost |", "| features | FeatureService/buying |",
                 "| trained on rows until | 2024-"]:
        assert text in body, body
    assert "| clicks | snapshot 1 | training | Dataset/clicks |" in body and "- Gate: passed" in body
    decided = [line for line in body.splitlines() if line.startswith("| 20") and line.count("|") == 4]
    words = [line.split(" | ", 2)[2].rstrip(" |") for line in decided]
    assert words[0] == "registered" and "alias challenger set to version 1" in words
    assert "release buying/1 made, gate passed" in words and "release buying/1 promoted: first release of the endpoint" in words
    assert words.index("release buying/1 made, gate passed") < words.index("release buying/1 promoted: first release of the endpoint")
    assert all(line.split(" | ")[1] for line in decided)
    trained.cli("run", "train", "--with", "trees=11")
    trained.cli("promote", "buying")
    trained.cli("rollback", "buying", "--to", "1")
    words = [line for line in card(trained)[1].splitlines() if "release buying/1 brought back" in line]
    assert len(words) == 1
