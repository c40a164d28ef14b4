"""The Open Inference Protocol over gRPC, with Triton's own client and with bytes that no client sends."""
import asyncio
import json
import queue
import random
import socket
import sqlite3
import ssl
import struct
import threading
import time

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

import bundles
from authority import Authority
from servers import Keel
from test_tls import Secure

# Every element type of the protocol that an ONNX graph has, with its number in ONNX and values at its edges.
TYPES = {
    "BOOL": (9, np.array([True, False, True])),
    "INT8": (3, np.array([-128, 0, 127], dtype=np.int8)), "INT16": (5, np.array([-32768, 0, 32767], dtype=np.int16)),
    "INT32": (6, np.array([-2**31, 0, 2**31 - 1], dtype=np.int32)), "INT64": (7, np.array([-2**63, 0, 2**63 - 1], dtype=np.int64)),
    "UINT8": (2, np.array([0, 1, 255], dtype=np.uint8)), "UINT16": (4, np.array([0, 1, 65535], dtype=np.uint16)),
    "UINT32": (12, np.array([0, 1, 2**32 - 1], dtype=np.uint32)),
    # Of no type of a model's: they are asked of a model with a wider one.
    "UINT64": (None, np.array([0, 1, 2**63 - 1], dtype=np.uint64)),
    "FP16": (None, np.array([0.5, -2, 65504], dtype=np.float16)), "BF16": (None, np.array([0.5, -2, 2**100], dtype=np.float32)),
    "FP32": (1, np.array([0.1, -2, 3e38], dtype=np.float32)),
    "FP64": (11, np.array([0.1, -2, 1e300])), "BYTES": (8, np.array([b"", "grün".encode(), b"x" * 5000], dtype=np.object_)),
}


def raw(values, datatype):
    made = triton.InferInput("x", list(np.shape(values)), datatype)
    made.set_data_from_numpy(np.asarray(values, dtype=triton.triton_to_np_dtype(datatype)) if datatype != "BYTES" else values)
    return made


def tensor(values, datatype="FP64", name="x"):
    made = triton.InferInput(name, list(np.shape(values)), datatype)
    made.set_data_from_numpy(np.asarray(values, dtype=triton.triton_to_np_dtype(datatype)))
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grpc")
    keel = Keel().start()
    bundles.serve(keel, folder, "stump", bundles.stump(low=0.25, high=0.75), "xgboost")
    bundles.serve(keel, folder, "small", bundles.stump(), "xgboost", limits="{ bodyBytes: 65536, rows: 10 }")
    bundles.serve(keel, folder, "bulk", bundles.stump(low=0.25, high=0.75), "xgboost", log="{ whenFull: drop }")
    bundles.endpoint(keel, folder, "empty")
    yield keel
    keel.stop()


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as made:
        yield made


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(values=(0.0, 1.0), name="stump", **fields):
    made = service_pb2.ModelInferRequest(model_name=name, **fields)
    made.inputs.add(name="x", datatype="FP64", shape=[len(values)]).contents.fp64_contents.extend(values)
    return made


def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


# MARK: what is served

def test_the_server_and_its_models_are_described(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.get_server_metadata().name == "keel"
    metadata = client.get_model_metadata("stump")
    assert list(metadata.versions) == ["1"] and metadata.platform == "keel"
    assert (metadata.inputs[0].name, metadata.inputs[0].datatype, list(metadata.inputs[0].shape)) == ("x", "FP64", [-1])
    assert metadata.outputs[0].datatype == "FP32"
    config = client.get_model_config("stump", "1").config
    assert config.max_batch_size > 0 and config.backend == "keel"
    assert (config.input[0].data_type, list(config.input[0].dims)) == (model_config_pb2.TYPE_FP64, [1])
    assert config.output[0].data_type == model_config_pb2.TYPE_FP32
    assert client.is_model_ready("stump") and client.is_model_ready("stump", "1")
    for name, version in [("stump", "7"), ("nothing", ""), ("empty", "")]:
        with pytest.raises(InferenceServerException):
            client.is_model_ready(name, version)


def test_statistics_and_the_repository(client):
    before = client.get_inference_statistics("stump").model_stats[0].inference_count
    client.infer("stump", [tensor([0.0, 1.0, 2.0])])
    after = client.get_inference_statistics("stump", "1").model_stats[0]
    assert after.inference_count == before + 3 and time.time() * 1000 - 60_000 < after.last_inference < time.time() * 1000 + 1000 and after.inference_stats.success.count > 0 and after.inference_stats.compute_infer.ns > 0
    index = {model.name: model for model in client.get_model_repository_index().models}
    assert index["stump"].state == "READY" and index["stump"].version == "1"
    assert index["empty"].state == "UNAVAILABLE" and "no release" in index["empty"].reason
    client.load_model("stump")
    for call, code in [(lambda: client.load_model("empty"), "FAILED_PRECONDITION"), (lambda: client.load_model("nothing"), "NOT_FOUND"),
                       (lambda: client.load_model("stump", config="{}"), "INVALID_ARGUMENT"), (lambda: client.unload_model("stump"), "FAILED_PRECONDITION")]:
        with pytest.raises(InferenceServerException) as caught:
            call()
        assert code in str(caught.value), caught.value
    assert client.infer("stump", [tensor([0.0])]).as_numpy("score").tolist() == [0.25]


# MARK: inference

@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_one_request(client, datatype, compression):
    answer = client.infer("stump", [tensor([[0.0], [1.0], [np.nan]], datatype)], request_id="r", compression_algorithm=compression,
                          outputs=[triton.InferRequestedOutput("score")])
    assert answer.as_numpy("score").tolist() == [0.25, 0.75, 0.75]
    response = answer.get_response()
    assert response.id == "r" and response.model_version == "1" and response.model_name == "stump"
    assert json.loads(response.parameters["ids"].string_param) == ["r/0", "r/1", "r/2"]
    assert response.parameters["release"].int64_param == 1


def test_contents_are_answered_with_contents(stub):
    answer = stub.ModelInfer(request([0.0, 1.0]))
    assert list(answer.outputs[0].contents.fp32_contents) == [0.25, 0.75] and not answer.raw_output_contents


@pytest.fixture(scope="module")
def echo(server):
    """Graphs that give back what they were given: one for each datatype that a signature of MLflow's has, at an endpoint of its own."""
    import mlflow
    import onnx
    from mlflow.types import Schema, TensorSpec
    mlflow.set_tracking_uri(server.url)
    mlflow.set_registry_uri(server.url)
    numpy_types = {"BYTES": np.dtype("str")}
    for word, (number, values) in TYPES.items():
        if number is None:
            continue
        value = lambda name: onnx.helper.make_tensor_value_info(name, number, [None])
        graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "echo", [value("x")], [value("y")])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        kind = numpy_types.get(word, values.dtype)
        signature = mlflow.models.ModelSignature(Schema([TensorSpec(kind, (-1,), "x")]), Schema([TensorSpec(kind, (-1,), "y")]))
        with mlflow.start_run():
            import mlflow.onnx
            mlflow.onnx.log_model(model, name="model", registered_model_name=f"echo-{word.lower()}", signature=signature)
        server.cli("deploy", f"models:/echo-{word.lower()}/1", "--endpoint", f"echo-{word.lower()}")
    return server


CONTENTS = {"BOOL": "bool", "INT8": "int", "INT16": "int", "INT32": "int", "INT64": "int64", "UINT8": "uint", "UINT16": "uint", "UINT32": "uint",
            "UINT64": "uint64", "FP32": "fp32", "FP64": "fp64", "BYTES": "bytes"}


def values_of(answer):
    """The values of the one output, in whichever of the two forms it has."""
    output = answer.outputs[0]
    kind = triton.triton_to_np_dtype(output.datatype)
    if answer.raw_output_contents:
        blob = answer.raw_output_contents[0]
        return triton.deserialize_bytes_tensor(blob).tolist() if output.datatype == "BYTES" else np.frombuffer(blob, dtype=kind).tolist()
    return list(getattr(output.contents, CONTENTS[output.datatype] + "_contents"))


@pytest.mark.parametrize("word", TYPES)
@pytest.mark.parametrize("is_raw", [True, False])
def test_every_datatype_comes_back(echo, stub, word, is_raw):
    values = TYPES[word][1]
    made = service_pb2.ModelInferRequest(model_name="echo-" + {"UINT64": "int64", "FP16": "fp32", "BF16": "fp32"}.get(word, word.lower()))
    held = made.inputs.add(name="x", datatype=word, shape=[3])
    if is_raw:
        made.raw_input_contents.append(raw(values, word)._get_content())
    elif word in CONTENTS:
        getattr(held.contents, CONTENTS[word] + "_contents").extend(values.tolist())
    else:
        assert refusal(lambda: stub.ModelInfer(made))[0] == "INVALID_ARGUMENT"
        return
    assert values_of(stub.ModelInfer(made)) == values.tolist()


def test_predictions_are_logged_as_over_rest(server, client):
    client.infer("stump", [tensor([0.0, 1.0])], parameters={"ids": json.dumps(["grpc-a", "grpc-b"])})
    requests.post(f"{server.url}/v2/models/stump/infer", json=bundles.question([0.0, 1.0], ids=["rest-a", "rest-b"]), timeout=10).raise_for_status()
    names = ["grpc-a", "grpc-b", "rest-a", "rest-b"]
    labelled = server.post("/api/v1/labels", {"labels": [{"id": name, "value": 1} for name in names]}).json()
    assert labelled["joined"] == 4, labelled
    for _ in range(100):
        rows = {row[0]: row[1:] for row in sqlite3.connect(f"{server.home}/keel.sqlite").execute(
            "SELECT id, score, endpoint FROM predictions WHERE id LIKE 'grpc-%' OR id LIKE 'rest-%'")}
        if len(rows) == 4:
            break
        time.sleep(0.1)
    assert rows["grpc-a"] == rows["rest-a"] and rows["grpc-b"] == rows["rest-b"] and rows["grpc-a"][0] == 0.25


def test_what_is_wrong_is_said_with_its_place(server, client, stub):
    for call, code, text in [
        (lambda: stub.ModelInfer(request(name="stmup")), "NOT_FOUND", "did you mean 'stump'?"),
        (lambda: stub.ModelInfer(request(name="empty")), "FAILED_PRECONDITION", "no release yet"),
        (lambda: stub.ModelInfer(request(model_version="7")), "NOT_FOUND", "serves no version '7'"),
        (lambda: stub.ModelInfer(request([1.0, float("inf")])), "INVALID_ARGUMENT", "inputs[0].data[1]"),
        (lambda: stub.ModelInfer(service_pb2.ModelInferRequest()), "INVALID_ARGUMENT", "model_name"),
        (lambda: stub.ModelInfer(service_pb2.ModelInferRequest(model_name="stump")), "INVALID_ARGUMENT", "inputs"),
        (lambda: stub.ModelInfer(request([0.0] * 11, name="small")), "RESOURCE_EXHAUSTED", "11 rows"),
        (lambda: stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="grün")), "NOT_FOUND", "'grün'"),
        (lambda: stub.TraceSetting(service_pb2.TraceSettingRequest()), "UNIMPLEMENTED", "TraceSetting"),
    ]:
        assert (seen := refusal(call))[0] == code and text in seen[1], seen
    for fields in [dict(name="y", datatype="FP64", shape=[1]), dict(name="x", datatype="FP65", shape=[1]), dict(name="x", datatype="FP64", shape=[2**40]),
                   dict(name="x", datatype="FP64", shape=[2**28, 0])]:
        made = service_pb2.ModelInferRequest(model_name="stump")
        made.inputs.add(**fields).contents.fp64_contents.append(1.0)
        code, text = refusal(lambda: stub.ModelInfer(made))
        assert code == "INVALID_ARGUMENT" and "inputs" in text or "'x'" in text, text
    outputs = [triton.InferRequestedOutput("other")]
    with pytest.raises(InferenceServerException, match="outputs\\[0\\].name"):
        client.infer("stump", [tensor([0.0])], outputs=outputs)
    assert client.infer("stump", [tensor([0.0])]).as_numpy("score").tolist() == [0.25]


# MARK: many at a time, and streams

def test_many_calls_on_one_connection(server):
    async def ask():
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            answers = await asyncio.gather(*[client.infer("stump", [tensor([float(i % 2)])], request_id=f"many{i}") for i in range(500)])
        return [(a.get_response().id, a.as_numpy("score").tolist()) for a in answers]
    assert asyncio.run(ask()) == [(f"many{i}", [0.75 if i % 2 else 0.25]) for i in range(500)]


def test_calls_with_callbacks(client):
    done = queue.Queue()
    for i in range(50):
        client.async_infer("stump", [tensor([1.0])], lambda result, error: done.put((result, error)))
    for _ in range(50):
        result, error = done.get(timeout=10)
        assert error is None and result.as_numpy("score").tolist() == [0.75]


def test_a_stream_is_answered_in_order_and_outlives_an_error(server):
    done = queue.Queue()
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        client.start_stream(lambda result, error: done.put((result, error)))
        for i in range(300):
            client.async_stream_infer("nothing" if i == 100 else "stump", [tensor([float(i % 2)] * (1 + i % 7))], request_id=f"s{i}")
        seen = [done.get(timeout=20) for _ in range(300)]
        client.stop_stream()
    for i, (result, error) in enumerate(seen):
        if i == 100:
            assert "no endpoint 'nothing'" in str(error)
        else:
            assert error is None and result.get_response().id == f"s{i}"
            assert result.as_numpy("score").tolist() == [0.75 if i % 2 else 0.25] * (1 + i % 7)
            assert result.get_response().parameters["triton_final_response"].bool_param


def test_a_stream_whose_client_does_not_read_does_not_fill_the_server(server, stub):
    """The client sends without end and takes nothing: it is made to wait."""
    sent = 0
    stop = threading.Event()

    def endless():
        nonlocal sent
        while not stop.is_set():
            sent += 1
            yield request([0.0] * 500, "bulk")
    call = stub.ModelStreamInfer(endless())
    before = 0
    for _ in range(40):
        time.sleep(0.25)
        if sent == before:
            break
        before = sent
    assert sent == before and sent < 100_000
    assert next(call).infer_response.outputs[0].shape == [500]
    stop.set()
    call.cancel()


# MARK: limits

def test_large_messages(server, client, stub):
    wait_for_the_log(stub)
    limit = 16 << 20
    with pytest.raises(InferenceServerException) as caught:
        client.infer("stump", [tensor(np.zeros(limit // 8))])
    assert "RESOURCE_EXHAUSTED" in str(caught.value) and str(limit) in str(caught.value)
    with pytest.raises(InferenceServerException) as caught:
        client.infer("small", [tensor(np.zeros(9000))])
    assert "RESOURCE_EXHAUSTED" in str(caught.value) and "65536" in str(caught.value)
    # Zeros inflate a thousandfold.
    with pytest.raises(InferenceServerException) as caught:
        client.infer("small", [tensor(np.zeros(1_000_000))], compression_algorithm="gzip")
    assert "RESOURCE_EXHAUSTED" in str(caught.value)
    assert client.infer("stump", [tensor([1.0])]).as_numpy("score").tolist() == [0.75]


def test_several_large_messages_beside_small_ones(server):
    async def ask():
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            large = [client.infer("bulk", [tensor(np.ones(10_000))]) for _ in range(8)]
            small = [client.infer("stump", [tensor([1.0])]) for _ in range(100)]
            return await asyncio.gather(*small, *large)
    assert all(set(a.as_numpy("score").tolist()) == {0.75} for a in asyncio.run(ask()))


def wait_for_the_log(stub):
    """What the tests before asked for in one go is still on its way into the log, which refuses more meanwhile."""
    for _ in range(300):
        try:
            return stub.ModelInfer(request(), timeout=30)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error
            time.sleep(0.1)
    raise AssertionError("the log has no room for half a minute")


def test_the_clients_time_is_kept(server, stub):
    wait_for_the_log(stub)
    assert stub.ModelInfer(request(), timeout=5).outputs
    message = request().SerializeToString()
    body = b"\0" + struct.pack(">I", len(message)) + message
    for text, is_answered in [(b"5S", True), (b"1n", False), (b"soon", False)]:
        head = frame(1, 4, 1, call_head(server) + literal(b"grpc-timeout", text))
        seen = exchange(server, PREFACE + frame(4, 0, 0) + head + frame(0, 1, 1, body), seconds=1)
        assert (b"score" in seen) == is_answered, (text, seen)
        # The headers that end the call are there in any case.
        assert any(kind == 1 and flags & 1 and stream == 1 for kind, flags, stream, _ in frames(seen)), seen


# MARK: who calls

def test_tokens_and_permissions(guarded, tmp_path):
    server, tokens = guarded
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        bearer = lambda token: (("authorization", f"Bearer {token}"),)
        assert refusal(lambda: stub.ServerLive(service_pb2.ServerLiveRequest()))[0] == "UNAUTHENTICATED"
        assert refusal(lambda: stub.ServerLive(service_pb2.ServerLiveRequest(), metadata=bearer("wrong")))[0] == "UNAUTHENTICATED"
        assert stub.ServerLive(service_pb2.ServerLiveRequest(), metadata=bearer(tokens["service"])).live
        # Who may ask finds no such endpoint; who may not is not told.
        assert refusal(lambda: stub.ModelInfer(request(), metadata=bearer(tokens["service"])))[0] == "NOT_FOUND"
        assert refusal(lambda: stub.ModelInfer(request(), metadata=bearer(tokens["risk-officer"])))[0] == "PERMISSION_DENIED"
        for method, message in [("ModelMetadata", service_pb2.ModelMetadataRequest(name="x")), ("ModelConfig", service_pb2.ModelConfigRequest(name="x")),
                                ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="x")),
                                ("RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest(model_name="x")),
                                ("RepositoryIndex", service_pb2.RepositoryIndexRequest()),
                                ("ModelStatistics", service_pb2.ModelStatisticsRequest())]:
            assert refusal(lambda: getattr(stub, method)(message, metadata=bearer(tokens["risk-officer"])))[0] == "PERMISSION_DENIED", method
        other = bearer(tokens["service"]) + (("keel-workspace", "elsewhere"),)
        assert refusal(lambda: stub.ServerLive(service_pb2.ServerLiveRequest(), metadata=other))[0] in ("NOT_FOUND", "PERMISSION_DENIED")


def test_a_page_of_another_site_is_refused(server):
    for metadata, options in [((("origin", "http://evil.example"),), ()), ((), (("grpc.default_authority", "evil.example"),)),
                              ((("x-forwarded-for", "10.0.0.1"),), ()), ((), (("grpc.default_authority", "localhost:1"),))]:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            code, _ = refusal(lambda: stub.ServerLive(service_pb2.ServerLiveRequest(), metadata=metadata))
            assert code in ("PERMISSION_DENIED", "UNAUTHENTICATED"), (metadata, options)


def test_under_tls(tmp_path):
    authority = Authority(tmp_path, "private")
    server = Secure(authority, tmp_path)
    server.start()
    try:
        with triton.InferenceServerClient(f"localhost:{server.port}", ssl=True, root_certificates=str(authority.file)) as client:
            assert client.is_server_live()
        # Clients that know both protocols are served HTTP/1.1.
        context = ssl.create_default_context(cafile=str(authority.file))
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection(("127.0.0.1", server.port)) as plain, context.wrap_socket(plain, server_hostname="localhost") as s:
            assert s.selected_alpn_protocol() == "http/1.1"
        assert server.get("/v2").json()["name"] == "keel"
    finally:
        server.stop()


# MARK: bytes that no client sends

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def call_head(server, path=b"/inference.GRPCInferenceService/ModelInfer", content=b"application/grpc"):
    authority = f"127.0.0.1:{server.port}".encode()
    return literal(b":method", b"POST") + literal(b":scheme", b"http") + literal(b":path", path) + literal(b":authority", authority) + \
        literal(b"content-type", content)


def frames(data):
    """Type, flags, stream and payload of each frame."""
    at = 0
    while at + 9 <= len(data):
        length = int.from_bytes(data[at:at + 3], "big")
        yield data[at + 3], data[at + 4], int.from_bytes(data[at + 5:at + 9], "big"), data[at + 9:at + 9 + length]
        at += 9 + length


def exchange(server, data, half_close=False, seconds=3):
    """What the server says to bytes, until it closes or says nothing more."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as s:
        s.sendall(data)
        if half_close:
            s.shutdown(socket.SHUT_WR)
        seen = b""
        try:
            while part := s.recv(65536):
                seen += part
        except (TimeoutError, ConnectionResetError):
            pass
        return seen


def test_a_client_that_half_closes_is_answered(server):
    message = request().SerializeToString()
    body = b"\0" + struct.pack(">I", len(message)) + message
    seen = exchange(server, PREFACE + frame(4, 0, 0) + frame(1, 4, 1, call_head(server)) + frame(0, 1, 1, body), half_close=True)
    assert b"score" in seen and any(kind == 1 and flags & 1 for kind, flags, *_ in frames(seen)), seen


def test_http2_is_for_grpc_alone(server):
    seen = exchange(server, PREFACE + frame(4, 0, 0) + frame(1, 5, 1, call_head(server, content=b"text/html")), seconds=1)
    assert b"use HTTP/1.1" in seen


def test_a_preface_in_pieces_and_http1_beside_it(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
        for byte in PREFACE + frame(4, 0, 0):
            s.sendall(bytes([byte]))
            time.sleep(0.002)
        assert s.recv(9)[3] == 4
    for text in [b"PUT /v2 HTTP/1.1\r\nhost: localhost\r\n\r\n", b"PRI * HTTP/1.1\r\nhost: localhost\r\n\r\n"]:
        assert exchange(server, text, seconds=1).startswith(b"HTTP/1.1 4")


def test_what_one_call_of_a_connection_may_says_nothing_of_the_next(server):
    """The head of a call that was accepted is remembered: nothing else passes as it. A channel calls over one connection."""
    code = grpc.StatusCode
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    # Accepted, and refused behind it: heads of as many fields, which differ in one name or one value.
    calls = [
        ([("x-a", "b")], [("origin", "http://evil.example")], {code.PERMISSION_DENIED}),
        ([("x-a", "b")], [("x-forwarded-for", "10.0.0.1")], {code.PERMISSION_DENIED, code.UNAUTHENTICATED}),
        ([("keel-workspace", "default")], [("keel-workspace", "a b")], {code.INVALID_ARGUMENT}),
        ([("traceparent", trace)], [("authorization", "Bearer none")], {code.UNAUTHENTICATED}),
        ([("traceparent", trace), ("x-a", "b")], [("traceparent", "none"), ("origin", "null")], {code.PERMISSION_DENIED}),
    ]
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for accepted, forged, expected in calls:
            for timeout in (None, 9, 8):
                assert len(stub.ModelInfer(request(), timeout=timeout, metadata=accepted).outputs) == 1
                # Another method is no repetition either.
                assert stub.ModelReady(service_pb2.ModelReadyRequest(name="stump"), timeout=timeout, metadata=accepted).ready
            assert len(stub.ModelInfer(request(), metadata=accepted).outputs) == 1
            with pytest.raises(grpc.RpcError) as refused:
                stub.ModelInfer(request(), metadata=forged)
            assert refused.value.code() in expected, (forged, refused.value)
        assert len(stub.ModelInfer(request()).outputs) == 1
    # How long a client waits is its own for every call.
    message = request().SerializeToString()
    data = PREFACE + frame(4, 0, 0)
    for stream, timeout in ((1, b"9S"), (3, b"0n"), (5, b"8S"), (7, b"x"), (9, b"9S")):
        data += frame(1, 4, stream, call_head(server) + literal(b"grpc-timeout", timeout)) + frame(0, 1, stream, b"\0" + struct.pack(">I", len(message)) + message)
    assert {stream for kind, _, stream, _ in frames(exchange(server, data)) if kind == 0} == {1, 5, 9}


def test_calls_that_are_broken_are_refused(server):
    message = request().SerializeToString()
    framed = b"\0" + struct.pack(">I", len(message)) + message
    for body in [b"", framed[:-3], framed + framed, b"\2" + framed[1:], b"\1" + framed[1:], b"\0\0\0\0\3abc"]:
        seen = list(frames(exchange(server, PREFACE + frame(4, 0, 0) + frame(1, 4, 1, call_head(server)) + frame(0, 1, 1, body), seconds=1)))
        assert not any(kind == 0 for kind, *_ in seen), (body, seen)
        assert any(kind == 1 and flags & 1 for kind, flags, *_ in seen), (body, seen)


def test_random_bytes_end_their_connection_and_nothing_else(server, client):
    chance = random.Random(11)
    message = request().SerializeToString()
    good = PREFACE + frame(4, 0, 0) + frame(1, 4, 1, call_head(server)) + frame(0, 1, 1, b"\0" + struct.pack(">I", len(message)) + message)
    for i in range(300):
        data = bytearray(good)
        for _ in range(chance.randint(1, 5)):
            data[chance.randrange(24 if i % 4 else 0, len(data))] = chance.randrange(256)
        if i % 5 == 0:
            data = data[:24] + bytes(chance.randrange(256) for _ in range(200))
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
            s.sendall(data)
            s.setblocking(False)
            try:
                s.recv(65536)
            except (BlockingIOError, ConnectionResetError):
                pass
    assert client.infer("stump", [tensor([1.0])]).as_numpy("score").tolist() == [0.75]
    assert server.get("/health").status_code == 200


def test_a_server_that_stops_answers_what_it_has(tmp_path):
    server = Keel().start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(service_pb2.ServerLiveRequest()).live
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 10
        assert refusal(lambda: stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=5))[0] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
