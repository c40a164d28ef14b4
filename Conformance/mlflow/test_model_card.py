"""Cards of versions: Hugging Face's metadata, and what is not known shown as a gap."""
import os
import subprocess

import mlflow
import pandas as pd
import pytest
import requests
import yaml
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

from servers import KEEL


@pytest.fixture(scope="module")
def registered(shared_keel):
    mlflow.set_tracking_uri(shared_keel.url)
    mlflow.set_registry_uri(shared_keel.url)
    mlflow.set_experiment("cards")
    frame = pd.DataFrame({"distance": [1.0, 2.0, 3.0, 4.0], "hour": [1, 2, 3, 4], "late": [0, 0, 1, 1]})
    features = frame[["distance", "hour"]]
    model = LogisticRegression().fit(features, frame["late"])
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(frame, name="departures", targets="late"), context="training")
        mlflow.log_params({"C": 1.0, "note": "a | b\nc <script>"})
        mlflow.log_metrics({"auc": 0.81, "slices.carrier.UA.auc": 0.77})
        signature = mlflow.models.infer_signature(features, model.predict(features))
        mlflow.sklearn.log_model(model, name="m", signature=signature, input_example=features.head(1), registered_model_name="carded")
    client = MlflowClient(shared_keel.url, shared_keel.url)
    client.set_registered_model_alias("carded", "champion", "1")
    return run


def card(server, name="carded", version=1):
    answer = requests.get(f"{server.url}/api/v1/models/{name}/versions/{version}/card")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/markdown")
    front, body = answer.text.split("---\n", 2)[1:]
    return yaml.safe_load(front), body


def test_front_matter_has_hugging_faces_keys(shared_keel, registered):
    front, _ = card(shared_keel)
    assert {"license", "tags", "library_name", "metrics", "model-index", "datasets"} <= front.keys()
    assert front["library_name"] == "sklearn" and "champion" in front["tags"] and front["datasets"] == ["departures"]
    result = front["model-index"][0]["results"][0]
    assert result["task"]["type"] and result["dataset"]["name"] == "departures"
    assert {"type": "auc", "name": "auc", "value": 0.81} in result["metrics"]


def test_what_is_known_is_in_the_text_and_what_is_not_is_a_gap(shared_keel, registered):
    _, body = card(shared_keel)
    for text in ["| input | distance | float64 | yes |", "| input | hour | int64 | yes |", registered.info.run_id, "| departures |",
                 "| auc | carrier = UA | 0.77 |", "alias champion set to version 1", "Not stated: intended use", "Not stated: licence",
                 r"a \| b c &lt;script>"]:
        assert text in body, text
    MlflowClient(shared_keel.url, shared_keel.url).set_model_version_tag("carded", "1", "card.intendedUse", "Planning of crews, not of safety.")
    MlflowClient(shared_keel.url, shared_keel.url).set_registered_model_tag("carded", "card.licence", "apache-2.0")
    front, body = card(shared_keel)
    assert "Planning of crews" in body and "Not stated: intended use" not in body and front["license"] == "apache-2.0"


def test_a_version_of_which_nothing_is_known_is_all_gaps(shared_keel):
    client = MlflowClient(shared_keel.url, shared_keel.url)
    client.create_registered_model("bare: \"quoted\"".replace(":", ""))
    client.create_model_version('bare "quoted"', "s3://elsewhere/model")
    front, body = card(shared_keel, "bare%20%22quoted%22")
    assert front["license"] == "unknown" and front["model-index"] == [{"name": 'bare "quoted"', "results": []}]
    for thing in ["signature", "training run", "datasets", "metrics", "metrics by slice", "owner", "limitations"]:
        assert f"Not stated: {thing}" in body, thing
    assert requests.get(f"{shared_keel.url}/api/v1/models/carded/versions/99/card").status_code == 404


def test_the_command_writes_it(shared_keel, registered, tmp_path):
    def keel(*words):
        done = subprocess.run([str(KEEL), *words, "--url", shared_keel.url], capture_output=True, text=True, env={k: v for k, v in os.environ.items() if k != "KEEL_TOKEN"})
        assert done.returncode == 0, done.stderr
        return done.stdout
    keel("models", "card", "carded/1", "--output", str(tmp_path / "README.md"))
    assert (tmp_path / "README.md").read_text().startswith("---\nlicense:")
    assert "distance" in keel("describe", "model", "carded/1")
    assert "alias.set champion" in keel("models", "history", "carded")
    assert "champion=1" in keel("models", "list")
    assert "carded" not in keel("models", "list", "--at", "2020-01-01")
