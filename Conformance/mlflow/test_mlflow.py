"""MLflow's own Python client against a running Keel.

KEEL_URL names the server (default http://127.0.0.1:7070). Run with: pytest Conformance/mlflow
"""

import math
import os
import uuid

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException




@pytest.fixture(autouse=True)
def server():
    mlflow.set_tracking_uri(os.environ["KEEL_URL"])
    mlflow.set_registry_uri(os.environ["KEEL_URL"])
    yield
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def client():
    return MlflowClient(os.environ["KEEL_URL"], os.environ["KEEL_URL"])


@pytest.fixture
def experiment():
    name = "conformance-" + uuid.uuid4().hex
    return mlflow.set_experiment(name)


def test_set_experiment_creates_then_finds(client):
    name = "conformance-" + uuid.uuid4().hex
    assert client.get_experiment_by_name(name) is None
    first = mlflow.set_experiment(name)
    assert mlflow.set_experiment(name).experiment_id == first.experiment_id
    with pytest.raises(MlflowException) as caught:
        client.create_experiment(name)
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"
    assert client.get_experiment("0").name == "Default"


def test_experiment_life(client, experiment):
    key = experiment.experiment_id
    client.set_experiment_tag(key, "team", "ops")
    client.rename_experiment(key, experiment.name + "-2")
    found = client.get_experiment(key)
    assert found.name == experiment.name + "-2" and found.tags["team"] == "ops"
    assert [e.experiment_id for e in client.search_experiments(filter_string=f"name = '{found.name}' AND tags.team = 'ops'")] == [key]
    client.delete_experiment(key)
    assert client.get_experiment(key).lifecycle_stage == "deleted"
    assert key in [e.experiment_id for e in client.search_experiments(view_type=ViewType.DELETED_ONLY)]
    client.restore_experiment(key)
    assert client.get_experiment(key).lifecycle_stage == "active"


def test_logging(client, experiment):
    with mlflow.start_run(run_name="first", tags={"team": "ops"}) as run:
        mlflow.log_param("trees", 150)
        mlflow.log_params({"depth": 6, "rate": "0.1"})
        for step in range(5):
            mlflow.log_metric("auc", 0.7 + step / 100, step=step)
        mlflow.log_metrics({"nan": float("nan"), "inf": float("inf")})
        mlflow.set_tag("note", "ü \"quoted\" 😀")
    got = client.get_run(run.info.run_id)
    assert got.info.status == "FINISHED" and got.info.run_name == "first" and got.info.end_time >= got.info.start_time
    assert got.data.params == {"trees": "150", "depth": "6", "rate": "0.1"}
    assert got.data.metrics["auc"] == pytest.approx(0.74)
    assert math.isnan(got.data.metrics["nan"]) and got.data.metrics["inf"] == pytest.approx(1.7976931348623157e308)
    assert got.data.tags["note"] == "ü \"quoted\" 😀" and got.data.tags["team"] == "ops"
    history = client.get_metric_history(run.info.run_id, "auc")
    assert [m.step for m in history] == [0, 1, 2, 3, 4]
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        client.log_param(run.info.run_id, "trees", 200)
    client.delete_tag(run.info.run_id, "note")
    assert "note" not in client.get_run(run.info.run_id).data.tags


def test_log_batch(client, experiment):
    run = client.create_run(experiment.experiment_id)
    metrics = [Metric(f"m{i % 10}", i / 7, 1000 + i, i) for i in range(1000)]
    client.log_batch(run.info.run_id, metrics, [Param(f"p{i}", str(i)) for i in range(100)], [RunTag(f"t{i}", "x") for i in range(90)])
    got = client.get_run(run.info.run_id)
    assert len(got.data.params) == 100 and got.data.metrics["m9"] == pytest.approx(999 / 7)
    assert len(client.get_metric_history(run.info.run_id, "m0")) == 100


def test_nested_runs(client, experiment):
    with mlflow.start_run() as parent:
        for i in range(3):
            with mlflow.start_run(nested=True):
                mlflow.log_metric("loss", i)
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["metrics.loss DESC"])
    assert [c.data.metrics["loss"] for c in children] == [2, 1, 0]


def test_search_runs(client, experiment):
    key = experiment.experiment_id
    for i in range(12):
        run = client.create_run(key, start_time=1000 + i, run_name=f"run-{i % 3}")
        client.log_batch(
            run.info.run_id,
            [Metric("auc", i / 10, 1, 0)] if i % 4 else [],
            [Param("kind", "tree" if i % 2 else "Linear"), Param("a b", str(i))],
        )

    def found(text, **more):
        return [int(r.data.params["a b"]) for r in client.search_runs([key], text, **more)]

    assert found("metrics.auc > 0.5 AND params.kind = 'tree'") == [11, 9, 7]
    assert found("metrics.auc >= 0.5 and metric.auc < 0.8 and attributes.run_name != 'run-0'") == [7, 5]
    assert found("params.kind LIKE 'l%'") == [] and len(found("params.kind ILIKE 'l%'")) == 6
    assert found('params."a b" = "3"') == [3] and found("params.`a b` = '4'") == [4]
    assert found("attributes.start_time < 1002") == [1, 0]
    assert found("", order_by=["metrics.auc ASC", "start_time ASC"]) == [1, 2, 3, 5, 6, 7, 9, 10, 11, 0, 4, 8]
    pages, token = [], None
    while True:
        page = client.search_runs([key], "", order_by=["params.kind DESC"], max_results=5, page_token=token)
        pages += [int(r.data.params["a b"]) for r in page]
        token = page.token
        if not token:
            break
    assert pages == [11, 9, 7, 5, 3, 1, 10, 8, 6, 4, 2, 0]
    for wrong in ["metrics.auc > 'x'", "colour = 'red'", "params.kind = tree", "metrics.auc > 1 OR metrics.auc < 0"]:
        with pytest.raises(MlflowException) as caught:
            client.search_runs([key], wrong)
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    frame = mlflow.search_runs([key], "params.kind = 'tree'")
    assert len(frame) == 6 and "metrics.auc" in frame.columns


def test_deleted_runs(client, experiment):
    run = client.create_run(experiment.experiment_id).info.run_id
    client.delete_run(run)
    assert client.search_runs([experiment.experiment_id]) == []
    assert [r.info.run_id for r in client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY)] == [run]
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_metric(run, "a", 1)
    client.restore_run(run)
    client.log_metric(run, "a", 1)


def test_artifacts(client, experiment, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "with space ü.txt").write_text("hello")
    big = os.urandom(3_000_000)
    (tmp_path / "big.bin").write_bytes(big)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "big.bin"))
        mlflow.log_artifacts(str(tmp_path / "dir"), "nested/dir")
        mlflow.log_text("text", "note.txt")
        mlflow.log_dict({"a": 1}, "data.json")
    files = {f.path: f for f in client.list_artifacts(run.info.run_id)}
    assert set(files) == {"big.bin", "nested", "note.txt", "data.json"}
    assert files["nested"].is_dir and files["big.bin"].file_size == len(big)
    assert [f.path for f in client.list_artifacts(run.info.run_id, "nested/dir")] == ["nested/dir/with space ü.txt"]
    local = client.download_artifacts(run.info.run_id, "", str(tmp_path / "out") if (tmp_path / "out").mkdir() is None else None)
    assert open(os.path.join(local, "big.bin"), "rb").read() == big
    assert open(os.path.join(local, "nested/dir/with space ü.txt")).read() == "hello"
    assert mlflow.artifacts.load_dict(run.info.artifact_uri + "/data.json") == {"a": 1}


def test_dataset_inputs(client, experiment):
    import pandas as pd

    frame = pd.DataFrame({"x": [1, 2, 3]})
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(frame, name="flights"), context="training")
    inputs = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert [i.dataset.name for i in inputs] == ["flights"]
    found = client.search_runs([experiment.experiment_id], "dataset.name = 'flights' AND dataset.context = 'training'")
    assert [r.info.run_id for r in found] == [run.info.run_id]


class Doubler(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [value * 2 for value in model_input]


def test_register_model_and_aliases(client, experiment):
    name = "conformance-" + uuid.uuid4().hex
    with mlflow.start_run() as run:
        info = mlflow.pyfunc.log_model(name="model", python_model=Doubler(), pip_requirements=[])
    first = mlflow.register_model(info.model_uri, name, tags={"stage": "trial"})
    second = mlflow.register_model(f"runs:/{run.info.run_id}/model", name)
    assert (first.version, second.version) == ("1", "2") or (first.version, second.version) == (1, 2)
    assert first.run_id == run.info.run_id and first.status == "READY"
    client.set_registered_model_alias(name, "champion", first.version)
    assert str(client.get_model_version_by_alias(name, "champion").version) == "1"
    client.set_registered_model_alias(name, "champion", second.version)
    assert client.get_registered_model(name).aliases == {"champion": second.version} or client.get_registered_model(name).aliases == {"champion": "2"}
    assert mlflow.pyfunc.load_model(f"models:/{name}@champion").predict([1, 2]) == [2, 4]
    assert mlflow.pyfunc.load_model(f"models:/{name}/1").predict([3]) == [6]
    client.set_model_version_tag(name, "1", "checked", "yes")
    assert client.get_model_version(name, "1").tags == {"stage": "trial", "checked": "yes"}
    assert [str(v.version) for v in client.search_model_versions(f"name = '{name}' AND tags.checked = 'yes'")] == ["1"]
    client.delete_registered_model_alias(name, "champion")
    with pytest.raises(MlflowException, match="alias champion not found"):
        client.get_model_version_by_alias(name, "champion")
    client.delete_model_version(name, "1")
    with pytest.raises(MlflowException) as caught:
        client.get_model_version(name, "1")
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.delete_registered_model(name)
    assert list(client.search_registered_models(f"name = '{name}'")) == []
