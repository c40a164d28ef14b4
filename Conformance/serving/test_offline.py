"""Models of every flavour are served on a machine that reaches no network: environments of Python are made from a cache of wheels.

What these tests start and call is in a network namespace of its own, which has a loopback and no route.
"""
import ctypes
import fcntl
import os
import socket
import struct

import pandas as pd
import pytest

import test_deploy
import wheels
from servers import Keel

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


@pytest.fixture(scope="module")
def no_route():
    """The thread of the tests, and with it all that it starts, leaves the network. Whoever may make no namespace cannot test this."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"no network namespace can be made here: {os.strerror(ctypes.get_errno())}")
        try:
            with socket.socket() as any_socket:
                fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
            with open("/proc/thread-self/net/route") as routes:
                assert len(routes.readlines()) == 1, "there is a head and no route"
            yield
        finally:
            assert libc.setns(before.fileno(), CLONE_NEWNET) == 0


@pytest.fixture(scope="module")
def server(no_route, tmp_path_factory):
    folder = wheels.cache(tmp_path_factory.mktemp("offline") / "wheels", *REQUIREMENTS)
    keel = Keel(environment={"KEEL_SERVING_PYTHON_WHEELS": str(folder), "KEEL_SERVING_PYTHON_WORKERS": "1"}).start()
    yield keel
    keel.stop()


# One environment for the three models that bring code: making one takes a quarter of a minute.
REQUIREMENTS = ["mlflow", "cloudpickle", "scikit-learn", "statsmodels"]

tracking = test_deploy.tracking
data = test_deploy.data


def test_six_flavours_and_an_export_of_pytorch_are_deployed_by_one_command_each(tracking, server, data):
    import lightgbm
    import mlflow.lightgbm
    import mlflow.onnx
    import mlflow.xgboost
    import xgboost
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression
    frame, binary, _ = data
    whole = frame.fillna(0.0).astype("float32")
    asked = {}

    def log(name, flavor, model, example, runner, **options):
        asked[name] = (runner, example, test_deploy.log(tracking, name, flavor, model, example[:5], **options).predict(example))

    log("xgboost", mlflow.xgboost, xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(frame, binary), 10), frame[:40], "xgboost")
    booster = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(frame, binary), 10)
    log("lightgbm", mlflow.lightgbm, booster, frame[:40], "lightgbm")
    graph = to_onnx(LogisticRegression().fit(whole.to_numpy(), binary), whole[:1].to_numpy(), options={"zipmap": False}, target_opset=17)
    signature = tracking.models.infer_signature(whole, pd.DataFrame({"label": binary}))
    with tracking.start_run():
        mlflow.onnx.log_model(graph, name="model", registered_model_name="onnx", signature=signature)
    asked["onnx"] = ("onnx", whole[:40], LogisticRegression().fit(whole.to_numpy(), binary).predict(whole[:40].to_numpy()))
    versions = [f"{package.name}=={package.version}" for package in map(wheels.importlib.metadata.distribution, REQUIREMENTS)]
    for kind, (module, options, rows) in test_deploy.python_models(data).items():
        with tracking.start_run():
            module.log_model(name="model", registered_model_name=kind, pip_requirements=versions, **options)
        asked[kind] = ("python", rows[:40], tracking.pyfunc.load_model(f"models:/{kind}/1").predict(rows[:40]))
    test_deploy.log_export(tracking, "torch")
    for name, (runner, rows, answers) in asked.items():
        assert f"run by {runner}" in test_deploy.deploy(server, name).stdout
        seen = test_deploy.predict(server.url, name, rows)
        if name == "custom":
            seen, answers = [row["doubled"] for row in seen], answers["doubled"]
        test_deploy.equal(seen, answers)
    test_deploy.deploy(server, "torch")
    test_deploy.answers_as_pytorch(server, "torch")
    assert len(asked) == 6
