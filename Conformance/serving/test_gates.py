"""A model that no gate judged: who may deploy it, and what an endpoint says about it."""
import json

import pytest

import bundles
import served
from servers import Keel


@pytest.fixture(scope="module")
def keel(tmp_path_factory):
    server = Keel().start()
    folder = tmp_path_factory.mktemp("gates")
    for low in (0.25, 0.2):
        served.put_bundle(server, folder, "churn", bundles.stump(low=low, high=0.75), "xgboost", served.ONE)
    server.eng = server.json("tokens", "create", "eng", "--persona", "ml-engineer")["secret"]
    yield server
    server.stop()


def apply(keel, folder, name, spec, token=None, environment=None, check=True):
    file = folder / f"{name}.json"
    metadata = {"name": name} | ({"environment": environment} if environment else {})
    file.write_text(json.dumps({"apiVersion": "keel/v1", "kind": "Endpoint", "metadata": metadata, "spec": spec}))
    return keel.cli("apply", file, token=token, check=check)


def said(done):
    return done.stdout + done.stderr


def gate(keel, name):
    return keel.json("releases", name)["releases"][-1]["gate"]


def denials(keel, subject):
    events = keel.get("/api/v1/ledger", params={"limit": 500}).json()["events"]
    return [e["data"]["action"] for e in events if e["kind"].startswith("access.denied") and e["subject"] == subject]


def test_an_engineer_deploys_what_no_gate_judged_to_a_new_endpoint(keel):
    done = keel.cli("deploy", "models:/churn/1", "--endpoint", "churn", token=keel.eng)
    assert "gate not asked: deployed by eng" in said(done)
    assert gate(keel, "churn") == "not asked: deployed by eng"
    assert keel.json("describe", "endpoint", "churn")["resource"]["spec"]["gate"] == "optional"
    answer = keel.post("/api/v1/endpoints/churn/predict", {"rows": [{"x": 0.0}]})
    assert [row["score"] for row in answer.json()["predictions"]] == [0.25], answer.text
    # What an endpoint takes, it takes again.
    keel.cli("deploy", "models:/churn/2", "--endpoint", "churn", token=keel.eng)
    assert gate(keel, "churn") == "not asked: deployed by eng"
    # Back to one that no gate judged goes the same way.
    keel.cli("rollback", "churn", "--reason", "to see", token=keel.eng)


def test_an_endpoint_asks_for_a_gate_unless_it_says_otherwise(keel, tmp_path):
    apply(keel, tmp_path, "strict", {}, token=keel.eng)
    done = keel.cli("deploy", "models:/churn/1", "--endpoint", "strict", token=keel.eng, check=False)
    assert done.returncode != 0 and "releases.force" in said(done)
    assert "releases.force" in denials(keel, "Endpoint/strict")
    assert keel.json("releases", "strict")["releases"] == []
    # Who may force says so, and the release does.
    keel.cli("deploy", "models:/churn/1", "--endpoint", "strict")
    assert gate(keel, "strict").startswith("forced: deployed by local")
    back = apply(keel, tmp_path, "declared", {"model": "models:/churn/1"}, token=keel.eng, check=False)
    assert back.returncode != 0 and "releases.force" in said(back)


def test_a_declaration_may_say_so_when_it_is_new(keel, tmp_path):
    apply(keel, tmp_path, "loose", {"model": "models:/churn/1", "gate": "optional"}, token=keel.eng)
    assert gate(keel, "loose") == "not asked: applied by eng"


def test_only_who_may_force_takes_the_demand_away(keel, tmp_path):
    """Otherwise the demand would be a word of whoever applies."""
    apply(keel, tmp_path, "guarded", {"gate": "required", "approval": "required"}, token=keel.eng)
    for spec in {"gate": "optional", "approval": "required"}, {"approval": "optional"}, {"gate": "optional", "approval": "optional"}:
        done = apply(keel, tmp_path, "guarded", spec, token=keel.eng, check=False)
        assert done.returncode != 0 and "releases.force" in said(done), said(done)
    assert keel.json("describe", "endpoint", "guarded")["revision"] == 1
    apply(keel, tmp_path, "guarded", {"gate": "optional", "approval": "optional"})
    apply(keel, tmp_path, "guarded", {"gate": "required", "approval": "required"}, token=keel.eng)
    # Nor does an earlier revision bring it back.
    restored = keel.post("/api/v1/resources/Endpoint/guarded/restore", {"revision": 2}, headers={"Authorization": f"Bearer {keel.eng}"})
    assert restored.status_code == 403, restored.text


def test_pipelines_do_not_forget_their_gate(keel):
    """The release step and `keel release` ask for one also where the endpoint does not: a pipeline without its gate step shall be noticed."""
    done = keel.cli("release", "churn", "models:/churn/1", token=keel.eng, check=False)
    assert done.returncode != 0 and "no gate was asked" in said(done), said(done)


def test_what_no_gate_judged_is_promoted_only_to_where_none_is_asked_for(keel, tmp_path):
    apply(keel, tmp_path, "moves", {"model": "models:/churn/1", "gate": "optional"}, token=keel.eng, environment="staging")
    apply(keel, tmp_path, "moves", {}, token=keel.eng)
    done = keel.cli("releases", "promote", "moves@staging", "--to", "production", token=keel.eng, check=False)
    assert done.returncode != 0 and "no gate judged" in said(done), said(done)
    keel.cli("releases", "promote", "moves@staging", "--to", "production", "--force")
    assert gate(keel, "moves").startswith("forced: no gate judged it in staging")
    apply(keel, tmp_path, "moves", {"gate": "optional"}, environment="development")
    keel.cli("releases", "promote", "moves@staging", "--to", "development", token=keel.eng)
    assert gate(keel, "moves@development") == "not asked: applied by eng"
