"""Evaluation datasets, datasets of runs and logged models, through MLflow's client: Keel's answers beside those of MLflow's server."""
import json
import uuid

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.genai import datasets

RECORDS = [
    {"inputs": {"question": "a", "n": 1}, "expectations": {"answer": "x"}, "tags": {"level": "easy"}},
    {"inputs": {"question": "b"}, "outputs": {"text": "y"}, "source": {"source_type": "human", "source_data": {"source_id": "s-1"}}},
    {"inputs": {"question": "c"}, "outputs": [1, 2.5, None]},
]


def seen(record):
    return {k: v for k, v in record.to_dict().items() if k not in ("dataset_record_id", "dataset_id", "created_time", "last_update_time")}


def records(dataset_id):
    return MlflowClient(mlflow.get_tracking_uri()).get_dataset(dataset_id).records


def life_of_a_dataset(url):
    """What a person sees who makes, fills, changes and reads a dataset."""
    mlflow.set_tracking_uri(url)
    experiment = MlflowClient(url).create_experiment("evaluation-" + uuid.uuid4().hex)
    other = MlflowClient(url).create_experiment("evaluation-" + uuid.uuid4().hex)
    said = []
    made = datasets.create_dataset(name="questions", experiment_id=[experiment], tags={"team": "ops", "mlflow.user": "ada"})
    said.append((made.name, made.tags, made.created_by, made.schema, made.profile, len(made.digest)))
    made.merge_records(RECORDS)
    made.merge_records([{"inputs": {"n": 1, "question": "a"}, "expectations": {"more": True}, "tags": {"level": "hard"}, "outputs": "text"}])
    found = datasets.get_dataset(dataset_id=made.dataset_id)
    said.append((json.loads(found.schema), json.loads(found.profile), found.digest != made.digest))
    said.append(sorted((seen(r) for r in records(made.dataset_id)), key=lambda r: r["inputs"]["question"]))
    said.append((list(found.to_df().columns), len(found.to_df())))
    said.append(found.experiment_ids == [experiment])
    datasets.add_dataset_to_experiments(made.dataset_id, [other])
    said.append(datasets.get_dataset(dataset_id=made.dataset_id).experiment_ids == [experiment, other])
    said.append([d.name for d in datasets.search_datasets(experiment_ids=[other], filter_string="name = 'questions' AND tags.team = 'ops'")])
    said.append([d.name for d in datasets.search_datasets(experiment_ids=[other], filter_string="name LIKE 'x%'")])
    datasets.remove_dataset_from_experiments(made.dataset_id, [other])
    said.append(list(datasets.search_datasets(experiment_ids=[other])))
    datasets.set_dataset_tags(made.dataset_id, {"stage": "two", "team": "data"})
    datasets.delete_dataset_tag(made.dataset_id, "stage")
    said.append(datasets.get_dataset(dataset_id=made.dataset_id).tags)
    said.append(found.delete_records([r.dataset_record_id for r in records(made.dataset_id)[:2]] + ["dr-nothing"]))
    said.append(len(records(made.dataset_id)))
    datasets.delete_dataset(dataset_id=made.dataset_id)
    datasets.delete_dataset(dataset_id=made.dataset_id)
    with pytest.raises(MlflowException) as gone:
        datasets.get_dataset(dataset_id=made.dataset_id)
    said.append((gone.value.error_code, gone.value.message.replace(made.dataset_id, "ID")))
    return said


def test_a_dataset_lives_as_with_mlflow(url, mlflow_reference):
    for ours, theirs in zip(life_of_a_dataset(url), life_of_a_dataset(mlflow_reference.url), strict=True):
        assert ours == theirs


def test_many_records_are_paged(url):
    mlflow.set_tracking_uri(url)
    made = datasets.create_dataset(name="many", experiment_id="0")
    made.merge_records([{"inputs": {"i": i}} for i in range(2500)])
    assert sorted(r.inputs["i"] for r in records(made.dataset_id)) == list(range(2500))
    path = f"{url}/api/3.0/mlflow/datasets/{made.dataset_id}/records"
    first = requests.get(path, params={"max_results": 3}).json()
    second = requests.get(path, params={"max_results": 3, "page_token": first["next_page_token"]}).json()
    ids = [[r["dataset_record_id"] for r in json.loads(page["records"])] for page in (first, second)]
    assert len(set(ids[0] + ids[1])) == 6
    assert requests.get(path, params={"page_token": first["next_page_token"][:-2] + "00"}).status_code == 400


def test_a_batch_with_one_bad_record_changes_nothing(url):
    mlflow.set_tracking_uri(url)
    made = datasets.create_dataset(name="bad", experiment_id="0")
    path = f"{url}/api/3.0/mlflow/datasets/{made.dataset_id}/records"
    for bad in ["text", {"inputs": "text"}, {"inputs": {}, "source": {"source_type": "nothing"}}, {"inputs": {}, "tags": []}]:
        answer = requests.post(path, json={"records": json.dumps([{"inputs": {"a": 1}}, bad])})
        assert answer.status_code == 400 and "records[1]" in answer.json()["message"], answer.text
    assert json.loads(requests.get(path).json()["records"]) == []


def datasets_of_runs(url):
    client = MlflowClient(url)
    experiment = client.create_experiment("read-" + uuid.uuid4().hex)
    for context in ["training", "evaluation", None]:
        run = client.create_run(experiment).info.run_id
        tags = [{"key": "mlflow.data.context", "value": context}] if context else []
        requests.post(url + "/api/2.0/mlflow/runs/log-inputs", json={"run_id": run, "datasets": [
            {"tags": tags, "dataset": {"name": "d", "digest": "1", "source_type": "local", "source": "{}"}}]}).raise_for_status()
    found = []
    for path in ["/api/2.0mlflow", "/ajax-api/2.0/mlflow", "/ajax-api/2.0mlflow"]:
        answer = requests.post(url + path + "/experiments/search-datasets", json={"experiment_ids": [experiment]})
        if answer.status_code == 200:
            found.append(sorted((d["name"], d["digest"], d.get("context", "")) for d in answer.json()["dataset_summaries"]))
    return found[0]


def test_datasets_that_runs_have_read_are_listed(url, mlflow_reference):
    assert datasets_of_runs(url) == datasets_of_runs(mlflow_reference.url)


def history_of_models(url):
    client = MlflowClient(url)
    run = client.create_run("0").info.run_id
    for i in range(2):
        model = {"artifact_path": f"m{i}", "flavors": {"sklearn": {"config": "secret", "version": "1"}}, "run_id": "r", "utc_time_created": "t"}
        requests.post(url + "/api/2.0/mlflow/runs/log-model", json={"run_id": run, "model_json": json.dumps(model)}).raise_for_status()
    return json.loads(client.get_run(run).data.tags["mlflow.log-model.history"])


def test_models_of_old_clients_are_noted_in_the_tag(url, mlflow_reference):
    assert history_of_models(url) == history_of_models(mlflow_reference.url)


def orders_of_logged_models(url):
    client = MlflowClient(url)
    experiment = client.create_experiment("logged-" + uuid.uuid4().hex)
    run = client.create_run(experiment).info.run_id
    for name, values in {"a": [(1, "d1"), (5, "d2")], "b": [(3, "d1")], "c": [], "d": [(2, "d2"), (4, None)]}.items():
        model = client.create_logged_model(experiment, name=name, source_run_id=run if name != "c" else None, params={"p": name})
        for step, (value, dataset) in enumerate(values):
            client.log_metric(run, "auc", value, timestamp=step, step=step, model_id=model.model_id, dataset_name=dataset,
                              dataset_digest="1" if dataset else None)

    def names(**options):
        return [m.name for m in client.search_logged_models([experiment], **options)]

    d1, d2 = {"dataset_name": "d1", "dataset_digest": "1"}, {"dataset_name": "d2", "dataset_digest": "1"}
    answers = [
        names(order_by=[{"field_name": "metrics.auc"}]), names(order_by=[{"field_name": "metrics.auc", "ascending": False}]),
        names(order_by=[{"field_name": "metrics.auc", "ascending": False} | d1]), names(order_by=[{"field_name": "metrics.auc"} | d2]),
        names(order_by=[{"field_name": "name", "ascending": False}]), names(datasets=[d1]), names(datasets=[d1, d2]),
        names(filter_string="metrics.auc > 2", datasets=[d1]), names(filter_string="metrics.auc > 2"),
        names(filter_string="params.p = 'a' AND metrics.auc > 4", datasets=[d2]),
    ]
    paged, token = [], None
    while True:
        page = client.search_logged_models([experiment], order_by=[{"field_name": "metrics.auc"}], max_results=1, page_token=token)
        paged += [m.name for m in page]
        token = page.token
        if not token:
            return answers + [paged]


def test_logged_models_are_found_by_metrics_of_datasets(url, mlflow_reference):
    for ours, theirs in zip(orders_of_logged_models(url), orders_of_logged_models(mlflow_reference.url), strict=True):
        assert ours == theirs
