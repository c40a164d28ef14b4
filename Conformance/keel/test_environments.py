"""`Endpoint/buying` in staging and in production side by side, from the one to the other with its evidence; the same names in a second workspace."""
import pytest
import tritonclient.http as triton

import bundles
import project
from servers import Keel

STAGING = """
---
apiVersion: keel/v1
kind: Endpoint
metadata: { name: buying, environment: staging }
spec:
  features: buying
  rollout: { canary: { shares: [100%], every: { requests: 5 } } }
---
apiVersion: keel/v1
kind: Monitor
metadata: { name: buying, environment: staging }
spec: { endpoint: buying, window: 1d, drift: { threshold: 0.2, minimumRows: 10 } }
---
apiVersion: keel/v1
kind: Role
metadata: { name: deployer }
spec: { actions: [releases.read, releases.deploy, predictions.create, labels.write, monitors.read] }
---
apiVersion: keel/v1
kind: Role
metadata: { name: reader }
spec: { actions: [registry.read, releases.read] }
---
apiVersion: keel/v1
kind: RoleBinding
metadata: { name: stagers }
spec: { role: deployer, tokens: [eve], environments: [staging] }
---
apiVersion: keel/v1
kind: RoleBinding
metadata: { name: readers }
spec: { role: reader, tokens: [eve] }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A model that passed its gate, released in staging only."""
    folder = tmp_path_factory.mktemp("environments")
    keel = Keel(environment={"KEEL_AUTH_REFUSALS": "1000000"}).start()
    text = project.RESOURCES.replace("endpoint: buying }", "endpoint: buying@staging }") + STAGING
    project.apply(keel, folder, text)
    project.ingest(keel, folder, project.csv(project.rows(3000)))
    keel.cli("run", "train")
    keel.eve = keel.cli("tokens", "create", "eve", "--persona", "member").stdout.strip()
    keel.folder = folder
    yield keel
    keel.stop()


def ask(keel, endpoint, ids, **options):
    return keel.post(f"/v2/models/{endpoint}/infer", project.question(ids), **options)


def bearer(secret, **more):
    return {"headers": {"Authorization": f"Bearer {secret}"} | more}


def test_each_environment_serves_what_was_released_there(server):
    for name in ["buying@staging", "buying%40staging"]:
        answer = ask(server, name, [f"s-{name[6]}-{i}" for i in range(6)])
        assert answer.status_code == 200, answer.text
        assert answer.json()["model_name"] == "buying@staging"
    refused = ask(server, "buying", ["p"])
    assert refused.status_code == 409 and "endpoint 'buying' has no release yet" in refused.text
    assert ask(server, "buying@development", ["p"]).status_code == 404
    assert ask(server, "buying@nowhere", ["p"]).status_code == 404
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    assert client.is_model_ready("buying@staging") and not client.is_model_ready("buying")
    assert client.get_model_metadata("buying@staging")["versions"] == ["1"]
    shown = {(e["name"], e["environment"]): e["releases"] for e in server.json("get", "endpoints")["endpoints"]}
    assert [r["number"] for r in shown["buying", "staging"]] == [1] and shown["buying", "production"] == []
    assert server.get("/api/v1/endpoints/buying@stagin/releases").status_code == 400
    # What only serves in staging is no champion.
    assert server.get("/api/v1/models/buying").json().get("aliases", {}).get("champion") is None
    metrics = server.get("/metrics").text
    assert 'keel_inference_requests_total{endpoint="buying",environment="staging",release="1",role="stable",workspace="default"}' in metrics


def test_a_label_may_name_the_endpoint(server):
    ask(server, "buying@staging", ["labelled"])
    assert server.cli("label", "labelled", "1", "--endpoint", "buying", check=False).returncode == 1
    assert "has its label" in server.cli("label", "labelled", "1", "--endpoint", "buying@staging").stdout
    months = server.get("/api/v1/endpoints/buying@staging/performance").json()["months"]
    assert sum(m["labels"] for m in months) == 1
    assert server.get("/api/v1/endpoints/buying/performance").json()["months"] == []
    assert server.get("/api/v1/monitors/buying@staging/windows").status_code == 200


def test_who_may_release_in_staging_may_not_in_production(server):
    eve = bearer(server.eve)
    assert server.get("/api/v1/endpoints/buying@staging/releases", **eve).status_code == 200
    body = {"model": "models:/buying/1"}
    assert server.post("/api/v1/endpoints/buying/releases", body, **eve).status_code == 403
    assert server.post("/api/v1/endpoints/buying/releases", {"from": "buying@staging"}, **eve).status_code == 403
    assert server.post("/api/v1/endpoints/buying/promote", {}, **eve).status_code == 403
    assert server.post("/api/v1/endpoints/buying/rollback", {}, **eve).status_code == 403
    # It serves already, so there is nothing to deploy; but she may.
    assert server.post("/api/v1/endpoints/buying@staging/releases", body, **eve).status_code == 409
    assert ask(server, "buying@staging", ["eve"], **eve).status_code == 200
    assert ask(server, "buying", ["eve"], **eve).status_code == 403
    label = {"labels": [{"id": "eve", "value": 1}]}
    assert server.post("/api/v1/endpoints/buying@staging/labels", label, **eve).status_code == 200
    assert server.post("/api/v1/endpoints/buying/labels", label, **eve).status_code == 403
    assert server.post("/api/v1/labels", label, **eve).status_code == 403
    assert server.get("/api/v1/monitors/buying/windows", **eve).status_code == 403
    shown = server.get("/api/v1/endpoints", **eve).json()["endpoints"]
    assert [(e["name"], e["environment"]) for e in shown] == [("buying", "production"), ("buying", "staging")]
    said = server.json("access", "explain", "eve", "releases.deploy", "Endpoint/buying@staging")
    assert said["allowed"] and not server.json("access", "explain", "eve", "releases.deploy", "Endpoint/buying", check=False)["allowed"]


def test_a_release_is_promoted_with_its_evidence(server):
    nothing = server.post("/api/v1/endpoints/buying/releases", {"from": "buying@development"})
    assert nothing.status_code == 404, nothing.text
    assert server.post("/api/v1/endpoints/buying/releases", {"from": "buying"}).status_code == 400
    assert server.post("/api/v1/endpoints/buying/releases", {"from": "other@staging"}).status_code == 400
    assert server.post("/api/v1/endpoints/buying/releases", {"from": "buying@staging", "model": "models:/buying/1"}).status_code == 400
    printed = server.cli("releases", "promote", "buying@staging", "--to", "production").stdout
    assert printed.startswith("release buying/1 from buying@staging/1: models:/buying/1, gate passed, ")
    release = server.json("releases", "buying")["releases"][0]
    source = release["promoted_from"]
    staged = server.json("releases", "buying@staging")["releases"][0]
    assert (source["endpoint"], source["release"], source["digest"]) == ("buying@staging", 1, staged["digest"])
    assert release["model"] == staged["model"] and release["gate"] == "passed" and release["digest"] != staged["digest"]
    evidence = source["evidence"]
    assert evidence["created_by"] == "local" and evidence["predictions"] >= 12 and evidence["promoted_at"]
    assert ask(server, "buying", ["p"]).status_code == 200
    # The ledger and the card say the same, and the chain holds.
    event = server.get("/api/v1/ledger?kind=release.created&subject=Endpoint/buying").json()["events"][-1]
    assert event["data"]["promoted_from"] == source
    card = server.get("/api/v1/models/buying/versions/1/card").text
    assert "release buying/1 made, gate passed, promoted from buying@staging/1 (" in card
    assert "release buying@staging/1 promoted" in card
    assert server.get("/api/v1/models/buying").json()["aliases"]["champion"] == 1
    server.cli("ledger", "verify")
    # Asked for again it makes no other release.
    assert server.post("/api/v1/endpoints/buying/releases", {"from": "buying@staging"}).status_code == 409
    assert len(server.json("releases", "buying")["releases"]) == 1


def test_what_never_served_and_what_was_forced_is_not_promoted(server):
    endpoint = """
apiVersion: keel/v1
kind: Endpoint
metadata: { name: stump, environment: %s }
spec: { approval: %s, rollout: { shadow: { requests: 1000 }, canary: { shares: [100%%] } } }
"""
    for environment, approval in [("staging", "optional"), ("production", "required"), ("development", "optional")]:
        (server.folder / "stump.yaml").write_text(endpoint % (environment, approval))
        server.cli("apply", server.folder / "stump.yaml")
    for high in [0.25, 0.75]:
        bundles.register(server, server.folder, "stump", bundles.store(server, f"stump-{high}", bundles.stump(0, high), "xgboost"))
    for version in [1, 2]:
        body = {"model": f"models:/stump/{version}", "force": True, "reason": "test"}
        assert server.post("/api/v1/endpoints/stump@staging/releases", body).status_code == 200
    path = "/api/v1/endpoints/stump@development/releases"
    # The second is in shadow: it answered nobody.
    waiting = server.post(path, {"from": "stump@staging", "release": 2, "force": True})
    assert waiting.status_code == 409 and "never served in staging" in waiting.text
    forced = server.post(path, {"from": "stump@staging", "release": 1})
    assert forced.status_code == 409 and "did not pass" in forced.text
    engineer = bearer(server.cli("tokens", "create", "engineer", "--persona", "ml-engineer").stdout.strip())
    assert server.post(path, {"from": "stump@staging", "release": 1, "force": True}, **engineer).status_code == 403
    made = server.post(path, {"from": "stump@staging", "release": 1, "force": True})
    assert made.status_code == 200 and made.json()["promoted_from"]["release"] == 1, made.text
    # What the target asks for is asked for.
    unapproved = server.post("/api/v1/endpoints/stump/releases", {"from": "stump@staging", "release": 1, "force": True})
    assert unapproved.status_code == 409 and "nobody approved" in unapproved.text


def test_deleting_in_staging_leaves_production(server):
    refused = server.cli("delete", "endpoint", "buying", "--environment", "staging", check=False)
    assert refused.returncode == 1 and "Monitor/buying@staging" in refused.stderr
    assert "Monitor/buying@staging" in server.cli("delete", "endpoint", "buying@staging", check=False).stderr
    described = server.json("describe", "endpoint", "buying@staging")
    assert described["resource"]["metadata"]["environment"] == "staging"
    assert [n["id"] for n in described["needed_by"]] == ["Monitor/buying@staging", "Pipeline/train"]
    listed = server.json("delete", "endpoint", "buying", "--environment", "staging", "--cascade", "--dry-run")
    assert [i["environment"] for i in listed["items"] if i["id"] != "Pipeline/train"] == ["staging", "staging"]


def test_the_same_names_in_a_second_workspace(server):
    server.post("/api/v1/workspaces", {"name": "fraud"})
    inside = {"headers": {"Keel-Workspace": "fraud"}}
    nowhere = ask(server, "buying", ["w"], **inside)
    unknown = ask(server, "nothing-like-it", ["w"], **inside)
    assert nowhere.status_code == unknown.status_code == 404
    assert nowhere.text.replace("buying", "X") == unknown.text.replace("nothing-like-it", "X")
    assert server.get("/api/v1/endpoints", **inside).json()["endpoints"] == []
    for path in ["/api/v1/endpoints/buying/releases", "/v2/models/buying", "/v2/models/buying/ready"]:
        assert server.get(path, **inside).status_code == 404, path
    assert server.get("/api/v1/monitors/buying@staging/windows", **inside).json()["windows"] == []
    declared = server.folder / "fraud.yaml"
    declared.write_text("""
apiVersion: keel/v1
kind: Endpoint
metadata: { name: buying }
spec: {}
---
apiVersion: keel/v1
kind: Monitor
metadata: { name: buying }
spec: { endpoint: buying, window: 1d, drift: { threshold: 0.2 } }
""")
    before = server.get("/api/v1/endpoints").json()["endpoints"]
    server.cli("apply", declared, "--workspace", "fraud")
    assert "has no release yet" in ask(server, "buying", ["w"], **inside).text
    assert [(e["name"], e["environment"]) for e in server.get("/api/v1/endpoints", **inside).json()["endpoints"]] == [("buying", "production")]
    mlflow = {"headers": {"X-MLFLOW-WORKSPACE": "fraud"}}
    assert "has no release yet" in ask(server, "buying", ["w"], **mlflow).text
    # The other workspace does not notice.
    assert server.get("/api/v1/endpoints").json()["endpoints"] == before
    assert ask(server, "buying", ["still"]).status_code == 200
    # A token of the second workspace gets one answer for the first and for one that is not there.
    secret = server.cli("tokens", "create", "of-fraud", "--persona", "owner", "--workspace", "fraud").stdout.strip()
    told = []
    for workspace in ["default", "not-there"]:
        answer = ask(server, "buying", ["x"], **bearer(secret, **{"Keel-Workspace": workspace}))
        told.append((answer.status_code, answer.text.replace(workspace, "X")))
    assert told[0] == told[1] and told[0][0] == 403
    assert "has no release yet" in ask(server, "buying", ["x"], **bearer(secret)).text
    server.stop()
    server.start()
    assert "has no release yet" in ask(server, "buying", ["w"], **inside).text
    assert ask(server, "buying", ["after"]).status_code == 200


def test_two_workspaces_serve_under_one_name(server):
    environment = {"KEEL_WORKSPACE": "apart"}
    server.post("/api/v1/workspaces", {"name": "apart"})
    inside = {"headers": {"Keel-Workspace": "apart"}}

    class Apart:
        url = server.url

        def cli(self, *arguments, **options):
            return server.cli(*arguments, environment=environment, **options)

        def post(self, path, body=None):
            return server.post(path, body, **inside)

    apart = Apart()
    bundle = bundles.store(server, "apart", bundles.stump(0.125, 0.875), "xgboost")
    bundles.endpoint(apart, server.folder, "stump")
    bundles.register(apart, server.folder, "stump", bundle)
    assert bundles.release(apart, "stump").status_code == 200
    answer = server.post("/v2/models/stump/infer", bundles.question([1.0], ids=["one"]), **inside)
    assert answer.json()["outputs"][0]["data"] == [0.875]
    assert server.post("/v2/models/stump@staging/infer", bundles.question([1.0], ids=["one"])).json()["outputs"][0]["data"] == [0.25]
    joined = server.post("/api/v1/labels", {"labels": [{"id": "one", "value": 1}]}, **inside).json()
    assert joined["joined"] == 1
    assert server.get("/api/v1/endpoints/stump@staging/performance").json()["months"][0]["labels"] == 0
    server.kill()
    server.start()
    answer = server.post("/v2/models/stump/infer", bundles.question([1.0], ids=["two"]), **inside)
    assert answer.json()["outputs"][0]["data"] == [0.875]
    # Who looks after the server sees what is served in every workspace; who only reads in `default` learns no name of another.
    scientist = bearer(server.cli("tokens", "create", "reads-metrics", "--persona", "data-scientist").stdout.strip())
    assert 'workspace="apart"' in server.get("/metrics").text
    seen = server.get("/metrics", **scientist).text
    assert 'workspace="default"' in seen and 'workspace="apart"' not in seen


def test_a_bare_name_is_that_of_production_where_something_is_taken_away(server):
    (server.folder / "solo.yaml").write_text("apiVersion: keel/v1\nkind: Endpoint\nmetadata: { name: solo, environment: staging }\nspec: {}\n")
    server.cli("apply", server.folder / "solo.yaml")
    refused = server.cli("delete", "endpoint", "solo", "--cascade", check=False)
    assert refused.returncode == 1 and "there is no Endpoint/solo" in refused.stderr
    assert server.json("describe", "endpoint", "solo@staging")["resource"]["metadata"]["name"] == "solo"
    server.cli("delete", "endpoint", "solo@staging")
    assert server.cli("describe", "endpoint", "solo@staging", check=False).returncode == 1


def test_what_was_taken_back_is_promoted_by_force_alone(server):
    path = "/api/v1/endpoints/stump@staging"
    for version in [1, 2]:
        server.post(f"{path}/releases", {"model": f"models:/stump/{version}", "force": True, "reason": "test"})
        server.post(f"{path}/promote")
    serving = max(release["number"] for release in server.get(f"{path}/releases").json()["releases"])
    assert server.post(f"{path}/rollback").status_code == 200
    body = {"from": "stump@staging", "release": serving}
    refused = server.post("/api/v1/endpoints/stump@development/releases", body)
    assert refused.status_code == 409 and "was taken back" in refused.text, refused.text
    made = server.post("/api/v1/endpoints/stump@development/releases", body | {"force": True})
    assert made.status_code == 200, made.text
    assert made.json()["promoted_from"]["evidence"]["taken_back_by"] == "local"
