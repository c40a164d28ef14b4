"""`tritonclient[http]`: what it asks of a server besides inference, and tensors of every type."""
import ml_dtypes
import numpy
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

import bundles
import served
from servers import Keel


@pytest.fixture(scope="module")
def client(endpoints):
    return triton.InferenceServerClient(f"127.0.0.1:{endpoints.port}")


def tensor(name, values, datatype, binary=True):
    made = triton.InferInput(name, list(numpy.shape(values)), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def test_metadata_names_the_extensions_that_there_are(client):
    assert client.get_server_metadata()["extensions"] == [
        "classification", "model_configuration", "model_repository", "binary_tensor_data", "parameters", "statistics"]


def test_the_configuration_is_in_tritons_terms(client):
    config = client.get_model_config("typed")
    assert config["max_batch_size"] == 2000 and config["name"] == "typed"
    assert [(i["name"], i["data_type"], i["dims"]) for i in config["input"]] == [
        ("x", "TYPE_FP64", [1]), ("n", "TYPE_INT64", [1]), ("word", "TYPE_STRING", [1]), ("flag", "TYPE_BOOL", [1])]
    assert config["output"] == [{"name": "score", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}]
    assert client.get_model_config("typed", "1") == config
    with pytest.raises(InferenceServerException, match="serves no version '9'"):
        client.get_model_config("typed", "9")


NUMBERS = [("INT8", numpy.int8), ("INT16", numpy.int16), ("INT32", numpy.int32), ("INT64", numpy.int64), ("UINT8", numpy.uint8),
           ("UINT16", numpy.uint16), ("UINT32", numpy.uint32), ("UINT64", numpy.uint64), ("FP16", numpy.float16), ("FP32", numpy.float32),
           ("FP64", numpy.float64), ("BF16", ml_dtypes.bfloat16)]


@pytest.mark.parametrize("datatype, kind", NUMBERS)
@pytest.mark.parametrize("shape", [[2], [2, 1]])
@pytest.mark.parametrize("binary", [True, False])
def test_every_datatype_of_numbers(client, datatype, kind, shape, binary):
    if not binary and datatype in ("FP16", "BF16"):
        pytest.skip("the client sends these in binary alone")
    values = numpy.array([0, 1], dtype=kind).reshape(shape)
    answer = client.infer("stump", [tensor("x", values, datatype, binary)])
    assert answer.as_numpy("score").tolist() == [0.25, 0.75]


@pytest.mark.parametrize("datatype, value", [("FP16", 0.5), ("FP16", -65504.0), ("BF16", 0.5), ("BF16", -1e30), ("FP32", -1e30)])
def test_floats_in_json(endpoints, datatype, value):
    """What the client does not send, others do."""
    body = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1], "data": [value]}]}
    assert endpoints.post("/v2/models/stump/infer", body).json()["outputs"][0]["data"] == [0.75 if value >= 0.5 else 0.25]


@pytest.mark.parametrize("binary", [True, False])
def test_texts_and_their_categories(client, binary):
    words = numpy.array(["red", "blue\0", "grün"], dtype=object)
    inputs = [tensor("x", numpy.array([0.0, 1.0, 0.5]), "FP64", binary), tensor("n", numpy.array([1, 2, 2**53 + 1]), "INT64", binary),
              tensor("word", words, "BYTES", binary), tensor("flag", numpy.array([True, False, True]), "BOOL", binary)]
    assert client.infer("typed", inputs).as_numpy("score").tolist() == [0.25, 0.75, 0.75]


def test_bytes_that_are_no_text_are_refused_where_texts_are_taken(client):
    words = numpy.array([b"red", b"\xff\xfe"], dtype=object)
    inputs = [tensor("x", numpy.zeros(2), "FP64"), tensor("n", numpy.zeros(2, dtype=numpy.int64), "INT64"), tensor("word", words, "BYTES"),
              tensor("flag", numpy.array([True, False]), "BOOL")]
    with pytest.raises(InferenceServerException, match="inputs\\[2\\].*must be a string"):
        client.infer("typed", inputs)


@pytest.mark.parametrize("values, datatype, message", [
    (numpy.array([2**63], dtype=numpy.uint64), "UINT64", "inputs\\[0\\].data\\[0\\].*does not fit in UINT64"),
    (numpy.zeros(0), "FP64", "the request has no rows"), (numpy.zeros((0, 3)), "FP64", "the request has no rows"),
    (numpy.zeros((2, 0)), "FP64", "x"), (numpy.zeros((2, 2)), "FP64", "x"),
])
@pytest.mark.parametrize("binary", [True, False])
def test_tensors_that_the_model_cannot_take(client, values, datatype, message, binary):
    with pytest.raises(InferenceServerException, match=message) as caught:
        client.infer("stump", [tensor("x", values, datatype, binary)])
    assert caught.value.status() in ("400", "422")


@pytest.mark.parametrize("binary", [True, False])
def test_classification(client, binary):
    wanted = triton.InferRequestedOutput("score", binary_data=binary, class_count=1)
    answer = client.infer("stump", [tensor("x", numpy.array([0.0, 1.0]), "FP64")], outputs=[wanted])
    assert answer.as_numpy("score").astype(str).tolist() == [["0.250000:0"], ["0.750000:0"]]


def test_statistics_count_what_was_asked(tmp_path):
    keel = Keel().start()
    try:
        served.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost", served.ONE)
        served.serve_slow(keel, tmp_path)
        client = triton.InferenceServerClient(f"127.0.0.1:{keel.port}")
        assert client.get_inference_statistics("stump")["model_stats"][0]["last_inference"] == 0
        for rows in (1, 2, 3):
            client.infer("stump", [tensor("x", numpy.zeros(rows), "FP64")])
        with pytest.raises(InferenceServerException):
            client.infer("stump", [tensor("y", numpy.zeros(1), "FP64")])
        client.infer("slow", [tensor("x", numpy.array([1000.0]), "FP64")])
        stump, = client.get_inference_statistics("stump")["model_stats"]
        assert (stump["name"], stump["version"], stump["inference_count"], stump["execution_count"]) == ("stump", "1", 6, 3)
        spent = stump["inference_stats"]
        assert (spent["success"]["count"], spent["fail"]["count"]) == (3, 1) and stump["last_inference"] > 1.7e12
        assert 0 < spent["compute_infer"]["ns"] <= spent["success"]["ns"] < 3e9
        slow, = client.get_inference_statistics("slow", "1")["model_stats"]
        assert slow["execution_count"] == 1 and slow["inference_stats"]["compute_infer"]["ns"] > 0
        assert {m["name"] for m in client.get_inference_statistics()["model_stats"]} == {"stump", "slow"}
        with pytest.raises(InferenceServerException, match="no endpoint"):
            client.get_inference_statistics("nothing")
    finally:
        keel.stop()


def test_the_repository_lists_endpoints_and_what_serves_is_not_loaded_by_hand(client, endpoints, tmp_path):
    bundles.endpoint(endpoints, tmp_path, "empty")
    index = {entry["name"]: entry for entry in client.get_model_repository_index()}
    assert index["stump"] == {"name": "stump", "version": "1", "state": "READY", "reason": ""}
    assert index["empty"]["state"] == "UNAVAILABLE" and "no release" in index["empty"]["reason"]
    ready = requests.post(endpoints.url + "/v2/repository/index", json={"ready": True}, timeout=10).json()
    assert {"stump", "typed"} <= {entry["name"] for entry in ready} and "empty" not in {entry["name"] for entry in ready}
    client.load_model("stump")
    with pytest.raises(InferenceServerException, match="keel deploy .* --endpoint empty"):
        client.load_model("empty")
    with pytest.raises(InferenceServerException, match="cannot be given a configuration"):
        client.load_model("stump", config="{}")
    with pytest.raises(InferenceServerException, match="keel delete"):
        client.unload_model("stump")
    assert client.is_model_ready("stump")
    endpoints.cli("delete", "endpoint", "empty", "--yes", check=False)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_both_ways(client, coding, binary):
    values = numpy.arange(1000) % 2 / 1.0
    plain = client.infer("stump", [tensor("x", values, "FP64", binary)], outputs=[triton.InferRequestedOutput("score", binary_data=binary)])
    packed = client.infer("stump", [tensor("x", values, "FP64", binary)], outputs=[triton.InferRequestedOutput("score", binary_data=binary)],
                          request_compression_algorithm=coding, response_compression_algorithm=coding)
    assert packed.as_numpy("score").tolist() == plain.as_numpy("score").tolist()


def test_an_environment_in_the_address(client):
    assert client.infer("stump@production", [tensor("x", numpy.array([1.0]), "FP64")]).as_numpy("score").tolist() == [0.75]
    with pytest.raises(InferenceServerException, match="no endpoint 'stump@staging'"):
        client.infer("stump@staging", [tensor("x", numpy.array([1.0]), "FP64")])


def test_the_id_and_parameters(client):
    answer = client.infer("stump", [tensor("x", numpy.array([1.0]), "FP64")], request_id="q7").get_response()
    assert answer["id"] == "q7" and answer["parameters"]["ids"] == ["q7"]
    with pytest.raises(InferenceServerException, match="parameters.temperature.*no param 'temperature'"):
        client.infer("stump", [tensor("x", numpy.array([1.0]), "FP64")], parameters={"temperature": 1})


def test_a_hundred_thousand_bytes_in_one_element(endpoints):
    data = serialize_byte_tensor(numpy.array([b"x" * 100_000], dtype=object)).item()
    assert len(data) == 100_004
    head = b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":100004}}]}'
    answer = requests.post(endpoints.url + "/v2/models/stump/infer", data=head + data, timeout=10,
                           headers={"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"})
    assert answer.status_code == 422 and "float64" in answer.json()["error"]
