"""What may be logged, and how it reads afterwards: the same requests to Keel and to MLflow's own server have the same answers."""
import json
import uuid

import pytest
import requests

API = "/api/2.0/mlflow/"


def metric(value=1, key="m", timestamp=1, step=0):
    return {"key": key, "value": value, "timestamp": timestamp, "step": step}


def many(count, **fields):
    return [metric(i, step=i) | fields for i in range(count)]


class Server:
    def __init__(self, url):
        self.url = url
        self.experiment = self.post("experiments/create", {"name": uuid.uuid4().hex})[1]["experiment_id"]
        self.run = self.post("runs/create", {"experiment_id": self.experiment, "start_time": 1})[1]["run"]["info"]["run_id"]

    def post(self, path, body):
        data = body if isinstance(body, str) else json.dumps(body)
        answer = requests.post(self.url + API + path, data=data.encode(), headers={"Content-Type": "application/json"}, timeout=120)
        # MLflow's server falls over some bodies: its answer is a page of HTML.
        return answer.status_code, answer.json() if answer.headers["Content-Type"].startswith("application/json") else {}

    def get(self, path, **query):
        answer = requests.get(self.url + path, query, timeout=120)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def log(self, path, body):
        """(status, error code), and all that the run holds afterwards."""
        status, answer = self.post(path, body | {"run_id": self.run})
        data = self.get(API + "runs/get", run_id=self.run)["run"]["data"]
        held = {kind: sorted((i["key"], i["value"]) for i in data.get(kind, []) if i["key"] != "mlflow.runName") for kind in ("metrics", "params", "tags")}
        return status, answer.get("error_code"), json.loads(json.dumps(held, default=str))


@pytest.fixture(scope="module")
def servers(shared_keel, mlflow_reference):
    return shared_keel.url, mlflow_reference.url


BATCHES = {
    "1,000 metrics": {"metrics": many(1000)},
    "1,001 metrics": {"metrics": many(1001)},
    "100 params": {"params": [{"key": f"p{i}", "value": "v"} for i in range(100)]},
    "101 params": {"params": [{"key": f"p{i}", "value": "v"} for i in range(101)]},
    "101 tags": {"tags": [{"key": f"t{i}", "value": "v"} for i in range(101)]},
    "1,001 of all": {"metrics": many(950), "params": [{"key": f"p{i}", "value": "v"} for i in range(51)]},
    "params that differ": {"params": [{"key": "p", "value": "1"}, {"key": "p", "value": "2"}]},
    "params that are the same": {"params": [{"key": "p", "value": "1"}, {"key": "p", "value": "1"}]},
    "a point twice": {"metrics": [metric(), metric(), metric(2)]},
    "values at one step": {"metrics": [metric(3), metric(1), metric(2), metric("NaN")]},
    "steps out of order": {"metrics": [metric(1, step=5), metric(2, step=9), metric(3, step=-4), metric(4, step=9, timestamp=0)]},
    "tags that differ": {"tags": [{"key": "t", "value": "1"}, {"key": "t", "value": "2"}]},
    "nothing": {},
    "a bad one among good ones": {"metrics": [metric(), metric(key="a//b")], "params": [{"key": "p", "value": "1"}]},
}


@pytest.mark.parametrize("name", BATCHES)
def test_batches(servers, name):
    keel, reference = (Server(url).log("runs/log-batch", BATCHES[name]) for url in servers)
    assert keel == reference


VALUES = [0, -0.0, 1e-320, 1.7976931348623157e308, True, False, "NaN", "NAN", "Infinity", "-inf", "1.5", "1e3", "+1", ".5", "1e400", "", None]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("path", ["runs/log-metric", "runs/log-batch"])
def test_values_of_metrics(servers, path, value):
    body = metric(value) if path == "runs/log-metric" else {"metrics": [metric(value)]}
    keel, reference = (Server(url).log(path, body) for url in servers)
    assert keel == reference


@pytest.mark.parametrize("step,timestamp", [("7", "8"), ("7.0", "8.0"), (7.0, 1e3), (2**63 - 1, 2**47), (-(2**63), 0), (None, 1), (0, -1)])
@pytest.mark.parametrize("path", ["runs/log-metric", "runs/log-batch"])
def test_steps_and_times_of_metrics(servers, path, step, timestamp):
    def answers(url):
        server, point = Server(url), metric(step=step, timestamp=timestamp)
        said = server.log(path, point if path == "runs/log-metric" else {"metrics": [point]})
        return said, server.get(API + "metrics/get-history", run_id=server.run, metric_key="m").get("metrics")

    keel, reference = map(answers, servers)
    assert keel == reference


@pytest.mark.parametrize("fields", [{"value": [1]}, {"value": {}}, {"value": "x"}, {"value": "nan"}, {"timestamp": -(2**63)}, {"timestamp": 2**63 - 1},
                                    {"timestamp": True}, {"step": True}, {"step": 1.5}, {"step": 2**63}])
@pytest.mark.parametrize("path", ["runs/log-metric", "runs/log-batch"])
def test_what_cannot_be_read_is_refused(shared_keel, path, fields):
    # MLflow's server falls over lists and objects, and keeps 0, step 0 or the year 1970 for the rest.
    point = metric() | fields
    status, code, held = Server(shared_keel.url).log(path, point if path == "runs/log-metric" else {"metrics": [point]})
    assert (status, code, held["metrics"]) == (400, "INVALID_PARAMETER_VALUE", [])


def test_a_batch_over_a_megabyte_is_refused(shared_keel):
    # MLflow's server means to refuse it, but measures the number of fields.
    server = Server(shared_keel.url)
    body = {"run_id": server.run, "params": [{"key": f"p{i}", "value": "v" * 11_000} for i in range(100)]}
    status, answer = server.post("runs/log-batch", body)
    assert status == 400 and answer["message"].startswith("Batched logging API requests must be at most 1000000 bytes")


@pytest.mark.parametrize("key", ["a/b", "a.b", "a b", "ä", "日本", "a:b", "a%b", "a\U0001f600", "../a", "a/", "/a", ".", "a//b", "k" * 250, "k" * 10_240, ""])
@pytest.mark.parametrize("path", ["runs/log-metric", "runs/log-parameter", "runs/set-tag"])
def test_keys(servers, path, key):
    body = metric(key=key) if path == "runs/log-metric" else {"key": key, "value": "v"}
    if path == "runs/log-metric" and len(key) > 250:
        # SQLite does not hold to the width of MLflow's column, its other databases do: Keel refuses what they refuse.
        assert Server(servers[0]).log(path, body)[:2] == (400, "INVALID_PARAMETER_VALUE")
        return
    keel, reference = (Server(url).log(path, body) for url in servers)
    assert keel == reference


@pytest.mark.parametrize("path", ["runs/log-parameter", "runs/set-tag"])
@pytest.mark.parametrize("size", [6000, 6001, 8000, 8001, 100_000])
def test_long_values(servers, path, size):
    keel, reference = (Server(url).log(path, {"key": "k", "value": "é" * size}) for url in servers)
    assert keel == reference


@pytest.mark.parametrize("state", ["FINISHED", "deleted", "experiment deleted"])
def test_runs_that_have_ended(servers, state):
    def answers(url):
        server = Server(url)
        if state == "FINISHED":
            server.post("runs/update", {"run_id": server.run, "status": "FINISHED"})
        elif state == "deleted":
            server.post("runs/delete", {"run_id": server.run})
        else:
            server.post("experiments/delete", {"experiment_id": server.experiment})
        return [server.log(*call) for call in [
            ("runs/log-metric", metric()), ("runs/log-parameter", {"key": "p", "value": "1"}), ("runs/set-tag", {"key": "t", "value": "1"}),
            ("runs/log-batch", {"metrics": [metric(key="n")]})]]

    keel, reference = map(answers, servers)
    assert keel == reference


@pytest.mark.parametrize("query", [
    {}, {"max_results": 1}, {"max_results": 7}, {"max_results": 320}, {"max_results": 10, "start_step": 100, "end_step": 700},
    {"max_results": 10, "start_step": -50, "end_step": 3}, {"start_step": 5000, "end_step": 6000},
])
def test_samples_of_a_history(servers, query):
    points = [metric("NaN" if i % 13 == 0 else i % 7, step=(i * 37) % 900 - 100, timestamp=1_000 + i) for i in range(1000)]

    def sample(url):
        server = Server(url)
        assert server.post("runs/log-batch", {"run_id": server.run, "metrics": points})[0] == 200
        found = server.get("/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval", run_ids=server.run, metric_key="m", **query)
        return [(m["step"], m["timestamp"], str(m["value"])) for m in found.get("metrics", [])]

    keel, reference = map(sample, servers)
    assert keel == reference
