"""Damaged models and a full disk: what served goes on serving, what cannot be served says why, and the log loses nothing that was answered."""
import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import re
import sqlite3
import subprocess
import time

import numpy
import pytest

import bundles
import code_models
import test_deploy
import test_kills
from servers import Keel

CODE = """
def predict(data, params=None):
    return {"y": (data["x"] * FACTOR).astype("float32")}
"""
DAMAGED = "is not what was stored|its bytes are not the ones that were stored"
X, Y = [("x", "float32")], [("y", "float32")]


def register(keel, name, kind, factor):
    """A version that multiplies by `factor`; the content of the file that holds it."""
    if kind == "python":
        code = CODE.replace("FACTOR", str(factor)).encode()
        code_models.register(keel, name, {"model.py": code}, X, Y)
        return code
    weights = numpy.float32([7, factor]).tobytes()
    files = {"net.onnx": test_deploy.tensors_elsewhere("w.bin"), "w.bin": weights}
    code_models.register(keel, name, files, X, Y, flavors="  onnx:\n    data: net.onnx\n")
    return weights


def answer(keel, name):
    asked = keel.post(f"/api/v1/endpoints/{name}/predict", {"rows": [{"x": 2}]})
    return asked.json()["predictions"][0]["y"] if asked.status_code == 200 else asked.status_code


@contextlib.contextmanager
def damaged(keel, content):
    """The stored content with one bit turned, until the block ends."""
    digest = hashlib.sha256(content).hexdigest()
    file = pathlib.Path(keel.home, "objects", "content", digest[:2], digest)
    assert file.read_bytes() == content
    turned = bytearray(content)
    turned[len(turned) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(turned)
    yield
    file.write_bytes(content)


@pytest.mark.parametrize("kind", ["python", "onnx"])
def test_a_damaged_model_is_not_deployed_and_hinders_no_other(tmp_path, kind):
    environment = {"KEEL_SERVING_PYTHON_ENVIRONMENT": str(code_models.python(tmp_path / "python")), "KEEL_SERVING_PYTHON_WORKERS": "1"}
    keel = Keel(environment=environment).start()
    bundles.serve(keel, tmp_path, "steady", bundles.stump(), "xgboost")
    first = register(keel, "model", kind, 3)
    keel.cli("deploy", "models:/model/1", "--endpoint", "model")
    second = register(keel, "model", kind, 5)
    # At the deployment of a version, and of a new endpoint: the incumbent answers, and nothing is left behind.
    with damaged(keel, second):
        for endpoint in ("model", "new"):
            refused = keel.cli("deploy", "models:/model/2", "--endpoint", endpoint, check=False)
            assert refused.returncode == 1 and re.search(DAMAGED, refused.stderr), refused.stderr
        assert answer(keel, "model") == 6 and "new" not in keel.cli("get", "endpoints").stdout
    keel.cli("deploy", "models:/model/2", "--endpoint", "new")
    assert answer(keel, "new") == 10
    # At a start: it is reported, and all others serve.
    keel.stop()
    with damaged(keel, first):
        keel = Keel(home=keel.home, environment=environment).start()
        assert keel.post("/v2/models/steady/infer", bundles.question([1.0])).status_code == 200
        test_kills.wait_for(keel, ["new", "steady"])
        deadline = time.monotonic() + 30
        while "Endpoint/model" not in [each["subject"] for each in keel.get("/api/v1/damage").json()["damage"]]:
            assert time.monotonic() < deadline, keel.get("/api/v1/damage").text
            time.sleep(0.05)
        said = keel.post("/api/v1/endpoints/model/predict", {"rows": [{"x": 2}]})
        assert said.status_code == 503 and re.search(DAMAGED, said.json()["error"]["message"]), said.text
        keel.stop()
    keel = Keel(home=keel.home, environment=environment).start()
    test_kills.wait_for(keel, ["model"])
    assert answer(keel, "model") == 6
    keel.stop()


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder], capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    """Takes all the room that is left."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def test_a_full_disk_under_the_log(small_disk, tmp_path):
    keel = Keel(home=str(small_disk)).start()
    policies = ["block", "drop"]
    for policy in policies:
        bundles.serve(keel, tmp_path, policy, bundles.stump(), "xgboost", log=f"{{ whenFull: {policy} }}")
    answered = {policy: set() for policy in policies}

    def ask(policy, number):
        asked = keel.post(f"/v2/models/{policy}/infer", bundles.question([1.0], ids=[f"{policy}-{number}"]))
        if asked.status_code == 200:
            answered[policy].add(f"{policy}-{number}")
        # An answer that is kept keeps its connection.
        return asked.status_code, asked.headers.get("Retry-After")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda n: ask("block", n), range(100))) == {(200, None)}
        ballast = fill(small_disk)
        full = {policy: list(pool.map(lambda n, policy=policy: ask(policy, n), range(1000, 1600))) for policy in policies}
    assert keel.process.poll() is None and keel.get("/health").status_code == 200
    assert set(full["block"]) <= {(200, None), (503, "1")} and full["block"][-1] == (503, "1"), "nothing more fits"
    assert set(full["drop"]) == {(200, None)}, "what is not logged is answered all the same"
    ballast.unlink()
    deadline = time.monotonic() + 20
    while ask("block", 5000 + int(time.monotonic() * 1000))[0] != 200:
        if time.monotonic() > deadline:
            # A disk that refused a sync is not trusted until the server starts again.
            keel.stop()
            keel.start()
            deadline += 20
        time.sleep(0.1)
    keel.stop()
    database = sqlite3.connect(f"{keel.home}/keel.sqlite")
    logged = [row[0] for row in database.execute("SELECT id FROM predictions")]
    database.close()
    assert len(logged) == len(set(logged))
    assert {name for name in logged if name.startswith("block")} == answered["block"]
    assert {name for name in logged if name.startswith("drop")} <= answered["drop"]
