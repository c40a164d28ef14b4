"""Random calls about evaluation datasets and files."""
import json
from urllib.parse import quote

from differential import Call
from filters import attribute, conjunction, keyed, orders
from sequences import KEYS

DATASETS = "/api/3.0/mlflow/datasets/"
FILES = "/api/2.0/mlflow-artifacts/artifacts/"
PATHS = ["a.txt", "dir/b.txt", "dir/sub/c ü.txt", "50%.txt", "a+b c.txt", "x😀#?.txt", "other/..b"]


def create_dataset(s):
    fields = {"name": s.prefix + s.one(["d1", "d2", "ü"]), "experiment_ids": s.one([[], ["⟦experiment:0⟧"], ["⟦experiment:0⟧", "0"]])}
    if s.rare(0.6):
        fields["tags"] = json.dumps({key: s.one(["x", "tree", "ü"]) for key in s.random.sample(KEYS, s.random.randint(0, 2))})
    return Call("POST", DATASETS + "create", fields, creates="evaluation")


def get_dataset(s):
    return Call("GET", DATASETS + s.place("evaluation"), {})


def search_datasets(s):
    filter = f"name LIKE '{s.prefix}%'"
    if s.rare(0.5):
        filter += " AND " + conjunction(s, [
            lambda s: attribute(s, {"name": [s.prefix + "d1", s.prefix + "ü"]}, {"created_time": ["0", "99999999999999"]}, ()), lambda s: keyed(s, "tag")])
    fields = {"filter_string": filter, "max_results": s.one([1, 2, 100])}
    if s.rare(0.4):
        fields["experiment_ids"] = [s.experiment()]
    if s.rare(0.5):
        fields["order_by"] = orders(s, ["name", "created_time", "last_update_time"])
    return Call(s.one(["GET", "POST"]), DATASETS + "search", fields, list="datasets")


def tag_dataset(s):
    return Call("PATCH", DATASETS + s.place("evaluation") + "/tags", {"tags": json.dumps({s.one(KEYS): s.one(["x", "tree", "", "ü"])})})


def untag_dataset(s):
    return Call("DELETE", DATASETS + s.place("evaluation") + "/tags/" + quote(s.one(["auc", "loss", "a b", "a.b", "ключ", "nope"])), {})


def record(s):
    made = {"inputs": {"question": s.one(["a", "b", "ü", 1, None]), "n": s.one([1, 2])}}
    if s.rare(0.5):
        made["expectations"] = {"answer": s.one(["x", 2.5, True])}
    if s.rare(0.4):
        made["outputs"] = s.one([{"a": 1}, {"b": [1, None]}])
    if s.rare(0.4):
        made["tags"] = {"level": s.one(["easy", "hard"])}
    return made


def add_records(s):
    return Call("POST", DATASETS + s.place("evaluation") + "/records", {"records": json.dumps([record(s) for _ in range(s.random.randint(0, 3))])})


def get_records(s):
    return Call("GET", DATASETS + s.place("evaluation") + "/records", {})


def delete_records(s):
    return Call("DELETE", DATASETS + s.place("evaluation") + "/records", {"dataset_record_ids": ["dr-nothing"]})


def dataset_experiments(s):
    return Call("GET", DATASETS + s.place("evaluation") + "/experiment-ids", {})


def move_dataset(s):
    return Call("POST", DATASETS + s.place("evaluation") + s.one(["/add-experiments", "/remove-experiments"]), {"experiment_ids": ["⟦experiment:0⟧"]})


def delete_dataset(s):
    return Call("DELETE", DATASETS + s.place("evaluation"), {})


def folder(s):
    return f"⟦experiment:0⟧/⟦run:{s.one([0, 1])}⟧/artifacts/"


def put_file(s):
    return Call("PUT", FILES + folder(s) + quote(s.one(PATHS)), {}, raw=s.one(["", "text", "ü😀", "x" * 5000]))


def get_file(s):
    return Call("GET", FILES + folder(s) + quote(s.one(PATHS)), {})


def delete_file(s):
    return Call("DELETE", FILES + folder(s) + quote(s.one(PATHS + ["dir"])), {})


def list_files(s):
    fields = {"run_id": s.one(["⟦run:0⟧", "⟦run:1⟧", s.run()])}
    if s.rare(0.5):
        fields["path"] = s.one(["dir", "dir/sub", "dir/", "nope", "", "../x", "/abs", "a.txt", "%2e%2e", "dir/../dir"])
    return Call("GET", "artifacts/list", fields)


def list_folder(s):
    return Call("GET", FILES.rstrip("/"), {"path": folder(s).rstrip("/") + s.one(["", "/dir", "/nope", "/dir/sub"])})
