"""Models that are a file `model.py`, and the Python that runs them: they start in a fraction of a second, where MLflow takes seconds to import.

What is tested with them does not depend on MLflow; test_deploy.py serves its models.
"""
import json
import pathlib
import re
import subprocess
import sys
import sysconfig

import requests

import bundles

LOADER = """
import importlib.util
import os


def load_model(path):
    spec = importlib.util.spec_from_file_location("model", os.path.join(path, "model.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.metadata = None
    return module
"""


def python(folder):
    """An environment with the packages of these tests, in which `mlflow.pyfunc.load_model` imports `model.py`; its interpreter."""
    folder = pathlib.Path(folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", folder], check=True)
    packages = pathlib.Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder)}))
    (packages / "mlflow").mkdir(parents=True)
    (packages / "mlflow" / "__init__.py").write_text("")
    (packages / "mlflow" / "pyfunc.py").write_text(LOADER)
    # Packages are linked, not named in a .pth: workers see the folder of their environment alone.
    for package in pathlib.Path(sysconfig.get_path("purelib")).iterdir():
        if package.name.startswith(("numpy", "pandas", "dateutil", "six")):
            subprocess.run(["cp", "-r", "--reflink=auto", package, packages], check=True)
    return folder / "bin" / "python"


TYPES = {"string": "string", "timestamp": "datetime", "int64": "long", "float32": "float", "float64": "double", "bool": "boolean"}


def columns(fields):
    """Names and Keel's types as the signature of an `MLmodel` file has them."""
    out = []
    for name, kind in fields:
        tensor = re.fullmatch(r"tensor<(\w+), ([\dx]+)>", kind)
        if tensor:
            spec = {"dtype": tensor[1], "shape": [-1, *map(int, tensor[2].split("x"))]}
            out.append({"name": name, "type": "tensor", "tensor-spec": spec})
        else:
            out.append({"name": name, "type": TYPES[kind], "required": True})
    return json.dumps(out)


def register(keel, name, files, inputs, outputs, flavors="  python_function:\n    loader_module: model\n"):
    """Registers the files of a folder as the next version of a model, with the `MLmodel` file that MLflow would write; the version."""
    def ask(path, body):
        answer = keel.post("/api/2.0/mlflow/" + path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()
    run = ask("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]
    described = f"flavors:\n{flavors}signature:\n  inputs: '{columns(inputs)}'\n  outputs: '{columns(outputs)}'\n"
    for path, content in ({"MLmodel": described.encode()} | files).items():
        place = run["artifact_uri"].removeprefix("mlflow-artifacts:/") + "/model/" + path
        answer = requests.put(f"{keel.url}/api/2.0/mlflow-artifacts/artifacts/{place}", data=content, timeout=60)
        assert answer.status_code == 200, answer.text
    keel.post("/api/2.0/mlflow/registered-models/create", {"name": name})
    return ask("model-versions/create", {"name": name, "source": run["artifact_uri"] + "/model", "run_id": run["run_id"]})["model_version"]["version"]


def serve(keel, folder, name, code, inputs, outputs, log="{}", limits="{}"):
    """From the text of a `model.py` to an endpoint that answers with it."""
    bundles.endpoint(keel, folder, name, log, limits)
    register(keel, name, {"model.py": code.encode()}, inputs, outputs)
    keel.cli("deploy", f"models:/{name}/1", "--endpoint", name)
