"""TLS in the server: certificates that change, clients that must show one, and the command and MLflow's client over https."""
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time

import pytest
import requests

from authority import Authority
from servers import KEEL, Keel, free_port


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "private")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


class Secure(Keel):
    """A server with a certificate for localhost in a folder of its own."""

    def __init__(self, authority, folder, host="localhost", environment=None, certificate=None):
        super().__init__()
        self.authority, self.files = authority, (folder / "server.pem", folder / "server.key")
        self.renew(host)
        self.url = f"https://localhost:{self.port}"
        self.environment = {"KEEL_TLS_CERTIFICATE": str(self.files[0]), "KEEL_TLS_KEY": str(self.files[1])} | (environment or {})
        self.options = {"verify": str(authority.file)} | ({"cert": tuple(map(str, certificate))} if certificate else {})

    def renew(self, host="localhost"):
        for made, used in zip(self.authority.certificate(host), self.files):
            shutil.copy(made, used)

    def shown(self):
        """The certificate that a new connection gets, in PEM."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        with socket.create_connection(("127.0.0.1", self.port)) as plain, context.wrap_socket(plain, server_hostname="localhost") as s:
            return ssl.DER_cert_to_PEM_cert(s.getpeercert(binary_form=True))

    def command(self, *arguments, **environment):
        done = self.cli(*arguments, check=False, environment=environment)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def secure(authority, tmp_path_factory):
    server = Secure(authority, tmp_path_factory.mktemp("secure")).start()
    yield server
    server.stop()


def test_the_command_speaks_https_and_checks_the_certificate(secure, authority, stranger, tmp_path):
    trusted = {"KEEL_CA_FILE": str(authority.file)}
    assert secure.command("get", "endpoints", **trusted)[0] == 0
    assert secure.command("get", "endpoints", "--ca-file", authority.file)[0] == 0
    for environment, words in [({}, "not of an authority that is trusted"), ({"KEEL_CA_FILE": str(stranger.file)}, "not of an authority that is trusted"),
                               ({"KEEL_CA_FILE": str(tmp_path / "none.pem")}, "none.pem"),
                               (trusted | {"KEEL_URL": f"https://127.0.0.1:{secure.port}"}, "not of the host '127.0.0.1'"),
                               (trusted | {"KEEL_URL": f"http://localhost:{secure.port}"}, "no server answers")]:
        code, text = secure.command("get", "endpoints", **environment)
        assert code == 1 and words in text, text
    other = Secure(authority, tmp_path, host="other.example")
    other.options = {"verify": False}
    with pytest.warns(Warning):
        other.start()
    code, text = other.command("get", "endpoints", **trusted)
    assert code == 1 and "not of the host 'localhost'" in text, text
    other.stop()


def test_every_handler_answers_under_tls(secure):
    assert secure.get("/health").text == "OK"
    assert secure.get("/api/v1/endpoints").status_code == 200
    assert secure.post("/v2/models/x/infer", {"inputs": []}).status_code in (400, 404)
    assert secure.post("/api/2.0/mlflow/experiments/search", {"max_results": 1}).status_code == 200
    # Whose connection it is, and where a page comes from, is asked under TLS as well.
    assert secure.get("/api/v1/endpoints", headers={"Origin": secure.url}).status_code == 200
    for origin in ["null", f"http://localhost:{secure.port}", "https://evil.example"]:
        assert secure.get("/api/v1/endpoints", headers={"Origin": origin}).status_code == 403
    body = b"x" * (8 << 20)
    path = "/api/2.0/mlflow-artifacts/artifacts/0/tls/large.bin"
    assert requests.put(secure.url + path, data=body, **secure.options).status_code == 200
    assert secure.get(path).content == body


def test_a_plain_request_gets_nothing(secure):
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://localhost:{secure.port}/health", timeout=10)
    assert secure.get("/health").status_code == 200


def test_mlflows_client_over_https(secure, authority, tmp_path):
    program = """
import mlflow
mlflow.set_experiment("secure")
with mlflow.start_run() as run:
    mlflow.log_metric("a", 1.5)
    mlflow.log_text("text", "a.txt")
assert mlflow.MlflowClient().get_run(run.info.run_id).data.metrics == {"a": 1.5}
assert mlflow.artifacts.load_text(run.info.artifact_uri + "/a.txt") == "text"
"""
    environment = os.environ | {"MLFLOW_TRACKING_URI": secure.url, "REQUESTS_CA_BUNDLE": str(authority.file)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_new_certificate_is_shown_without_a_restart(authority, stranger, tmp_path):
    server = Secure(authority, tmp_path).start()
    before = server.shown()
    with requests.Session() as session:
        session.verify = str(authority.file)
        assert session.get(server.url + "/health").status_code == 200
        server.renew()
        for _ in range(300):
            if server.shown() != before:
                break
            time.sleep(0.1)
        after = server.shown()
        assert after != before
        # What was open goes on.
        assert session.get(server.url + "/health").status_code == 200
        # A key of another certificate, then no certificate at all: what was there stays, and the log says why.
        for word, change in [("do not go together", lambda: shutil.copy(stranger.certificate("localhost")[0], server.files[0])),
                             ("cannot be read as certificates", lambda: server.files[0].write_text("nothing"))]:
            change()
            for _ in range(300):
                if word in server.log():
                    break
                time.sleep(0.1)
            assert word in server.log()
            assert server.shown() == after
    server.stop()


def test_clients_must_show_a_certificate_when_authorities_are_given(authority, stranger, tmp_path):
    clients = Authority(tmp_path, "clients")
    server = Secure(authority, tmp_path, environment={"KEEL_TLS_AUTHORITIES": str(clients.file)}, certificate=clients.certificate("ada")).start()
    assert server.get("/api/v1/endpoints").status_code == 200
    for certificate in [None, tuple(map(str, stranger.certificate("ada")))]:
        with pytest.raises(requests.ConnectionError):
            requests.get(server.url + "/health", verify=str(authority.file), cert=certificate, timeout=10)
    server.stop()


@pytest.mark.parametrize("change,words", [
    (lambda s: s.files[0].unlink(), "server.pem"), (lambda s: s.files[1].write_text("x"), "server.key"),
    (lambda s: s.files[1].unlink(), "server.key"), (lambda s: s.environment.pop("KEEL_TLS_KEY"), "tls.key"),
    (lambda s: s.environment.pop("KEEL_TLS_CERTIFICATE"), "tls.certificate"),
    (lambda s: s.environment.update(KEEL_TLS_AUTHORITIES="/none.pem"), "/none.pem"),
    (lambda s: shutil.copy(s.authority.certificate("a.example")[1], s.files[1]), "do not go together"),
], ids=["no certificate", "no key in it", "no key", "key not given", "certificate not given", "authorities", "another key"])
def test_no_start_with_files_that_cannot_be_used(authority, tmp_path, change, words):
    server = Secure(authority, tmp_path)
    change(server)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")} | server.environment
    done = subprocess.run([str(KEEL), "serve", "--home", server.home, "--listen", f"127.0.0.1:{free_port()}"], env=environment, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1 and words in done.stderr, done.stderr
