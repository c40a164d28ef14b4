"""MLflow's command line against Keel, and MLflow's clients against a Keel that asks everyone for a token."""
import csv
import json
import os
import subprocess
import sys

import mlflow
import pytest
from click.testing import CliRunner
from servers import Keel
from mlflow.cli import cli
from mlflow.exceptions import MlflowException


def command(*arguments):
    """A command of `mlflow` in this process, which is a second faster than one of its own."""
    done = CliRunner().invoke(cli, [str(a) for a in arguments], env={"MLFLOW_TRACKING_URI": os.environ["KEEL_URL"]})
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.stdout


def program(url, *arguments, check=True, **environment):
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "mlflow", *arguments], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"MLFLOW_TRACKING_URI": url} | environment)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def test_experiments(tracking, model_name):
    command("experiments", "create", "--experiment-name", model_name)
    key = mlflow.get_experiment_by_name(model_name).experiment_id
    assert model_name in command("experiments", "search", "--view", "active_only")
    command("experiments", "rename", "--experiment-id", key, "--new-name", model_name + "-2")
    command("experiments", "delete", "--experiment-id", key)
    assert mlflow.get_experiment(key).lifecycle_stage == "deleted"
    command("experiments", "restore", "--experiment-id", key)
    assert model_name + "-2" in command("experiments", "get", "--experiment-id", key)
    assert mlflow.get_experiment(key).lifecycle_stage == "active"


def test_runs(tracking, experiment, tmp_path):
    with mlflow.start_run(run_name="first") as run:
        mlflow.log_metric("auc", 0.5)
    key = run.info.run_id
    described = json.loads(command("runs", "describe", "--run-id", key))
    assert described["info"]["run_id"] == key and described["data"]["metrics"] == {"auc": 0.5}
    assert key in command("runs", "list", "--experiment-id", experiment.experiment_id)
    command("experiments", "csv", "-x", experiment.experiment_id, "-o", tmp_path / "runs.csv")
    assert [row["run_id"] for row in csv.DictReader(open(tmp_path / "runs.csv"))] == [key]
    command("runs", "delete", "--run-id", key)
    command("runs", "restore", "--run-id", key)
    assert mlflow.get_run(key).info.lifecycle_stage == "active"


def test_artifacts(tracking, experiment, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("alpha")
    with mlflow.start_run() as run:
        pass
    command("artifacts", "log-artifacts", "--local-dir", tmp_path / "in", "--run-id", run.info.run_id, "--artifact-path", "deep")
    assert [f["path"] for f in json.loads(command("artifacts", "list", "--run-id", run.info.run_id, "-a", "deep"))] == ["deep/a.txt"]
    command("artifacts", "download", "--run-id", run.info.run_id, "-a", "deep", "-d", tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "a.txt").read_text() == "alpha"


def test_a_registered_model_predicts(experiment, model_name, tmp_path):
    class Twice(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

    with mlflow.start_run():
        mlflow.pyfunc.log_model(name="twice", python_model=Twice(), registered_model_name=model_name, pip_requirements=["pandas"])
    (tmp_path / "in.csv").write_text("x\n1\n2\n")
    command("models", "predict", "-m", f"models:/{model_name}/1", "-i", tmp_path / "in.csv", "-o", tmp_path / "out.json", "-t", "csv", "--env-manager", "local")
    assert json.loads((tmp_path / "out.json").read_text()) == {"predictions": [{"x": 2}, {"x": 4}]}


@pytest.fixture(scope="module")
def guarded():
    """A server that asks everyone for a token, and the token of a data scientist."""
    home = Keel().start()
    token = home.cli("tokens", "create", "ada", "--persona", "data-scientist").stdout.strip()
    home.stop()
    server = Keel(home=home.home, environment={"KEEL_AUTH_LOCAL": "off"}).start()
    yield server, token
    server.stop()


def test_a_client_with_a_token(guarded, tracking, monkeypatch):
    server, token = guarded
    for name, credentials in [("bearer", {"MLFLOW_TRACKING_TOKEN": token}), ("basic", {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": token})]:
        program(server.url, "experiments", "create", "--experiment-name", name, **credentials)
        with monkeypatch.context() as patch:
            for key, value in credentials.items():
                patch.setenv(key, value)
            mlflow.set_tracking_uri(server.url)
            mlflow.set_experiment(name)
            with mlflow.start_run() as run:
                mlflow.log_text("kept", "note.txt")
            assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/note.txt") == "kept"


def test_a_client_without_one_is_refused(guarded, tracking):
    server, _ = guarded
    refused = program(server.url, "experiments", "create", "--experiment-name", "x", check=False)
    assert refused.returncode != 0 and "UNAUTHENTICATED" in refused.stdout + refused.stderr
    wrong = program(server.url, "experiments", "create", "--experiment-name", "x", check=False, MLFLOW_TRACKING_TOKEN="keel-nonsense")
    assert wrong.returncode != 0 and "UNAUTHENTICATED" in wrong.stdout + wrong.stderr
    with pytest.raises(MlflowException) as caught:
        mlflow.MlflowClient(server.url).search_experiments()
    assert caught.value.error_code == "UNAUTHENTICATED"
