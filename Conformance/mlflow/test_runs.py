"""Runs as data scientists use them, and every public method of the client against Keel."""
import concurrent.futures
import os
import subprocess
import sys
import uuid

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException


def test_three_levels(client, experiment):
    with mlflow.start_run(run_name="top") as top:
        with mlflow.start_run(run_name="middle", nested=True) as middle:
            with mlflow.start_run(run_name="bottom", nested=True) as bottom:
                mlflow.log_metric("depth", 3)
    assert client.get_parent_run(bottom.info.run_id).info.run_id == middle.info.run_id
    assert client.get_parent_run(middle.info.run_id).info.run_id == top.info.run_id and client.get_parent_run(top.info.run_id) is None
    frame = mlflow.search_runs([experiment.experiment_id], filter_string=f"tags.mlflow.parentRunId = '{top.info.run_id}'")
    assert list(frame["tags.mlflow.runName"]) == ["middle"]


def test_a_run_goes_on_where_it_was(client, experiment):
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 2, step=0)
    with mlflow.start_run(run_id=run.info.run_id, run_name="again") as again:
        assert again.info.run_id == run.info.run_id and client.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("loss", 1, step=1)
    got = client.get_run(run.info.run_id)
    assert got.info.status == "FINISHED" and got.info.run_name == "again" and [m.value for m in client.get_metric_history(run.info.run_id, "loss")] == [2, 1]


def test_how_runs_end(client, experiment):
    with pytest.raises(ValueError):
        with mlflow.start_run() as failed:
            raise ValueError("broken")
    assert client.get_run(failed.info.run_id).info.status == "FAILED"
    killed = client.create_run(experiment.experiment_id).info.run_id
    client.set_terminated(killed, "KILLED")
    got = client.get_run(killed).info
    assert got.status == "KILLED" and got.end_time >= got.start_time
    client.update_run(killed, "FAILED", "renamed")
    assert (client.get_run(killed).info.status, client.get_run(killed).info.run_name) == ("FAILED", "renamed")


def test_where_a_run_came_from(client, experiment, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("import mlflow\nwith mlflow.start_run():\n    mlflow.log_param('a', 1)\n")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    environment = os.environ | {"MLFLOW_TRACKING_URI": os.environ["KEEL_URL"], "MLFLOW_EXPERIMENT_ID": experiment.experiment_id}
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    (run,) = client.search_runs([experiment.experiment_id])
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True).stdout.strip()
    assert run.data.tags["mlflow.source.git.commit"] == head and run.data.tags["mlflow.source.name"].endswith("train.py")
    assert run.data.tags["mlflow.user"] == run.info.user_id and run.info.run_name


def test_runs_as_a_table(experiment):
    for i in range(5):
        with mlflow.start_run(run_name=f"r{i}"):
            mlflow.log_param("i", i)
            mlflow.log_metric("auc", i / 10)
    frame = mlflow.search_runs([experiment.experiment_id], "metrics.auc > 0.05", order_by=["metrics.auc DESC"])
    assert list(frame["params.i"]) == ["4", "3", "2", "1"] and frame["metrics.auc"].is_monotonic_decreasing and str(frame["start_time"].dtype).startswith("datetime64")
    by_name = mlflow.search_runs(experiment_names=[experiment.name], max_results=2, output_format="list")
    assert len(by_name) == 2
    assert len(mlflow.search_runs(search_all_experiments=True, filter_string="run_name = 'r3' AND params.i = '3'")) >= 1


def test_many_params_are_sent_in_parts(client, experiment):
    with mlflow.start_run() as run:
        mlflow.log_params({f"p{i}": i for i in range(250)})
        mlflow.set_tags({f"t{i}": i for i in range(150)})
        mlflow.log_metrics({f"m{i}": i for i in range(1500)}, step=7)
    data = client.get_run(run.info.run_id).data
    assert len(data.params) == 250 and data.tags["t149"] == "149" and len(data.metrics) == 1500


def test_logging_in_the_background(client, experiment):
    with mlflow.start_run() as run:
        for step in range(200):
            mlflow.log_metric("loss", step, step=step, synchronous=False)
        mlflow.log_params({"a": 1}, synchronous=False)
        mlflow.set_tag("b", "2", synchronous=False).wait()
        mlflow.flush_async_logging()
        client.log_batch(run.info.run_id, [Metric("late", 1, 1, 1)], [Param("c", "3")], [RunTag("d", "4")], synchronous=False).wait()
    got = client.get_run(run.info.run_id).data
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 200 and got.params == {"a": "1", "c": "3"} and (got.tags["b"], got.tags["d"]) == ("2", "4")


def test_threads_and_processes_write_to_one_run(client, experiment):
    run = client.create_run(experiment.experiment_id).info.run_id
    program = ("import sys, mlflow\nclient = mlflow.MlflowClient(sys.argv[1])\n"
               "for i in range(30): client.log_metric(sys.argv[2], 'process' + sys.argv[3], i, step=i)\n")
    processes = [subprocess.Popen([sys.executable, "-c", program, os.environ["KEEL_URL"], run, str(i)]) for i in range(2)]

    def write(thread):
        for i in range(30):
            client.log_metric(run, f"thread{thread}", i, step=i)
            client.log_param(run, f"{thread}.{i}", i)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [p.wait(timeout=120) for p in processes] == [0, 0]
    for key in [f"thread{i}" for i in range(4)] + ["process0", "process1"]:
        assert [m.value for m in sorted(client.get_metric_history(run, key), key=lambda m: m.step)] == list(range(30))
    assert len(client.get_run(run).data.params) == 120


def test_metrics_of_a_dataset_and_a_model(client, experiment):
    import pandas as pd
    data = mlflow.data.from_pandas(pd.DataFrame({"x": [1]}), name="points")
    with mlflow.start_run() as run:
        model = mlflow.initialize_logged_model(name="m")
        mlflow.log_metrics({"auc": 0.9, "loss": 0.1}, dataset=data, model_id=model.model_id)
    found = {m.key: m for m in client.get_logged_model(model.model_id).metrics}
    assert found["auc"].value == 0.9 and (found["loss"].dataset_name, found["loss"].dataset_digest) == ("points", data.digest)
    assert client.get_run(run.info.run_id).data.metrics == {"auc": 0.9, "loss": 0.1}


def test_experiments(client):
    name = "conformance-" + uuid.uuid4().hex
    experiment = mlflow.create_experiment(name, tags={"a": "1"})
    mlflow.set_experiment(experiment_id=experiment)
    mlflow.set_experiment_tags({"team": "ops", "kind": "x"})
    mlflow.delete_experiment_tag("kind")
    assert {k: v for k, v in mlflow.get_experiment_by_name(name).tags.items() if not k.startswith("mlflow.")} == {"a": "1", "team": "ops"}
    assert [e.name for e in mlflow.search_experiments(filter_string=f"name = '{name}'")] == [name]
    mlflow.delete_experiment(experiment)
    with pytest.raises(MlflowException, match="deleted"):
        mlflow.set_experiment(name)
    client.restore_experiment(experiment)
    assert mlflow.set_experiment(name).experiment_id == experiment


def test_deleting_and_restoring_a_run(client, experiment):
    with mlflow.start_run() as run:
        mlflow.set_tag("a", "1")
        mlflow.delete_tag("a")
    mlflow.delete_run(run.info.run_id)
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    client.restore_run(run.info.run_id)
    assert [r.info.run_id for r in client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)] == [run.info.run_id]


def test_the_registry(client, model_name):
    client.create_registered_model(model_name, {"team": "ops"}, "about")
    first = client.create_model_version(model_name, "s3://bucket/1", description="one", tags={"a": "1"})
    second = client.create_model_version(model_name, "s3://bucket/2")
    client.update_registered_model(model_name, "about it")
    client.update_model_version(model_name, first.version, "first")
    client.set_registered_model_tag(model_name, "b", "2")
    client.delete_registered_model_tag(model_name, "team")
    client.set_model_version_tag(model_name, first.version, "c", "3")
    client.delete_model_version_tag(model_name, first.version, "a")
    client.transition_model_version_stage(model_name, first.version, "Production")
    client.transition_model_version_stage(model_name, second.version, "Production", archive_existing_versions=True)
    assert {v.current_stage: str(v.version) for v in client.get_latest_versions(model_name)} == {"Archived": "1", "Production": "2"}
    got = client.get_registered_model(model_name)
    assert got.description == "about it" and got.tags == {"b": "2"}
    version = client.get_model_version(model_name, first.version)
    assert version.description == "first" and version.tags == {"c": "3"} and client.get_model_version_download_uri(model_name, "2") == "s3://bucket/2"
    assert client.get_model_version_stages(model_name, first.version) == ["None", "Staging", "Production", "Archived"]
    renamed = client.rename_registered_model(model_name, model_name + "-new")
    assert [m.name for m in client.search_registered_models(f"name LIKE '{model_name}%'")] == [renamed.name]
    assert sorted(str(v.version) for v in client.search_model_versions(f"name = '{renamed.name}'")) == ["1", "2"]
    client.delete_registered_model(renamed.name)
    assert client.search_model_versions(f"name = '{renamed.name}'") == []


# Public methods of the client: those that some file here calls, and those that wait for the LLM issues.
LATER = {
    "traces, sessions, scorers and judges": {
        "calculate_trace_filter_correlation", "create_dataset", "delete_assessment", "delete_dataset", "delete_dataset_tag", "delete_scorer", "delete_trace_tag",
        "delete_traces", "end_span", "end_trace", "get_assessment", "get_dataset", "get_trace", "link_prompt_version_to_run", "link_prompt_versions_to_trace",
        "link_traces_to_run", "log_assessment", "log_spans", "search_datasets", "search_sessions", "search_traces", "set_dataset_tags", "set_trace_tag", "start_span",
        "start_trace", "update_assessment", "add_dataset_to_experiments", "remove_dataset_from_experiments"},
    "prompts": {
        "create_prompt", "create_prompt_version", "delete_prompt", "delete_prompt_alias", "delete_prompt_tag", "delete_prompt_version", "delete_prompt_version_tag",
        "detach_prompt_from_run", "get_prompt", "get_prompt_version", "get_prompt_version_by_alias", "list_logged_prompts", "load_prompt", "log_prompt",
        "register_prompt", "search_prompt_versions", "search_prompts", "set_prompt_alias", "set_prompt_model_config", "set_prompt_tag", "set_prompt_version_tag",
        "delete_prompt_model_config", "link_prompt_version_to_model", "unregister_prompt"},
}


def test_every_method_of_the_client_is_called_or_known_to_wait():
    here = "".join(open(os.path.join(os.path.dirname(__file__), name)).read() for name in os.listdir(os.path.dirname(__file__)) if name.startswith("test_"))
    methods = {name for name in dir(MlflowClient) if not name.startswith("_") and callable(getattr(MlflowClient, name))}
    later = set().union(*LATER.values())
    assert sorted(name for name in methods - later if f".{name}(" not in here) == []
    assert sorted(later - methods) == []
