"""A model that gives back what it gets: tensors of several types and dimensions, in and out, in JSON and in binary."""
import base64
import json

import numpy
import pytest
import requests
import tritonclient.http as triton
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

import served

# Name, ONNX's type, Keel's type, the datatype of the protocol, and the shape of a row.
COLUMNS = [("f", TensorProto.FLOAT, "tensor<float32, 3>", "FP32", [3]), ("m", TensorProto.DOUBLE, "tensor<float64, 2x2>", "FP64", [2, 2]),
           ("k", TensorProto.INT64, "tensor<int64, 2>", "INT64", [2]), ("i", TensorProto.INT32, "int32", "INT32", []), ("t", TensorProto.STRING, "string", "BYTES", []),
           ("b", TensorProto.BOOL, "bool", "BOOL", []), ("score", TensorProto.FLOAT, "float32", "FP32", [])]
VALUES = {"f": numpy.float32([[1, 2, 3], [4, 5, 0.1]]), "m": numpy.float64([[[1, 2], [3, 4]], [[5, 6], [7, 1 / 3]]]), "k": numpy.int64([[1, -2**63], [2**63 - 1, 2**53 + 1]]),
          "i": numpy.int32([7, -2**31]), "t": numpy.array(["grün\0", ""], dtype=object), "b": numpy.array([True, False]), "score": numpy.float32([0.5, -1])}


def echo():
    def value(name, kind, row):
        return helper.make_tensor_value_info(name, kind, [None, *row])
    nodes = [helper.make_node("Identity", [n], ["out_" + n]) for n, *_ in COLUMNS]
    graph = helper.make_graph(nodes, "g", [value(n, kind, row) for n, kind, _, _, row in COLUMNS], [value("out_" + n, kind, row) for n, kind, _, _, row in COLUMNS])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


@pytest.fixture(scope="module")
def server(endpoints, tmp_path_factory):
    signature = {"inputs": [{"name": n, "type": t, "nullable": False} for n, _, t, _, _ in COLUMNS],
                 "outputs": [{"name": "out_" + n, "type": t} for n, _, t, _, _ in COLUMNS], "primary": "out_score"}
    served.serve(endpoints, tmp_path_factory.mktemp("echo"), "echo", echo(), "onnx", signature)
    return endpoints


def inputs(binary, rows=2, **changes):
    made = []
    for name, _, _, datatype, _ in COLUMNS:
        values = changes.get(name, VALUES[name][:rows])
        tensor = triton.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        made.append(tensor)
    return made


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_what_goes_in_comes_out(server, rows, binary_in, binary_out):
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    wanted = [triton.InferRequestedOutput("out_" + name, binary_data=binary_out) for name, *_ in reversed(COLUMNS)]
    answer = client.infer("echo", inputs(binary_in, rows), outputs=wanted)
    assert [o["name"] for o in answer.get_response()["outputs"]] == ["out_" + n for n, *_ in reversed(COLUMNS)]
    for name, *_, row in COLUMNS:
        seen, sent = answer.as_numpy("out_" + name), VALUES[name][:rows]
        if name == "t":
            seen = numpy.array([v.decode() if isinstance(v, bytes) else v for v in seen.flatten()], dtype=object).reshape(sent.shape)
        assert seen.shape == sent.shape and seen.tolist() == sent.tolist(), name
        assert name in "tb" or seen.dtype == sent.dtype


def test_the_same_in_every_other_protocol(server):
    rows = [{name: (VALUES[name][i].tolist() if name != "t" else VALUES[name][i]) for name, *_ in COLUMNS} for i in range(2)]
    expected = [{"out_" + name: value for name, value in row.items()} for row in rows]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for path, body in [("/endpoints/echo/invocations", {"dataframe_records": rows}), ("/endpoints/echo/invocations", {"inputs": columns}),
                       ("/endpoints/echo/invocations", {"instances": [list(row.values()) for row in rows]}),
                       ("/v1/models/echo:predict", {"instances": rows}), ("/api/v1/endpoints/echo/predict", {"rows": rows})]:
        answer = server.post(path, body)
        assert answer.status_code == 200, answer.text
        given = [{key: value for key, value in row.items() if key != "id"} for row in answer.json()["predictions"]]
        assert given == expected, path
    by_column = server.post("/v1/models/echo:predict", {"inputs": columns}).json()["outputs"]
    assert by_column == {"out_" + name: values for name, values in columns.items()}


@pytest.mark.parametrize("changes, word", [
    ({"f": numpy.zeros((2, 4), dtype=numpy.float32)}, "inputs[0]"), ({"m": numpy.zeros((2, 2, 3))}, "inputs[1]"), ({"k": numpy.zeros((3, 2), dtype=numpy.int64)}, "rows"),
])
def test_other_shapes_are_refused(server, changes, word):
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    with pytest.raises(InferenceServerException) as caught:
        client.infer("echo", inputs(True, **changes))
    assert word in caught.value.message() and caught.value.status() in ("400", "422"), caught.value


def test_metadata_and_configuration(server):
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    metadata, config = client.get_model_metadata("echo"), client.get_model_config("echo")
    assert [(i["name"], i["datatype"], i["shape"]) for i in metadata["inputs"]] == [(n, d, [-1, *row]) for n, _, _, d, row in COLUMNS]
    assert [(o["name"], o["datatype"], o["shape"]) for o in metadata["outputs"]] == [("out_" + n, d, [-1, *row]) for n, _, _, d, row in COLUMNS]
    assert [i["dims"] for i in config["input"]] == [row or [1] for *_, row in COLUMNS]


def test_classes_of_a_tensor(server):
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    answer = client.infer("echo", inputs(True), outputs=[triton.InferRequestedOutput("out_f", class_count=2)])
    assert answer.as_numpy("out_f").astype(str).tolist() == [["3.000000:2", "2.000000:1"], ["5.000000:1", "4.000000:0"]]
    with pytest.raises(InferenceServerException, match="has no numbers"):
        client.infer("echo", inputs(True), outputs=[triton.InferRequestedOutput("out_t", class_count=2)])


def test_bytes_in_base64(endpoints, tmp_path):
    """A model of bytes; where it is not one of texts, any bytes go in and out."""
    nodes = [helper.make_node("Identity", ["raw"], ["out"]), helper.make_node("Shape", ["raw"], ["s"]), helper.make_node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
             helper.make_node("Expand", ["f", "s"], ["score"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("raw", TensorProto.STRING, [None])],
                              [helper.make_tensor_value_info("out", TensorProto.STRING, [None]), helper.make_tensor_value_info("score", TensorProto.FLOAT, [None])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    signature = {"inputs": [{"name": "raw", "type": "bytes", "nullable": False}], "outputs": [{"name": "out", "type": "bytes"}, {"name": "score", "type": "float32"}]}
    served.serve(endpoints, tmp_path, "raw", made.SerializeToString(), "onnx", signature)
    sent = b"\x00\xff\xfebytes"
    coded = base64.b64encode(sent).decode()
    assert endpoints.post("/api/v1/endpoints/raw/predict", {"rows": [{"raw": coded}]}).json()["predictions"][0]["out"] == coded
    assert endpoints.post("/endpoints/raw/invocations", {"dataframe_records": [{"raw": base64.encodebytes(sent).decode()}]}).json()["predictions"][0]["out"] == coded
    assert endpoints.post("/v1/models/raw:predict", {"instances": [{"b64": coded}]}).json()["predictions"][0]["out"] == coded
    client = triton.InferenceServerClient(f"127.0.0.1:{endpoints.port}")
    tensor = triton.InferInput("raw", [1], "BYTES")
    tensor.set_data_from_numpy(numpy.array([sent], dtype=object))
    assert client.infer("raw", [tensor]).as_numpy("out").tolist() == [sent]
    # JSON holds texts alone.
    head = json.dumps({"inputs": [{"name": "raw", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 4 + len(sent)}}]}).encode()
    answer = requests.post(endpoints.url + "/v2/models/raw/infer", data=head + len(sent).to_bytes(4, "little") + sent, timeout=10,
                           headers={"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"})
    assert answer.status_code == 400 and "binary_data" in answer.json()["error"]


def test_an_answer_that_is_no_number_is_the_servers_fault_and_in_its_log(endpoints, tmp_path):
    graph = helper.make_graph([helper.make_node("Sqrt", ["x"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    served.serve(endpoints, tmp_path, "root", made.SerializeToString(), "onnx", served.ONE)
    for path, body in [("/v2/models/root/infer", {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [-1.0]}]}),
                       ("/api/v1/endpoints/root/predict", {"rows": [{"x": -1.0}]})]:
        answer = requests.post(endpoints.url + path, json=body, headers={"X-Request-Id": "id-of" + path.replace("/", "-")}, timeout=10)
        assert answer.status_code == 500 and "not a finite number" in answer.text, answer.text
        lines = [line for line in endpoints.log().splitlines() if "id-of" + path.replace("/", "-") in line]
        assert len(lines) == 1 and path in lines[0] and "not a finite number" in lines[0], lines
    assert endpoints.post("/api/v1/endpoints/root/predict", {"rows": [{"x": 4.0}]}).json()["predictions"][0]["score"] == 2
