"""KServe's own Python client: V1 and the Open Inference Protocol, over REST and gRPC.

Its packages do not fit the others, so it runs in a process of its own.
"""
import json
import subprocess

import pytest

from servers import ROOT

PYTHON = ROOT / ".keel" / "venv-kserve" / "bin" / "python"
ANSWER = {"model": "typed", "id": "own", "outputs": [{"name": "score", "datatype": "FP32", "shape": [2], "values": [0.25, 0.75]}]}


@pytest.fixture(scope="module")
def answers(endpoints):
    done = subprocess.run([PYTHON, ROOT / "Conformance" / "serving" / "kserve_calls.py", endpoints.url], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_version_1(answers):
    seen = answers["v1"]
    assert seen["predict"] == {"predictions": [0.25, 0.75]} and seen["by_name"] == {"predictions": [0.25]}
    assert seen["ready"] is True
    assert all(said.startswith("404 there is no endpoint 'nothing'") for said in seen["unknown"])
    assert seen["wrong"].startswith("422 x: 'x' must be a float64")


def test_the_open_inference_protocol(answers):
    seen = answers["v2"]
    assert [seen[form] for form in ("json", "binary_in", "binary_out")] == [ANSWER] * 3
    assert [seen[what] for what in ("live", "server_ready", "ready", "unknown")] == [True, True, True, False]
    assert seen["wrong"].startswith("422 flag: column 'flag' is missing")


def test_grpc(answers):
    seen = answers["grpc"]
    assert [seen[form] for form in ("raw", "contents")] == [ANSWER] * 2
    assert [seen[what] for what in ("live", "server_ready", "ready")] == [True, True, True]
    assert seen["unknown"] == "NOT_FOUND there is no endpoint 'nothing'"
    assert seen["wrong"].startswith("INVALID_ARGUMENT flag: column 'flag' is missing")
    assert seen["server"] == "keel"
    assert seen["metadata"] == {"name": "typed", "versions": ["1"], "outputs": [["score", "FP32", [-1]]],
                                "inputs": [["x", "FP64", [-1]], ["n", "INT64", [-1]], ["word", "BYTES", [-1]], ["flag", "BOOL", [-1]]]}


@pytest.mark.parametrize("name, status", [("stump", 200), ("stump@production", 200), ("typed", 400), ("stump@staging", 400), ("", 400)])
def test_a_request_that_says_whom_it_asks_asks_that_one(endpoints, name, status):
    body = {"model_name": name, "inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1.0]}]}
    answer = endpoints.post("/v2/models/stump/infer", body)
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["path"] == "model_name"
