"""The registry of MLflow's client, answer by answer beside a real MLflow server, and what Keel adds: history, the past, and what a version is."""
import concurrent.futures
import uuid

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow import MlflowClient
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

VOLATILE = {"creation_timestamp", "last_updated_timestamp", "user_id"}


def stable(value):
    if isinstance(value, dict):
        return {k: stable(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return sorted((stable(v) for v in value), key=str)
    return value


def ask(base, method, path, **fields):
    how = {"params": fields} if method == "GET" else {"json": fields}
    answer = requests.request(method, f"{base}/api/2.0/mlflow/{path}", **how)
    return answer.status_code, answer.json()


# Each is asked of both servers, in this order; {} is a name of the test's own.
CONVERSATION = [
    ("POST", "registered-models/create", dict(name="{}", description="d", tags=[{"key": "a", "value": "1"}])),
    ("POST", "registered-models/create", dict(name="{}")),
    ("POST", "registered-models/create", dict(name="")),
    ("POST", "registered-models/create", dict(name="a/b")),
    ("POST", "registered-models/create", dict(name="a:b")),
    ("GET", "registered-models/get", dict(name="{}")),
    ("GET", "registered-models/get", dict(name="{}-nobody")),
    ("POST", "model-versions/create", dict(name="{}", source="s3://b/1", description="first", tags=[{"key": "k", "value": "v"}])),
    ("POST", "model-versions/create", dict(name="{}", source="s3://b/2", run_link="https://example.com/r")),
    ("POST", "model-versions/create", dict(name="{}-nobody", source="s3://b/1")),
    ("POST", "model-versions/create", dict(name="{}")),
    ("POST", "model-versions/create", dict(name="{}", source="/etc/passwd")),
    ("POST", "model-versions/create", dict(name="{}", source="file:///etc/passwd")),
    ("POST", "model-versions/create", dict(name="{}", source="s3://b/../c")),
    ("POST", "model-versions/create", dict(name="{}", source="s3://b/%2e%2e/c")),
    ("POST", "model-versions/create", dict(name="{}", source="mlflow-artifacts:/1/2/artifacts/m")),
    ("POST", "model-versions/create", dict(name="{}", source="runs:/0123/m")),
    ("POST", "model-versions/create", dict(name="{}", source="models:/m-0123456789abcdef0123456789abcdef")),
    ("POST", "model-versions/create", dict(name="{}", source="models:/{}/1")),
    ("GET", "model-versions/get", dict(name="{}", version="1")),
    ("GET", "model-versions/get", dict(name="{}", version="9")),
    ("GET", "model-versions/get-download-uri", dict(name="{}", version="3")),
    ("PATCH", "model-versions/update", dict(name="{}", version="1", description="changed")),
    ("PATCH", "registered-models/update", dict(name="{}", description="changed")),
    ("POST", "model-versions/transition-stage", dict(name="{}", version="1", stage="Production", archive_existing_versions=False)),
    ("POST", "model-versions/transition-stage", dict(name="{}", version="2", stage="production", archive_existing_versions=True)),
    ("POST", "model-versions/transition-stage", dict(name="{}", version="2", stage="Nowhere")),
    ("POST", "model-versions/transition-stage", dict(name="{}", version="2", stage="Archived", archive_existing_versions=True)),
    ("GET", "model-versions/get", dict(name="{}", version="1")),
    ("POST", "registered-models/get-latest-versions", dict(name="{}")),
    ("POST", "registered-models/get-latest-versions", dict(name="{}", stages=["Production"])),
    ("POST", "registered-models/get-latest-versions", dict(name="{}", stages=["Nowhere"])),
    ("POST", "registered-models/alias", dict(name="{}", alias="champion", version="1")),
    ("POST", "registered-models/alias", dict(name="{}", alias="champion", version="2")),
    ("POST", "registered-models/alias", dict(name="{}", alias="latest", version="2")),
    ("POST", "registered-models/alias", dict(name="{}", alias="v1", version="2")),
    ("POST", "registered-models/alias", dict(name="{}", alias="a b", version="2")),
    ("POST", "registered-models/alias", dict(name="{}", alias="other", version="9")),
    ("GET", "registered-models/alias", dict(name="{}", alias="champion")),
    ("GET", "registered-models/alias", dict(name="{}", alias="nobody")),
    ("POST", "registered-models/get-latest-versions", dict(name="{}")),
    ("GET", "model-versions/get", dict(name="{}", version="2")),
    ("GET", "model-versions/get", dict(name="{}", version="x")),
    ("GET", "registered-models/search", dict(filter="name='{}'")),
    ("GET", "registered-models/search", dict(filter="nonsense")),
    ("GET", "registered-models/search", dict(filter="name LIKE '{}%'", order_by="name DESC", max_results=5)),
    ("GET", "registered-models/search", dict(max_results=100000)),
    ("POST", "model-versions/create", dict(name="{}", source="models:/{}/99")),
    ("POST", "model-versions/create", dict(name="{}", source="models:/{}@champion")),
    ("POST", "model-versions/create", dict(name="{}", source="http://h/api/2.0/mlflow-artifacts/artifacts/1/x")),
    ("POST", "model-versions/create", dict(name="{}", source="s3://b/m", tags=[{"key": "", "value": "1"}])),
    ("POST", "model-versions/create", dict(name="{}", source="s3://b/%00")),
    ("POST", "model-versions/create", dict(name="{}", source="s3://b/m", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}])),
    ("POST", "registered-models/set-tag", dict(name="{}", key="k" * 300, value="1")),
    ("POST", "registered-models/set-tag", dict(name="{}-nobody", key="k", value="1")),
    ("POST", "model-versions/set-tag", dict(name="{}", version="9", key="k", value="1")),
    ("POST", "registered-models/set-tag", dict(name="{}", key="t", value="1")),
    ("POST", "registered-models/set-tag", dict(name="{}", value="1")),
    ("DELETE", "registered-models/delete-tag", dict(name="{}", key="t")),
    ("DELETE", "registered-models/delete-tag", dict(name="{}", key="t")),
    ("POST", "model-versions/set-tag", dict(name="{}", version="1", key="t", value="1")),
    ("DELETE", "model-versions/delete-tag", dict(name="{}", version="1", key="t")),
    ("GET", "registered-models/get", dict(name="{}")),
    ("GET", "model-versions/search", dict(filter="name='{}'")),
    ("DELETE", "model-versions/delete", dict(name="{}", version="2")),
    ("DELETE", "model-versions/delete", dict(name="{}", version="2")),
    ("GET", "registered-models/alias", dict(name="{}", alias="champion")),
    ("DELETE", "registered-models/alias", dict(name="{}", alias="champion")),
    ("POST", "registered-models/rename", dict(name="{}", new_name="{}-renamed")),
    ("POST", "registered-models/rename", dict(name="{}", new_name="{}-again")),
    ("GET", "model-versions/get", dict(name="{}-renamed", version="1")),
    ("DELETE", "registered-models/delete", dict(name="{}-renamed")),
    ("DELETE", "registered-models/delete", dict(name="{}-renamed")),
    ("GET", "registered-models/get", dict(name="{}-renamed")),
]

# Refused by both, with the same code; Keel says more exactly what is wrong, or has no such setting to name.
OTHER_WORDS = {(path, str(fields)) for path, fields in [
    ("registered-models/search", dict(filter="nonsense")), ("registered-models/search", dict(max_results=100000)),
    ("model-versions/create", dict(name="{}", source="http://h/api/2.0/mlflow-artifacts/artifacts/1/x")),
    ("model-versions/create", dict(name="{}", source="s3://b/m", tags=[{"key": "", "value": "1"}]))]}


def test_the_same_conversation_with_both_servers(shared_keel, mlflow_reference):
    name = "talk-" + uuid.uuid4().hex[:8]

    def fill(value):
        if isinstance(value, str):
            return value.replace("{}", name)
        return {k: fill(v) for k, v in value.items()} if isinstance(value, dict) else value

    differences = []
    for method, path, fields in CONVERSATION:
        ours, theirs = (ask(server.url, method, path, **fill(fields)) for server in (shared_keel, mlflow_reference))
        if theirs == (500, theirs[1]) and ours[0] == 400 and ours[1]["message"] == theirs[1]["message"]:
            continue  # MLflow blames itself for a request that is wrong; the words are the same.
        if ours[0] != theirs[0] or ours[1].get("error_code") != theirs[1].get("error_code"):
            differences.append((path, fields, ours, theirs))
        elif ours[0] == 200 and stable(ours[1]) != stable(theirs[1]):
            differences.append((path, fields, stable(ours[1]), stable(theirs[1])))
        elif ours[0] != 200 and (path, str(fields)) not in OTHER_WORDS and ours[1]["message"].split(".")[0][:60] != theirs[1]["message"].split(".")[0][:60]:
            differences.append((path, fields, ours[1]["message"], theirs[1]["message"]))
    assert not differences, "\n".join(f"{path} {fields}\n  keel   {a}\n  mlflow {b}" for path, fields, a, b in differences)


@pytest.fixture
def client(shared_keel):
    mlflow.set_tracking_uri(shared_keel.url)
    mlflow.set_registry_uri(shared_keel.url)
    return MlflowClient(shared_keel.url, shared_keel.url)


@pytest.fixture
def model(client):
    return client.create_registered_model("m-" + uuid.uuid4().hex[:8]).name


def native(server, path, status=200, **params):
    answer = requests.get(f"{server.url}/api/v1/{path}", params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_copy_has_the_files_and_lineage_of_its_original(client, model):
    original = client.create_model_version(model, "s3://b/m")
    copy = client.copy_model_version(f"models:/{model}/1", model + "-copy")
    assert copy.source == f"models:/{model}/1" and client.get_model_version_download_uri(model + "-copy", "1") == original.source


def test_prompts_are_registered_models(client):
    name = "prompt-" + uuid.uuid4().hex[:8]
    mlflow.genai.register_prompt(name, "Say {{word}}", commit_message="first", tags={"tone": "warm"})
    second = mlflow.genai.register_prompt(name, [{"role": "user", "content": "Say {{word}} twice"}])
    assert second.version == 2
    mlflow.genai.set_prompt_alias(name, "live", 1)
    assert mlflow.genai.load_prompt(f"prompts:/{name}@live").format(word="yes") == "Say yes"
    assert mlflow.genai.load_prompt(name, version=2).template[0]["content"] == "Say {{word}} twice"
    assert name in [p.name for p in mlflow.genai.search_prompts(f"name = '{name}'")]
    assert name not in [m.name for m in client.search_registered_models(max_results=1000)]
    mlflow.genai.delete_prompt_alias(name, "live")
    answer = requests.post(client.tracking_uri + "/api/2.0/mlflow/model-versions/create", json={
        "name": name, "source": "s3://b/m", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]})
    assert answer.status_code == 400 and "Prompt sources must use an MLflow placeholder" in answer.json()["message"]


def test_an_alias_moves_whole_under_64_writers(client, shared_keel, model):
    for _ in range(4):
        client.create_model_version(model, "s3://b/m")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: client.set_registered_model_alias(model, "champion", str(i % 4 + 1)), range(64)))
    moves = [e["data"] for e in native(shared_keel, f"models/{model}/history", limit=1000)["events"] if e["kind"] == "model.alias.set"][::-1]
    assert len(moves) == 64 and moves[0]["before"] is None
    assert all(later["before"] == earlier["after"] for earlier, later in zip(moves, moves[1:]))
    assert int(client.get_model_version_by_alias(model, "champion").version) == moves[-1]["after"]


def test_history_tells_who_changed_what_from_what_to_what(client, shared_keel, model):
    for i in (1, 2):
        client.create_model_version(model, f"s3://b/{i}")
    client.update_model_version(model, "1", "better")
    client.set_model_version_tag(model, "1", "gate", "failed")
    client.set_model_version_tag(model, "1", "gate", "passed")
    client.transition_model_version_stage(model, "1", "Production")
    client.transition_model_version_stage(model, "2", "Production", archive_existing_versions=True)
    client.set_registered_model_alias(model, "champion", "1")
    client.set_registered_model_alias(model, "champion", "2")
    client.rename_registered_model(model, model + "-new")
    client.delete_model_version(model + "-new", "2")
    events = native(shared_keel, f"models/{model}-new/history")["events"]
    told = [(e["kind"].removeprefix("model."), e["data"].get("version"), e["data"].get("before"), e["data"].get("after")) for e in events]
    assert told[::-1] == [
        ("created", None, None, None), ("version.created", 1, None, None), ("version.created", 2, None, None),
        ("version.updated", 1, "", "better"), ("version.tagged", 1, None, "failed"), ("version.tagged", 1, "failed", "passed"),
        ("version.stage", 1, "None", "Production"), ("version.stage", 1, "Production", "Archived"), ("version.stage", 2, "None", "Production"),
        ("alias.set", 1, None, 1), ("alias.set", 2, 1, 2), ("renamed", None, model, model + "-new"), ("version.deleted", 2, None, None)]
    assert {e["by"] for e in events} == {"local"} and all(e["at"] for e in events)
    of_two = native(shared_keel, f"models/{model}-new/history", version=2)["events"]
    assert [e["kind"] for e in of_two] == ["model.version.deleted", "model.alias.set", "model.version.stage", "model.version.created"]
    paged, before = [], None
    while True:
        page = native(shared_keel, f"models/{model}-new/history", limit=3, **({"before": before} if before else {}))
        paged += page["events"]
        before = page["next"]
        if before is None:
            break
    assert paged == events
    native(shared_keel, "models/nobody-at-all/history", status=404)


def test_the_past_is_answered_from_the_ledger(client, shared_keel, model):
    for i in (1, 2):
        client.create_model_version(model, f"s3://b/{i}")
    client.set_registered_model_alias(model, "champion", "1")
    client.set_registered_model_alias(model, "champion", "2")
    client.delete_registered_model(model)
    events = native(shared_keel, f"models/{model}/history")["events"][::-1]
    moves = [e["at"] for e in events if e["kind"] == "model.alias.set"]

    def then(at):
        return {m["name"]: m for m in native(shared_keel, "models", at=at, limit=1000)["models"]}.get(model)
    assert then(moves[0])["aliases"] == {"champion": 1}
    assert then(moves[1])["aliases"] == {"champion": 2}
    assert then("2020-01-01") is None and then(events[-1]["at"]) is None
    assert model not in [m["name"] for m in native(shared_keel, "models", limit=1000)["models"]]


def logged(signature, **more):
    class Model(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input
    name = "filed-" + uuid.uuid4().hex[:8]
    with mlflow.start_run() as run:
        info = mlflow.pyfunc.log_model(name="m", python_model=Model(), signature=signature, registered_model_name=name, **more)
    return name, run, info


def test_what_a_version_is_comes_from_its_file(client, shared_keel):
    frame = pd.DataFrame({"a": [1.5], "b": pd.Series([1], dtype="int64"), "c": ["x"], "d": [True], "e": pd.to_datetime(["2026-01-01"])})
    signature = infer_signature(frame, np.zeros((1, 2)))
    name, run, info = logged(signature, input_example=frame)
    version = native(shared_keel, f"models/{name}/versions/1")
    assert [(i["name"], i["type"]) for i in version["signature"]["inputs"]] == [
        ("a", "float64"), ("b", "int64"), ("c", "string"), ("d", "bool"), ("e", "timestamp")]
    assert version["signature"]["outputs"] == [{"name": "output", "type": "tensor<float64, -1x2>"}]
    assert version["file"]["flavors"] == ["python_function"] and version["file"]["input_example"]
    assert (version["run"], version["logged_model"]) == (run.info.run_id, info.model_id)
    assert version["file"]["bytes"] > 0 and version["file"]["uuid"] == info.model_uuid and version["file"]["problem"] is None


def test_types_that_the_contract_has_no_word_for_are_kept_as_text(client, shared_keel):
    inputs = Schema([ColSpec("double", "x"), ColSpec("string", "y", required=False),
                     ColSpec(mlflow.types.schema.Array("long"), "list"),
                     ColSpec(mlflow.types.schema.Object([mlflow.types.schema.Property("p", "string")]), "object")])
    name, _, _ = logged(ModelSignature(inputs=inputs, params=ParamSchema([ParamSpec("k", "long", 3)])))
    version = native(shared_keel, f"models/{name}/versions/1")
    columns = {c["name"]: c for c in version["file"]["inputs"]}
    assert (columns["x"]["type"], columns["list"]["type"], columns["object"]["type"]) == ("float64", "list<int64>", None)
    assert '"p"' in columns["object"]["written"] and columns["y"]["required"] is False
    assert version["signature"] is None and version["file"]["params"] == [{"name": "k", "type": "long", "default": "3"}]


@pytest.mark.parametrize("text", [
    b"a: [" * 100_000, b"- " * 100_000, b"\xff\xfe\x00bad", b"a: 'unclosed", b"just text",
    b"a: &a [x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((98 + i, 98 + i) + (97 + i,) * 8) for i in range(9)),
    b"signature:\n  inputs: 'not json'\n", b"x: " + b"y" * (3 << 20),
], ids=["deep", "deep-block", "bytes", "unclosed", "text", "aliases", "signature", "large"])
def test_a_hostile_file_is_a_problem_that_is_told_and_nothing_more(client, shared_keel, model, text):
    run = client.create_run("0")
    path = run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    assert requests.put(f"{shared_keel.url}/api/2.0/mlflow-artifacts/artifacts/{path}/m/MLmodel", data=text).status_code == 200
    client.create_model_version(model, f"{run.info.artifact_uri}/m", run.info.run_id)
    version = native(shared_keel, f"models/{model}/versions/1")
    assert version["file"]["problem"].startswith("MLmodel cannot be read: ") and version["signature"] is None


def test_a_source_must_lie_within_the_run_it_names(client, shared_keel, model):
    run, other = client.create_run("0"), client.create_run("0")
    def create(source, **more):
        return ask(shared_keel.url, "POST", "model-versions/create", name=model, source=source, **more)[0]
    assert create(f"{run.info.artifact_uri}/m", run_id=run.info.run_id) == 200
    assert create(f"runs:/{run.info.run_id}/m", run_id=run.info.run_id) == 200
    for source, more in [(f"{run.info.artifact_uri}/m", {}), (f"{run.info.artifact_uri}/m", {"run_id": other.info.run_id}),
                         (f"{run.info.artifact_uri}x/m", {"run_id": run.info.run_id}), (f"runs:/{run.info.run_id}/m", {"run_id": other.info.run_id}),
                         (f"{run.info.artifact_uri}/%252e%252e/m", {"run_id": run.info.run_id})]:
        assert create(source, **more) == 400, source
