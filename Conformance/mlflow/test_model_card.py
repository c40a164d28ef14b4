"""Cards of versions: statements from a ModelCard resource, Hugging Face's metadata, and what is not known shown as a gap."""
import mlflow
import pandas as pd
import pytest
import requests
import yaml
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

CARD = """
apiVersion: keel/v1
kind: ModelCard
metadata: { name: carded, owner: crew-planning }
spec:
  license: apache-2.0
  task: tabular-classification
  languages: [en]
  contacts: [ada@example.com, "#crew | planning"]
  intendedUse: Planning of crews, not of safety.
  limitations: |
    Small airports.

    - One year of data.
  slices: [carrier, origin]
"""


@pytest.fixture(scope="module")
def run(shared_keel):
    """A version of the model `carded`, logged as MLflow's clients do, with metrics by slice."""
    mlflow.set_tracking_uri(shared_keel.url)
    mlflow.set_registry_uri(shared_keel.url)
    mlflow.set_experiment("cards")
    frame = pd.DataFrame({"distance": [1.0, 2.0, 3.0, 4.0], "hour": [1, 2, 3, 4], "late": [0, 0, 1, 1]})
    features = frame[["distance", "hour"]]
    model = LogisticRegression().fit(features, frame["late"])
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(frame, name="departures", targets="late"), context="training")
        mlflow.log_params({"C": 1.0, "note": "a | b\nc <script>"})
        mlflow.log_metrics({"auc": 0.81, "loss": 1e-05, "undefined": float("nan"), "slices/carrier/UA/auc": 0.77, "slices/carrier/9E/auc": 0.5,
                            "slices/carrier/9E/loss": 0.2})
        signature = mlflow.models.infer_signature(features, model.predict(features))
        mlflow.sklearn.log_model(model, name="m", signature=signature, input_example=features.head(1), registered_model_name="carded")
    MlflowClient(shared_keel.url, shared_keel.url).set_registered_model_alias("carded", "champion", "1")
    return run.info.run_id


def apply(server, folder, text, check=True):
    file = folder / "card.yaml"
    file.write_text(text)
    return server.cli("apply", file, check=check)


def card(server, name="carded", version=1):
    answer = requests.get(f"{server.url}/api/v1/models/{name}/versions/{version}/card")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/markdown")
    front, body = answer.text.split("---\n", 2)[1:]
    return yaml.safe_load(front), body


def test_what_is_known_is_in_the_text_and_what_nobody_stated_is_a_gap(shared_keel, run):
    front, body = card(shared_keel)
    for text in ["| input | distance | float64 | yes |", "| input | hour | int64 | yes |", run, "| departures |", "| carrier = UA | auc | 0.77 |",
                 "alias champion set to version 1", "Not stated: intended use (spec.intendedUse of a ModelCard)", "Not stated: license",
                 r"a \| b c &lt;script>"]:
        assert text in body, text
    assert "slices/" not in body and "metrics by slice" not in body
    assert front["license"] == "unknown" and front["model-index"][0]["results"][0]["task"] == {"type": "unknown"}
    assert not {"pipeline_tag", "language"} & front.keys()


def test_statements_come_from_the_resource_with_its_revision(shared_keel, run, tmp_path):
    apply(shared_keel, tmp_path, CARD)
    front, body = card(shared_keel)
    assert {"license": "apache-2.0", "pipeline_tag": "tabular-classification", "language": ["en"]}.items() <= front.items()
    for text in ["Planning of crews, not of safety.", "- One year of data.", "| owner | crew-planning |", r"ada@example.com, #crew \| planning",
                 "| statements | ModelCard/carded, revision 1, 20", "Not stated: out-of-scope use", "Not stated: metrics by slice: origin"]:
        assert text in body, text
    assert "Not stated: intended use" not in body
    changed = apply(shared_keel, tmp_path, CARD.replace("not of safety", "never of safety"))
    assert "intendedUse" in changed.stdout
    assert "never of safety" in card(shared_keel)[1] and "revision 2" in card(shared_keel)[1]
    event = requests.get(shared_keel.url + "/api/v1/ledger?kind=resources.applied&limit=1000").json()["events"][-1]
    assert event["data"]["changes"][0]["id"] == "ModelCard/carded"
    requests.post(shared_keel.url + "/api/v1/resources/modelcards/carded/restore", json={"revision": 1}).raise_for_status()
    assert "not of safety" in card(shared_keel)[1] and "revision 3" in card(shared_keel)[1]


def test_a_second_card_for_a_model_and_a_misspelt_field_are_refused(shared_keel, run, tmp_path):
    apply(shared_keel, tmp_path, CARD)
    before = shared_keel.json("get", "modelcards")
    for text, words in [(CARD.replace("name: carded", "name: another").replace("spec:", "spec:\n  model: carded"), ["has a card already", "spec.model"]),
                        (CARD.replace("intendedUse", "intededUse"), ["intededUse", "did you mean 'intendedUse'"]),
                        (CARD.replace("intendedUse: Planning of crews, not of safety.", "intendedUse: ''"), ["spec.intendedUse", "empty"]),
                        (CARD.replace("task: tabular-classification", "task: [a]"), ["spec.task"])]:
        done = apply(shared_keel, tmp_path, text, check=False)
        assert done.returncode == 1 and all(word in done.stderr for word in words), done.stdout + done.stderr
    assert shared_keel.json("get", "modelcards") == before


def test_front_matter_has_hugging_faces_keys(shared_keel, run, tmp_path):
    apply(shared_keel, tmp_path, CARD)
    front, body = card(shared_keel)
    assert "| undefined | nan |" in body
    assert {"license", "tags", "library_name", "metrics", "model-index", "datasets"} <= front.keys()
    assert front["library_name"] == "sklearn" and "champion" in front["tags"] and front["datasets"] == ["departures"]
    whole, *parts = front["model-index"][0]["results"]
    assert whole["task"]["type"] == "tabular-classification" and whole["dataset"] == {"type": "departures", "name": "departures"}
    # What is not a number is in the text only; the small one is a number to YAML.
    assert {m["type"]: m["value"] for m in whole["metrics"]} == {"auc": 0.81, "loss": 1e-05}
    assert {(p["dataset"]["args"]["carrier"], m["type"]): m["value"] for p in parts for m in p["metrics"]} == {
        ("UA", "auc"): 0.77, ("9E", "auc"): 0.5, ("9E", "loss"): 0.2}


def test_names_that_yaml_could_misread_come_back_as_they_are(shared_keel):
    client = MlflowClient(shared_keel.url, shared_keel.url)
    name = 'bare "quoted" # \u0085 \u2028 \ufeff {a} *b &c - 😀'
    client.create_registered_model(name)
    client.create_model_version(name, "s3://elsewhere/model")
    front, _ = card(shared_keel, requests.utils.quote(name, safe=""))
    assert front["model-index"] == [{"name": name, "results": []}]


def test_a_version_of_which_nothing_is_known_is_all_gaps(shared_keel):
    client = MlflowClient(shared_keel.url, shared_keel.url)
    client.create_registered_model("bare")
    client.create_model_version("bare", "s3://elsewhere/model")
    front, body = card(shared_keel, "bare")
    assert front["license"] == "unknown" and front["model-index"] == [{"name": "bare", "results": []}]
    for thing in ["description", "owner", "contacts", "license", "task", "intended use", "out-of-scope use", "limitations", "ethical considerations",
                  "signature", "training run", "datasets", "metrics", "metrics by slice", "the result of a gate"]:
        assert f"Not stated: {thing}" in body, thing
    assert requests.get(f"{shared_keel.url}/api/v1/models/bare/versions/99/card").status_code == 404


def test_the_command_writes_it(shared_keel, run, tmp_path):
    shared_keel.cli("models", "card", "carded/1", "--output", tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text().startswith("---\nlicense:")
    assert "distance" in shared_keel.cli("describe", "model", "carded/1").stdout
    assert "alias.set champion" in shared_keel.cli("models", "history", "carded").stdout
    assert "champion=1" in shared_keel.cli("models", "list").stdout
    assert "carded" not in shared_keel.cli("models", "list", "--at", "2020-01-01").stdout
