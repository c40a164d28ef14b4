"""Random calls about logged models and the registry."""
from urllib.parse import quote

from differential import LAST, Call
from sequences import KEYS


def create_logged_model(s):
    fields = {"experiment_id": s.experiment()}
    if s.named or s.rare(0.6):
        fields["name"] = s.one(["model", "other", "ü", "a/b", "a:b"] + [""] * (not s.named))
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
    return Call("DELETE", f"logged-models/{s.place('logged')}/tags/{quote(s.one(['auc', 'loss', 'k_2', 'nope', 'a b', 'a.b', 'a:b', 'ключ', 'a%b']), safe='')}", {})


def log_logged_model_params(s):
    place = s.place("logged")
    return Call("POST", f"logged-models/{place}/params", {"model_id": place, "params": s.items(1)})


def logged_model_files(s):
    fields = {"artifact_directory_path": s.one(["x", "a/b", "ü", "..", "/x"])} if s.rare(0.3) else {}
    return Call("GET", f"logged-models/{s.place('logged')}/artifacts/directories", fields)


def create_model(s):
    fields = {"name": s.new_model()}
    if s.rare(0.1):
        fields["tags"] = [{"key": "mlflow.prompt.is_prompt", "value": s.one(["true", "True", "false"])}]
    elif s.rare(0.4):
        fields["tags"] = s.tags()
    if s.rare(0.4):
        fields["description"] = s.text()
    return Call("POST", "registered-models/create", fields)


def get_model(s):
    return Call("GET", "registered-models/get", {"name": s.model()})


def rename_model(s):
    return Call("POST", "registered-models/rename", {"name": s.left_model(), "new_name": s.new_model()})


def update_model(s):
    fields = {"name": s.model()}
    if s.rare(0.9):
        fields["description"] = s.text()
    return Call("PATCH", "registered-models/update", fields)


def delete_model(s):
    return Call("DELETE", "registered-models/delete", {"name": s.left_model()})


def set_model_tag(s):
    return Call("POST", "registered-models/set-tag", {"name": s.model(), "key": s.key(), "value": s.text()})


def delete_model_tag(s):
    return Call("DELETE", "registered-models/delete-tag", {"name": s.model(), "key": s.key()})


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
