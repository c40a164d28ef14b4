"""One server for this folder, with the endpoints `stump` and `typed`."""
import os

import pytest

import bundles
import served
import upstreams
from servers import Keel


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    keel = Keel().start()
    served.serve(keel, folder, "stump", bundles.stump(low=0.25, high=0.75), "xgboost", served.ONE)
    served.serve(keel, folder, "typed", bundles.stump(low=0.25, high=0.75, inputs=4), "xgboost", served.TYPED, limits="{ bodyBytes: 1000000, rows: 2000 }")
    yield keel
    keel.stop()


@pytest.fixture(scope="module")
def doubling():
    upstream = upstreams.doubling()
    yield upstream
    upstream.stop()


@pytest.fixture
def start():
    """Starts servers of a test's own, which end with it."""
    started = []

    def one(**options):
        started.append(Keel(**options).start())
        return started[-1]

    yield one
    for keel in started:
        if keel.process.poll() is None:
            keel.kill()


@pytest.fixture(scope="module", autouse=True)
def no_chosen_experiment():
    """MLflow's client remembers the experiment that other tests chose on their server; the servers of these tests do not have it."""
    from mlflow.tracking import fluent
    chosen = fluent._active_experiment_id
    variable = os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    fluent._active_experiment_id = None
    yield
    fluent._active_experiment_id = chosen
    if variable is not None:
        os.environ["MLFLOW_EXPERIMENT_ID"] = variable
