"""The same random calls to Keel and to a real MLflow server, and how their answers are compared.

A call is written with places for ids (`⟦run:3⟧` is the fourth run that this sequence created), so that each server is asked about its own
things. Answers are compared after ids are put back into such places and times that the server chose are reduced to what they say.

Run many seeds by hand: python Conformance/mlflow/differential.py KEEL_URL MLFLOW_URL FIRST LAST [CALLS]
"""
import json
import random
import re
import sys
import time
from dataclasses import dataclass, field

import requests

API = "/api/2.0/mlflow/"
# The thing made last, when there are more than three.
LAST = 999_999
PLACE = re.compile("⟦(run|experiment|logged):(\\d+)⟧")
KEYS = ["auc", "loss", "val/loss", "a.b", "a b", "k-1", "k_2", "a:b", "ключ", "指标", "k" * 250]
WRONG_KEYS = ["", "a%b", "a😀", "..", "../x", "/abs", "a//b", "a/./b", ".", "./a", "a\nb", "k" * 251, "k" * 10_000, "a;b", "a'b", 'a"b', "a\\b",
              "a\u0000b", "$x", "हिन्दी", "a/", "e\u0301"]
TEXTS = ["", "1", "0.5", "tree", "Tree", "linear", "ü \"q\" 😀", "it's", "50%", "a_b", "line\nline", "x" * 500, " padded ", "NULL"]
LONG_TEXTS = ["x" * 5000, "y" * 6000, "z" * 6001, "ü" * 8000, "t" * 8001]
NUMBERS = [0, 1, -1, 0.5, 0.25, 1e-300, 1e300, -2.5e10, 3.0, 12345678901234, "NaN", "Infinity", "-Infinity", "0.75", "1e3"]
WRONG_NUMBERS = ["abc", "", None, [1], {"a": 1}, "0x10", "nan"]
STEPS = [0, 1, 2, 3, -1, 100, 2**40, "7"]
WRONG_TYPES = [5, True, ["a"], {"a": 1}, 1.5]


@dataclass
class Call:
    method: str
    path: str
    fields: dict
    creates: str | None = None
    # Asks page after page until there is none.
    list: str | None = None
    # The body as it is sent, when it is no JSON object.
    raw: str | None = None


class Sequence:
    """Calls that depend on a seed and on how many things there are, never on what a server answered."""

    def __init__(self, seed, calls):
        self.random = random.Random(seed)
        self.prefix = f"d{seed}-{int(time.time() * 1000) % 10**9}-"
        self.made = {"run": 0, "experiment": 0, "logged": 0}
        self.clock = 1_700_000_000_000
        weighted = [(weight, make) for make, weight in WEIGHTS.items()]
        self.calls = [Call("POST", "experiments/create", {"name": self.prefix + "e0"}, creates="experiment")]
        self.made["experiment"] = 1
        for name in ("m1", "m2"):
            self.calls.append(Call("POST", "registered-models/create", {"name": self.prefix + name}))
        for make in [create_run, create_run, create_run, create_version, create_version, create_logged_model]:
            self.add(make)
        while len(self.calls) < calls:
            self.add(self.random.choices([m for _, m in weighted], [w for w, _ in weighted])[0])

    def add(self, make):
        call = make(self)
        if self.rare(0.03):
            call = self.spoilt(call)
        self.calls.append(call)
        if call.creates:
            self.made[call.creates] += 1

    # Choices

    def one(self, items):
        return self.random.choice(items)

    def rare(self, chance):
        return self.random.random() < chance

    def place(self, kind):
        if self.rare(0.03):
            return self.one({"run": ["0" * 32, "nope", "a/b", "x" * 300], "experiment": ["987654321", "nope", "-1", "1.5", ""],
                             "logged": ["m-" + "0" * 32, "nope"]}[kind])
        # Recent things are asked for more often: their state changed last.
        last = max(self.made[kind] - 1, 0)
        return f"⟦{kind}:{last if self.rare(0.4) else self.random.randint(0, last)}⟧"

    def run(self):
        return self.place("run")

    def experiment(self):
        return self.place("experiment")

    def key(self):
        return self.one(WRONG_KEYS) if self.rare(0.08) else self.one(KEYS)

    def text(self):
        return self.one(LONG_TEXTS) if self.rare(0.05) else self.one(TEXTS)

    def number(self):
        return self.one(WRONG_NUMBERS) if self.rare(0.04) else self.one(NUMBERS)

    def now(self):
        self.clock += 1000
        return self.clock

    def model(self):
        if self.rare(0.03):
            return self.one(["", " ", "a/b", "a:b", ".", "..", self.prefix + "none", "..x"])
        return self.prefix + self.one(["m1", "m2", "m3", "m ü", "m%20", "m.x"])

    def tags(self, most=3):
        return [{"key": self.key(), "value": self.text()} for _ in range(self.random.randint(0, most))]

    def items(self, most=2):
        """Tags or params with keys that every store takes, each once."""
        return [{"key": key, "value": self.one(TEXTS)} for key in self.random.sample(KEYS, self.random.randint(0, most))]

    def spoilt(self, call):
        """One field of a wrong type, left out, or unknown."""
        fields = dict(call.fields)
        # Without these the servers choose for themselves.
        names = sorted(fields.keys() - {"user_id", "start_time", "model_id", "source_run_id"} - ({"experiment_id"} if call.creates == "run" else set()))
        if not names or call.list:
            return call
        name = self.one(names)
        how = self.one(["missing", "wrong", "null", "extra"])
        if how == "missing":
            del fields[name]
        elif how == "wrong" and call.method != "GET" and not isinstance(fields[name], list):
            # Python takes true and 1.5 for whole numbers where protobuf does not.
            fields[name] = ["a"] if name in {"value", "timestamp", "step", "end_time", "status"} else self.one(WRONG_TYPES)
        elif how == "null" and call.method != "GET" and not isinstance(fields[name], list):
            fields[name] = None
        else:
            fields["no_such_field"] = "x"
        return Call(call.method, call.path, fields, call.creates, call.list)


# The calls


def create_experiment(s):
    name = s.one(["", "x" * 501, s.prefix + "n" * 480]) if s.rare(0.05) else s.prefix + s.one(["e1", "e2", "e3", "e ü'\"", "e/4", "e%5", "e6", "e7"])
    fields = {"name": name}
    if s.rare(0.3):
        fields["tags"] = s.items()
    if s.rare(0.05):
        fields["artifact_location"] = s.one(["runs:/x", "s3://bucket/x", "mlflow-artifacts:/custom", ""])
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


def search_experiments(s):
    filter = f"name LIKE '{s.prefix}%'"
    if s.rare(0.5):
        filter += s.one([" AND tags.auc = 'tree'", " AND tags.`a b` != '1'", " AND name != 'x'", " AND name ILIKE '%E%'", " AND creation_time > 0",
                         " AND tags.loss LIKE 't%'", " and attribute.name != ''", " AND tags.auc IS NULL", " AND tags.auc IS NOT NULL",
                         " AND last_update_time > 99999999999999", " AND colour = 'x'", " OR name = 'x'", " AND name > 'x'", " AND tags.auc = 1"])
    fields = {"filter": filter, "max_results": s.one([1, 2, 3, 1000])}
    if s.rare(0.6):
        fields["view_type"] = s.one(["ACTIVE_ONLY", "DELETED_ONLY", "ALL"])
    if s.rare(0.5):
        fields["order_by"] = s.one([["name"], ["name DESC"], ["creation_time"], ["last_update_time DESC", "name"], ["creation_time desc"], ["tags.a"],
                                    ["experiment_id"], ["nope"], ["name UP"]])
    return Call(s.one(["GET", "POST"]), "experiments/search", fields, list="experiments")


def create_run(s):
    fields = {"experiment_id": s.experiment(), "start_time": s.now(), "user_id": s.one(["ann", "bob"])}
    if s.rare(0.5):
        fields["run_name"] = s.one(["first", "second", "run ü", "", "n" * 251])
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
        fields["status"] = s.one(["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED", "FINISHED"])
    if s.rare(0.5):
        fields["end_time"] = s.now()
    if s.rare(0.3):
        fields["run_name"] = s.one(["renamed", "ü", ""])
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
        fields["timestamp"] = s.one([-1, None, "17"])
    if s.rare(0.1):
        fields |= {"model_id": "⟦logged:0⟧", "value": s.one([0.5, 1, -3])}
    if s.rare(0.1):
        fields |= {"dataset_name": "data", "dataset_digest": "d1"}
    return Call("POST", "runs/log-metric", fields)


def log_param(s):
    return Call("POST", "runs/log-parameter", {"run_id": s.run(), "key": s.key(), "value": s.text()})


def set_tag(s):
    key = "mlflow.runName" if s.rare(0.1) else s.key()
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


RUN_FILTERS = [
    "", "metrics.auc > 0.4", "metrics.loss <= 0.5", "metric.`a b` != 1", "metrics.\"val/loss\" >= 0", "params.auc = 'tree'", "params.loss != 'tree'",
    "params.loss LIKE 't%'", "params.loss ILIKE 'T%'", "tags.auc = 'tree'", "tags.`a.b` != '1'", "tags.loss ILIKE '%E%'", "attributes.status = 'FINISHED'",
    "status != 'RUNNING'", "run_name = 'first'", "attributes.run_name ILIKE '%IR%'", "start_time > 1700000010000", "end_time < 1700000020000",
    "dataset.name = 'data'", "datasets.digest IN ('d1', 'd2')", "dataset.context = 'training'", "tags.mlflow.parentRunId = '⟦run:0⟧'", "run_id = '⟦run:1⟧'",
    "attributes.run_id IN ('⟦run:0⟧', '⟦run:2⟧')", "run_id NOT IN ('⟦run:0⟧')", "user_id = 'ann'", "params.auc IS NULL", "tags.auc IS NOT NULL",
    "metrics.auc = 0.5 AND params.auc = 'tree'", "metrics.auc != 3", "metrics.auc < 1e301 AND metrics.loss > -1e11", "params.`k-1` = 'it\\'s'",
    'params."a:b" = "1"', "tags.ключ LIKE '%'", "params.auc = \"it's\"", "tags.a_b = '50%'", "tags.auc LIKE '50\\%'", "params.auc LIKE 'a_b'",
    # Wrong ones
    "metrics.auc > 'x'", "params.auc = 1", "params.auc > '1'", "colour = 'x'", "metrics.auc > 1 OR metrics.auc < 0", "metrics.auc", "= 3", "metrics.auc >",
    "nope.x = 'y'", "params.auc = tree", "metrics.auc IS NULL", "run_id > 'a'", "status = 3", "start_time = 'x'", "metrics.auc LIKE 'x'", "dataset.nope = 'x'",
    "metrics.auc >> 1", "params.auc IN ('a')", "status IN ('FINISHED')", "run_id IN ()", "run_id IN (1)", "(metrics.auc > 1)", "metrics.auc > 1 AND", "AND",
]
RUN_ORDERS = [["metrics.auc DESC"], ["metrics.loss"], ["metric.`a b` ASC", "start_time ASC"], ["params.auc DESC"], ["tags.loss"], ["start_time ASC"],
              ["attributes.status", "start_time DESC"], ["end_time"], ["end_time DESC"], ["run_name DESC"], ["params.`k-1`"], ["nope"], ["metrics.auc UP"],
              ["metrics.auc", "metrics.auc DESC"], [""], ["dataset.name"], ["user_id"], ["Created DESC"], ["metrics.auc desc"], ["attribute.start_time"]]


def search_runs(s):
    fields = {"experiment_ids": [s.experiment() for _ in range(s.one([0, 1, 1, 2, 3]))], "max_results": s.one([1, 2, 3, 7, 1000, 50000])}
    fields["filter"] = s.one(RUN_FILTERS)
    if s.rare(0.2):
        fields["filter"] += " AND " + s.one(RUN_FILTERS[1:30])
    if s.rare(0.5):
        fields["order_by"] = s.one(RUN_ORDERS)
    if s.rare(0.4):
        fields["run_view_type"] = s.one(["ACTIVE_ONLY", "DELETED_ONLY", "ALL"])
    if s.rare(0.05):
        fields["max_results"] = s.one([0, -1, 50001, "x", "3"])
    if s.rare(0.03):
        fields["page_token"] = s.one(["nope", "\u0000", "x" * 10_000])
    return Call("POST", "runs/search", fields, list="runs")


def metric_history(s):
    fields = {"run_id": s.run(), "metric_key": s.key()}
    if s.rare(0.6):
        fields["max_results"] = s.one([1, 2, 5, 100, 0, -1, "x"])
    return Call("GET", "metrics/get-history", fields, list="metrics")


def create_logged_model(s):
    fields = {"experiment_id": s.experiment()}
    if s.rare(0.8):
        fields["name"] = s.one(["model", "other", "ü", "a/b", "a:b", ""])
    if s.rare(0.5):
        fields |= {"model_type": s.one(["sklearn", ""]), "source_run_id": s.one(["⟦run:0⟧", "⟦run:1⟧", ""])}
    if s.rare(0.5):
        fields |= {"params": s.items(), "tags": s.items()}
    return Call("POST", "logged-models", fields, creates="logged")


def get_logged_model(s):
    return Call("GET", f"logged-models/{s.place('logged')}", {})


def finalize_logged_model(s):
    place = s.place("logged")
    return Call("PATCH", f"logged-models/{place}", {"model_id": place, "status": s.one(
        ["LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED", "LOGGED_MODEL_PENDING"])})


def delete_logged_model(s):
    # The first ones live on: others refer to them.
    return Call("DELETE", f"logged-models/⟦logged:{LAST}⟧", {})


def set_logged_model_tags(s):
    return Call("PATCH", f"logged-models/{s.place('logged')}/tags", {"tags": s.items()})


def delete_logged_model_tag(s):
    return Call("DELETE", f"logged-models/{s.place('logged')}/tags/{s.one(['auc', 'loss', 'k_2', 'nope'])}", {})


def log_logged_model_params(s):
    place = s.place("logged")
    return Call("POST", f"logged-models/{place}/params", {"model_id": place, "params": s.items(1)})


def search_logged_models(s):
    fields = {"experiment_ids": [s.experiment() for _ in range(s.one([1, 2]))], "max_results": s.one([1, 2, 50])}
    fields["filter"] = s.one(["", "name = 'model'", "name LIKE 'm%'", "status = 'READY'", "params.auc = 'tree'", "tags.loss = '1'", "metrics.auc > 0.3",
                              "model_type = 'sklearn'", "source_run_id = '⟦run:0⟧'", "nope = 1", "creation_timestamp > 0", "name != 'x'", "metrics.auc > 'x'",
                              "attributes.name ILIKE 'M%'", "tags.auc IS NULL", "params.auc != 'x'", "name IN ('model', 'ü')", "model_id = '⟦logged:0⟧'"])
    if s.rare(0.4):
        fields["order_by"] = [{"field_name": s.one(["name", "creation_timestamp", "last_updated_timestamp", "nope", "params.auc"]),
                               "ascending": s.one([True, False])}]
    return Call("POST", "logged-models/search", fields, list="models")


def create_model(s):
    fields = {"name": s.model()}
    if s.rare(0.4):
        fields["tags"] = s.tags()
    if s.rare(0.4):
        fields["description"] = s.text()
    return Call("POST", "registered-models/create", fields)


def get_model(s):
    return Call("GET", "registered-models/get", {"name": s.model()})


def rename_model(s):
    return Call("POST", "registered-models/rename", {"name": s.model(), "new_name": s.model()})


def update_model(s):
    fields = {"name": s.model()}
    if s.rare(0.9):
        fields["description"] = s.text()
    return Call("PATCH", "registered-models/update", fields)


def delete_model(s):
    return Call("DELETE", "registered-models/delete", {"name": s.model()})


def set_model_tag(s):
    return Call("POST", "registered-models/set-tag", {"name": s.model(), "key": s.key(), "value": s.text()})


def delete_model_tag(s):
    return Call("DELETE", "registered-models/delete-tag", {"name": s.model(), "key": s.key()})


def search_models(s):
    filter = f"name LIKE '{s.prefix}%'"
    if s.rare(0.5):
        filter += s.one([" AND name ILIKE '%M1'", " AND tags.auc = 'tree'", " AND tags.loss != '1'", " AND tags.`a b` LIKE '%e%'", " AND name != 'x'",
                         " AND nope = 'x'", " AND tags.auc IS NULL", " AND name > 'x'", " AND name IN ('x')", " AND tags.auc = 'tree' AND tags.loss = '1'",
                         " AND description = 'x'", " OR name = 'x'"])
    fields = {"filter": filter, "max_results": s.one([1, 2, 100])}
    if s.rare(0.5):
        fields["order_by"] = s.one([["name"], ["name DESC"], ["last_updated_timestamp DESC"], ["timestamp ASC"], ["nope"], ["creation_timestamp"],
                                    ["name", "name DESC"]])
    return Call("GET", "registered-models/search", fields, list="registered_models")


def latest_versions(s):
    fields = {"name": s.model()}
    if s.rare(0.6):
        fields["stages"] = s.one([["Production"], ["None", "Staging"], ["nope"], ["production"], []])
    return Call(s.one(["GET", "POST"]), "registered-models/get-latest-versions", fields)


def set_alias(s):
    return Call("POST", "registered-models/alias", {"name": s.model(), "alias": alias(s), "version": version(s)})


def delete_alias(s):
    return Call("DELETE", "registered-models/alias", {"name": s.model(), "alias": alias(s)})


def get_alias(s):
    return Call("GET", "registered-models/alias", {"name": s.model(), "alias": alias(s)})


def alias(s):
    return s.one(["latest", "v1", "V22", "a b", "a.b", "", "x" * 256, "LATEST"]) if s.rare(0.15) else s.one(["champion", "challenger", "ü", "a-b_c"])


def version(s):
    return s.one(["0", "-1", "99", "x", "1.5", "", 1]) if s.rare(0.1) else s.one(["1", "1", "2", "2", "3", "4"])


def create_version(s):
    fields = {"name": s.model()} | s.one([
        {"source": "s3://bucket/model"}, {"source": "s3://bucket/model", "run_id": s.one(["⟦run:0⟧", "⟦run:1⟧", ""])}, {"source": "dbfs:/m"},
        {"source": "models:/" + s.prefix + "m1/1"}, {"source": "models:/⟦logged:0⟧", "model_id": "⟦logged:0⟧"}, {"source": "runs:/⟦run:0⟧/model", "run_id": "⟦run:0⟧"},
        {"source": "mlflow-artifacts:/⟦experiment:0⟧/⟦run:0⟧/artifacts/m", "run_id": "⟦run:0⟧"}, {"source": "models:/" + s.prefix + "none/1"},
        {"source": s.one(["s3://b/../../x", "s3://b/%2e%2e/x", "", "gs://b/%252e%252e/x"])}])
    if s.rare(0.4):
        fields |= {"description": s.text(), "tags": s.tags(), "run_link": s.one(["", "https://x/y"])}
    return Call("POST", "model-versions/create", fields)


def get_version(s):
    return Call("GET", "model-versions/get", {"name": s.model(), "version": version(s)})


def update_version(s):
    fields = {"name": s.model(), "version": version(s)}
    if s.rare(0.9):
        fields["description"] = s.text()
    return Call("PATCH", "model-versions/update", fields)


def delete_version(s):
    return Call("DELETE", "model-versions/delete", {"name": s.model(), "version": version(s)})


def transition(s):
    return Call("POST", "model-versions/transition-stage", {
        "name": s.model(), "version": version(s), "stage": s.one(["Production", "Staging", "Archived", "None", "production", "nope"]),
        "archive_existing_versions": s.one([True, False, False])})


def set_version_tag(s):
    return Call("POST", "model-versions/set-tag", {"name": s.model(), "version": version(s), "key": s.key(), "value": s.text()})


def delete_version_tag(s):
    return Call("DELETE", "model-versions/delete-tag", {"name": s.model(), "version": version(s), "key": s.key()})


def download_uri(s):
    return Call("GET", "model-versions/get-download-uri", {"name": s.model(), "version": version(s)})


def search_versions(s):
    filter = f"name LIKE '{s.prefix}%'"
    if s.rare(0.5):
        filter = s.one([f"name = '{s.prefix}m1'", f"name IN ('{s.prefix}m1', '{s.prefix}m2')", filter + " AND run_id = '⟦run:0⟧'",
                        filter + " AND version_number > 1", filter + " AND tags.auc = 'tree'", filter + " AND source_path LIKE 's3%'",
                        filter + " AND run_id IN ('⟦run:0⟧')", filter + " AND nope = 1",
                        filter + " AND tags.loss != '1'", filter + " AND version_number != 2", filter + " AND aliases = 'champion'"])
    fields = {"filter": filter, "max_results": s.one([1, 2, 10_000])}
    if s.rare(0.5):
        fields["order_by"] = s.one([["name", "version_number"], ["version_number DESC", "name"], ["creation_timestamp"], ["nope"], ["last_updated_timestamp ASC"],
                                    ["name DESC"], ["version_number", "version_number"]])
    return Call("GET", "model-versions/search", fields, list="model_versions")


def not_json(s):
    path, fields = s.one([("runs/log-metric", {}), ("experiments/create", {}), ("runs/search", {}), ("registered-models/create", {})])
    return Call("POST", path, fields, raw=s.one(["", "{", "[]", "null", "1", "{\"a\":", "\"{}\"", "{} x"]))


WEIGHTS = {
    create_experiment: 2, get_experiment: 2, get_experiment_by_name: 1, delete_experiment: 0.5, restore_experiment: 1, rename_experiment: 1,
    set_experiment_tag: 2, delete_experiment_tag: 1, search_experiments: 4, create_run: 5, get_run: 6, get_run_by_old_name: 0.5, update_run: 3, delete_run: 1.5,
    restore_run: 2, log_metric: 10, log_param: 5, set_tag: 5, delete_tag: 2, log_batch: 5, log_inputs: 3, log_outputs: 1, search_runs: 14, metric_history: 4,
    create_logged_model: 2, get_logged_model: 2, finalize_logged_model: 1, delete_logged_model: 0.4, set_logged_model_tags: 1, delete_logged_model_tag: 0.7,
    log_logged_model_params: 1, search_logged_models: 3, create_model: 3, get_model: 3, rename_model: 0.7, update_model: 1, delete_model: 0.4,
    set_model_tag: 2, delete_model_tag: 1, search_models: 4, latest_versions: 2, set_alias: 3, delete_alias: 1, get_alias: 2, create_version: 6,
    get_version: 3, update_version: 1, delete_version: 1, transition: 2, set_version_tag: 2, delete_version_tag: 1, download_uri: 1, search_versions: 4,
    not_json: 0.5,
}


# Asking and comparing

CHOSEN_TIMES = {"creation_time": "last_update_time", "creation_timestamp": "last_updated_timestamp", "creation_timestamp_ms": "last_updated_timestamp_ms"}


class Server:
    """One of the two servers, what was created on it, and its answers in a form that both can give."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()
        self.ids = {"run": [], "experiment": [], "logged": []}
        # Names that the server made up.
        self.names = {}

    def resolve(self, value):
        if isinstance(value, str):
            return PLACE.sub(lambda m: self.id(m[1], int(m[2])), value)
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return {k: self.resolve(v) for k, v in value.items()} if isinstance(value, dict) else value

    def id(self, kind, i):
        made = [x for x in self.ids[kind] if x]
        if i == LAST:
            return made[-1] if len(made) > 3 else "none-of-" + kind
        return made[i % len(made)] if made else "none-of-" + kind

    def ask(self, call):
        fields = self.resolve(call.fields)
        if not call.list:
            return [self.once(call, fields)]
        pages = []
        while len(pages) < 40:
            status, body = self.once(call, fields)
            pages.append((status, body))
            token = body.pop("next_page_token", None) if isinstance(body, dict) else None
            if not token:
                return pages
            fields["page_token"] = token
        raise AssertionError(f"{self.url}: pages without end for {call}")

    def once(self, call, fields):
        url = self.url + API + self.resolve(call.path)
        if call.raw is not None:
            answer = self.session.request(call.method, url, data=call.raw.encode(), headers={"Content-Type": "application/json"}, timeout=60)
        elif call.method == "GET":
            answer = self.session.get(url, params=fields, timeout=60)
        else:
            answer = self.session.request(call.method, url, json=fields, timeout=60)
        try:
            body = answer.json()
        except ValueError:
            body = {"not_json": answer.text[:200]}
        return answer.status_code, body

    def learn(self, call, status, body):
        if not call.creates:
            return
        made = None
        if status == 200:
            made = {"run": lambda: body["run"]["info"]["run_id"], "experiment": lambda: body["experiment_id"],
                    "logged": lambda: body["model"]["info"]["model_id"]}[call.creates]()
            if call.creates == "run":
                self.names[body["run"]["info"]["run_name"]] = None
            name = {"run": lambda: body["run"]["info"]["run_name"], "logged": lambda: body["model"]["info"]["name"], "experiment": lambda: None}[call.creates]()
            if name and name not in json.dumps(call.fields, ensure_ascii=False):
                self.names[name] = f"⟦name of {call.creates}:{len(self.ids[call.creates])}⟧"
        self.ids[call.creates].append(made)

    def plain(self, value, key=None):
        """The answer with ids in their places, server's times as what they say, and lists without an order of their own sorted."""
        if isinstance(value, dict):
            out = {k: self.plain(v, k) for k, v in value.items()}
            for made, changed in CHOSEN_TIMES.items():
                if made in out and isinstance(value[made], int) and value[made] > 1_750_000_000_000:
                    out[made] = "a time"
                    if changed in out:
                        out[changed] = "the same time" if value[changed] == value[made] else "later"
            return out
        if isinstance(value, list):
            items = [self.plain(item, key) for item in value]
            return sorted(items, key=lambda x: json.dumps(x, sort_keys=True)) if key in UNORDERED else items
        if not isinstance(value, str):
            return value
        if self.names.get(value):
            return self.names[value]
        for kind in ("run", "logged"):
            for i, made in enumerate(self.ids[kind]):
                if made and made in value:
                    value = value.replace(made, f"⟦{kind}:{i}⟧")
        numbers = {made: i for i, made in enumerate(self.ids["experiment"]) if made}
        if key in ("experiment_id",):
            return f"⟦experiment:{numbers[value]}⟧" if value in numbers else value
        return re.sub(r"(mlflow-artifacts:/|id=|id |experiment )(\d+)\b", lambda m: m[1] + (f"⟦experiment:{numbers[m[2]]}⟧" if m[2] in numbers else m[2]), value)


UNORDERED = {"tags", "params", "metrics", "aliases", "dataset_inputs", "model_inputs", "model_outputs", "latest_versions"}


def parts(ours, theirs, path=""):
    """Where two answers differ."""
    if ours == theirs:
        return []
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [part for key in sorted(ours.keys() | theirs.keys()) for part in parts(ours.get(key), theirs.get(key), f"{path}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [part for i in range(len(ours)) for part in parts(ours[i], theirs[i], f"{path}[{i}]")]
    return [(path, ours, theirs)]


@dataclass
class Difference:
    call: Call
    number: int
    keel: list
    mlflow: list

    def __str__(self):
        def short(x):
            text = re.sub(r"(.)\1{20,}", r"\1…", json.dumps(x, ensure_ascii=False, sort_keys=True))
            return text if len(text) < 900 else text[:900] + "…"
        raw = f" raw={self.call.raw!r}" if self.call.raw is not None else ""
        lines = [f"call {self.number}: {self.call.method} {self.call.path}{raw} {short(self.call.fields)}"]
        for path, ours, theirs in parts(self.keel, self.mlflow)[:6]:
            lines.append(f"  at {path}\n    keel   {short(ours)}\n    mlflow {short(theirs)}")
        return "\n".join(lines)


def compare(calls, keel_url, mlflow_url, plain, same):
    """The differences of one sequence: answers, lists of pages (status, body), made plain, that are not the `same`."""
    keel, mlflow = Server(keel_url), Server(mlflow_url)
    differences = []
    for number, call in enumerate(calls):
        answers = []
        for server in (keel, mlflow):
            pages = server.ask(call)
            server.learn(call, *pages[0])
            answers.append([[status, server.plain(plain(call, body), call.list)] for status, body in pages])
            # Times have milliseconds: two calls never share one.
            time.sleep(0.002)
        if not same(call, *answers):
            differences.append(Difference(call, number, *answers))
        if call.creates and (keel.ids[call.creates][-1] is None) != (mlflow.ids[call.creates][-1] is None):
            keel.ids[call.creates][-1] = mlflow.ids[call.creates][-1] = None
    return differences


def shortest(calls, shows, tries=60):
    """Fewer of the calls that still show what all of them show, after at most so many tries."""
    step = max(len(calls) // 2, 1)
    while tries and step:
        for start in range(0, len(calls) - 1, step):
            fewer = calls[:start] + calls[start + step:]
            tries -= 1
            # The last call is where it shows.
            if fewer and fewer[-1] is calls[-1] and shows(fewer):
                calls = fewer
                break
            if not tries:
                break
        else:
            step //= 2
    return calls


def main(keel, mlflow, first, last, calls=400):
    """Compares many seeds and prints each difference once per kind."""
    from differences import plain, same
    seen = {}
    for seed in range(int(first), int(last) + 1):
        for difference in compare(Sequence(seed, int(calls)).calls, keel, mlflow, plain, same):
            (k, _), (m, _) = difference.keel[0], difference.mlflow[0]
            kind = (difference.call.method, PLACE.sub("X", difference.call.path), k, m)
            seen.setdefault(kind, []).append((seed, difference))
    for kind, found in sorted(seen.items(), key=lambda item: -len(item[1])):
        print("=====", len(found), *kind)
        for seed, difference in found[:3]:
            print(f"seed {seed}", difference)


if __name__ == "__main__":
    main(*sys.argv[1:])
