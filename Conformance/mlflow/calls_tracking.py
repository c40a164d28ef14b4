"""Random calls about experiments, runs and metrics."""
import json

from differential import Call
from sequences import KEYS, NUMBERS, STEPS


def create_experiment(s):
    name = s.one(["", "x" * 501, s.prefix + "n" * 480]) if s.rare(0.05) else s.prefix + s.one(["e1", "e2", "e3", "e ü'\"", "e/4", "e%5", "e6", "e7"])
    fields = {"name": name}
    if s.rare(0.3):
        fields["tags"] = s.items()
    if s.rare(0.05):
        fields["artifact_location"] = s.one(["runs:/x", "s3://bucket/x", "s3://bucket/x/", "s3://bucket/x?a=b", "s3://bucket?a=..", "mlflow-artifacts:/custom", "mlflow-artifacts:/", ""])
    return Call("POST", "experiments/create", fields, creates="experiment")


def get_experiment(s):
    return Call("GET", "experiments/get", {"experiment_id": s.experiment()})


def get_experiment_by_name(s):
    return Call("GET", "experiments/get-by-name", {"experiment_name": s.prefix + s.one(["e1", "e2", "e ü'\"", "e/4", "e%5", "none"])})


def delete_experiment(s):
    return Call("POST", "experiments/delete", {"experiment_id": s.experiment()})


def restore_experiment(s):
    return Call("POST", "experiments/restore", {"experiment_id": s.experiment()})


def rename_experiment(s):
    return Call("POST", "experiments/update", {"experiment_id": s.experiment(), "new_name": s.prefix + s.one(["e1", "e2", "r1", "r2", "r3"])})


def set_experiment_tag(s):
    return Call("POST", "experiments/set-experiment-tag", {"experiment_id": s.experiment(), "key": s.key(), "value": s.text()})


def delete_experiment_tag(s):
    return Call("POST", "experiments/delete-experiment-tag", {"experiment_id": s.experiment(), "key": s.key()})


def create_run(s):
    fields = {"experiment_id": s.experiment(), "start_time": s.now(), "user_id": s.one(["ann", "bob"])}
    if s.named or s.rare(0.5):
        fields["run_name"] = s.one(["first", "second", "run ü", "n" * 251] + [""] * (not s.named))
    if s.rare(0.5):
        fields["tags"] = s.items() + ([{"key": "mlflow.runName", "value": s.one(["first", "tagged"])}] if s.rare(0.2) else [])
    if s.rare(0.2):
        fields["tags"] = [{"key": "mlflow.parentRunId", "value": s.run()}]
    return Call("POST", "runs/create", fields, creates="run")


def get_run(s):
    return Call("GET", "runs/get", {"run_id": s.run()})


def get_run_by_old_name(s):
    run = s.run()
    return Call("GET", "runs/get", s.one([{"run_uuid": run}, {"run_id": run, "run_uuid": run}]))


def update_run(s):
    fields = {"run_id": s.run()}
    if s.rare(0.7):
        fields["status"] = s.one(["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED", "FINISHED", 1, 3, "4"])
    if s.rare(0.5):
        fields["end_time"] = s.now()
    if s.rare(0.3):
        fields["run_name"] = s.one(["renamed", "ü", "50% _x"])
    return Call("POST", "runs/update", fields)


def delete_run(s):
    return Call("POST", "runs/delete", {"run_id": s.run()})


def restore_run(s):
    return Call("POST", "runs/restore", {"run_id": s.run()})


def log_metric(s):
    fields = {"run_id": s.run(), "key": s.key(), "value": s.number(), "timestamp": s.clock + s.one([0, 0, 1, -5])}
    if s.rare(0.7):
        fields["step"] = s.one(STEPS)
    if s.rare(0.05):
        fields["timestamp"] = s.one([-1, None, "17", "17.0", 17.0, 2**47, -(2**63), ""])
    if s.rare(0.1):
        fields |= {"model_id": "⟦logged:0⟧", "value": s.one([0.5, 1, -3])}
    if s.rare(0.1):
        fields |= {"dataset_name": "data", "dataset_digest": "d1"}
    return Call("POST", "runs/log-metric", fields)


def log_param(s):
    return Call("POST", "runs/log-parameter", {"run_id": s.run(), "key": s.key(), "value": s.text()})


def set_tag(s):
    key = s.one(["mlflow.runName", "mlflow.note.content", "mlflow.user"]) if s.rare(0.15) else s.key()
    return Call("POST", "runs/set-tag", {"run_id": s.run(), "key": key, "value": s.text()})


def delete_tag(s):
    return Call("POST", "runs/delete-tag", {"run_id": s.run(), "key": s.key()})


def log_batch(s):
    metrics = [{"key": s.key() if s.rare(0.05) else s.one(KEYS), "value": s.one(NUMBERS), "timestamp": s.clock + i % 2, "step": s.one(STEPS)}
               for i in range(s.random.randint(0, 6))]
    if metrics and s.rare(0.1):
        del metrics[0][s.one(["key", "value", "timestamp", "step"])]
    params = [{"key": s.one(KEYS), "value": s.text()} for _ in range(s.random.randint(0, 2))]
    fields = {"run_id": s.run(), "metrics": metrics, "params": params, "tags": s.tags(2)}
    if s.rare(0.05):
        fields["params"] = [{"key": f"p{i}", "value": "1"} for i in range(s.one([100, 101]))]
    if s.rare(0.03):
        fields["metrics"] = [{"key": "many", "value": i, "timestamp": 1, "step": i} for i in range(s.one([1000, 1001]))]
        fields["params"], fields["tags"] = [], []
    return Call("POST", "runs/log-batch", fields)


def log_inputs(s):
    def dataset():
        found = {"name": s.one(["data", "flights", "ü"]), "digest": s.one(["d1", "d2"]), "source_type": "local", "source": "{}"}
        if found["digest"] == "d1":
            found |= {"schema": "{\"a\": 1}", "profile": "{\"rows\": 3}"}
        if s.rare(0.08):
            found[s.one(["name", "digest"])] = "n" * 501
        return {"dataset": found, "tags": s.one([[], [{"key": "mlflow.data.context", "value": s.one(["training", "evaluation"])}]])}

    fields = {"run_id": s.run(), "datasets": [dataset() for _ in range(s.random.randint(0, 2))]}
    if s.rare(0.2):
        fields["models"] = [{"model_id": s.one(["⟦logged:0⟧", "⟦logged:1⟧"])}]
    return Call("POST", "runs/log-inputs", fields)


def log_outputs(s):
    return Call("POST", "runs/outputs", {"run_id": s.run(), "models": [{"model_id": s.one(["⟦logged:0⟧", "⟦logged:1⟧"]), "step": s.one([0, 1, 2])}]})


def metric_history(s):
    fields = {"run_id": s.run(), "metric_key": s.key()}
    if s.rare(0.6):
        fields["max_results"] = s.one([1, 2, 5, 100, 0, -1, "x"])
    return Call("GET", "metrics/get-history", fields, list="metrics")


def metric_histories(s):
    fields = {"run_id": [s.run() for _ in range(s.random.randint(0, 4))], "metric_key": s.key()}
    if s.rare(0.5):
        # Runs are in the order of their ids, which servers make up.
        fields["max_results"] = s.one([1, 2, 5, 100]) if len(fields["run_id"]) == 1 else 25_000
    return Call("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk", fields)


def metric_samples(s):
    fields = {"run_ids": [s.run() for _ in range(s.random.randint(0, 3))], "metric_key": s.key()}
    if s.rare(0.6):
        fields["max_results"] = s.one([1, 2, 3, 5, 100, 2500, 0, 2501, -1, "x"])
    if s.rare(0.4) and fields.get("max_results", 1) in range(1, 2501):
        fields["start_step"] = s.one([0, 1, 2, -1, -(2**63), "x"])
    if s.rare(0.4):
        fields["end_step"] = s.one([1, 3, 100, 2**40, 2**63 - 1, -2])
    return Call("GET", "metrics/get-history-bulk-interval", fields)


def log_history(s):
    """A history long enough to be sampled."""
    steps = s.random.sample(range(-300, 3000), s.random.randint(2, 60))
    return Call("POST", "runs/log-batch", {"run_id": s.run(), "metrics": [
        {"key": "auc", "value": s.one(NUMBERS), "timestamp": s.clock + i % 3, "step": step} for i, step in enumerate(steps)]})


def log_old_model(s):
    model = {"artifact_path": s.one(["m", "n/ü"]), "flavors": {"sklearn": {}}, "utc_time_created": "t", "run_id": "r"}
    return Call("POST", "runs/log-model", {"run_id": s.run(), "model_json": s.one([json.dumps(model)] * 4 + ["{}", "[]", "x", "", "{\"flavors\": 1}"])})


def run_datasets(s):
    return Call("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": [s.experiment() for _ in range(s.random.randint(1, 3))]})
