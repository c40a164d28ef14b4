"""Random searches: filters, orders and pages."""
from differential import Call
from filters import attribute, compared_text, conjunction, keyed, keys, measured, orders

WRONG_FILTERS = [
    "metrics.auc > 'x'", "params.auc = 1", "params.auc > '1'", "colour = 'x'", "metrics.auc > 1 OR metrics.auc < 0", "metrics.auc", "= 3", "metrics.auc >",
    "nope.x = 'y'", "params.auc = tree", "metrics.auc IS NULL", "run_id > 'a'", "status = 3", "start_time = 'x'", "metrics.auc LIKE 'x'", "dataset.nope = 'x'",
    "metrics.auc >> 1", "params.auc IN ('a')", "status IN ('FINISHED')", "run_id IN ()", "run_id IN (1)", "(metrics.auc > 1)", "metrics.auc > 1 AND", "AND",
    "NOT metrics.auc > 1", "metrics.auc = NaN", "params.auc = 'tree", "tags.`auc = 'x'", "tags.'auc' = 'x'", "1 = 1", "metrics.auc BETWEEN 0 AND 1",
    "params.auc = 'a';", "params.auc = 'a' -- b", "name = 'x' name = 'y'", "tags. = 'x'", "tags = 'x'", "metrics.auc = 1 AND AND metrics.auc = 2", ";",
    "params.auc IS 'x'", "params.auc NOT LIKE 'x'", "metrics.auc IN (1, 2)", "params.auc == 'tree'", "params.auc <> 'tree'", "'tree' = params.auc",
    "metrics.auc > 1 > 0", "metrics.auc = 0x10", "metrics.auc = 1_0", "start_time = 1.5", "start_time > '1'", "\u0000", "metrics.auc = --1",
]
WRONG_ORDERS = [["nope"], ["metrics.auc UP"], ["metrics.auc", "metrics.auc DESC"], [""], ["dataset.name"], ["name UP"], ["name ASC DESC"], ["a b c"],
                ["tags.a"], ["metrics.", "params."], ["name,"], ["name;"], ["`name`"], ["attributes.`name` DESC"], ["DESC"], ["name", "name DESC"]]


def paged(s, fields, sizes):
    """The fields with a size of pages, seldom a wrong one, or a token that no server gave."""
    fields["max_results"] = s.one(sizes) if not s.rare(0.05) else s.one([0, -1, 10**6, "x", "3", 2**40])
    if s.rare(0.02):
        fields["page_token"] = s.one(["nope", "x" * 5_000, "eyJvZmZzZXQiOiAxfQ==", "%", "ü"])
    return fields


def search_experiments(s):
    filter = f"name LIKE '{s.prefix}%'"
    if s.rare(0.7):
        named = [s.prefix + name for name in ("e1", "e2", "r1", "e/4", "E1")]
        filter += " AND " + (s.one(WRONG_FILTERS) if s.rare(0.1) else conjunction(s, [
            lambda s: attribute(s, {"name": named}, {"creation_time": ["0", "99999999999999"], "last_update_time": ["0", "99999999999999"]}, ()),
            lambda s: keyed(s, "tag")]))
    fields = paged(s, {"filter": filter}, [1, 2, 3, 1000])
    if s.rare(0.6):
        fields["view_type"] = s.one(["ACTIVE_ONLY", "DELETED_ONLY", "ALL", 3])
    if s.rare(0.5):
        fields["order_by"] = s.one(WRONG_ORDERS) if s.rare(0.15) else orders(s, ["name", "creation_time", "last_update_time", "experiment_id", "attribute.name"])
    return Call(s.one(["GET", "POST"]), "experiments/search", fields, list="experiments")


def run_attribute(s):
    names = {"run_name": ["first", "second", "run ü", "First"]} if s.named else {}
    return attribute(
        s, names | {"status": ["FINISHED", "RUNNING", "finished", "KILLED"], "user_id": ["ann", "bob", "Ann"], "run_id": ["⟦run:0⟧", "⟦run:1⟧", "⟦run:2⟧"],
                    "artifact_uri": ["mlflow-artifacts:/0", "x"]},
        {"start_time": ["1700000010000", "1700000030000", "0"], "end_time": ["1700000020000", "0"]}, {"run_id"})


def run_dataset(s):
    name, values = s.one([("name", ["data", "flights", "ü"]), ("digest", ["d1", "d2"]), ("context", ["training", "evaluation"])])
    return compared_text(s, s.one(["dataset.", "datasets."]) + name, values, lists=True)


def parent(s):
    return "tags.mlflow.parentRunId = '⟦run:0⟧'"


RUN_CLAUSES = [measured, measured, lambda s: keyed(s, "param"), lambda s: keyed(s, "tag"), run_attribute, run_dataset, parent]
RUN_ORDERS = ["start_time", "attributes.status", "end_time", "user_id", "Created", "attribute.start_time", "attributes.end_time"]


def search_runs(s):
    fields = paged(s, {"experiment_ids": [s.experiment() for _ in range(s.one([0, 1, 1, 2, 3]))]}, [1, 2, 3, 7, 1000, 50000])
    fields["filter"] = "" if s.rare(0.15) else s.one(WRONG_FILTERS) if s.rare(0.12) else conjunction(s, RUN_CLAUSES)
    if s.rare(0.5):
        names = RUN_ORDERS + ["run_name", "Run Name"] * s.named + keys(s, ["metrics", "metric", "params", "tags", "tag"])
        fields["order_by"] = s.one(WRONG_ORDERS) if s.rare(0.1) else orders(s, names)
    if s.rare(0.4):
        fields["run_view_type"] = s.one(["ACTIVE_ONLY", "DELETED_ONLY", "ALL", 3])
    return Call("POST", "runs/search", fields, list="runs")


def logged_model_attribute(s):
    names = {"name": ["model", "other", "ü", "Model"]} if s.named else {}
    return attribute(
        s, names | {"model_type": ["sklearn", ""], "status": ["READY", "PENDING", "FAILED"], "source_run_id": ["⟦run:0⟧", "⟦run:1⟧"], "model_id": ["⟦logged:0⟧", "⟦logged:1⟧"]},
        {"creation_timestamp": ["0", "99999999999999"], "last_updated_timestamp": ["0"]}, {"name", "model_id", "status", "model_type", "source_run_id"})


def search_logged_models(s):
    fields = paged(s, {"experiment_ids": [s.experiment() for _ in range(s.one([1, 2]))]}, [1, 2, 50])
    if fields["max_results"] == -1:
        # MLflow turns empty pages without end.
        del fields["max_results"]
    if s.rare(0.8):
        fields["filter"] = s.one(WRONG_FILTERS) if s.rare(0.1) else conjunction(
            s, [measured, lambda s: keyed(s, "param"), lambda s: keyed(s, "tag"), logged_model_attribute, logged_model_attribute])
    if s.rare(0.3):
        fields["datasets"] = [{"dataset_name": s.one(["data", "nope"]), "dataset_digest": s.one(["d1", "d2"])}]
    if s.rare(0.4):
        names = ["name"] * s.named + ["creation_timestamp", "last_updated_timestamp", "metrics.auc", "metrics.a:b", "nope", "params.auc", "status"]
        fields["order_by"] = [{"field_name": s.one(names), "ascending": s.one([True, False])}]
        if s.rare(0.3):
            fields["order_by"][0] |= {"dataset_name": "data", "dataset_digest": "d1"}
    return Call("POST", "logged-models/search", fields, list="models")


def search_models(s):
    filter = f"name LIKE '{s.prefix}%'"
    if s.rare(0.6):
        named = [s.prefix + name for name in ("m1", "m2", "M1", "m ü")]
        filter += " AND " + (s.one(WRONG_FILTERS + ["description = 'x'", "name > 'x'"]) if s.rare(0.15) else conjunction(s, [
            lambda s: attribute(s, {"name": named}, {}, {"name"}), lambda s: keyed(s, "tag"),
            lambda s: f"tags.`mlflow.prompt.is_prompt` {s.one(['=', '!='])} {s.one(['true', 'false', 'True'])!r}"]))
    fields = paged(s, {"filter": filter}, [1, 2, 100])
    if s.rare(0.5):
        fields["order_by"] = s.one(WRONG_ORDERS) if s.rare(0.15) else orders(s, ["name", "last_updated_timestamp", "timestamp", "creation_timestamp"], most=2)
    return Call("GET", "registered-models/search", fields, list="registered_models")


def search_versions(s):
    filter = f"name LIKE '{s.prefix}%'"
    if s.rare(0.7):
        named = [s.prefix + name for name in ("m1", "m2", "M1", "m ü")]
        clause = s.one(WRONG_FILTERS + ["aliases = 'champion'"]) if s.rare(0.15) else conjunction(s, [
            lambda s: attribute(s, {"name": named, "run_id": ["⟦run:0⟧", "⟦run:1⟧", ""], "source_path": ["s3://bucket/model", "dbfs:/m"]},
                                {"version_number": ["1", "2", "99"]}, {"name", "run_id"}), lambda s: keyed(s, "tag")])
        filter = s.one([filter + " AND " + clause, clause + " AND " + filter])
    fields = paged(s, {"filter": filter}, [1, 2, 10_000])
    if s.rare(0.5):
        fields["order_by"] = s.one(WRONG_ORDERS) if s.rare(0.15) else orders(s, ["name", "version_number", "creation_timestamp", "last_updated_timestamp"])
    return Call("GET", "model-versions/search", fields, list="model_versions")
