"""The Open Inference Protocol with Triton's own client, and values that do not fit."""
import numpy
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import bundles
from servers import Keel

INPUTS = (("x", "float64"), ("n", "int32"), ("f", "float32"), ("b", "bool"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oip")
    keel = Keel().start()
    bundles.serve(keel, folder, "stump", bundles.stump(low=0.25, high=0.75), "xgboost")
    bundles.serve(keel, folder, "wide", bundles.stump(inputs=4), "xgboost", inputs=INPUTS)
    yield keel
    keel.stop()


@pytest.fixture(scope="module")
def client(server):
    return triton.InferenceServerClient(f"127.0.0.1:{server.port}")


def tensor(values, datatype, binary, name="x"):
    made = triton.InferInput(name, list(numpy.shape(values)), datatype)
    made.set_data_from_numpy(numpy.asarray(values, dtype=triton.triton_to_np_dtype(datatype)), binary_data=binary)
    return made


def test_g8_the_server_and_its_models_are_described(client):
    assert client.is_server_live() and client.is_server_ready()
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("stump")["versions"] == ["1"]
    assert client.get_model_metadata("stump", "1")["inputs"][0]["name"] == "x"
    assert client.is_model_ready("stump") and client.is_model_ready("stump", "1")
    assert not client.is_model_ready("stump", "7")


@pytest.mark.parametrize("version", ["", "1"])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_g8_tensors_go_both_ways_as_json_and_as_bytes(client, version, datatype, binary_in, binary_out):
    outputs = None if binary_out is None else [triton.InferRequestedOutput("score", binary_data=binary_out)]
    answer = client.infer("stump", [tensor([[0.0], [1.0], [numpy.nan]] if binary_in else [[0.0], [1.0], [0.5]], datatype, binary_in)],
                          model_version=version, outputs=outputs, request_id="r")
    assert answer.as_numpy("score").tolist() == [0.25, 0.75, 0.75]
    assert answer.get_response()["id"] == "r" and answer.get_response()["model_version"] == "1"


@pytest.mark.parametrize("call, expected", [
    (lambda c: c.infer("stump", [tensor([0.0], "FP64", True)], model_version="7"), "serves no version '7'"),
    (lambda c: c.infer("stmup", [tensor([0.0], "FP64", True)]), "did you mean 'stump'?"),
    (lambda c: c.get_model_metadata("nothing"), "no endpoint 'nothing'"),
    (lambda c: c.get_model_metadata("stump", "7"), "serves no version '7'"),
    (lambda c: c.infer("stump", [tensor([numpy.inf], "FP64", True)]), "inputs[0].data[0]"),
    (lambda c: c.infer("stump", [tensor([0.0], "FP64", True)], outputs=[triton.InferRequestedOutput("other")]), "outputs[0].name"),
])
def test_g8_an_error_is_a_text_that_the_client_prints(client, call, expected):
    with pytest.raises(InferenceServerException) as caught:
        call(client)
    assert expected in caught.value.message(), caught.value


def test_g8_every_error_under_v2_is_a_text(server):
    for method, path in [("GET", "/v2/nothing"), ("POST", "/v2/models/stump"), ("GET", "/v2/models/x"), ("POST", "/v2/models/x/infer"),
                         ("GET", "/v2/models/stump/versions/9/ready"), ("POST", "/v2/models/stump/versions/9/infer")]:
        answer = requests.request(method, server.url + path, json={} if method == "POST" else None, timeout=10)
        assert answer.status_code in (400, 404, 405) and isinstance(answer.json()["error"], str), (path, answer.text)


GOOD = {"x": ("FP64", 0.0), "n": ("INT32", 1), "f": ("FP32", 1.0), "b": ("BOOL", True)}


@pytest.mark.parametrize("name, datatype, value, place", [
    ("n", "INT32", 5e9, "inputs[1].data[1]"), ("n", "FP64", 1.5, "inputs[1].data[1]"), ("n", "INT64", 5_000_000_000, "inputs[1].data[1]"),
    ("n", "INT8", 300, "inputs[1].data[1]"), ("n", "UINT8", -1, "inputs[1].data[1]"), ("f", "FP32", 1e39, "inputs[2].data[1]"),
    ("f", "FP64", 1e39, "inputs[2].data[1]"), ("x", "FP64", 1e300, "inputs[0].data[1]"), ("x", "FP64", True, "inputs[0].data[1]"),
    ("b", "INT32", 2, "inputs[3].data[1]"), ("b", "BOOL", 1, "inputs[3].data[1]"),
])
def test_v4_a_value_that_does_not_fit_is_named(server, name, datatype, value, place):
    inputs = [{"name": n, "shape": [2], "datatype": d, "data": [v, v]} for n, (d, v) in GOOD.items()]
    assert server.post("/v2/models/wide/infer", {"inputs": inputs}).status_code == 200
    bad = next(i for i in inputs if i["name"] == name)
    bad |= {"datatype": datatype, "data": [True if datatype == "BOOL" else 1, value]}
    answer = server.post("/v2/models/wide/infer", {"inputs": inputs})
    assert answer.status_code == 400 and answer.json()["path"] == place, answer.text
