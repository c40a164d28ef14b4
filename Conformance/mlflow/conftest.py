"""MLflow's own client against a running Keel: every test in an experiment of its own."""
import os
import uuid

import mlflow
import pytest
from mlflow import MlflowClient


@pytest.fixture(autouse=True)
def server():
    mlflow.set_tracking_uri(os.environ["KEEL_URL"])
    mlflow.set_registry_uri(os.environ["KEEL_URL"])
    yield
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def client():
    return MlflowClient(os.environ["KEEL_URL"], os.environ["KEEL_URL"])


@pytest.fixture
def experiment():
    return mlflow.set_experiment("conformance-" + uuid.uuid4().hex)


@pytest.fixture
def model_name():
    return "conformance-" + uuid.uuid4().hex
