"""Webhooks over HTTPS: a receiver with a certificate of a private authority, and what happens when that is not trusted or the name is another."""
import subprocess
import time

import pytest
import requests
from mlflow import MlflowClient
from mlflow.webhooks import constants
from mlflow.webhooks.delivery import _generate_hmac_signature

from authority import Authority
from receiver import Receiver, deliveries, wait_for_state
from servers import KEEL, Keel

SECRET = "correct horse battery staple"
INTERNAL = {"KEEL_WEBHOOKS_INTERNAL": "true"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "private")


@pytest.fixture(scope="module")
def trusting(authority):
    server = Keel(environment=INTERNAL | {"KEEL_OUTGOING_AUTHORITIES": str(authority.file)}).start()
    yield server
    server.stop()


@pytest.fixture
def secure(authority):
    receiver = Receiver(certificate=authority.certificate("localhost"))
    receiver.url = f"https://localhost:{receiver.port}/hook?from=keel"
    yield receiver
    receiver.close()


def subscribe(server, url, **options):
    client = MlflowClient(server.url, server.url)
    return client, client.create_webhook("tls", url, ["registered_model.created"], **options)


def wait_for(server, webhook, holds):
    for _ in range(600):
        found = deliveries(server, webhook)
        if found and holds(found[0]):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(found)


def test_a_receiver_of_a_private_authority_is_told_with_a_signature_that_mlflows_own_code_confirms(trusting, secure):
    client, webhook = subscribe(trusting, secure.url, secret=SECRET)
    client.create_registered_model("over-tls")
    assert secure.wait(1)[0]["data"]["name"] == "over-tls"
    headers, body, path = secure.seen[0]
    assert path == "/hook?from=keel" and headers["Host"] == f"localhost:{secure.port}" and headers["Content-Type"] == "application/json"
    made = _generate_hmac_signature(SECRET, headers[constants.WEBHOOK_DELIVERY_ID_HEADER], headers[constants.WEBHOOK_TIMESTAMP_HEADER], body)
    assert headers[constants.WEBHOOK_SIGNATURE_HEADER] == made
    assert abs(int(headers[constants.WEBHOOK_TIMESTAMP_HEADER]) - time.time()) < 300
    assert wait_for_state(trusting, webhook, "delivered")[0]["answer"] == 200
    result = client.test_webhook(webhook.webhook_id)
    assert (result.success, result.response_status, result.response_body) == (True, 200, "thanks")


def test_an_answer_that_says_try_later_is_tried_again_over_tls(trusting, secure):
    secure.statuses = [503, 500]
    client, webhook = subscribe(trusting, secure.url)
    client.create_registered_model("over-tls-again")
    delivery = wait_for(trusting, webhook, lambda d: d["state"] == "delivered")
    assert (delivery["attempts"], delivery["answer"]) == (3, 200)
    assert len({headers["X-MLflow-Delivery-Id"] for headers, _, _ in secure.seen}) == 1


def test_no_redirect_is_followed_whatever_its_status(trusting, secure):
    inner = Receiver()
    client, webhook = subscribe(trusting, secure.url)
    for status in (301, 302, 303, 307, 308):
        secure.statuses, secure.headers = [status], {"Location": inner.url}
        result = client.test_webhook(webhook.webhook_id)
        assert result.response_status == status
    assert inner.seen == [] and len(secure.seen) == 5
    inner.close()


def test_a_certificate_of_an_unknown_authority_is_an_error_that_is_shown_and_tried_again_until_it_is_trusted(authority, secure):
    server = Keel(environment=INTERNAL).start()
    client, webhook = subscribe(server, secure.url, secret=SECRET)
    client.create_registered_model("untrusted")
    delivery = wait_for(server, webhook, lambda d: d["attempts"] >= 2)
    assert delivery["state"] == "pending" and "is not trusted" in delivery["error"] and "outgoing.authorities" in delivery["error"]
    assert "not trusted" in requests.get(server.url + "/api/v1/webhooks").json()["webhooks"][0]["last_delivery"]["error"]
    assert "not trusted" in client.test_webhook(webhook.webhook_id).error_message
    assert secure.seen == []
    server.stop()
    server.environment = INTERNAL | {"KEEL_OUTGOING_AUTHORITIES": str(authority.file)}
    server.start()
    assert secure.wait(1)[0]["data"]["name"] == "untrusted"
    assert secure.seen[0][0]["X-MLflow-Delivery-Id"] == delivery["id"]
    server.stop()


def test_a_certificate_of_another_name_is_an_error_that_is_shown_and_tried_again(trusting, authority):
    elsewhere = Receiver(certificate=authority.certificate("elsewhere.example"))
    for host in ("localhost", "127.0.0.1"):
        client, webhook = subscribe(trusting, f"https://{host}:{elsewhere.port}/")
        client.create_registered_model(f"of-another-name-{host}")
        delivery = wait_for(trusting, webhook, lambda d: d["attempts"] >= 2)
        assert delivery["state"] == "pending" and f"is not of '{host}'" in delivery["error"], delivery
        client.delete_webhook(webhook.webhook_id)
    assert elsewhere.seen == []
    elsewhere.close()


def test_what_does_not_speak_tls_is_an_error_that_is_shown(trusting):
    plain = Receiver()
    client, webhook = subscribe(trusting, plain.url.replace("http:", "https:"))
    assert "no TLS connection" in client.test_webhook(webhook.webhook_id).error_message
    plain.close()
    assert "refused" in client.test_webhook(webhook.webhook_id).error_message
    client.delete_webhook(webhook.webhook_id)


@pytest.mark.parametrize("content,problem", [
    (None, "cannot be read"), (b"", "holds no certificate"), (b"not PEM at all", "holds no certificate"), ("key", "not a certificate"),
    ("cut", "not a certificate"), ("cut after a whole one", "not a certificate"),
])
def test_a_server_with_a_bad_file_of_authorities_does_not_start(authority, tmp_path, content, problem):
    file, good = tmp_path / "bundle.pem", authority.file.read_bytes()
    special = {"key": good + authority.key.read_bytes(), "cut": good[:len(good) // 2], "cut after a whole one": good + good[:len(good) // 2]}
    if content is not None:
        file.write_bytes(special[content] if isinstance(content, str) else content)
    done = subprocess.run([str(KEEL), "serve", "--home", str(tmp_path / "home"), "--listen", "127.0.0.1:1"], capture_output=True, text=True,
                          env={"KEEL_OUTGOING_AUTHORITIES": str(file)}, timeout=60)
    assert done.returncode != 0 and "outgoing.authorities" in done.stderr and problem in done.stderr, done.stderr
