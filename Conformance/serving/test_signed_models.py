"""A workspace that takes Python models only if their files are signed by a key that it trusts."""
import json
import subprocess

import pytest

import code_models
from servers import Keel

CODE = b"def predict(data, params=None):\n    return data.assign(score=data['x'].astype('float32'))[['score']]\n"
ONE = ([("x", "float64")], [("score", "float32")])


def key(folder, name):
    """A key pair of OpenSSL's: the file of the private one, and the text of the public one."""
    file = folder / f"{name}.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True)
    return file, subprocess.run(["openssl", "pkey", "-in", file, "-pubout"], check=True, capture_output=True, text=True).stdout


def policy(folder, **signers):
    file = folder / "policy.json"
    spec = {"pythonModels": "signed", "signers": [{"name": name, "key": text} for name, text in signers.items()]}
    file.write_text(json.dumps({"apiVersion": "keel/v1", "kind": "ModelPolicy", "metadata": {"name": "models"}, "spec": spec}))
    return file


@pytest.fixture
def keel(tmp_path):
    server = Keel(environment={"KEEL_SERVING_PYTHON_ENVIRONMENT": str(code_models.python(tmp_path / "python"))}).start()
    yield server
    if server.process.poll() is None:
        server.stop()


def test_only_what_a_trusted_key_signed_serves(keel, tmp_path):
    ci, public = key(tmp_path, "ci")
    other, theirs = key(tmp_path, "other")
    keel.cli("apply", policy(tmp_path, ci=public))
    code_models.register(keel, "churn", {"model.py": CODE}, *ONE)

    def deploy(version=1, check=False):
        return keel.cli("deploy", f"models:/churn/{version}", "--endpoint", "churn", check=check)
    unsigned = deploy()
    assert unsigned.returncode != 0 and "nobody signed the files of this one" in unsigned.stderr and "keel models sign" in unsigned.stdout + unsigned.stderr
    keel.cli("models", "sign", "models:/churn/1", "--key", other)
    wrong = deploy()
    assert wrong.returncode != 0 and "a key that is none of theirs" in wrong.stderr
    assert keel.get("/v2/models/churn").status_code == 404
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.py").write_bytes(CODE + b"# otherwise\n")
    refused = keel.cli("models", "sign", "models:/churn/1", "--key", ci, "--folder", folder, check=False)
    assert refused.returncode != 0 and "nothing was signed" in refused.stderr
    assert "signed with the key" in keel.cli("models", "sign", "models:/churn/1", "--key", ci).stdout
    assert "its files are signed by ci" in deploy(check=True).stdout
    assert keel.post("/api/v1/endpoints/churn/predict", {"rows": [{"x": 0.5}]}).status_code == 200
    assert keel.json("ledger", "--kind", "model.version.signature")["events"]
    assert "signed" in keel.get("/api/v1/models/churn/versions/1/card").text
    # Other bytes are other files: the signature is not of them.
    code_models.register(keel, "churn", {"model.py": CODE + b"\n"}, *ONE)
    assert "nobody signed" in deploy(2).stderr
    # A key that is taken out: what it signed serves on, is named, and is not loaded again.
    without = policy(tmp_path, release=theirs)
    keel.cli("models", "sign", "models:/churn/2", "--key", ci)
    named = "release churn/1 serves, and none of the signers of ModelPolicy/models signed it"
    # The other key had signed version 1 as well.
    assert named not in keel.cli("plan", without).stdout
    third, text = key(tmp_path, "third")
    without = policy(tmp_path, third=text)
    assert named in keel.cli("plan", without).stdout
    assert named in keel.cli("apply", without).stdout
    assert keel.post("/api/v1/endpoints/churn/predict", {"rows": [{"x": 0.5}]}).status_code == 200
    assert "a key that is none of theirs" in deploy(2).stderr


def test_what_is_no_signature_is_refused(keel, tmp_path):
    ci, public = key(tmp_path, "ci")
    code_models.register(keel, "churn", {"model.py": CODE}, *ONE)
    manifest = keel.get("/api/v1/models/churn/versions/1/manifest").json()
    assert {file["path"] for file in json.loads(manifest["manifest"])["files"]} == {"MLmodel", "model.py"}
    place = "/api/v1/models/churn/versions/1/signatures"
    assert keel.post(place, {"key": public, "signature": "AAAA"}).status_code == 400
    assert keel.post(place, {"key": "AAAA", "signature": "AAAA"}).status_code == 400
    done = keel.cli("models", "sign", "models:/churn/1", "--key", tmp_path / "policy.json", check=False)
    assert done.returncode != 0 and "policy.json" in done.stderr
