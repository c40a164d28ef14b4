"""Tokens of identity providers: two real ones, and MLflow's client with their tokens."""
import base64
import json
import os
import subprocess
import sys
import time

import pytest
import requests

from provider import Provider
from servers import Keel

SETTINGS = {"KEEL_AUTH_LOCAL": "off", "KEEL_AUTH_REFUSALS": "1000000", "KEEL_OIDC_SCHEMES": "http", "KEEL_OIDC_INTERNAL": "true"}


def issuer(name, provider, audience="keel"):
    return {f"KEEL_OIDC_ISSUERS_{name}_URL": provider.url, f"KEEL_OIDC_ISSUERS_{name}_AUDIENCE": audience}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def search(server, token, **options):
    return server.post("/api/2.0/mlflow/experiments/search", {"max_results": 1}, headers=bearer(token), **options)


def until_known(server, token):
    """The first answer that is not 'try again': keys are fetched in the background."""
    for _ in range(400):
        answer = search(server, token)
        if answer.status_code != 503:
            return answer
        assert answer.headers["Retry-After"]
        time.sleep(0.1)
    raise AssertionError(answer.text)


@pytest.fixture
def people():
    provider = Provider().start()
    yield provider
    provider.stop()


@pytest.fixture
def jobs():
    provider = Provider().start()
    yield provider
    provider.stop()


@pytest.fixture
def served(people, jobs):
    """A server that knows both providers, and a token of its owner."""
    home = Keel().start()
    owner = home.cli("tokens", "create", "owner", "--persona", "owner").stdout.strip()
    home.stop()
    server = Keel(home=home.home, environment=SETTINGS | issuer("PEOPLE", people) | issuer("JOBS", jobs, "keel-jobs")).start()
    yield server, owner
    server.stop()


def bind(server, owner, folder, **spec):
    (folder / "binding.yaml").write_text(
        json.dumps({"apiVersion": "keel/v1", "kind": "RoleBinding", "metadata": {"name": "bound"}, "spec": spec}))
    server.cli("apply", folder, token=owner)


LOG_A_RUN = """
import mlflow
with mlflow.start_run() as run:
    mlflow.log_metric("auc", 0.9)
print(mlflow.MlflowClient().get_run(run.info.run_id).data.metrics["auc"], run.info.user_id)
"""


def mlflow_client(server, **environment):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KEEL_", "MLFLOW_"))} | environment
    return subprocess.run(
        [sys.executable, "-c", LOG_A_RUN], capture_output=True, text=True, timeout=120,
        env=environment | {"MLFLOW_TRACKING_URI": server.url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "6"})


def test_whoever_a_provider_vouches_for_is_known_and_may_do_nothing_yet(served, people):
    server, owner = served
    answer = until_known(server, people.token("alice"))
    assert answer.status_code == 403 and "people:alice" in answer.json()["message"], answer.text
    # A token for another program says nothing here.
    wrong = search(server, people.token("alice", client="another-program"))
    assert wrong.status_code == 401 and "it is for 'another-program'" in wrong.json()["message"]
    logins = [e for e in server.json("ledger", "list", token=owner)["events"] if e["kind"] == "access.authenticated"]
    assert any(e["caller"] == "people:alice" for e in logins), logins


def test_groups_give_roles_and_a_lost_group_takes_them(served, people, tmp_path):
    server, owner = served
    people.user("alice", groups=["science"])
    bind(server, owner, tmp_path, role="data-scientist", groups=["people:science"])
    token = people.token("alice")
    assert until_known(server, token).status_code == 200
    for environment in [{"MLFLOW_TRACKING_TOKEN": token}, {"MLFLOW_TRACKING_USERNAME": "alice", "MLFLOW_TRACKING_PASSWORD": token}]:
        done = mlflow_client(server, **environment)
        assert done.returncode == 0 and "\n0.9 " in done.stdout, done.stdout + done.stderr
    assert search(server, people.token("bob")).status_code == 403
    people.user("alice", groups=["sales"])
    assert search(server, people.token("alice")).status_code == 403


def test_two_issuers_at_once(served, people, jobs, tmp_path):
    server, owner = served
    bind(server, owner, tmp_path, role="data-scientist", users=["jobs:training"])
    job, person = jobs.token("training", client="keel-jobs"), people.token("training")
    assert until_known(server, job).status_code == 200
    assert until_known(server, person).status_code == 403
    # One provider down takes nothing from the other.
    people.stop()
    assert search(server, job).status_code == 200


def test_new_keys_of_a_provider_are_fetched(served, people):
    server, _ = served
    before = people.token("alice")
    assert until_known(server, before).status_code == 403
    people.stop()
    # While it is away its tokens are good.
    assert search(server, before).status_code == 403
    people.start()
    after = people.token("alice")
    answer = until_known(server, after)
    assert answer.status_code == 403 and "people:alice" in answer.json()["message"]
    # What the old key signed is refused at the latest when its absence was seen.
    assert until_known(server, before).status_code == 401


def test_a_provider_that_is_down_keeps_nothing_from_starting(tmp_path):
    provider = Provider()
    home = Keel().start()
    owner = home.cli("tokens", "create", "owner", "--persona", "owner").stdout.strip()
    home.stop()
    server = Keel(home=home.home, environment=SETTINGS | issuer("PEOPLE", provider)).start()
    try:
        assert server.get("/v2", headers=bearer(owner)).status_code == 200
        claims = {"iss": provider.url, "sub": "alice", "aud": "keel", "exp": time.time() + 600, "iat": time.time()}
        head = {"alg": "RS256", "typ": "JWT"}
        forged = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in (head, claims)) + ".AAAA"
        answers = [search(server, forged), server.get("/v2", headers=bearer(forged)), server.get("/api/v1/damage", headers=bearer(forged)),
                   server.post("/v2/models/x/infer", {}, headers=bearer(forged))]
        for answer in answers:
            assert answer.status_code == 503 and answer.headers["Retry-After"], answer.text
        doctor = server.cli("doctor", "--json", token=owner, check=False)
        found = {d["subject"]: d for d in json.loads(doctor.stdout)["server"]["damage"]}
        assert doctor.returncode == 1 and "keys cannot be fetched" in found["Issuer/people"]["what"]
        assert "Issuer/people: its keys cannot be fetched" in server.log()
        assert 'keel_issuer_failing{subject="Issuer/people"} 1' in server.get("/metrics", headers=bearer(owner)).text
        assert "Issuer/people" not in server.cli("ledger", "list", token=owner).stdout
        provider.start()
        assert until_known(server, provider.token("alice")).status_code == 403
        assert server.get("/api/v1/damage", headers=bearer(owner)).json()["damage"] == []
        assert search(server, forged).status_code in (401, 503)
    finally:
        server.stop()
        provider.stop()


def test_forged_tokens_are_refused_and_the_server_goes_on(served, people):
    server, owner = served
    good = people.token("alice")
    assert until_known(server, good).status_code == 403
    head, claims, signature = good.split(".")

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    other = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged = [
        (part({"alg": "none"}) + "." + claims + ".", "'none' is not allowed"),
        (part({"alg": "HS256"}) + "." + claims + "." + signature, "'HS256' is not allowed"),
        (head + "." + part(other | {"exp": 1}) + "." + signature, "it expired at 1970"),
        (head + "." + part(other | {"nbf": time.time() + 3600}) + "." + signature, "it is not valid before"),
        (head + "." + part(other | {"iss": "https://elsewhere.example.com"}) + "." + signature, "none that this server knows"),
        (head + "." + claims, "2 parts"),
        ("ey" + "a" * 7000 + "." + claims + "." + signature, "not"),
    ]
    for token, words in forged:
        answer = search(server, token)
        assert answer.status_code == 401 and words in answer.json()["message"], (token[:80], answer.text)
    assert search(server, good).status_code == 403
    assert server.get("/v2", headers=bearer(owner)).status_code == 200


@pytest.mark.parametrize("environment, place", [
    ({"KEEL_OIDC_ISSUERS_PEOPLE_URL": "https://a.example.com"}, "oidc.issuers.people.audience"),
    ({"KEEL_OIDC_ISSUERS_PEOPLE_URL": "http://a.example.com", "KEEL_OIDC_ISSUERS_PEOPLE_AUDIENCE": "keel"}, "oidc.issuers.people.url"),
    ({"KEEL_OIDC_ISSUERS_PEOPLE_URI": "https://a.example.com"}, "KEEL_OIDC_ISSUERS_PEOPLE_URI"),
])
def test_a_server_with_settings_that_cannot_be_meant_does_not_start(environment, place):
    server = Keel(environment=environment)
    with pytest.raises(AssertionError, match=place):
        server.start()
