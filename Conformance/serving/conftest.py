"""One server for this folder, with the endpoints `stump` and `typed`."""
import pytest

import bundles
import served
from servers import Keel


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    keel = Keel().start()
    served.serve(keel, folder, "stump", bundles.stump(low=0.25, high=0.75), "xgboost", served.ONE)
    served.serve(keel, folder, "typed", bundles.stump(low=0.25, high=0.75, inputs=4), "xgboost", served.TYPED, limits="{ bodyBytes: 1000000, rows: 2000 }")
    yield keel
    keel.stop()
