"""What test_kserve.py asks with KServe's own client, which needs packages of its own (`.keel/venv-kserve`): calls everything, prints the answers as JSON.

    .keel/venv-kserve/bin/python Conformance/serving/kserve_calls.py http://127.0.0.1:7070
"""
import asyncio
import json
import sys

import grpc
import httpx
import numpy
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelMetadataRequest, ServerMetadataRequest
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import RequestedOutput


def tensors(binary):
    columns = [("x", "FP64", numpy.array([0.0, 1.0])), ("n", "INT64", numpy.array([2, 2**53 + 1])),
               ("word", "BYTES", numpy.array(["red", "green"], dtype=object)), ("flag", "BOOL", numpy.array([True, False]))]
    made = []
    for name, datatype, values in columns:
        tensor = InferInput(name, [2], datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        made.append(tensor)
    return made


def shown(response):
    return {"model": response.model_name, "id": response.id,
            "outputs": [{"name": o.name, "datatype": o.datatype, "shape": list(o.shape), "values": o.as_numpy().tolist()} for o in response.outputs]}


async def said(call):
    """The answer, or the error as the client gives it to its caller."""
    try:
        return await call
    except httpx.HTTPStatusError as error:
        return f"{error.response.status_code} {error}"
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"


async def version_1(url):
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        return {
            "predict": await client.infer(url, {"instances": [[0.0], [1.0]]}, model_name="stump"),
            "by_name": await client.infer(url, {"instances": [{"x": 0.0, "n": 2, "word": "red", "flag": True}]}, model_name="typed"),
            "ready": await client.is_model_ready(url, "stump"),
            "unknown": [await said(client.is_model_ready(url, "nothing")), await said(client.infer(url, {"instances": [[0.0]]}, model_name="nothing"))],
            "wrong": await said(client.infer(url, {"instances": [["text"]]}, model_name="stump")),
        }


async def version_2(url):
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        def request(binary, outputs=None):
            return InferRequest("typed", tensors(binary), request_id="own", request_outputs=outputs)
        return {
            "json": shown(await client.infer(url, request(False), model_name="typed")),
            "binary_in": shown(await client.infer(url, request(True), model_name="typed")),
            "binary_out": shown(await client.infer(url, request(True, [RequestedOutput("score", parameters={"binary_data": True})]), model_name="typed")),
            "live": await client.is_server_live(url), "server_ready": await client.is_server_ready(url),
            "ready": await client.is_model_ready(url, "typed"), "unknown": await client.is_model_ready(url, "nothing"),
            "wrong": await said(client.infer(url, InferRequest("typed", tensors(False)[:3]), model_name="typed")),
        }


async def over_grpc(url):
    address = httpx.URL(url).netloc.decode()
    async with InferenceGRPCClient(address) as client, grpc.aio.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        model = await stub.ModelMetadata(ModelMetadataRequest(name="typed"))
        return {
            "raw": shown(await client.infer(InferRequest("typed", tensors(True), request_id="own"))),
            "contents": shown(await client.infer(InferRequest("typed", tensors(False), request_id="own"))),
            "live": await client.is_server_live(), "server_ready": await client.is_server_ready(), "ready": await client.is_model_ready("typed"),
            "unknown": await said(client.infer(InferRequest("nothing", tensors(True)))),
            "wrong": await said(client.infer(InferRequest("typed", tensors(True)[:3]))),
            "server": (await stub.ServerMetadata(ServerMetadataRequest())).name,
            "metadata": {"name": model.name, "versions": list(model.versions), "inputs": [[i.name, i.datatype, list(i.shape)] for i in model.inputs],
                         "outputs": [[o.name, o.datatype, list(o.shape)] for o in model.outputs]},
        }


async def main(url):
    print(json.dumps({"v1": await version_1(url), "v2": await version_2(url), "grpc": await over_grpc(url)}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
