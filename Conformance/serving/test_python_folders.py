"""The folders of models that bring their own code: made once, kept while they are needed, and removed by a collection."""
import json
import os
import pathlib
import time

import pandas as pd
import pytest
import requests

from servers import ROOT, Keel

ENDPOINT = "apiVersion: keel/v1\nkind: Endpoint\nmetadata: {{ name: slow }}\nspec: {{ limits: {{ rows: {rows} }} }}\n"
ROWS = pd.DataFrame({"x": [1.0, 2.0]})


@pytest.fixture(scope="module")
def server():
    """A server with one Python model, which takes seconds to load."""
    import mlflow

    class Slow(mlflow.pyfunc.PythonModel):
        def load_context(self, context):
            time.sleep(3)

        def predict(self, context, model_input, params=None):
            return model_input[["x"]] * 2

    keel = Keel(environment={"KEEL_SERVING_PYTHON_ENVIRONMENT": str(ROOT / ".keel" / "venv" / "bin" / "python"), "KEEL_SERVING_PYTHON_WORKERS": "1"}).start()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(keel.url)
    mlflow.set_registry_uri(keel.url)
    with mlflow.start_run():
        mlflow.pyfunc.log_model(name="model", python_model=Slow(), input_example=ROWS, registered_model_name="slow")
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(before)
    keel.cli("deploy", "models:/slow/1", "--endpoint", "slow")
    yield keel
    keel.stop()


def ask(keel):
    body = {"dataframe_split": json.loads(ROWS.to_json(orient="split"))}
    return requests.post(keel.url + "/endpoints/slow/invocations", json=body, timeout=60)


def folders(keel, kind):
    place = pathlib.Path(keel.home, "python", kind)
    return sorted(p.name for p in place.iterdir()) if place.exists() else []


def test_a_collection_removes_what_no_release_has(server):
    old = time.time() - 7200
    running, = folders(server, "models")
    models = pathlib.Path(server.home, "python", "models")
    for name in ("0" * 64, "0123.tmp"):
        (models / name / "inside").mkdir(parents=True)
    # All of it was taken up just now.
    assert server.json("gc", "--dry-run")["model_folders"] == 0
    for name in folders(server, "models"):
        os.utime(models / name, (old, old))
    assert server.json("gc", "--dry-run")["model_folders"] == 2
    assert "removed 2 folders of models with code" in server.cli("gc").stdout
    assert folders(server, "models") == [running]
    assert ask(server).status_code == 200
    event = server.json("ledger", "--kind", "storage.collected")["events"][-1]
    assert event["data"]["model_folders"] == 2


def test_what_is_starting_is_not_loaded_again_when_it_is_declared_anew(server, tmp_path):
    server.stop()
    server.start()
    file, most, rows = tmp_path / "slow.yaml", 0, 10
    end = time.time() + 120
    while (answer := ask(server)).status_code == 503:
        assert "starting" in answer.text and time.time() < end, answer.text
        if rows < 16:
            rows += 1
            file.write_text(ENDPOINT.format(rows=rows))
            server.cli("apply", file)
        most = max(most, len(folders(server, "pools")))
        time.sleep(0.05)
    assert answer.status_code == 200, answer.text
    assert rows > 12 and most == 1
    # What was declared last is in force.
    body = {"inputs": {"x": [1.0] * (rows + 1)}}
    refused = requests.post(server.url + "/endpoints/slow/invocations", json=body, timeout=60)
    assert refused.status_code == 413 and f"this endpoint takes {rows} at once" in refused.text
