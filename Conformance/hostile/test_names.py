"""Names that people and attackers choose: each is kept exactly as it was given, or refused with an error that says why. Nothing else happens."""
import urllib.parse

import pytest
import requests
import yaml

from watch import Watched

NAMES = [
    "select", "rid", "row", "rowid", "null", "NaN", "true", "order by", "group", "c0", "__keel", "keel", "t", "x", "_", "-", ".", "..", "...",
    "a/b", "/a", "a/", "../../etc/passwd", "..\\..\\x", "a//b", "~", "$HOME", "${x}", "%s%s%n", "%00", "%2e%2e%2f", "a%2Fb", "a\x00b", "a\nb",
    "a\rb", "a\tb", "\x1b[31mred", "\x1b]0;title\x07", "\u202eevil", "\u200b", "\ufeff", "é", "e\u0301", "ß", "İ", "ı", "日本語", "🦊", "👩‍👩‍👧",
    "'", '"', '""', "`", "'; DROP TABLE runs; --", '" OR 1=1 --', "a'b\"c", "\\", "a\\'b", ";", "--", "/*", "*/", "#", "?", "a?b=c", "a#b", "&", "=",
    "a b", " a", "a ", " ", "", "<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}", "(", "((((", "[", "*", "+", "|", "^", "@", "a@b", "a:b",
    "con", "nul", "a" * 63, "a" * 64, "a" * 129, "a" * 250, "a" * 1000, "é" * 250, "a" * 100_000, "A", "-rf", "--help", "0", "1e308", "9" * 400,
]


@pytest.fixture(scope="module")
def server():
    with Watched() as server:
        with server.attacked():
            yield server
        server.restart()


def short(name):
    return ascii(name[:40])


def refused_or(answer, accepted):
    """Whether it was accepted; a refusal is an error of the client with a reason."""
    if answer.status_code in accepted:
        return True
    # 501 is MLflow's page, which Keel says it does not serve.
    assert 400 <= answer.status_code < 500 or answer.status_code == 501, answer.text[:1000]
    if answer.content:
        assert answer.json(), answer.text[:1000]
    return False


def mlflow(server, path, body):
    return server.post("/api/2.0/mlflow/" + path, body)


@pytest.mark.parametrize("name", NAMES, ids=short)
def test_experiments_runs_and_models(server, name):
    if refused_or(mlflow(server, "experiments/create", {"name": name}), [200]):
        found = server.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": name})
        assert found.json()["experiment"]["name"] == name
    run = mlflow(server, "runs/create", {"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    written = {}
    for what, path, body in [("params", "runs/log-parameter", {"key": name, "value": name}), ("tags", "runs/set-tag", {"key": name, "value": name}),
                             ("metrics", "runs/log-metric", {"key": name, "value": 1.5, "timestamp": 1})]:
        written[what] = refused_or(mlflow(server, path, {"run_id": run} | body), [200])
    data = server.get("/api/2.0/mlflow/runs/get", params={"run_id": run}).json()["run"]["data"]
    for what, value in [("params", name), ("tags", name), ("metrics", 1.5)]:
        pairs = {p["key"]: p["value"] for p in data.get(what, [])}
        if written[what]:
            assert pairs[name] == value
        else:
            assert name not in pairs
    if refused_or(mlflow(server, "registered-models/create", {"name": name}), [200]):
        assert server.get("/api/2.0/mlflow/registered-models/get", params={"name": name}).json()["registered_model"]["name"] == name
        refused_or(mlflow(server, "registered-models/alias", {"name": name, "alias": name, "version": "1"}), [200])
    refused_or(server.get("/api/2.0/mlflow/registered-models/get", params={"name": name, "x": name}), [200])
    refused_or(mlflow(server, "runs/search", {"experiment_ids": ["0"], "filter": f"params.`{name}` = '{name}'", "order_by": [f"tags.`{name}`"]}), [200])


@pytest.mark.parametrize("name", NAMES, ids=short)
def test_artifacts(server, name):
    run = mlflow(server, "runs/create", {"experiment_id": "0"}).json()["run"]["info"]
    path = run["artifact_uri"].split(":/", 1)[1].lstrip("/")
    address = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{path}/" + urllib.parse.quote(name, safe="/")
    stored = refused_or(requests.put(address, data=b"content", timeout=60), [200])
    answer = requests.get(address, timeout=60)
    if stored:
        assert answer.status_code == 200 and answer.content == b"content"
    else:
        refused_or(answer, [200])
    listed = server.get("/api/2.0/mlflow/artifacts/list", params={"run_id": run["run_id"], "path": name})
    refused_or(listed, [200])


def resources(name):
    yield [{"kind": "Dataset", "metadata": {"name": name}, "spec": {"columns": [{"name": "a", "type": "int32"}]}}]
    yield [{"kind": "Dataset", "metadata": {"name": "names", "owner": name}, "spec": {"columns": [{"name": name, "type": "int32"}]}}]
    yield [{"kind": "Entity", "metadata": {"name": name}, "spec": {"keys": {name: "string"}}}]
    yield [{"kind": "Pipeline", "metadata": {"name": name}, "spec": {"parameters": {name: name}, "steps": [
        {"name": name, "uses": "shell", "with": {"command": "true"}}]}}]
    yield [{"kind": "Endpoint", "metadata": {"name": name, "environment": "staging"}, "spec": {}}]
    yield [{"kind": name, "metadata": {"name": "a"}, "spec": {}}]
    yield [{"kind": "Dataset", "metadata": {"name": "patterns"}, "spec": {"columns": [{"name": "a", "type": "string", "pattern": name}]}}]
    yield [{"kind": "Dataset", "metadata": {"name": "values"}, "spec": {"columns": [{"name": "a", "type": "string", "oneOf": [name]}]}}]


@pytest.mark.parametrize("name", NAMES, ids=short)
def test_resources(server, name):
    for resource in resources(name):
        answer = server.post("/api/v1/apply", {"resources": [{"apiVersion": "keel/v1"} | resource[0]]})
        refused_or(answer, [200])


# Those that a terminal, a shell or YAML could take for something else.
@pytest.mark.parametrize("name", [n for n in NAMES if any(ord(c) < 32 for c in n)] + ["\u202eevil", "null", "-rf", "'", "{{7*7}}", "", "e\u0301"], ids=short)
def test_resources_in_files(server, tmp_path, name):
    for i, resource in enumerate(resources(name)):
        file = tmp_path / f"{i}.yaml"
        file.write_text(yaml.safe_dump([{"apiVersion": "keel/v1"} | r for r in resource][0], allow_unicode=True), errors="surrogatepass")
        done = server.cli("apply", file, check=False)
        assert done.returncode in (0, 1, 64), (done.returncode, done.stdout, done.stderr)
        if done.returncode:
            assert "error" in done.stderr, done.stderr
            # A terminal is never sent what a name says; a tab does it no harm.
            assert not any(ord(c) < 32 and c not in "\n\t" for c in done.stderr), ascii(done.stderr)


@pytest.mark.parametrize("name", NAMES, ids=short)
def test_addresses(server, name):
    quoted = urllib.parse.quote(name, safe="")
    for method, path, body in [
        ("GET", f"/api/v1/datasets/{quoted}", None), ("POST", f"/api/v1/datasets/{quoted}/events", {"rows": [{"a": 1}]}),
        ("GET", f"/api/v1/datasets/{quoted}/quarantine", None), ("GET", f"/v2/models/{quoted}", None), ("GET", f"/v2/models/{quoted}/ready", None),
        ("POST", f"/v2/models/{quoted}/infer", {"inputs": []}), ("GET", f"/api/v1/{quoted}", None), ("GET", f"/{quoted}", None),
        ("DELETE", f"/api/v1/runs/{quoted}", None),
    ]:
        answer = requests.request(method, server.url + path, json=body, timeout=60)
        refused_or(answer, [200])
