"""Starts the real servers. Classes that tests make themselves are in servers.py: there is a conftest.py in more than one folder."""
import os
import uuid

import pytest

from servers import Keel, MLflowServer

# The width of the terminal that runs the tests is none of the commands' that they run (xdist's processes set one).
os.environ.pop("COLUMNS", None)


@pytest.fixture
def keel():
    server = Keel().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_keel():
    server = Keel().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def guarded():
    """A server that asks everyone for a token, with one token for each persona."""
    home = Keel().start()
    tokens = {p: home.cli("tokens", "create", p, "--persona", p).stdout.strip() for p in
              ["owner", "data-scientist", "ml-engineer", "platform-engineer", "risk-officer", "service"]}
    home.stop()
    server = Keel(home=home.home, environment={"KEEL_AUTH_LOCAL": "off", "KEEL_AUTH_REFUSALS": "1000000"}).start()
    yield server, tokens
    server.stop()


@pytest.fixture(scope="session", autouse=True)
def url(shared_keel):
    os.environ["KEEL_URL"] = shared_keel.url
    return shared_keel.url


@pytest.fixture(scope="session")
def mlflow_reference():
    server = MLflowServer().start()
    yield server
    server.stop()


@pytest.fixture
def tracking(url):
    """MLflow's client speaks to the shared Keel; no run stays open behind a test."""
    import mlflow
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    yield mlflow
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def client(tracking, url):
    return tracking.MlflowClient(url, url)


@pytest.fixture
def experiment(tracking):
    return tracking.set_experiment("conformance-" + uuid.uuid4().hex)


@pytest.fixture
def model_name(tracking):
    return "conformance-" + uuid.uuid4().hex
