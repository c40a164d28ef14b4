"""A real MLflow store, made with MLflow's own client and no server: what imports are tested with."""
import json
import math

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.genai import datasets


class Doubler(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [value * 2 for value in model_input]


def client_of(uri):
    return MlflowClient(uri, uri)


def fill(uri, artifacts, points=2000):
    """Every kind of thing that tracking and the registry hold. Answers names that tests ask for."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = client_of(uri)
    made = {}
    plain = client.create_experiment("plain", f"file://{artifacts}/plain", tags={"team": "ops"})
    unicode = client.create_experiment("ünï/cödé 😀", f"{artifacts}/unicode")
    gone = client.create_experiment("gone", f"{artifacts}/gone")
    proxied = client.create_experiment("proxied", "mlflow-artifacts:/4")
    elsewhere = client.create_experiment("elsewhere", "s3://bucket/elsewhere")
    made |= {"plain": plain, "unicode": unicode, "gone": gone, "proxied": proxied, "elsewhere": elsewhere}
    made["long"] = long_run(client, plain, points)
    made |= logged_things(client, plain)
    made["evaluation"] = evaluation_datasets([plain, unicode])
    parent = client.create_run(unicode, run_name="Eltern 👪")
    for i in range(3):
        child = client.create_run(unicode, tags={"mlflow.parentRunId": parent.info.run_id}, run_name=f"child {i}")
        client.log_metric(child.info.run_id, "loss/äöü", i)
        client.set_terminated(child.info.run_id, ["FINISHED", "FAILED", "KILLED"][i])
    client.log_param(parent.info.run_id, "größe 漢字", "ü \"quoted\" 'and' 😀\nsecond line")
    made["parent"] = parent.info.run_id
    made["deleted_run"] = client.create_run(plain, run_name="deleted").info.run_id
    client.log_metric(made["deleted_run"], "m", 1.5)
    client.delete_run(made["deleted_run"])
    made["in_gone"] = client.create_run(gone).info.run_id
    client.delete_experiment(gone)
    made["far"] = client.create_run(elsewhere).info.run_id
    made["default_run"] = client.create_run("0", run_name="in Default").info.run_id
    return made


def long_run(client, experiment, points):
    run = client.create_run(experiment, run_name="long").info.run_id
    for start in range(0, points, 1000):
        client.log_batch(run, [Metric("loss", 1 / (1 + i) + (i % 7) / 100, 1_700_000_000_000 + i, i) for i in range(start, min(start + 1000, points))])
    odd = [("nan", math.nan), ("inf", math.inf), ("minus", -math.inf), ("zero", -0.0), ("tiny", 5e-324), ("huge", 1.7e308), ("third", 1 / 3)]
    client.log_batch(
        run, [Metric(key, value, 1_700_000_000_000, 0) for key, value in odd] + [Metric("mixed", v, 1000 + i, i % 2) for i, v in enumerate([1.0, math.nan, 3.0, 2.0])],
        [Param(f"p{i}", str(i)) for i in range(90)], [RunTag(f"t{i}", "x" * i) for i in range(90)])
    client.set_terminated(run)
    return run


def logged_things(client, experiment):
    """A run with datasets, artifacts and a logged model, and what the registry makes of it."""
    mlflow.set_experiment(experiment_id=experiment)
    frame = pd.DataFrame({"x": [1, 2, 3]})
    with mlflow.start_run(run_name="models") as run:
        mlflow.log_input(mlflow.data.from_pandas(frame, name="flights"), context="training")
        info = mlflow.pyfunc.log_model(name="doubler", python_model=Doubler(), pip_requirements=[], params={"factor": 2})
        mlflow.log_metric("auc", 0.75, model_id=info.model_id, dataset=mlflow.data.from_pandas(frame, name="flights"))
        mlflow.log_metric("auc", 0.8, step=1, model_id=info.model_id)
        mlflow.log_text("hello", "notes/with space ü.txt")
        mlflow.log_dict({"a": 1}, "data.json")
    client.set_logged_model_tags(info.model_id, {"quality": "good"})
    with mlflow.start_run(run_name="uses") as user:
        from mlflow.entities import LoggedModelInput
        client.log_inputs(user.info.run_id, models=[LoggedModelInput(info.model_id)])
    client.create_registered_model("doubler", tags={"domain": "numbers"}, description="twice as much")
    for i in range(3):
        client.create_model_version("doubler", info.model_uri, run.info.run_id, tags={"n": str(i)}, description=f"number {i}")
    client.create_model_version("doubler", run.info.artifact_uri + "/notes", run.info.run_id)
    client.delete_model_version("doubler", "2")
    client.transition_model_version_stage("doubler", "1", "Staging")
    client.set_registered_model_alias("doubler", "champion", "3")
    client.set_registered_model_alias("doubler", "old", "1")
    client.create_registered_model("empty one")
    return {"models": run.info.run_id, "user": user.info.run_id, "model": info.model_id}



def evaluation_datasets(experiments):
    """One with every kind of record, one that is empty."""
    made = datasets.create_dataset(name="questions", experiment_id=experiments, tags={"team": "ops", "größe": "ü"})
    made.merge_records([
        {"inputs": {"question": "ä 😀", "n": 1.0, "deep": {"b": [1, None, True], "a": 2**60}}, "expectations": {"answer": "x", "score": 0.1}, "tags": {"level": "easy"}},
        {"inputs": {"question": "b"}, "outputs": {"text": "y"}, "source": {"source_type": "human", "source_data": {"source_id": "s-1"}}},
        {"inputs": {"question": "c"}, "outputs": [1, 2.5, None]}, {"inputs": {"question": "d"}, "outputs": "text"}])
    made.merge_records([{"inputs": {"i": i}} for i in range(250)])
    datasets.create_dataset(name="empty", experiment_id=[])
    return made.dataset_id


def everything(uri, experiments=None):
    """What MlflowClient reads of a store, without what an import moves: artifact places."""
    client = client_of(uri)
    out = {"experiments": {}, "runs": {}, "models": {}, "registry": {}}
    for experiment in client.search_experiments(ViewType.ALL):
        if experiments is not None and experiment.name not in experiments:
            continue
        # MLflow notes the time of a change of the Default experiment; Keel's own is older.
        times = () if experiment.name == "Default" else (experiment.creation_time, experiment.last_update_time)
        out["experiments"][experiment.name] = (experiment.lifecycle_stage, dict(experiment.tags), times)
        token = None
        while True:
            page = client.search_runs([experiment.experiment_id], "", ViewType.ALL, max_results=500, page_token=token)
            for run in page:
                out["runs"][run.info.run_id] = describe(client, run, experiment.name)
            token = page.token
            if not token:
                break
        for model in client.search_logged_models([experiment.experiment_id]):
            out["models"][model.model_id] = (
                model.name, model.model_type or "", model.source_run_id, str(model.status), model.creation_timestamp, model.last_updated_timestamp,
                model.params, model.tags, sorted((m.key, m.value, m.step, m.timestamp, m.run_id, m.dataset_name, m.dataset_digest) for m in model.metrics or []))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    out["evaluation"] = {} if experiments is not None else {d.dataset_id: described(client, d.dataset_id) for d in datasets.search_datasets()}
    mlflow.set_tracking_uri(before)
    for model in client.search_registered_models():
        versions = client.search_model_versions(f"name = '{model.name}'")
        out["registry"][model.name] = (
            model.description or "", dict(model.tags), {k: str(v) for k, v in model.aliases.items()}, model.creation_timestamp, model.last_updated_timestamp,
            sorted((int(v.version), v.current_stage, v.description or "", v.run_id, dict(v.tags), v.creation_timestamp, v.last_updated_timestamp) for v in versions))
    return out


def described(client, dataset_id):
    dataset = client.get_dataset(dataset_id)
    names = sorted(client.get_experiment(e).name for e in dataset.experiment_ids)
    records = sorted((r.to_dict() for r in dataset.records), key=lambda r: r["dataset_record_id"])
    facts = {k: v for k, v in dataset.to_dict().items() if k not in ("experiment_ids", "records", "schema", "profile")}
    return names, facts, json.loads(dataset.schema or "null"), json.loads(dataset.profile or "null"), records


def describe(client, run, experiment):
    # A search leaves out the models that a run read.
    run = client.get_run(run.info.run_id)
    info = run.info
    history = {
        key: sorted((m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(info.run_id, key)) for key in run.data.metrics}
    inputs = sorted(
        (i.dataset.name, i.dataset.digest, i.dataset.source_type, i.dataset.source, i.dataset.schema, i.dataset.profile, sorted((t.key, t.value) for t in i.tags))
        for i in run.inputs.dataset_inputs)
    return {
        "info": (experiment, info.run_name, info.status, info.start_time, info.end_time, info.user_id, info.lifecycle_stage),
        "params": run.data.params, "tags": run.data.tags, "latest": {k: repr(v) for k, v in run.data.metrics.items()}, "history": history, "inputs": inputs,
        "model_inputs": sorted(i.model_id for i in run.inputs.model_inputs or []),
        "model_outputs": sorted((o.model_id, o.step) for o in (run.outputs.model_outputs if run.outputs else [])),
    }
