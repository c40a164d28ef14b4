"""Starts the real servers. Classes that tests make themselves are in servers.py: there is a conftest.py in more than one folder."""
import os

import pytest

from servers import Keel, MLflowServer


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


@pytest.fixture(scope="session", autouse=True)
def url(shared_keel):
    os.environ["KEEL_URL"] = shared_keel.url
    return shared_keel.url


@pytest.fixture(scope="session")
def mlflow_reference():
    server = MLflowServer().start()
    yield server
    server.stop()
