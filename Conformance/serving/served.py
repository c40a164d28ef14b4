"""Endpoints of models whose answers are known, for the clients of this folder."""
import json

import numpy
from onnx import TensorProto, helper, numpy_helper

import bundles

# Two numbers, a word that is a category, and a flag; the answer is 0.25 when the first input is below 0.5, else 0.75.
TYPED = {"inputs": [{"name": "x", "type": "float64", "nullable": True}, {"name": "n", "type": "int64", "nullable": True},
                    {"name": "word", "type": "string", "nullable": True, "categories": ["red", "green", "blue\u0000"]},
                    {"name": "flag", "type": "bool", "nullable": True}],
         "outputs": [{"name": "score", "type": "float32"}]}
ONE = {"inputs": [{"name": "x", "type": "float64", "nullable": True}], "outputs": [{"name": "score", "type": "float32"}]}
ROW = {"x": 1.0, "n": 2, "word": "red", "flag": True}


def put_bundle(keel, folder, name, model, flavor, signature):
    """Stores a model and registers it as version 1."""
    manifest = {"format": "keel/bundle/v1", "flavor": flavor, "model": bundles.put(keel, f"{name}.model", model), "bytes": len(model),
                "signature": signature, "features": None, "reference": {"inputs": {}, "score": None}, "metrics": {}}
    bundles.register(keel, folder, name, bundles.put(keel, f"{name}.json", json.dumps(manifest).encode()))


def serve(keel, folder, name, model, flavor, signature, log="{}", limits="{}"):
    bundles.endpoint(keel, folder, name, log, limits)
    put_bundle(keel, folder, name, model, flavor, signature)
    answer = bundles.release(keel, name)
    assert answer.status_code == 200, answer.text


def slow():
    """An ONNX model that adds 1 as often as `x` says: a request takes as long as it asks for."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["condition"], ["goes_on"]), helper.make_node("Add", ["a", "one"], ["b"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
         helper.make_tensor_value_info("a", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []), helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(numpy.float32([[1]]), "one")])
    shape = [None, 1]
    graph = helper.make_graph(
        [helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0), helper.make_node("Cast", ["m"], ["n"], to=TensorProto.INT64),
         helper.make_node("Loop", ["n", "true", "x"], ["y"], body=body)], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)], [numpy_helper.from_array(numpy.array(True), "true")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


def serve_slow(keel, folder, limits="{}"):
    serve(keel, folder, "slow", slow(), "onnx", ONE, limits=limits)
