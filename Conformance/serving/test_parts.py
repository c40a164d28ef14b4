"""Models that answer one after another are one release: one log, one digest, errors and latencies that name the model."""
import json
import time

import pandas as pd
import pytest

import bundles
import served
import upstreams
from servers import ROOT, Keel


@pytest.fixture(scope="module")
def keel(tmp_path_factory, doubling):
    """`before` is Python of one's own, `stump` trees of Keel's, `labels` Python again, `net` an ONNX graph, `far` a model of another server."""
    server = Keel(environment={
        "KEEL_SERVING_PYTHON_ENVIRONMENT": str(ROOT / ".keel" / "venv" / "bin" / "python"), "KEEL_SERVING_REMOTE_SCHEMES": "http",
        "KEEL_SERVING_REMOTE_INTERNAL": "true"}).start()
    register(server)
    folder = tmp_path_factory.mktemp("parts")
    served.serve(server, folder, "stump", bundles.stump(low=0.25, high=0.75), "xgboost", served.ONE)
    served.serve(server, folder, "net", served.slow(), "onnx", served.ONE | {"outputs": [{"name": "y", "type": "float32"}]})
    apply(server, folder, "far", {"remote": {"url": doubling.url, "protocol": "open-inference", "model": "double", "version": "1",
                                             "outputs": [{"name": "y", "type": "float32"}]}})
    yield server
    server.stop()


def register(server):
    import mlflow
    from mlflow.models import infer_signature

    class Parse(mlflow.pyfunc.PythonModel):
        """A text `1,5` is the number 1.5."""

        def predict(self, context, model_input, params=None):
            return pd.DataFrame({"x": [float(text.replace(",", ".")) for text in model_input["text"]]})

    class Label(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            if (model_input["score"] > 100).any():
                raise ValueError("no score is above 100")
            return pd.DataFrame({"label": ["high" if s > 0.5 else "low" for s in model_input["score"]], "asked": model_input["text"]})

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(server.url)
    mlflow.set_registry_uri(server.url)
    text, number = pd.DataFrame({"text": ["0,1", "1,5"]}), pd.DataFrame({"x": [0.1, 1.5]})
    scores = pd.DataFrame({"score": [0.1, 0.9], "text": ["0,1", "1,5"]})
    for name, model, taken, given in [("parse", Parse(), text, number), ("label", Label(), scores, pd.DataFrame({"label": ["low", "high"], "asked": ["a", "b"]}))]:
        with mlflow.start_run():
            mlflow.pyfunc.log_model(name="model", python_model=model, signature=infer_signature(taken, given), input_example=taken, registered_model_name=name,
                                    pip_requirements=["mlflow"])
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(before)


def apply(server, folder, name, spec, check=True):
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"apiVersion": "keel/v1", "kind": "Endpoint", "metadata": {"name": name}, "spec": spec}))
    return server.cli("apply", file, check=check)


def invoke(server, name, rows):
    return server.post(f"/endpoints/{name}/invocations", {"dataframe_records": rows})


def test_python_trees_and_python_are_one_release(keel, tmp_path):
    out = apply(keel, tmp_path, "chain", {"before": ["models:/parse/1"], "model": "models:/stump/1", "after": ["models:/label/1"]}).stdout
    assert "release chain/1 of models:/stump/1" in out and "it answers all requests" in out
    assert keel.get("/v2/models/chain").json()["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    answer = invoke(keel, "chain", [{"text": "0,25"}, {"text": "7,5"}])
    assert answer.json()["predictions"] == [{"label": "low", "asked": "0,25"}, {"label": "high", "asked": "7,5"}]
    # One log: what the first took and the last gave.
    keel.post("/v2/models/chain/infer", {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["0,5"]}], "parameters": {"ids": ["logged"]}})
    release = keel.get("/api/v1/endpoints/chain/releases").json()["releases"][0]
    assert release["number"] == 1
    # Latencies by model.
    parts = next(e for e in keel.get("/api/v1/endpoints").json()["endpoints"] if e["name"] == "chain")["releases"][0]["parts"]
    assert [s["model"] for s in parts] == ["models:/parse/1", "models:/stump/1", "models:/label/1"]
    assert all(s["runs"] >= 2 and s["mean_us"] > 0 for s in parts) and parts[1]["mean_us"] < parts[0]["mean_us"]
    assert "models:/parse/1" in keel.cli("describe", "endpoint", "chain").stdout


def test_errors_name_the_model(keel, tmp_path):
    apply(keel, tmp_path, "chain", {"before": ["models:/parse/1"], "model": "models:/stump/1", "after": ["models:/label/1"]})
    wrong = invoke(keel, "chain", [{"text": "a word"}])
    assert wrong.status_code >= 400 and "model 1 of 3, models:/parse/1" in wrong.text, wrong.text
    missing = invoke(keel, "chain", [{"txt": "1"}])
    assert missing.status_code == 422 and "'text'" in missing.text


def test_trees_onnx_and_another_server_in_one(keel, doubling, tmp_path):
    apply(keel, tmp_path, "mixed", {"before": ["models:/parse/1"], "model": "models:/far/1", "after": ["models:/net/1"]})
    # 1.5 is doubled there, and the graph adds 1 as often as that says.
    answer = keel.post("/v2/models/mixed/infer", {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["1,5"]}]})
    assert answer.status_code == 200 and answer.json()["outputs"][0]["data"] == [6.0], answer.text
    doubling.mode = "error"
    failed = keel.post("/v2/models/mixed/infer", {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["1,5"]}]})
    doubling.mode = "well"
    assert failed.status_code == 502 and "model 2 of 3, models:/far/1" in failed.text


def test_a_part_that_changes_is_another_release_and_a_part_that_serves_stays(keel, tmp_path):
    apply(keel, tmp_path, "parts", {"model": "models:/stump/1"})
    apply(keel, tmp_path, "parts", {"model": "models:/stump/1", "before": ["models:/parse/1"], "signature": "any"})
    releases = keel.get("/api/v1/endpoints/parts/releases").json()["releases"]
    for _ in range(200):
        # A release without a rollout takes the traffic a moment later.
        if releases[0]["state"] == "stable":
            break
        time.sleep(0.05)
        releases = keel.get("/api/v1/endpoints/parts/releases").json()["releases"]
    assert [r["number"] for r in releases] == [2, 1] and releases[0]["digest"] != releases[1]["digest"]
    assert invoke(keel, "parts", [{"text": "7,5"}]).json()["predictions"] == [0.75]
    gone = keel.post("/api/2.0/mlflow/model-versions/delete", {"name": "parse", "version": "1"})
    deleted = keel.get("/api/2.0/mlflow/model-versions/get", params={"name": "parse", "version": "1"})
    assert deleted.status_code == 200, gone.text
    keel.cli("rollback", "parts")
    assert invoke(keel, "parts", [{"x": 7.5}]).json()["predictions"] == [0.75]
    # A start loads them as they were.
    keel.cli("rollback", "parts", "--to", "2")
    keel.kill()
    keel.start()
    for _ in range(200):
        answer = invoke(keel, "parts", [{"text": "7,5"}])
        if answer.status_code == 200:
            break
        time.sleep(0.1)
    assert answer.json()["predictions"] == [0.75]


@pytest.mark.parametrize("spec, words", [
    ({"model": "models:/stump/1", "after": ["models:/parse/1"]}, "model 2 of 2, models:/parse/1"),
    ({"model": "models:/stump/1", "before": ["parse"]}, "names no version"),
    ({"model": "models:/stump/1", "before": ["models:/pars/1"]}, "there is no model"),
])
def test_parts_that_do_not_fit_are_refused_before_anything_is_stored(keel, tmp_path, spec, words):
    done = apply(keel, tmp_path, "misfit", spec, check=False)
    assert done.returncode != 0 and words in done.stdout + done.stderr, done.stdout + done.stderr
    assert keel.get("/v2/models/misfit").status_code == 404


def test_a_policy_that_refuses_code(keel, start, tmp_path):
    """`pythonModels` of a workspace holds for every way to a model: deployed alone, as a part of another, and after a start."""
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"apiVersion": "keel/v1", "kind": "ModelPolicy", "metadata": {"name": "models"}, "spec": {"pythonModels": "refused"}}))
    apply(keel, tmp_path, "coded", {"model": "models:/parse/1"})
    busy = keel.cli("apply", policy, check=False)
    assert busy.returncode != 0 and "runs code" in busy.stdout + busy.stderr
    theirs = start(environment=keel.environment)
    register(theirs)
    served.serve(theirs, tmp_path, "stump", bundles.stump(low=0.25, high=0.75), "xgboost", served.ONE)
    scientist = theirs.json("tokens", "create", "sam", "--persona", "ml-engineer")["secret"]
    denied = theirs.cli("apply", policy, token=scientist, check=False)
    assert denied.returncode != 0 and "access.manage" in denied.stdout + denied.stderr
    theirs.cli("apply", policy)
    for done in (theirs.cli("deploy", "models:/parse/1", "--endpoint", "coded", check=False),
                 apply(theirs, tmp_path, "coded", {"model": "models:/stump/1", "before": ["models:/parse/1"]}, check=False)):
        assert done.returncode != 0 and "ModelPolicy/models" in done.stdout + done.stderr, done.stdout + done.stderr
    assert theirs.get("/v2/models/coded").status_code == 404
    theirs.kill()
    theirs.start()
    assert theirs.cli("deploy", "models:/parse/1", "--endpoint", "coded", check=False).returncode != 0
    policy.write_text(policy.read_text().replace("refused", "allowed"))
    theirs.cli("apply", policy)
    theirs.cli("deploy", "models:/parse/1", "--endpoint", "coded")
