"""Every kind of bad request of inference, in one table: the status it gets, and that the endpoint answers as before afterwards."""
import json
import socket
import struct
import time

import numpy
import pytest
import requests

import bundles
import served

MB = 1 << 20


def oip(**changes):
    return {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1.0]} | changes]}


def typed(**changes):
    """A request of the endpoint with four inputs; a value replaces the data, a pair the datatype too, None leaves the input out."""
    known = {"x": ("FP64", 1.0), "n": ("INT64", 2), "word": ("BYTES", "red"), "flag": ("BOOL", True)}
    known = {name: changes.get(name, given) for name, given in known.items()}
    known |= {name: given for name, given in changes.items() if name not in known}
    return {"inputs": [{"name": name, "datatype": given[0], "shape": [1], "data": [given[1]]} for name, given in known.items() if given]}


TABLE = [
    # Shapes that lie.
    ("stump", oip(shape=[2]), 400, "shape"), ("stump", oip(shape=[0]), 400, "shape"), ("stump", oip(shape=[-1]), 400, "shape"),
    ("stump", oip(shape=[1, 2]), 400, "shape"), ("stump", oip(shape=[]), 400, "shape"), ("stump", oip(shape=[2**40]), 400, "shape"),
    ("stump", oip(shape=[2**28, 2**28]), 400, "shape"), ("stump", oip(shape=[2**28, 0], data=[]), 400, "shape"), ("stump", oip(shape=[1.5]), 400, "shape"),
    ("stump", oip(shape=["1"]), 400, "number"), ("stump", oip(shape=[1] * 9), 400, "shape"), ("stump", oip(data=[[1.0], [2.0]]), 400, "shape"),
    ("stump", oip(shape=[2, 2], data=[[1, 2], [3]]), 400, "data[1]"), ("stump", oip(shape=[1, 2], data=[1, 2]), 422, "float64"),
    # Numbers.
    ("stump", oip(data=[1e300], datatype="FP32"), 400, "FP32"), ("stump", oip(data=[65505], datatype="FP16"), 400, "FP16"),
    ("typed", typed(n=("INT64", 2**63)), 400, "INT64"), ("typed", typed(n=("UINT64", 2**64 - 1)), 400, "UINT64"), ("typed", typed(n=("UINT64", -1)), 400, "UINT64"),
    ("typed", typed(n=("FP64", 2.5)), 400, "does not fit"), ("typed", typed(n=("FP64", 2**53 * 4096.0)), 400, "inputs[1]"),
    ("typed", typed(x=("INT64", 2**53 + 1)), 400, "inputs[0]"),
    # Datatypes.
    ("stump", oip(datatype="FP128"), 400, "FP128"), ("stump", oip(datatype="fp64"), 400, "fp64"), ("stump", oip(datatype=None), 400, "inputs[0]"),
    ("stump", oip(datatype="BOOL"), 400, "BOOL"), ("stump", oip(datatype="BYTES", data=["1"]), 422, "float64"), ("typed", typed(flag=("INT64", 2)), 400, "inputs[3]"),
    ("typed", typed(word=("FP64", 1.0)), 422, "string"),
    # Inputs.
    ("typed", typed(n=None), 422, "'n' is missing"), ("typed", typed(colour=("BYTES", "red")), 422, "colour"), ("typed", typed(X=("FP64", 1.0), x=None), 422, "'x'"),
    ("stump", {"inputs": oip()["inputs"] * 2}, 400, "two inputs"), ("stump", {"inputs": []}, 400, "inputs"), ("stump", {}, 400, "inputs"),
    ("stump", {"inputs": {}}, 400, ""), ("stump", {"inputs": [1]}, 400, ""), ("stump", oip() | {"extra": 1}, 400, "extra"), ("stump", oip(extra=1), 400, "extra"),
    # Outputs and parameters.
    ("stump", oip() | {"outputs": [{"name": "other"}]}, 400, "other"), ("stump", oip() | {"outputs": [{"nam": "score"}]}, 400, "outputs[0]"),
    ("stump", oip() | {"parameters": {"ids": ["a", "b"]}}, 400, "ids"), ("stump", oip() | {"parameters": {"ids": [""]}}, 400, "ids"),
    ("stump", oip() | {"parameters": {"ids": ["x" * 201]}}, 400, "ids"), ("stump", oip() | {"parameters": {"k": 1}}, 400, "parameters.k"),
    ("stump", oip() | {"id": 7}, 400, ""), ("stump", oip(parameters={"shared_memory_region": "r"}), 400, "shared memory"),
    # Rows.
    ("typed", {"inputs": [i | {"shape": [2001], "data": i["data"] * 2001} for i in typed()["inputs"]]}, 413, "2001 rows"),
    # Names.
    ("nothing", oip(), 404, "nothing"), ("stmup", oip(), 404, "did you mean 'stump'"), ("stump@staging", oip(), 404, "stump@staging"), ("stump@moon", oip(), 404, ""),
    ("x" * 1000, oip(), 404, ""), ("%00", oip(), 404, ""),
]


@pytest.mark.parametrize("name, body, status, word", TABLE)
def test_json(endpoints, name, body, status, word):
    answer = endpoints.post(f"/v2/models/{name}/infer", body)
    assert answer.status_code == status and word in answer.json()["error"], answer.text
    assert endpoints.post("/v2/models/typed/infer", typed()).json()["outputs"][0]["data"] == [0.75]


TEXTS = ['{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[VALUE]}]}'.replace("VALUE", value)
         for value in ("NaN", "Infinity", "-Infinity", "1e999", "01", "+1", ".5", "1.", "0x1", "tru", "'1'", "1,", "[1", "\u0000")] + [
    "", "null", "[]", "1", '{"inputs":', "[" * 100_000, '{"a":' * 10_000, '{"inputs":[{"name":"\\ud800","datatype":"FP64","shape":[1],"data":[1]}]}',
    '{"inputs":[],"inputs":[]}', '{"inputs":[{"name":"x","name":"x","datatype":"FP64","shape":[1],"data":[1]}]}', '{"id":"' + "x" * 100_000]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("path", ["/v2/models/stump/infer", "/v1/models/stump:predict", "/endpoints/stump/invocations", "/api/v1/endpoints/stump/predict"])
def test_texts_that_are_no_json_or_not_of_the_protocol(endpoints, path, text):
    answer = requests.post(endpoints.url + path, data=text.encode(), headers={"Content-Type": "application/json"}, timeout=30)
    # NaN is a missing value to MLflow's server, and to what speaks its protocol; the columns are not those of the endpoint.
    assert answer.status_code == 400 or "NaN" in text and "invocations" in path and answer.status_code == 422, answer.text


WHOLE = '"x": 1, "n": 2, "word": "red", "flag": true'
ROWS = [
    # A row as JSON, and the status: what is there twice, is missing, is too much, or is no number of the column.
    (WHOLE, 200), (WHOLE + ', "x": 2', 400), ('"x": 1, ' + WHOLE, 400), ('"x": 1, "word": "red", "flag": true', 422), (WHOLE + ', "colour": "red"', 422), ("", 400),
    (WHOLE.replace("2", "9007199254740993"), 200), (WHOLE.replace("2", "9223372036854775807"), 200), (WHOLE.replace("2", "9223372036854775808"), 400),
    (WHOLE.replace("2", "-9223372036854775809"), 400), (WHOLE.replace("2", "-9223372036854775808"), 200), (WHOLE.replace("2", "1e16"), 400), (WHOLE.replace("2", "1e15"), 200),
    (WHOLE.replace("2", "2.5"), 400), (WHOLE.replace("1,", "9007199254740993,"), 400), (WHOLE.replace("1,", "1e999,"), 400), (WHOLE.replace("1,", "null,"), 200),
    (WHOLE.replace("1,", "Infinity,"), 400), (WHOLE.replace("true", "2"), 400), (WHOLE.replace("true", '"yes"'), 422), (WHOLE.replace('"red"', "7"), 422),
    (WHOLE.replace('"red"', '"purple"'), 200),
]


@pytest.mark.parametrize("row, status", ROWS)
@pytest.mark.parametrize("path, body", [("/v1/models/typed:predict", '{"instances": [%s]}'), ("/endpoints/typed/invocations", '{"dataframe_records": [%s]}'),
                                        ("/api/v1/endpoints/typed/predict", '{"rows": [%s]}')])
def test_rows_by_name_in_every_protocol_that_has_them(endpoints, path, body, row, status):
    answer = requests.post(endpoints.url + path, data=body % ("{" + row + "}"), headers={"Content-Type": "application/json"}, timeout=30)
    assert answer.status_code == status, answer.text


FLOATS = struct.pack("<d", 1.0)
BINARY = [
    ("FP64", [1], FLOATS, None, None, 200), ("FP64", [2], FLOATS, None, None, 400), ("FP64", [1], FLOATS + b"x", None, None, 400), ("FP64", [1], FLOATS, 7, None, 400),
    ("FP64", [1], FLOATS, 9, None, 400), ("FP64", [1], FLOATS, 2**62, None, 400), ("FP64", [1], FLOATS, -1, None, 400), ("FP64", [1], FLOATS, None, 10**9, 400),
    ("FP64", [1], FLOATS, None, -1, 400), ("FP64", [1], FLOATS, None, 3, 400), ("FP64", [1], struct.pack("<d", numpy.inf), None, None, 400),
    ("FP64", [1], struct.pack("<d", numpy.nan), None, None, 200), ("FP32", [1], struct.pack("<f", -numpy.inf), None, None, 400), ("UINT64", [1], b"\xff" * 8, None, None, 400),
    ("BOOL", [1], b"\x02", None, None, 400), ("BYTES", [1], struct.pack("<I", 10) + b"abc", None, None, 400), ("BYTES", [1], b"\xff\xff\xff\xff", None, None, 400),
    ("BYTES", [2], struct.pack("<I", 0), None, None, 400), ("BYTES", [1], b"", None, None, 400), ("BYTES", [1], struct.pack("<I", 1) + b"a", None, None, 422),
    ("FP64", [2**28, 0], b"", None, None, 400), ("FP64", [2**28], b"", None, None, 400),
]


@pytest.mark.parametrize("datatype, shape, data, size, length, status", BINARY)
def test_binary_tensors(endpoints, datatype, shape, data, size, length, status):
    head = json.dumps({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data) if size is None else size}}]}).encode()
    answer = requests.post(endpoints.url + "/v2/models/stump/infer", data=head + data, timeout=30,
                           headers={"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head) if length is None else length)})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("length", ["", "x", "1e3", "99999999999999999999"])
def test_a_length_of_the_json_that_is_none(endpoints, length):
    answer = requests.post(endpoints.url + "/v2/models/stump/infer", data=json.dumps(oip()).encode(), headers={"Inference-Header-Content-Length": length}, timeout=30)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("path", ["/v2/models/stump/infer", "/v1/models/stump:predict", "/endpoints/stump/invocations", "/api/v1/endpoints/stump/predict"])
def test_bodies_of_100_mb(endpoints, path):
    def pieces():
        for _ in range(100):
            yield b" " * MB
    for body in (b" " * (100 * MB), pieces()):
        try:
            answer = requests.post(endpoints.url + path, data=body, headers={"Content-Type": "application/json"}, timeout=60)
            assert answer.status_code == 413, answer.text
        except requests.ConnectionError:
            # The answer came before the body was sent, and the client did not look.
            pass
    assert endpoints.post("/v2/models/stump/infer", oip()).status_code == 200


def test_slow_clients_wait_for_nobody_and_keep_nobody_waiting(endpoints):
    body = json.dumps(oip()).encode()
    head = f"POST /v2/models/stump/infer HTTP/1.1\r\nHost: 127.0.0.1:{endpoints.port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    slow = []
    for _ in range(50):
        connection = socket.create_connection(("127.0.0.1", endpoints.port), timeout=10)
        connection.sendall(head + body[:10])
        slow.append(connection)
    start = time.monotonic()
    for _ in range(50):
        assert endpoints.post("/v2/models/stump/infer", oip()).status_code == 200
    assert time.monotonic() - start < 5
    for connection in slow:
        for byte in body[10:]:
            connection.sendall(bytes([byte]))
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.close()


def test_half_closed_clients_whose_body_is_not_whole_are_not_answered_from_it(endpoints):
    body = json.dumps(oip()).encode()
    head = f"POST /v2/models/stump/infer HTTP/1.1\r\nHost: 127.0.0.1:{endpoints.port}\r\nContent-Type: application/json\r\nContent-Length: {len(body) + 1}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", endpoints.port), timeout=10) as connection:
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1 200" not in connection.makefile("rb").read()


def test_two_lengths_are_not_smuggled_past(endpoints):
    body = json.dumps(oip()).encode()
    smuggled = b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % endpoints.port
    for fields in [f"Content-Length: {len(body)}\r\nContent-Length: {len(body) + 5}", f"Content-Length: {len(body)}\r\nTransfer-Encoding: chunked",
                   f"Transfer-Encoding: chunked, identity\r\nContent-Length: {len(body)}", f"Content-Length: +{len(body)}"]:
        with socket.create_connection(("127.0.0.1", endpoints.port), timeout=10) as connection:
            connection.sendall(f"POST /v2/models/stump/infer HTTP/1.1\r\nHost: 127.0.0.1:{endpoints.port}\r\nContent-Type: application/json\r\n{fields}\r\n\r\n".encode()
                               + body + smuggled)
            connection.shutdown(socket.SHUT_WR)
            seen = connection.makefile("rb").read()
        assert seen.count(b"HTTP/1.1 ") <= 1 and b"HTTP/1.1 200" not in seen, (fields, seen)


def test_the_table_uses_endpoints_that_answer(endpoints):
    assert endpoints.post("/v2/models/stump/infer", oip()).status_code == 200
    assert endpoints.post("/api/v1/endpoints/typed/predict", {"rows": [served.ROW]}).status_code == 200
    assert bundles.question([1.0])
