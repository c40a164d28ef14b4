"""MLflow's workspaces on top of Keel's: two teams with the same names everywhere, and neither learns of the other."""
import itertools
import re
import uuid

import mlflow
import pytest
import requests
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException, RestException

from servers import Keel


@pytest.fixture(scope="module")
def server():
    server = Keel(environment={"KEEL_AUTH_REFUSALS": "1000000"}).start()
    yield server
    server.stop()


@pytest.fixture
def client(server):
    mlflow.set_tracking_uri(server.url)
    mlflow.set_registry_uri(server.url)
    yield mlflow.MlflowClient(server.url, server.url)
    mlflow.set_workspace(None)


@pytest.fixture
def teams(client):
    names = [f"team-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        client.create_workspace(name, "of a test")
    return names


def work(client, name):
    """The same calls with the same names, whoever makes them."""
    experiment = client.create_experiment(name)
    run = client.create_run(experiment).info
    client.log_batch(run.run_id, [Metric("loss", 0.5, 1, 1)], [Param("depth", "3")], [])
    client.log_text(run.run_id, name, "notes/a.txt")
    client.create_registered_model(name)
    version = client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id)
    client.set_registered_model_alias(name, "champion", version.version)
    dataset = mlflow.genai.datasets.create_dataset(name=name, experiment_id=experiment)
    return experiment, run.run_id, version, dataset.dataset_id


def test_two_teams_use_the_same_names_everywhere(client, teams):
    name = "same-" + uuid.uuid4().hex[:6]
    made = {}
    for team in [None] + teams:
        mlflow.set_workspace(team)
        made[team] = work(client, name)
    for team, (experiment, run, version, _) in made.items():
        mlflow.set_workspace(team)
        assert client.get_experiment_by_name(name).experiment_id == experiment
        assert [r.info.run_id for r in client.search_runs([experiment])] == [run]
        assert [m.name for m in client.search_registered_models(f"name = '{name}'")] == [name]
        found = client.get_model_version_by_alias(name, "champion")
        assert (found.version, found.run_id) == (version.version, run)
        assert [f.path for f in client.list_artifacts(run, "notes")] == ["notes/a.txt"]
    assert len({experiment for experiment, *_ in made.values()}) == 3


def test_nothing_of_another_workspace_is_found_by_its_id(client, teams):
    mine, other = teams
    mlflow.set_workspace(other)
    name = "secret-" + uuid.uuid4().hex[:6]
    experiment, run, version, dataset = work(client, name)
    uri = client.get_run(run).info.artifact_uri
    mlflow.set_workspace(mine)
    for call in [lambda: client.get_experiment(experiment), lambda: client.get_run(run), lambda: client.log_metric(run, "x", 1),
                 lambda: client.set_tag(run, "a", "b"), lambda: client.delete_run(run), lambda: client.get_metric_history(run, "loss"),
                 lambda: client.create_run(experiment), lambda: client.rename_experiment(experiment, "mine"), lambda: client.list_artifacts(run),
                 lambda: client.get_registered_model(name), lambda: client.get_model_version(name, version.version),
                 lambda: client.delete_registered_model(name), lambda: client.set_registered_model_alias(name, "champion", version.version),
                 lambda: mlflow.genai.datasets.get_dataset(dataset_id=dataset), lambda: client.update_run(run, "FINISHED")]:
        with pytest.raises(MlflowException) as refused:
            call()
        assert "not found" in str(refused.value).lower() or "no experiment" in str(refused.value).lower(), str(refused.value)
    assert client.search_runs([experiment]) == [] and client.get_experiment_by_name(name) is None
    assert client.search_registered_models(f"name = '{name}'") == []
    # The path of its artifacts leads nowhere from here, whichever way it is written.
    path = uri.removeprefix("mlflow-artifacts:/")
    for spelling in [path, "./" + path, path.replace("workspaces/", "workspaces//"), "../" + other]:
        answer = requests.get(f"{client.tracking_uri}/api/2.0/mlflow-artifacts/artifacts/{spelling}/notes/a.txt",
                              headers={"X-MLFLOW-WORKSPACE": mine})
        assert answer.status_code in (400, 404), (spelling, answer.status_code, answer.text)
    for workspace in [mine, "default"]:
        listed = requests.get(f"{client.tracking_uri}/api/2.0/mlflow-artifacts/artifacts", headers={"X-MLFLOW-WORKSPACE": workspace}).json()
        assert not any(other in f["path"] or f["path"] == "workspaces" for f in listed.get("files", []))
    mlflow.set_workspace(other)
    assert client.get_run(run).data.tags.get("a") is None and client.get_registered_model(name).name == name


def test_a_workspace_has_a_default_experiment_and_goes_only_when_it_is_empty(client, teams):
    team = teams[0]
    mlflow.set_workspace(team)
    experiment = client.get_experiment_by_name("Default")
    assert experiment.artifact_location == f"mlflow-artifacts:/workspaces/{team}/{experiment.experiment_id}"
    run = client.create_run(experiment.experiment_id).info.run_id
    mlflow.set_workspace(None)
    with pytest.raises(RestException, match="still holds 1 runs"):
        client.delete_workspace(team)
    assert team in [w.name for w in client.list_workspaces()] and client.get_workspace(team).description == "of a test"
    client.update_workspace(team, description="changed")
    assert client.get_workspace(team).description == "changed"
    mlflow.set_workspace(team)
    client.delete_run(run)
    mlflow.set_workspace(None)
    other = teams[1]
    client.delete_workspace(other)
    assert other not in [w.name for w in client.list_workspaces()]
    with pytest.raises(MlflowException, match="already exists"):
        client.create_workspace(other)
    mlflow.set_workspace(other)
    with pytest.raises(RestException, match="there is no workspace"):
        client.search_experiments()


def test_whoever_has_no_role_in_a_workspace_does_not_learn_that_it_is_there(server, client, teams):
    token = server.cli("tokens", "create", "w" + uuid.uuid4().hex[:6], "--persona", "data-scientist").stdout.strip()
    answers = [requests.get(f"{server.url}/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"},
                            headers={"Authorization": f"Bearer {token}", "X-MLFLOW-WORKSPACE": name}) for name in [teams[0], "no-such-team"]]
    texts = [re.sub(r"'(%s|no-such-team)'" % teams[0], "NAME", a.text) for a in answers]
    assert [a.status_code for a in answers] == [403, 403] and texts[0] == texts[1]
    inside = server.cli("tokens", "create", "i" + uuid.uuid4().hex[:6], "--persona", "data-scientist", "--workspace", teams[0]).stdout.strip()
    headers = {"Authorization": f"Bearer {inside}"}
    # A token's own workspace needs no header.
    assert requests.get(f"{server.url}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "Default"}, headers=headers
                        ).json()["experiment"]["artifact_location"].startswith(f"mlflow-artifacts:/workspaces/{teams[0]}/")
    assert requests.get(f"{server.url}/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"}, headers=headers).status_code == 404
    outside = requests.get(f"{server.url}/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"}, headers=headers | {"Keel-Workspace": "default"})
    assert outside.status_code == 403
    # What serves elsewhere is not listed.
    assert requests.get(f"{server.url}/api/v1/endpoints", headers=headers).json() == {"endpoints": []}


def test_two_names_in_one_request_and_names_that_are_none_are_refused(server):
    url = f"{server.url}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert requests.get(url, headers={"Keel-Workspace": "default", "X-MLFLOW-WORKSPACE": "default"}).status_code == 200
    assert requests.get(url, headers={"Keel-Workspace": "default", "X-MLFLOW-WORKSPACE": "team-a"}).status_code == 400
    for name in ["A", "a_b", "../x", "a" * 64, "api", "a b"]:
        assert requests.get(url, headers={"X-MLFLOW-WORKSPACE": name}).status_code == 400, name


def test_the_ledger_of_a_workspace_is_its_own_and_the_chain_is_everybodys(server, client, teams):
    mlflow.set_workspace(teams[0])
    work(client, "audited-" + uuid.uuid4().hex[:6])
    def events(**headers):
        return requests.get(server.url + "/api/v1/ledger", params={"limit": 10000}, headers=headers).json()["events"]
    inside = events(**{"Keel-Workspace": teams[0]})
    assert {e["workspace"] for e in inside} == {teams[0]} and "model.created" in {e["kind"] for e in inside}
    assert teams[0] not in {e["workspace"] for e in events()}
    whole = requests.get(server.url + "/api/v1/ledger", params={"all": "true", "limit": 10000}).json()["events"]
    assert [e["seq"] for e in whole] == list(range(1, len(whole) + 1)) and teams[0] in {e["workspace"] for e in whole}
    assert requests.get(server.url + "/api/v1/ledger", params={"all": "true"}, headers={"Keel-Workspace": teams[0]}).status_code == 403
    assert "unbroken" in server.cli("ledger", "verify").stdout


def test_what_is_said_of_the_whole_server_and_of_the_same_name_elsewhere_stays_out_of_a_workspace(server, teams):
    for team in teams:
        card = {"apiVersion": "keel/v1", "kind": "ModelCard", "metadata": {"name": "same"}, "spec": {"license": "mit"}}
        assert requests.post(server.url + "/api/v1/apply", json={"resources": [card]}, headers={"Keel-Workspace": team}).status_code == 200
    inside = {"Authorization": "Bearer " + server.cli("tokens", "create", "m" + uuid.uuid4().hex[:6], "--persona", "platform-engineer",
                                                       "--workspace", teams[0]).stdout.strip()}
    assert requests.get(server.url + "/metrics", headers=inside).status_code == 403
    # Of damage a workspace sees its own.
    assert requests.get(server.url + "/api/v1/damage", headers=inside).json() == {"damage": []}
    assert requests.post(server.url + "/api/v1/verify", headers=inside).status_code == 403
    assert requests.post(server.url + "/api/v1/workspaces", json={"name": "mine"}, headers=inside).status_code == 403
    described = requests.get(server.url + "/api/v1/resources/modelcard/same", headers=inside).json()
    assert {e["workspace"] for e in described["events"]} <= {teams[0]} and described["revision"] == 1


def test_a_token_for_some_things_is_refused_where_no_thing_is_named(server, client):
    for name in ["fraud-a", "other-a"]:
        client.create_registered_model(name)
    token = server.cli("tokens", "create", "s" + uuid.uuid4().hex[:6], "--persona", "ml-engineer", "--kind", "Model", "--names", "fraud-*").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    def ask(method, path, **options):
        return requests.request(method, server.url + path, headers=headers, **options)
    mlflow_path = "/api/2.0/mlflow/registered-models/"
    assert [m["name"] for m in ask("GET", mlflow_path + "search").json()["registered_models"]] == ["fraud-a"]
    assert ask("GET", mlflow_path + "get", params={"name": "fraud-a"}).status_code == 200
    assert ask("GET", mlflow_path + "get", params={"name": "other-a"}).status_code == 403
    assert ask("PATCH", mlflow_path + "update", json={"name": "other-a", "description": "mine"}).status_code == 403
    assert ask("POST", mlflow_path + "rename", json={"name": "fraud-a", "new_name": "other-b"}).status_code == 403
    # These say nothing of which model, endpoint or run they are about.
    assert [m["name"] for m in ask("GET", "/api/v1/models").json()["models"]] == ["fraud-a"]
    assert ask("POST", "/api/v1/models", json={"name": "fraud-b"}).status_code == 201
    assert ask("POST", "/api/v1/models", json={"name": "other-b"}).status_code == 403
    client.delete_registered_model("fraud-b")
    for method, path in [("GET", "/api/v1/ledger"), ("GET", "/metrics"), ("GET", "/api/v1/experiments"), ("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")]:
        assert ask(method, path).status_code == 403, path
    client.delete_registered_model("fraud-a")
    client.delete_registered_model("other-a")


def test_a_version_goes_to_another_workspace_when_both_sides_agree(server, client, teams):
    name, (source, target) = "shared-" + uuid.uuid4().hex[:6], teams
    mlflow.set_workspace(source)
    experiment, run, version, _ = work(client, name)
    client.log_text(run, "weights", "model/weights.txt")

    def keel(workspace, *arguments):
        return server.json(*arguments, "--workspace", workspace)
    offer = keel(source, "offers", "make", f"models:/{name}/{version.version}", "--to", target, "--note", "the good one")
    assert server.cli("offers", "accept", offer["id"], "--workspace", source, check=False).returncode != 0
    assert server.cli("offers", "show", offer["id"], check=False).returncode != 0, "a third workspace sees the offer"
    mlflow.set_workspace(target)
    assert client.search_registered_models() == []
    seen = keel(target, "offers", "show", offer["id"])
    assert seen["version"]["uri"] == f"models:/{name}/{version.version}" and seen["offer"]["note"] == "the good one"
    assert keel(target, "offers", "accept", offer["id"], "--model", "taken")["uri"] == "models:/taken/1"
    folder = mlflow.artifacts.download_artifacts(f"models:/taken/1")
    assert open(f"{folder}/weights.txt").read() == "weights"
    assert [o["state"] for o in keel(source, "offers")["offers"]] == ["accepted"]
    # It stays when the other side removes its own for good.
    mlflow.set_workspace(source)
    client.delete_registered_model(name)
    client.delete_run(run)
    server.cli("gc", "--workspace", source)
    with pytest.raises(MlflowException):
        client.get_run(run)
    mlflow.set_workspace(target)
    server.cli("gc", "--workspace", target)
    assert open(mlflow.artifacts.download_artifacts("models:/taken/1") + "/weights.txt").read() == "weights"
    client.delete_registered_model("taken")
    assert server.json("gc", "--workspace", target)["objects"] > 0
    server.cli("workspaces", "delete", target)
