"""MLflow's client remembers the experiment that other tests chose on their server; the servers of these tests do not have it."""
import os

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_chosen_experiment():
    from mlflow.tracking import fluent
    chosen = fluent._active_experiment_id
    variable = os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    fluent._active_experiment_id = None
    yield
    fluent._active_experiment_id = chosen
    if variable is not None:
        os.environ["MLFLOW_EXPERIMENT_ID"] = variable
