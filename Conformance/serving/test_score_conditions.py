"""Conditions of a rollout that are about scores, and models that give none."""
import pytest
import requests
from onnx import TensorProto, helper

import bundles
import served

ENDPOINT = """
apiVersion: keel/v1
kind: Endpoint
metadata: {{ name: words }}
spec:
  rollout: {{ canary: {{ shares: [50%, 100%] }}, rollbackWhen: [{conditions}] }}
"""
SIGNATURE = {"inputs": [{"name": "x", "type": "string", "nullable": False}], "outputs": [{"name": "y", "type": "string"}]}


def echo():
    """Gives the word that it is given: no number."""
    shape = [None, 1]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.STRING, shape)],
        [helper.make_tensor_value_info("y", TensorProto.STRING, shape)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


@pytest.mark.parametrize("condition, name", [("score.psi > 0.2", "score.psi"), ("logloss > incumbent.logloss * 1.05", "logloss"), ("labels > 9", "labels")])
def test_they_are_refused_by_the_name_of_the_field(keel, tmp_path, condition, name):
    file = tmp_path / "words.yaml"

    def declare(*conditions, command="apply"):
        file.write_text(ENDPOINT.format(conditions=", ".join(f'"{c}"' for c in conditions)))
        return keel.cli(command, file, check=False)

    # A model is not released to an endpoint whose conditions it can never meet.
    assert declare("errors > 1%", condition).returncode == 0
    served.put_bundle(keel, tmp_path, "words", echo(), "onnx", SIGNATURE)
    refused = bundles.release(keel, "words")
    assert refused.status_code == 409, refused.text
    error = refused.json()["error"]
    assert error["path"] == "Endpoint/words.spec.rollout.rollbackWhen[1]" and f"there is no {name}" in error["message"]
    # Without them it is; then they cannot be declared, and the plan says so.
    assert declare("errors > 1%", "latency.p99 > 1").returncode == 0
    assert bundles.release(keel, "words").status_code == 200
    for command in ("plan", "apply"):
        done = declare(condition, command=command)
        assert done.returncode == 1 and "spec.rollout.rollbackWhen[0]" in done.stderr and f"there is no {name}" in done.stderr, done.stderr
    answer = requests.post(keel.url + "/v2/models/words/infer", json=bundles.question(["a"], datatype="BYTES"), timeout=10)
    assert answer.json()["outputs"][0]["data"] == ["a"]
