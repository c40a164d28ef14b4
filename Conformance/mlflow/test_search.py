"""Searches, compared answer by answer with a real MLflow server that holds the same data: names in order, or status, code and message."""
import re
import time

import pytest
import requests

from servers import Keel

RUNS = [  # name, metrics, params, tags, status
    ("alpha", {"acc": 0.91, "loss": 0.3, "a.b": 1, "val/acc": 0.5}, {"lr": "0.1", "depth": "3"}, {"team": "risk", "stage": "Dev"}, "FINISHED"),
    ("Alpha", {"acc": 0.95, "loss": 0.2}, {"lr": "0.01", "depth": "10"}, {"team": "Risk"}, "FAILED"),
    ("beta", {"acc": float("nan"), "loss": 0.1}, {"lr": "1e-3"}, {"team": "ops", "note": "it's"}, "RUNNING"),
    ("gamma", {"loss": 1}, {"lr": "", "depth": "3"}, {"note": "50%"}, "FINISHED"),
    ("delta", {"acc": 0}, {}, {"note": "a_b", "team": "ris"}, "KILLED"),
    ("epsilon", {"acc": float("inf")}, {"path": "C:\\tmp\\x"}, {"note": "a\\b"}, "FINISHED"),
    ("zeta", {"acc": float("-inf")}, {"path": "c:/tmp"}, {"note": "Ärger", "a b": "1"}, "SCHEDULED"),
    ("éta", {"acc": 0.91}, {"lr": "0.1", "with space": "v"}, {"note": "ärger"}, "FINISHED"),
    ("theta", {"acc": -1.5, "loss": 1e-7}, {"lr": "x" * 300}, {"note": "🙂 ok"}, "FINISHED"),
    ("iota", {"acc": 1e300}, {"lr": "LR"}, {"note": 'say "hi"', "team": "RISK"}, "FINISHED"),
    ("", {}, {"lr": "null"}, {"note": "axb", "k-1": "dash"}, "FINISHED"),
    ("lambda 2", {"acc": 0.910000000001}, {"lr": "0.10"}, {"team": "risk ", "dots.in.key": "d"}, "FINISHED"),
]
DATASETS = {0: [("iris", "d1", "train"), ("wine", "d2", "eval")], 1: [("Iris", "d3", "train")], 3: [("iris", "d1", "eval")], 4: [("none", "d4", None)]}

# (filter) or (filter, order_by) or (filter, order_by, other fields)
FILTERS = [
    "", " ", "metrics.acc > 0.9", "metrics.acc >= 0.91", "metrics.acc < 0", "metrics.acc <= 0", "metrics.acc = 0.91", "metrics.acc != 0.91",
    "metric.acc > 0.9", "metrics.acc>0.9", "metrics.acc = 0", "metrics.acc != 0", "metrics.acc > -1", "metrics.acc = -1.5", "metrics.acc > 1e10",
    "metrics.acc < 1e400", "metrics.acc > 1E-3", "metrics.acc > 5e-1", "metrics.acc >= .5", "metrics.acc > 0.", "metrics.loss = 1", "metrics.loss = 1.0",
    "metrics.loss = 1e-7", "metrics.acc > 1000000000000000000000", "metrics.`acc` > 0.9", 'metrics."acc" > 0.9', "metrics.`a.b` = 1", "metrics.a.b = 1",
    "metrics.`val/acc` = 0.5", 'metrics."val/acc" = 0.5', "metrics.`p%` > 1", "metrics.`🙂` > 1", "metrics.missing > 0", "metrics.missing != 0",
    "`metrics`.acc > 0.9", "metrics.acc > 0.9 AND metrics.loss < 0.25", "metrics.acc > 0.9 and params.lr = '0.1'",
    "metrics.acc > 0.9 AND metrics.acc < 0.92", "metrics.acc > 0.9\nAND\tmetrics.loss < 0.25", "metrics.acc > 0.9 AND", "AND metrics.acc > 0.9",
    "metrics.acc > 0.9 AND AND metrics.loss < 1",
    "params.lr = '0.1'", 'params.lr = "0.1"', "param.lr = '0.1'", "parameter.lr = '0.1'", "parameters.lr = '0.1'", "params.lr != '0.1'",
    "params.lr = ''", "params.lr != ''", "params.lr LIKE '0.1'", "params.lr LIKE '0.1%'", "params.lr like '0.%'", "params.lr Like '%'", "params.lr ILIKE 'lr'",
    "params.lr ilike '%R'", "params.lr LIKE 'lr'", "params.lr LIKE '_._'", "params.lr LIKE '____'", "params.path LIKE 'C:\\tmp%'", "params.path LIKE '%\\%'",
    "params.path ILIKE 'c:_tmp%'", "params.path = 'C:\\tmp\\x'", "params.lr = '" + "x" * 300 + "'", "params.lr = '" + "x" * 299 + "'",
    "params.lr LIKE '" + "x" * 250 + "%'", "params.`with space` = 'v'", 'params."with space" = \'v\'', "params.lr IS NULL", "params.lr IS NOT NULL",
    "params.depth is null", "params.depth Is Not Null", "params.missing IS NULL", "params.lr IS NULL AND metrics.acc > 0",
    "metrics.acc > 0 AND params.depth IS NOT NULL", "params.lr = 'null'",
    "tags.team = 'risk'", "tag.team = 'risk'", "tags.team = 'RISK'", "tags.team != 'risk'", "tags.team LIKE 'ris%'", "tags.team LIKE '%is%'",
    "tags.team ILIKE 'risk'", "tags.team ILIKE 'RIS_'", "tags.team LIKE 'risk '", "tags.note LIKE '50%'", "tags.note = '50%'", "tags.note LIKE 'a_b'",
    "tags.note = 'a_b'", "tags.note LIKE 'a\\_b'", "tags.note LIKE 'a\\b'", "tags.note = 'Ärger'", "tags.note ILIKE 'ÄRGER'", "tags.note ILIKE 'ärger'",
    "tags.note LIKE '_rger'", "tags.note LIKE '🙂%'", "tags.note LIKE '_ ok'", "tags.note = '🙂 ok'", "tags.note = \"it's\"", "tags.note = 'it''s'",
    "tags.note = 'it\\'s'", "tags.note = 'say \"hi\"'", 'tags.note = "say \\"hi\\""', "tags.`a b` = '1'", "tags.`k-1` = 'dash'", "tags.k-1 = 'dash'",
    "tags.`dots.in.key` = 'd'", "tags.dots.in.key = 'd'", "tags.team IS NULL", "tags.team IS NOT NULL AND tags.team != 'risk'",
    "tags.mlflow.runName = 'beta'", "tags.`mlflow.runName` LIKE '%eta'", "tags.team = 'risk' AND tags.stage = 'Dev'", "tags.team LIKE 'x%' AND tags.team LIKE '%y'",
    "tags.team = `risk`", "tags.'team' = 'risk'", "tags.status = 'x'", "tags.version = 'x'", "tags.order = 'x'", "tags.select = '1'", "tags.Group = '1'",
    "attributes.status = 'FINISHED'", "attribute.status = 'FINISHED'", "attr.status = 'FINISHED'", "run.status = 'FINISHED'", "status = 'FINISHED'",
    "status != 'FINISHED'", "status LIKE 'F%'", "status ILIKE 'finished'", "status = 'finished'", "attributes.`status` = 'FAILED'", "`status` = 'FAILED'",
    "attributes.run_name = 'alpha'", "run_name LIKE '%eta'", "run_name ILIKE 'ALPHA'", "run_name != 'alpha'", "`run name` = 'beta'", "attributes.`Run name` = 'beta'",
    "attributes.`Run Name` = 'beta'", "run_name = ''", "run_name IN ('a')", "user_id = 'someone'", "user_id != 'nobody'", "user_id ILIKE 'SOMEONE'",
    "start_time = 1000", "start_time > 1005", "attributes.start_time >= 1005", "created > 1008", "attributes.Created <= 1002", "start_time != 1000",
    "start_time > 1005.5", "start_time > -5", "end_time = 5000", "end_time > 0", "end_time != 5000", "end_time < 99999999999999999999",
    "run_id = 'nothing'", "run_id IN ('a', 'b')", "run_id IN ('a')", "run_id NOT IN ('a')", "run_id not in ('a','b')", "attributes.run_id IN (\"a\")",
    "run_id IN ('a',)", "run_id != ''", "artifact_uri LIKE '%/artifacts'", "artifact_uri = 'x'",
    "dataset.name = 'iris'", "datasets.name = 'iris'", "dataset.name != 'iris'", "dataset.name LIKE '%ri%'", "dataset.name ILIKE 'IRIS'", "dataset.digest = 'd1'",
    "dataset.digest != 'd1'", "dataset.context = 'train'", "dataset.context LIKE 'e%'", "dataset.name IN ('iris', 'wine')", "dataset.name NOT IN ('iris')",
    "dataset.digest IN ('d3')", "dataset.context IN ('eval')", "dataset.name = 'iris' AND dataset.context = 'eval'", "dataset.context != 'train'",
    "dataset.name = 'iris' AND metrics.acc > 0.9", "attributes.status='FINISHED' AND start_time>1003 AND tags.note LIKE '%'",
]
RUN_ERRORS = [
    "metrics.acc > 'a'", "metrics.acc > '0.9'", "metrics.acc LIKE 1", "metrics.acc LIKE 'a'", "metrics.acc IS NULL", "metrics.acc IN (1, 2)", "metrics.acc == 0.9",
    "metrics.acc => 0.9", "metrics.acc <> 0.9", "metrics.acc ! 0.9", "metrics.acc > nan", "metrics.acc > NaN", "metrics.acc > inf", "metrics.acc > -inf", "metrics.acc > abc",
    "metrics.acc > 1e", "metrics.acc > 0x10", "metrics.acc > +1", "metrics.acc >", "metrics.acc", "metrics.", "metrics > 1", ".acc > 1", "acc > 1", "acc = 'x'", "> 1", "1 > metrics.acc",
    "0.9", "'x'", "metrics.acc > 0.9 OR metrics.loss < 1", "metrics.acc > 0.9 metrics.loss < 1", "metrics.acc > 0.9, metrics.loss < 1", "metrics.acc > 0.9; metrics.loss < 1",
    "NOT metrics.acc > 1", "(metrics.acc > 1)", "metrics.acc > 1 AND (params.lr = '1')", "metrics.val/acc > 1", "metrics.a b > 1", "metrics.acc BETWEEN 1 AND 2",
    "params.lr = 0.1", "params.lr > '1'", "params.lr < '1'", "params.lr = abc", "params.lr = `abc`", "params.lr IN ('a')", "params.lr == '1'", "params.lr = null", "params.lr = True",
    "params.lr IS 'x'", "params.lr NOT NULL", "params.lr NOT LIKE 'x'", "params.lr RLIKE 'x'",
    "tags.team = 3", "tags.team > 'x'", "tags.team IN ('x')", "tags.team = 'risk", "tags.team = \"risk", "tags.`team = 'x'", "tags.team", "tags.team = ", "tags.team = 'a' 'b'", "tags.team LIKE risk",
    "foo.bar = 'x'", "metricss.acc > 1", "Metrics.acc > 1", "TAGS.team = 'x'", "colour = 'red'", "attributes.colour = 'red'", "lifecycle_stage = 'active'", "attributes.experiment_id = '1'",
    "status = 3", "status > 'A'", "status IN ('FINISHED')", "status NOT IN ('FINISHED')", "status IS NULL", "status IS NOT NULL", "start_time > '3'", "start_time LIKE '3'", "start_time IN (1)",
    "start_time IS NULL", "run_id IN ()", "run_id IN 'a'", "run_id IN (1)", "run_id IN ('a', 2)", "run_id IN (a)", "run_id IN ('a' 'b')", "run_id IN ('a', 'b'", "run_id NOT ('a')",
    "dataset.colour = 'x'", "dataset.name > 'x'", "dataset.name = 3", "dataset.name IS NULL", "dataset.name IN ()", "name = 'x'", "metrics.acc > 1 AND foo.bar = 1", "hello world", "*",
    "select * from runs", "metrics.acc > 1; DROP TABLE runs", "metrics.acc > 1 -- x", "tags.team = 'x' OR '1' = '1'", "params.lr = 'x' UNION SELECT 1", "run_id = 'a' AND 1 = 1",
]
ORDERS = [
    ["metrics.acc"], ["metrics.acc ASC"], ["metrics.acc DESC"], ["metrics.acc asc"], ["metric.acc desc"], ["metrics.`acc` DESC"], ['metrics."acc" DESC'], ["metrics.loss DESC"],
    ["metrics.`val/acc`"], ["metrics.missing"], ["metrics.a.b DESC"], ["params.lr"], ["params.lr DESC"], ["param.depth ASC", "metrics.acc DESC"], ["params.`with space` DESC"],
    ["tags.team"], ["tags.team DESC"], ["tags.note DESC"], ["tag.`a b`"], ["tags.mlflow.runName"], ["attributes.run_name"], ["run_name DESC"], ["status", "start_time"], ["attributes.status DESC"],
    ["start_time"], ["start_time DESC"], ["attributes.start_time ASC"], ["end_time"], ["end_time DESC"], ["attributes.end_time DESC", "run_name"], ["created"], ["Created DESC"],
    ["attributes.user_id", "start_time ASC"], ["metrics.acc DESC", "metrics.loss ASC"], ["tags.stage DESC", "params.lr"], ["lifecycle_stage", "start_time"],
    # wrong ones
    ["metrics.acc UP"], ["metrics.acc ASC DESC"], ["metrics.acc, metrics.loss"], ["foo.bar"], ["colour"], ["attributes.colour DESC"], ["metrics.acc DESC", "metric.acc"], [""], [" "], ["1"],
    ["dataset.name"], ["metrics.acc > 1"], ["`run name`"], ["run_name sideways"], ["metrics"], ["; DROP TABLE runs"], ["start_time NULLS LAST"], ["'x'"], ["params.lr DESC NULLS LAST"],
]
EXPERIMENTS = [
    ("name LIKE 'srch-%'",), ("name LIKE 'SRCH-%'",), ("name ILIKE 'SRCH-%'",), ("name = 'srch-a'",), ("name != 'srch-a'",), ("attribute.name = 'srch-a'",), ("attributes.name = 'srch-a'",),
    ("tags.team = 'x'",), ("tag.team = 'x'",), ("tags.team != 'x'",), ("tags.team LIKE 'X%'",), ("tags.team ILIKE 'X%'",), ("tags.team IS NULL",), ("tags.team IS NOT NULL",), ("tags.`a.b c` = '1'",),
    ("tags.\"a.b c\" = '1'",), ("experiment_id IN ('0')",), ("experiment_id = '0'",), ("experiment_id NOT IN ('0')",), ("experiment_id != '0'",), ("creation_time > 0",), ("creation_time > 0 AND name LIKE 'srch%'",),
    ("last_update_time > 0",), ("last_update_time = 1",), ("", ["name"]), ("", ["name DESC"]), ("", ["creation_time"]), ("", ["creation_time DESC"]), ("", ["experiment_id"]), ("", ["experiment_id DESC"]),
    ("", ["last_update_time ASC"]), ("", ["last_update_time DESC", "name"]), ("", ["attribute.name desc"]), ("", [], {"view_type": "ALL"}), ("", [], {"view_type": "DELETED_ONLY"}),
    ("name LIKE 'srch-%'", ["name"], {"max_results": 2}), ("", [], {"max_results": 0}), ("", [], {"max_results": -1}), ("", [], {"max_results": 50001}), ("", [], {"max_results": 50000}), ("", [], {"view_type": "SOME"}),
    ("name = 3",), ("name > 'x'",), ("name IN ('a')",), ("name NOT IN ('a')",), ("name IS NULL",), ("creation_time LIKE 'x'",), ("creation_time > 'x'",), ("creation_time > 1.5",), ("experiment_id LIKE '0'",),
    ("experiment_id = 'x'",), ("experiment_id = 0",), ("experiment_id IN (0)",), ("experiment_id IN ('x')",), ("tags.team > 'x'",), ("tags.team IN ('x')",), ("params.x = '1'",), ("run.name = 'x'",), ("colour = 'x'",),
    ("name = 'a' OR name = 'b'",), ("name",), ("", ["colour"]), ("", ["tags.team"]), ("", ["name UP"]), ("", ["name", "name DESC"]), ("", ["params.x"]), ("", [""]),
]
MODELS = [
    ("name LIKE 'srch%'",), ("name ILIKE 'SRCH%'",), ("name LIKE 'SRCH%'",), ("name = 'srch.m1'",), ("name != 'srch.m1'",), ("name IN ('srch.m1', 'srch m2')",), ("name NOT IN ('srch.m1')",), ("attribute.name = 'srch.m1'",),
    ("tags.team = 'x'",), ("tags.team != 'x'",), ("tag.team LIKE 'X%'",), ("tags.team ILIKE 'x%'",), ("tags.team = 'x' AND tags.b = '2'",), ("tags.team LIKE 'x%' AND tags.team LIKE '%y'",), ("tags.`b` = '2'",), ("",), ("tags.`mlflow.prompt.is_prompt` = 'true'",),
    ("tags.`mlflow.prompt.is_prompt` != 'true'",), ("tags.`mlflow.prompt.is_prompt` = 'false'",), ("tags.`mlflow.prompt.is_prompt` != 'false'",), ("tags.mlflow.prompt.is_prompt = 'True'",), ("name LIKE 'srch%' AND tags.`mlflow.prompt.is_prompt` = 'true'",),
    ("", ["name"]), ("", ["name DESC"]), ("", ["timestamp"]), ("", ["timestamp DESC"]), ("", ["last_updated_timestamp ASC", "name DESC"]), ("", ["last_updated_timestamp desc"]), ("name LIKE 'srch%'", ["name"], {"max_results": 2}),
    ("", [], {"max_results": 0}), ("", [], {"max_results": 1000}), ("", [], {"max_results": 1001}), ("", ["creation_timestamp"]), ("", ["name", "name"]), ("", ["timestamp", "last_updated_timestamp"]), ("", ["colour"]), ("", ["name UP"]), ("", ["attribute.name"]), ("", ["tags.x"]), ("", [""]),
    ("name = 3",), ("name > 'x'",), ("name IS NULL",), ("tags.team IS NULL",), ("tags.team IN ('x')",), ("tags.team = 3",), ("params.x = 'y'",), ("attributes.name = 'x'",), ("colour = 'x'",), ("name = 'a' OR name = 'b'",), ("name IN ()",), ("name IN (1)",), ("run_id = 'x'",), ("name = x",),
]
VERSIONS = [
    ("name = 'srch.m1'",), ("name LIKE 'srch%'",), ("name ILIKE 'SRCH%'",), ("name IN ('srch.m1')",), ("name NOT IN ('srch.m1')",), ("name != 'srch.m1'",), ("version_number = 2",), ("version_number > 1",), ("version_number != 1 AND name = 'srch.m1'",), ("version_number <= 1",), ("run_id = 'run-one'",),
    ("run_id IN ('run-one')",), ("run_id NOT IN ('run-one')",), ("run_id != 'run-one'",), ("run_id LIKE 'run%'",), ("source_path = 's3://b/1'",), ("source_path LIKE 's3://%'",), ("source_path ILIKE 'S3://%'",), ("tags.k = 'v'",), ("tags.k != 'v'",), ("tags.k LIKE 'V%'",), ("tags.k ILIKE 'V%'",), ("tags.k = 'v' AND tags.l = 'w'",), ("attribute.name = 'srch.m1'",),
    ("",), ("name LIKE 'srch%'", ["name"]), ("name LIKE 'srch%'", ["name DESC", "version_number ASC"]), ("name LIKE 'srch%'", ["version_number"]), ("name LIKE 'srch%'", ["creation_timestamp"]), ("name LIKE 'srch%'", ["creation_timestamp DESC"]), ("name LIKE 'srch%'", ["last_updated_timestamp"]),
    ("name LIKE 'srch%'", ["attribute.version_number DESC"]), ("name LIKE 'srch%'", ["name"], {"max_results": 2}), ("", [], {"max_results": 0}), ("", [], {"max_results": 200001}), ("", [], {"max_results": 200000}), ("", ["version"]), ("", ["name", "name"]), ("", ["run_id"]), ("", ["tags.k"]),
    ("version_number = '2'",), ("version_number = 1.5",), ("version_number LIKE '1'",), ("version_number IN (1)",), ("source_path IN ('x')",), ("name = 3",), ("run_id = 3",), ("tags.k IN ('v')",), ("tags.k IS NULL",), ("version = 1",), ("params.x = 'y'",), ("name > 'x'",), ("current_stage = 'None'",),
    ("tags.`mlflow.prompt.is_prompt` = 'true'",), ("tags.`mlflow.prompt.is_prompt` != 'true' AND name LIKE 'srch%'",),
]
LOGGED = [  # filter, order_by (field, ascending, dataset), datasets, other fields
    ("",), ("name = 'm1'",), ("name != 'm1'",), ("name LIKE 'm%'",), ("name ILIKE 'M%'",), ("name IN ('m1', 'm3')",), ("name NOT IN ('m1')",), ("attributes.name = 'm1'",), ("status = 'PENDING'",), ("status = 'READY'",), ("model_type = 'agent'",), ("model_type != 'agent'",), ("model_type LIKE 'a%'",),
    ("source_run_id = 'x'",), ("creation_timestamp > 0",), ("creation_time > 0",), ("creation_timestamp_ms > 0",), ("last_updated_timestamp > 0",), ("last_updated_timestamp_ms > 0",), ("metrics.acc > 0.5",), ("metrics.acc != 0.9",), ("metrics.acc <= 0.7",), ("metrics.`acc` > 0.5",), ("metrics.missing > 0",),
    ("params.p = '1'",), ("params.p != '1'",), ("params.p LIKE 'A%'",), ("params.p ILIKE 'A%'",), ("params.p IN ('1', 'ab')",), ("tags.t = 'x'",), ("tags.t LIKE 'x%'",), ("tags.t ILIKE 'X'",), ("tags.`t` IN ('x')",), ("metrics.acc > 0.5 AND params.p = '1'",),
    ("metrics.acc > 0.5", [], [("iris", None)]), ("metrics.acc > 0.5", [], [("iris", "d1")]), ("metrics.acc > 0.5", [], [("iris", "d9")]), ("metrics.acc > 0.5", [], [("wine", None), ("iris", "d1")]), ("", [], [("iris", None)]), ("", [], [("iris", "d1")]), ("", [], [("nothing", None)]), ("", [], [("", None)]),
    ("params.p = '1'", [], [("iris", "d1")]), ("", [("name", True)]), ("", [("name", False)]), ("", [("creation_timestamp", True)]), ("", [("creation_time", False)]), ("", [("last_updated_timestamp", True)]), ("", [("model_type", True)]), ("", [("model_type", False)]), ("", [("status", True), ("name", False)]),
    ("", [("metrics.acc", True)]), ("", [("metrics.acc", False)]), ("", [("metrics.acc", True, "iris", "d1")]), ("", [("metrics.acc", False, "iris", None)]), ("", [("metrics.acc", False), ("name", True)]), ("", [("metrics.missing", True)]), ("", [("name", True)], [], {"max_results": 2}), ("", [], [], {"max_results": 0}),
    ("", [("colour", True)]), ("", [("params.p", True)]), ("", [("tags.t", True)]), ("foo.x = '1'",), ("metrics.acc LIKE 'x'",), ("metrics.acc IN (1)",), ("name > 'x'",), ("name = 'a' OR name = 'b'",), ("metric.acc > 1",), ("param.p = '1'",), ("tags.t IS NULL",), ("creation_timestamp LIKE 'x'",), ("name",), ("name = 'a'; name = 'b'",),
]
# Where Keel answers otherwise, and why: (kind, filter, order) or (kind, more fields) to what Keel answers.
TWICE = (400, "INVALID_PARAMETER_VALUE")  # MLflow's 500 would make a client try again
DIFFERENCES = {
    ("runs", "end_time < 99999999999999999999", ()): (200,),  # MLflow ends in SQLite's overflow
    ("runs", "run_id IN (a)", ()): (400, "INVALID_PARAMETER_VALUE"),  # MLflow ends in an error of Python
    ("runs", "", ("metrics.acc DESC", "metric.acc")): TWICE,
    ("models", "", ("name", "name")): TWICE,
    ("models", "", ("timestamp", "last_updated_timestamp")): TWICE,
    ("versions", "", ("name", "name")): TWICE,
    ("models", "name IS NULL", ()): (400, "INVALID_PARAMETER_VALUE"),  # MLflow ends in an error of Python
    ("models", "tags.team IS NULL", ()): (400, "INVALID_PARAMETER_VALUE"),
    ("versions", "tags.k IS NULL", ()): (400, "INVALID_PARAMETER_VALUE"),
    ("models", "max_results", 0): (400, "INVALID_PARAMETER_VALUE"),  # MLflow gives empty pages without end
    ("runs", "run_view_type", "SOME"): (400, "INVALID_PARAMETER_VALUE"),  # MLflow passes over words that it does not know
    ("experiments", "view_type", "SOME"): (400, "INVALID_PARAMETER_VALUE"),
    # Documented: without a digest any state of the dataset counts. MLflow's server finds nothing then.
    ("logged", "datasets", "iris None"): (200,),
    ("logged", "datasets", " None"): (400, "INVALID_PARAMETER_VALUE"),  # in other words
}
ROUTES = {
    "runs": ("POST", "runs/search", "runs", lambda r: r["info"].get("run_name", "")),
    "experiments": ("POST", "experiments/search", "experiments", lambda e: e["name"]),
    "models": ("GET", "registered-models/search", "registered_models", lambda m: m["name"]),
    "versions": ("GET", "model-versions/search", "model_versions", lambda v: f"{v['name']} {v['version']}"),
    "logged": ("POST", "logged-models/search", "models", lambda m: m["info"]["name"]),
}


class Peer:
    """A server with the data of this file, written through the client's calls."""

    def __init__(self, url):
        self.url, self.session = url, requests.Session()
        self.a = self.fill_runs()
        self.fill_logged()
        self.fill_registry()

    def call(self, path, body, method="POST"):
        fields = {"params": body} if method == "GET" else {"json": body}
        return self.session.request(method, f"{self.url}/api/2.0/mlflow/{path}", timeout=60, **fields)

    def done(self, path, body, method="POST"):
        answer = self.call(path, body, method)
        assert answer.status_code == 200, (path, body, answer.text)
        time.sleep(0.002)  # things have different times of creation
        return answer.json()

    def fill_runs(self):
        tags = {"srch-a": {"team": "x"}, "srch-b": {"team": "Xy", "a.b c": "1"}, "srch-c": {}, "srch-gone": {"team": "x"}}
        ids = {n: self.done("experiments/create", {"name": n, "tags": pairs(t)})["experiment_id"] for n, t in tags.items()}
        self.done("experiments/delete", {"experiment_id": ids["srch-gone"]})
        for i, (name, metrics, params, tags, status) in enumerate(RUNS):
            body = {"experiment_id": ids["srch-a"], "run_name": name or "unnamed", "start_time": 1000 + i, "user_id": "someone", "tags": pairs(tags)}
            run = self.done("runs/create", body)["run"]["info"]["run_id"]
            values = [{"key": k, "value": number(v), "timestamp": 1, "step": 0} for k, v in metrics.items()]
            self.done("runs/log-batch", {"run_id": run, "metrics": values, "params": pairs(params)})
            inputs = [{"dataset": {"name": n, "digest": d, "source_type": "local", "source": "{}"},
                       "tags": [{"key": "mlflow.data.context", "value": c}] if c else []} for n, d, c in DATASETS.get(i, [])]
            if inputs:
                self.done("runs/log-inputs", {"run_id": run, "datasets": inputs})
            self.done("runs/update", {"run_id": run, "status": status} | ({"end_time": 5000 + i % 4} if i % 3 == 0 else {}))
        gone = self.done("runs/create", {"experiment_id": ids["srch-a"], "run_name": "deleted", "start_time": 1})["run"]["info"]["run_id"]
        self.done("runs/delete", {"run_id": gone})
        for i in range(7):
            self.done("runs/create", {"experiment_id": ids["srch-b"], "run_name": "tie", "start_time": 7})
        self.b = ids["srch-b"]
        return ids["srch-a"]

    def fill_logged(self):
        run = self.done("runs/create", {"experiment_id": self.b, "run_name": "source", "start_time": 8})["run"]["info"]["run_id"]
        for name, kind, params, tags, metrics in [
            ("m1", "agent", {"p": "1"}, {"t": "x"}, [("acc", 0.9, "iris", "d1"), ("acc", 0.4, "wine", "d2")]),
            ("m2", None, {"p": "ab"}, {"t": "X"}, [("acc", 0.7, "iris", "d1")]), ("m3", "Agent", {"p": "AB"}, {}, [("acc", 0.6, "iris", "d3")]),
            ("M4", "other", {}, {"t": "xy"}, [("acc", 0.1, None, None)]), ("m5", None, {}, {}, []), ("m6", "agent", {"p": "1"}, {}, [("loss", 0.2, None, None)])]:
            body = {"experiment_id": self.b, "name": name, "source_run_id": run, "params": pairs(params), "tags": pairs(tags)}
            model = self.done("logged-models", body | ({"model_type": kind} if kind else {}))["model"]["info"]["model_id"]
            for i, (key, value, dataset, digest) in enumerate(metrics):
                metric = {"run_id": run, "key": key, "value": value, "timestamp": i + 1, "step": i, "model_id": model}
                self.done("runs/log-metric", metric | ({"dataset_name": dataset, "dataset_digest": digest} if dataset else {}))
            if name in ("m1", "m3"):
                self.done(f"logged-models/{model}", {"model_id": model, "status": "LOGGED_MODEL_READY"}, "PATCH")

    def fill_registry(self):
        models = {"srch.m1": {"team": "x", "b": "2"}, "srch m2": {"team": "Xy"}, "Srch-m3": {}, "srch.prompt": {"mlflow.prompt.is_prompt": "true"}, "srch.m4": {"team": "xzy"}}
        for name, tags in models.items():
            self.done("registered-models/create", {"name": name, "tags": pairs(tags)})
        for i, (name, run, tags) in enumerate([
            ("srch.m1", "run-one", {"k": "v"}), ("srch.m1", "run-two", {"k": "V2", "l": "w"}), ("srch m2", "", {"k": "v", "l": "w"}), ("srch.m1", "run-one", {}), ("Srch-m3", "run-six", {"k": "x"})]):
            self.done("model-versions/create", {"name": name, "source": f"s3://b/{i + 1}", "run_id": run, "tags": pairs(tags)})
        self.done("registered-models/update", {"name": "srch.m4", "description": "later"}, "PATCH")

    def answer(self, kind, filter="", order=(), extra=(), experiments=None):
        """The names in order and whether there is more; or the status, the code and the message of the error."""
        method, path, items, name = ROUTES[kind]
        body = {"filter": filter, "order_by": list(order)} | dict(extra)
        if kind in ("runs", "logged"):
            body["experiment_ids"] = experiments or [self.a if kind == "runs" else self.b]
        reply = self.call(path, body, method)
        if reply.status_code != 200:
            if "json" not in reply.headers.get("content-type", ""):
                return (reply.status_code,)
            error = reply.json()
            return reply.status_code, error["error_code"], normal(error["message"])
        found = [name(item) for item in reply.json().get(items, [])]
        mine = [n for n in found if kind in ("runs", "logged") or n.lower().startswith("srch")]
        return 200, mine, bool(reply.json().get("next_page_token")) if "max_results" in body else None

    def pages(self, kind, **fields):
        """Every page of a search, walked to the end."""
        method, path, items, name = ROUTES[kind]
        out, token = [], None
        while True:
            reply = self.call(path, fields | ({"page_token": token} if token else {}), method)
            assert reply.status_code == 200, reply.text
            out.append([name(item) for item in reply.json().get(items, [])])
            token = reply.json().get("next_page_token")
            if not token:
                return out


def pairs(values):
    return [{"key": k, "value": v} for k, v in values.items()]


def number(value):
    return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(str(value), value)


def normal(message):
    """Python prints a set in any order: the members are compared in theirs."""
    return re.sub(r"\{([^{}]*)\}", lambda m: "{" + ", ".join(sorted(p.strip() for p in m[1].split(","))) + "}", message)


@pytest.fixture(scope="module")
def peers(mlflow_reference):
    keel = Keel().start()
    yield Peer(keel.url), Peer(mlflow_reference.url)
    keel.stop()


def same(peers, kind, filter="", order=(), extra=()):
    extra = dict(extra)
    if kind == "experiments":
        extra.setdefault("max_results", 1000)
    keel, mlflow = (peer.answer(kind, filter, order, extra) for peer in peers)
    known = [v for k, v in DIFFERENCES.items() if k[0] == kind and (k[1:] == (filter, tuple(map(str, order))) or (k[1] in extra and shown(extra[k[1]]) == k[2]))]
    if known:
        assert keel[:len(known[0])] == known[0] and keel != mlflow, f"{filter} {order} {extra}\nkeel   {keel}\nmlflow {mlflow}"
    else:
        assert keel == mlflow, f"{(kind, filter, order, extra)}\nkeel   {keel}\nmlflow {mlflow}"


def shown(value):
    return ", ".join(f"{d['dataset_name']} {d.get('dataset_digest')}" for d in value) if isinstance(value, list) else value


@pytest.mark.parametrize("text", FILTERS + RUN_ERRORS)
def test_runs_filtered(peers, text):
    same(peers, "runs", text)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_runs_ordered(peers, order):
    same(peers, "runs", "", order)


@pytest.mark.parametrize("extra", [{"run_view_type": v} for v in ("ALL", "ACTIVE_ONLY", "DELETED_ONLY", "SOME")] + [{"max_results": n} for n in (0, -1, 1, 11, 12, 13, 50000, 50001, "5")], ids=str)
def test_runs_limits_and_views(peers, extra):
    same(peers, "runs", "", [], extra)


@pytest.mark.parametrize("case", EXPERIMENTS, ids=str)
def test_experiments(peers, case):
    same(peers, "experiments", *case)


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_registered_models(peers, case):
    same(peers, "models", *case)


@pytest.mark.parametrize("case", VERSIONS, ids=str)
def test_model_versions(peers, case):
    same(peers, "versions", *case)


@pytest.mark.parametrize("case", LOGGED, ids=str)
def test_logged_models(peers, case):
    filter, orders, datasets, extra = (list(case) + [[], [], {}][len(case) - 1:])[:4]
    fields = ("field_name", "ascending", "dataset_name", "dataset_digest")
    order = [{k: v for k, v in zip(fields, o) if v is not None} for o in orders]
    named = [{"dataset_name": n} | ({"dataset_digest": d} if d else {}) for n, d in datasets]
    same(peers, "logged", filter, order, extra | ({"datasets": named} if named else {}))


@pytest.mark.parametrize("kind,fields", [
    ("runs", {"filter": "tags.note LIKE '%'", "order_by": ["metrics.acc DESC"]}), ("runs", {"order_by": ["params.lr", "tags.team DESC"]}), ("runs", {"order_by": ["end_time"]}),
    ("runs", {}), ("experiments", {"filter": "name LIKE 'srch%'", "order_by": ["name"]}), ("models", {"filter": "name ILIKE 'srch%'", "order_by": ["name DESC"]}),
    ("versions", {"filter": "name ILIKE 'srch%'", "order_by": ["creation_timestamp"]}), ("logged", {"order_by": [{"field_name": "metrics.acc", "ascending": False}]})], ids=str)
def test_small_pages_are_the_whole_list(peers, kind, fields):
    lists = []
    for peer in peers:
        ids = {"experiment_ids": [peer.a if kind == "runs" else peer.b]} if kind in ("runs", "logged") else {}
        whole = peer.pages(kind, **fields, **ids, max_results=1000)
        paged = peer.pages(kind, **fields, **ids, max_results=2)
        assert [n for page in paged for n in page] == whole[0] and len(paged) > 1
        lists.append(paged)
    assert lists[0] == lists[1]


def test_runs_with_equal_keys_come_by_id(peers):
    for peer in peers:
        runs = peer.call("runs/search", {"experiment_ids": [peer.b], "filter": "run_name = 'tie'"}).json()["runs"]
        ids = [run["info"]["run_id"] for run in runs]
        assert len(ids) == 7 and ids == sorted(ids)


@pytest.mark.parametrize("kind", ROUTES)
def test_page_tokens_that_are_none_are_refused(peers, kind):
    keel = peers[0]
    ids = {"experiment_ids": [keel.a if kind == "runs" else keel.b]} if kind in ("runs", "logged") else {}
    method, path, _, _ = ROUTES[kind]
    foreign = keel.call("runs/search", {"experiment_ids": [keel.b], "max_results": 1}).json()["next_page_token"]
    huge = "7" * (3000 if method == "GET" else 100_000)
    for token in ("x", "zz", "7b7d", "eyJvZmZzZXQiOiA1fQ==", huge, foreign, foreign[:-2], "é"):
        answer = keel.call(path, ids | {"page_token": token, "max_results": 1}, method)
        assert answer.status_code == 400 and answer.json()["error_code"] == "INVALID_PARAMETER_VALUE", (token[:50], answer.text)
