"""Models that loop, that are deep, that want all memory, that read other files: the server answers others meanwhile, and ends what runs away."""
import concurrent.futures
import pathlib
import sys

import numpy
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from servers import ROOT
from watch import Watched

sys.path.append(str(pathlib.Path(ROOT, "Conformance", "keel")))
import bundles  # noqa: E402

pytestmark = pytest.mark.alone

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])


def model(nodes, initializers=(), opset=17):
    made = helper.make_model(helper.make_graph(list(nodes), "g", [X], [Y], list(initializers)), opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def constant(name, value):
    return numpy_helper.from_array(numpy.asarray(value), name)


def loop():
    """Adds 1 as often as `x` says: 0 and 1, by which a model is tried, are quick."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["condition"], ["goes_on"]), helper.make_node("Add", ["a", "one"], ["b"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
         helper.make_tensor_value_info("a", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []), helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [constant("one", numpy.float32([[1]]))])
    return model(
        [helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0), helper.make_node("Cast", ["m"], ["n"], to=TensorProto.INT64),
         helper.make_node("Loop", ["n", "true", "x"], ["y"], body=body)], [constant("true", numpy.array(True))])


def huge():
    """Wants a tensor of 10¹⁰ numbers when `x` is 2, of one when it is 0 or 1."""
    return model(
        [helper.make_node("ReduceMax", ["x"], ["m"], keepdims=1), helper.make_node("Sub", ["m", "one"], ["over"]), helper.make_node("Relu", ["over"], ["r"]),
         helper.make_node("Mul", ["r", "many"], ["p"]), helper.make_node("Add", ["p", "one"], ["q"]), helper.make_node("Reshape", ["q", "flat"], ["f"]),
         helper.make_node("Cast", ["f"], ["s"], to=TensorProto.INT64),
         helper.make_node("ConstantOfShape", ["s"], ["z"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])),
         helper.make_node("ReduceMax", ["z"], ["h"], keepdims=0), helper.make_node("Add", ["x", "h"], ["y"])],
        [constant("one", numpy.float32([[1]])), constant("many", numpy.float32([[1e10]])), constant("flat", numpy.int64([1]))])


def external(where):
    """A weight that lies in another file."""
    weight = constant("w", numpy.float32([[1]]))
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in [("location", where), ("offset", "0"), ("length", "4")]:
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    return weight


def ask(server, name, value):
    return server.post(f"/v2/models/{name}/infer", bundles.question([value]))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with Watched(memory_bytes=768 << 20) as server:
        limits = "{ deadline: 1s, queue: 64 }"
        bundles.serve(server, folder, "loop", loop().SerializeToString(), "onnx", limits=limits)
        bundles.serve(server, folder, "huge", huge().SerializeToString(), "onnx", limits=limits)
        bundles.serve(server, folder, "stump", bundles.stump(), "xgboost")
        yield server, folder


def test_s7_a_model_that_loops_is_ended_at_its_deadline(served):
    server, _ = served
    with server.attacked():
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            loops = [pool.submit(ask, server, "loop", 1e12) for _ in range(16)]
            trees = [pool.submit(ask, server, "stump", i % 2) for i in range(200)]
            # Those that the threads never come to are past their deadline too.
            assert {answer.result().status_code for answer in loops} == {504}
            assert all("error" in answer.result().json() for answer in loops)
            assert {answer.result().status_code for answer in trees} == {200}
        # The threads came back.
        assert ask(server, "loop", 1).json()["outputs"][0]["data"] == [2.0]


def test_s7_a_full_queue_refuses_at_once(served):
    server, _ = served
    with server.attacked():
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            answers = [answer.result() for answer in [pool.submit(ask, server, "loop", 1e12) for _ in range(100)]]
        assert {answer.status_code for answer in answers} == {503, 504}
        assert all(answer.headers["Retry-After"] == "1" for answer in answers if answer.status_code == 503)


def test_s7_a_model_that_wants_all_memory_fails_alone(served):
    server, _ = served
    with server.attacked():
        for _ in range(3):
            assert ask(server, "huge", 2).status_code in (400, 500)
        assert ask(server, "huge", 1).json()["outputs"][0]["data"] == [2.0]


def test_s7_a_deep_tree_is_refused_when_it_is_registered(served):
    server, folder = served
    with server.attacked():
        done = bundles.register(server, folder, "chain", bundles.store(server, "chain", bundles.chain(200_000), "xgboost"), check=False)
        assert done.returncode != 0 and "256 levels" in done.stdout + done.stderr


def test_s7_many_rows_are_scored_off_the_event_loops(served):
    server, _ = served
    with server.attacked():
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = [answer.result() for answer in [
                pool.submit(server.post, "/v2/models/stump/infer", bundles.question([float(i % 2) for i in range(10_000)])) for _ in range(16)]]
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert any(answer.status_code == 200 and sum(answer.json()["outputs"][0]["data"]) == 5000 for answer in answers)


@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph"])
@pytest.mark.parametrize("where", [".keel/secrets.key", "secrets.key", "/etc/hostname"])
def test_a4_a_model_that_reads_other_files_is_refused(served, place, where):
    server, folder = served
    weight = external(where)
    if place == "initializer":
        made = model([helper.make_node("Mul", ["x", "w"], ["y"])], [weight])
    else:
        constant_node = helper.make_node("Constant", [], ["w"], value=weight)
        if place == "attribute":
            made = model([constant_node, helper.make_node("Mul", ["x", "w"], ["y"])])
        else:
            branch = helper.make_graph([constant_node], "branch", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, None)])
            made = model(
                [helper.make_node("If", ["true"], ["c"], then_branch=branch, else_branch=branch), helper.make_node("Mul", ["x", "c"], ["y"])],
                [constant("true", numpy.array(True))])
    bundle = bundles.store(server, "external", made.SerializeToString(), "onnx")
    done = bundles.register(server, folder, "external", bundle, check=False)
    assert done.returncode != 0 and "external_data" in done.stdout + done.stderr
    assert where not in done.stdout + done.stderr
