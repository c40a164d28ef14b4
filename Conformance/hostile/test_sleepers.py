"""Programs that sleep: however many of them a server follows, it answers others meanwhile."""
import json
import pathlib
import sys

import pytest

from servers import ROOT
from watch import Watched

sys.path.append(str(pathlib.Path(ROOT, "Conformance", "keel")))
import bundles  # noqa: E402

pytestmark = pytest.mark.alone

RUNS = 30


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sleepers")
    with Watched() as server:
        bundles.serve(server, folder, "stump", bundles.stump(), "xgboost")
        file = folder / "nap.yaml"
        file.write_text(json.dumps({"apiVersion": "keel/v1", "kind": "Pipeline", "metadata": {"name": "nap"},
                                    "spec": {"steps": [{"name": "s", "uses": "shell", "with": {"run": "echo asleep; sleep 1000"}}]}}))
        server.cli("apply", file)
        yield server


def test_sleeping_steps_keep_nobody_waiting(served):
    runs = [served.post("/api/v1/pipelines/nap/runs").json()["run"] for _ in range(RUNS)]
    waiting = set(runs)
    while waiting:
        waiting = {run for run in waiting if "asleep" not in served.get(f"/api/v1/runs/{run}/steps/s/log").text}
    with served.attacked():
        for i in range(100):
            answer = served.post("/v2/models/stump/infer", bundles.question([float(i % 2)]))
            assert answer.json()["outputs"][0]["data"] == [float(i % 2)]
    for run in runs:
        served.cli("cancel", run)
    assert {served.get(f"/api/v1/runs/{run}").json()["state"] for run in runs} == {"cancelled"}
