"""Webhooks of MLflow's client, delivered to a real receiver: signed, retried, kept over kill -9, and never to internal addresses."""
import base64
import hashlib
import hmac
import json
import time

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from receiver import LAPTOP, Receiver, deliveries, wait_for_state
from servers import Keel

SECRET = "correct horse battery staple"
@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def laptop():
    server = Keel(environment=LAPTOP).start()
    yield server
    server.stop()


@pytest.fixture
def client(laptop):
    client = MlflowClient(laptop.url, laptop.url)
    yield client
    for webhook in client.list_webhooks():
        client.delete_webhook(webhook.webhook_id)


def signature(headers, body, secret=SECRET):
    signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{body}"
    return "v1," + base64.b64encode(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()).decode()


def test_every_change_is_told_with_mlflows_payload_and_signature(client, receiver):
    events = ["registered_model.created", "model_version.created", "model_version_tag.set", "model_version_tag.deleted",
              "model_version_alias.created", "model_version_alias.deleted"]
    client.create_webhook("ci", receiver.url, events, secret=SECRET)
    client.create_registered_model("told", tags={"team": "a"}, description="d")
    client.create_model_version("told", "s3://bucket/model", tags={"k": "v"})
    client.set_model_version_tag("told", "1", "gate", "passed")
    client.delete_model_version_tag("told", "1", "gate")
    client.set_registered_model_alias("told", "champion", "1")
    client.delete_registered_model_alias("told", "champion")
    bodies = receiver.wait(6)
    assert [(b["entity"], b["action"], b["data"]) for b in bodies] == [
        ("registered_model", "created", {"name": "told", "tags": {"team": "a"}, "description": "d"}),
        ("model_version", "created", {"name": "told", "version": "1", "source": "s3://bucket/model", "run_id": None, "tags": {"k": "v"},
                                      "description": None}),
        ("model_version_tag", "set", {"name": "told", "version": "1", "key": "gate", "value": "passed"}),
        ("model_version_tag", "deleted", {"name": "told", "version": "1", "key": "gate"}),
        ("model_version_alias", "created", {"name": "told", "alias": "champion", "version": "1"}),
        ("model_version_alias", "deleted", {"name": "told", "alias": "champion"}),
    ]
    for headers, body, _ in receiver.seen:
        assert headers["X-MLflow-Signature"] == signature(headers, body)
        assert abs(int(headers["X-MLflow-Timestamp"]) - time.time()) < 60
    assert len({headers["X-MLflow-Delivery-Id"] for headers, _, _ in receiver.seen}) == 6


def test_prompts_are_told_as_prompts(client, receiver):
    client.create_webhook("prompts", receiver.url, ["prompt.created", "prompt_version.created", "prompt_alias.created", "registered_model.created",
                                                    "prompt_tag.set", "prompt_version_tag.set"])
    client.register_prompt("greeting", "Hello {{name}}!", commit_message="first", tags={"tone": "warm"})
    client.set_prompt_alias("greeting", "live", 1)
    client.set_prompt_tag("greeting", "owner", "ada")
    bodies = receiver.wait(5)
    told = {(b["entity"], b["action"]): b["data"] for b in bodies}
    assert ("registered_model", "created") not in told
    assert told["prompt_version", "created"]["template"] == "Hello {{name}}!"
    assert told["prompt_alias", "created"] == {"name": "greeting", "alias": "live", "version": "1"}
    assert "X-MLflow-Signature" not in receiver.seen[0][0]


def test_crud_as_mlflows_client_does_it(client, receiver, laptop):
    made = client.create_webhook("one", receiver.url, ["model_version.created"], description="d", secret=SECRET)
    assert (made.name, made.description, made.status, made.secret) == ("one", "d", "ACTIVE", None)
    assert client.get_webhook(made.webhook_id).url == receiver.url
    changed = client.update_webhook(made.webhook_id, name="two", events=["registered_model.created"], status="DISABLED")
    assert (changed.name, [str(e) for e in changed.events], changed.status) == ("two", ["registered_model.created"], "DISABLED")
    for i in range(3):
        client.create_webhook(f"more-{i}", receiver.url, ["model_version.created"])
    page = client.list_webhooks(max_results=2)
    rest = client.list_webhooks(max_results=2, page_token=page.token)
    assert len({w.webhook_id for w in list(page) + list(rest)}) == 4 and not rest.token
    client.delete_webhook(made.webhook_id)
    with pytest.raises(MlflowException, match="not found"):
        client.get_webhook(made.webhook_id)
    for name in ["", "-a", "a b", "x" * 64]:
        with pytest.raises(MlflowException):
            client.create_webhook(name, receiver.url, ["model_version.created"])
    answer = requests.post(f"{laptop.url}/api/2.0/mlflow/webhooks", json={
        "name": "x", "url": receiver.url, "events": [{"entity": "MODEL_VERSION", "action": "EXCEEDED"}]})
    assert answer.status_code == 400 and answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"


def test_a_disabled_webhook_is_told_nothing_and_one_made_later_only_what_comes_after(client, receiver):
    off = client.create_webhook("off", receiver.url, ["registered_model.created"], status="DISABLED")
    client.create_registered_model("before-on")
    client.create_webhook("on", receiver.url, ["registered_model.created"])
    client.create_registered_model("after-on")
    assert [b["data"]["name"] for b in receiver.wait(1)] == ["after-on"]
    assert client.get_webhook(off.webhook_id).status == "DISABLED"


def test_the_test_route_sends_an_example(client, receiver):
    made = client.create_webhook("probe", receiver.url, ["model_version.created"], secret=SECRET)
    result = client.test_webhook(made.webhook_id)
    assert (result.success, result.response_status, result.response_body) == (True, 200, "thanks")
    headers, body, _ = receiver.seen[0]
    assert json.loads(body)["data"]["name"] == "example_model" and headers["X-MLflow-Signature"] == signature(headers, body)
    receiver.statuses.append(404)
    assert client.test_webhook(made.webhook_id, event="model_version_tag.set").response_status == 404


def test_failures_are_tried_again_with_the_same_id(client, laptop):
    receiver = Receiver([500, 503])
    made = client.create_webhook("flaky", receiver.url, ["registered_model.created"], secret=SECRET)
    client.create_registered_model("tried-again")
    receiver.wait(3)
    assert len({headers["X-MLflow-Delivery-Id"] for headers, _, _ in receiver.seen}) == 1
    assert len({body for _, body, _ in receiver.seen}) == 1
    delivery = wait_for_state(laptop, made, "delivered")[0]
    assert (delivery["attempts"], delivery["answer"]) == (3, 200)
    shown = next(w for w in requests.get(laptop.url + "/api/v1/webhooks").json()["webhooks"] if w["id"] == made.webhook_id)
    assert shown["last_delivery"]["state"] == "delivered"
    receiver.close()


def test_a_refusal_is_final_and_redirects_are_not_followed(client, laptop):
    target, receiver = Receiver(), Receiver([400])
    refused = client.create_webhook("refused", receiver.url, ["registered_model.created"])
    client.create_registered_model("refused-once")
    assert wait_for_state(laptop, refused, "failed")[0]["answer"] == 400
    client.delete_webhook(refused.webhook_id)
    receiver.statuses.append(307)
    receiver.headers["Location"] = target.url
    moved = client.create_webhook("moved", receiver.url, ["registered_model.created"])
    client.create_registered_model("moved-away")
    assert wait_for_state(laptop, moved, "failed")[0]["answer"] == 307
    assert target.seen == []
    receiver.close()
    target.close()


def test_kill_9_neither_loses_nor_repeats_without_end():
    server = Keel(environment=LAPTOP).start()
    receiver = Receiver([500] * 3)
    client = MlflowClient(server.url, server.url)
    client.create_webhook("durable", receiver.url, ["registered_model.created"], secret=SECRET)
    for i in range(5):
        client.create_registered_model(f"durable-{i}")
    receiver.wait(1)
    server.kill()
    server.start()
    webhook = client.list_webhooks()[0]
    for _ in range(600):
        if len(found := deliveries(server, webhook)) == 5 and all(d["state"] == "delivered" for d in found):
            break
        time.sleep(0.05)
    assert [d["state"] for d in found] == ["delivered"] * 5
    names = {}
    for headers, body, _ in receiver.seen:
        assert headers["X-MLflow-Signature"] == signature(headers, body)
        names.setdefault(json.loads(body)["data"]["name"], set()).add(headers["X-MLflow-Delivery-Id"])
    assert names.keys() == {f"durable-{i}" for i in range(5)}
    # A delivery keeps its id over the crash, and once delivered it is not sent again.
    assert all(len(ids) == 1 for ids in names.values())
    count = len(receiver.seen)
    client.create_registered_model("last")
    receiver.wait(count + 1)
    assert len(receiver.seen) == count + 1
    server.stop()
    receiver.close()


INTERNAL = [
    "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://10.1.2.3/", "https://172.16.0.1/", "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data", "https://100.64.0.1/", "https://0.0.0.0/", "https://224.0.0.1/", "https://255.255.255.255/",
    "https://[::ffff:127.0.0.1]/", "https://[::ffff:10.0.0.1]/", "https://[fe80::1]/", "https://[fd00::1]/", "https://[ff02::1]/",
    "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://[::]/", "https://127.1/", "https://2130706433/", "https://0177.0.0.1/",
    "https://0x7f.1/", "https://0x7f000001/", "https://127.0.0.1.", "https://user:pass@8.8.8.8/", "http://8.8.8.8/", "file:///etc/passwd",
    "ftp://8.8.8.8/", "https://", "https:///path", " ", "https://8.8.8.8\\@127.0.0.1/", "gopher://127.0.0.1:25/", "https://exa mple.com/",
    "https://①②⑦.⓪.⓪.①/",
]


def test_internal_addresses_and_other_schemes_are_refused(shared_keel):
    url = shared_keel.url + "/api/2.0/mlflow/webhooks"
    for target in INTERNAL:
        answer = requests.post(url, json={"name": "x", "url": target, "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}]})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), target
    assert requests.get(url).json().get("webhooks", []) == []


def test_public_addresses_are_accepted_and_changing_to_an_internal_one_is_not(shared_keel):
    client = MlflowClient(shared_keel.url, shared_keel.url)
    made = client.create_webhook("public", "https://8.8.8.8/hook", ["model_version.created"])
    with pytest.raises(MlflowException, match="non-public"):
        client.update_webhook(made.webhook_id, url="https://127.0.0.1/")
    assert client.get_webhook(made.webhook_id).url == "https://8.8.8.8/hook"
    client.delete_webhook(made.webhook_id)


def test_delivery_checks_the_address_too():
    """A webhook that was allowed when it was made is refused when the setting forbids it later."""
    server = Keel(environment=LAPTOP).start()
    receiver = Receiver()
    client = MlflowClient(server.url, server.url)
    made = client.create_webhook("was-allowed", receiver.url, ["registered_model.created"])
    server.stop()
    server.environment = {"KEEL_WEBHOOKS_SCHEMES": "http,https"}
    server.start()
    client.create_registered_model("hidden")
    assert "non-public" in wait_for_state(server, made, "failed")[0]["error"]
    assert receiver.seen == []
    server.stop()
    receiver.close()


def test_the_secret_is_nowhere(client, receiver, laptop):
    secret = "s3cr3t-that-nobody-sees"
    made = client.create_webhook("hushed", receiver.url, ["registered_model.created"], secret=secret)
    client.update_webhook(made.webhook_id, secret=secret + "-2")
    client.create_registered_model("hushed")
    receiver.wait(1)
    headers, body, _ = receiver.seen[0]
    assert headers["X-MLflow-Signature"] == signature(headers, body, secret + "-2")
    texts = [requests.get(laptop.url + path).text for path in (
        "/api/2.0/mlflow/webhooks", "/api/v1/webhooks", "/api/v1/ledger?kind=webhook.&limit=1000", "/api/v1/ledger?limit=10000")] + [laptop.log()]
    assert all(secret not in text for text in texts)
    import pathlib
    for file in pathlib.Path(laptop.home).glob("keel.sqlite*"):
        assert secret.encode() not in file.read_bytes()


def test_who_may_only_read_cannot_see_webhooks(laptop):
    token = requests.post(laptop.url + "/api/v1/tokens", json={"name": "scientist", "persona": "data-scientist"}).json()["secret"]
    answer = requests.get(laptop.url + "/api/2.0/mlflow/webhooks", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403


def test_what_the_server_tells_itself_is_nobodys_and_not_the_persons_at_the_machine(client, laptop):
    itself = client.create_webhook("itself", laptop.url + "/api/2.0/mlflow/registered-models/create", ["registered_model.created"])
    told = client.test_webhook(itself.webhook_id)
    assert told.response_status == 401 and "not of the user that runs the server" in told.response_body
