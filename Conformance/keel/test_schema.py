"""`keel schema` of every kind, read by a validator that is not ours: it takes what the server takes, and refuses the mistakes that it can tell."""
import copy
import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

import project
from servers import KEEL, ROOT, Keel

MONITORING = """
---
apiVersion: keel/v1
kind: Monitor
metadata: { name: drift, environment: production }
spec: { endpoint: buying, window: 1d, drift: { threshold: 0.2, columns: [features, score] }, performance: { label: { within: 7d } } }
---
apiVersion: keel/v1
kind: Trigger
metadata: { name: retrain, owner: shop, labels: { team: growth } }
spec: { when: ["monitor/drift fires", "schedule 0 4 * * *"], run: train, with: { trees: 20 }, cooldown: 14d }
"""
ACCESS = """
---
apiVersion: keel/v1
kind: Role
metadata: { name: keeper }
spec: { actions: [registry.read, registry.write] }
---
apiVersion: keel/v1
kind: RoleBinding
metadata: { name: keepers, labels: { team: growth } }
spec: { role: keeper, tokens: [ci], groups: ["people:growth"], kinds: [Endpoint], environments: [production], names: ["buy*"] }
---
apiVersion: keel/v1
kind: ModelPolicy
metadata: { name: models }
spec: { pythonModels: signed, signers: [{ name: ci, key: MCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= }] }
"""
DOCUMENTS = list(yaml.safe_load_all(project.RESOURCES + project.CARD + MONITORING + ACCESS))


def validator(kind):
    schema = json.loads(subprocess.run([KEEL, "schema", kind.lower()], check=True, capture_output=True, text=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def kinds():
    listed = subprocess.run([KEEL, "schema"], check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    return {line.split()[0] for line in listed if not line.startswith(" ")}


@pytest.fixture(scope="module")
def keel():
    server = Keel().start()
    yield server
    server.stop()


def test_the_examples_are_of_every_kind_and_valid(keel):
    assert {each["kind"] for each in DOCUMENTS} == kinds()
    assert keel.post("/api/v1/plan", {"resources": DOCUMENTS}).status_code == 200
    for document in DOCUMENTS:
        validator(document["kind"]).validate(document)


@pytest.mark.parametrize("path", sorted(Path(ROOT, "Examples").rglob("*.yaml")), ids=lambda path: path.name)
def test_the_case_studies_are_valid(path):
    for document in yaml.safe_load_all(path.read_text()):
        if document:
            validator(document["kind"]).validate(json.loads(json.dumps(document, default=str)))


def mistakes(document):
    """The document with one mistake each: a field that is not known, a required one that is missing, one of another type."""
    def changed(act):
        copied = copy.deepcopy(document)
        act(copied)
        return copied
    yield changed(lambda d: d["spec"].update(qqq=1))
    yield changed(lambda d: d["metadata"].update(qqq=1))
    yield changed(lambda d: d.update(qqq=1))
    yield changed(lambda d: d["metadata"].pop("name"))
    yield changed(lambda d: d.update(apiVersion="keel/v2"))
    schema = validator(document["kind"]).schema["properties"]["spec"]
    for field in schema.get("required", []):
        yield changed(lambda d: d["spec"].pop(field))
    for field in document["spec"]:
        wrong = "qqq" if schema["properties"][field].get("type") == "object" else {"qqq": {"qqq": 1}}
        yield changed(lambda d: d["spec"].update({field: wrong}))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: f"{d['kind']}-{d['metadata']['name']}")
def test_what_the_schema_refuses_the_server_refuses(keel, document):
    check = validator(document["kind"])
    others = [each for each in DOCUMENTS if each is not document]
    count = 0
    for wrong in mistakes(document):
        count += 1
        assert not check.is_valid(wrong), wrong
        answer = keel.post("/api/v1/plan", {"resources": others + [wrong]})
        assert answer.status_code == 400, (wrong, answer.text)
    assert count >= 6
