"""kill -9 under load: every answered prediction is in the log afterwards, once, with the texts, instants, tensors and large integers that went in and came out.

KEEL_KILLS=50 kills more often.
"""
import concurrent.futures
import contextlib
import datetime
import os
import random
import sqlite3
import threading
import time

import numpy
import requests
from onnx import TensorProto, helper, numpy_helper

import code_models
import packed
import served
from servers import Keel

KILLS = int(os.environ.get("KEEL_KILLS", 10))
DAY = datetime.timedelta(days=1)
INPUTS = [("word", "string"), ("at", "timestamp"), ("vector", "tensor<float32, 3>"), ("count", "int64")]

CODE = """
import numpy as np


def predict(data, params=None):
    vectors = np.stack(list(data["vector"]))
    return {"score": vectors[:, 0], "word": [word[::-1] for word in data["word"]], "at": (data["at"] + np.timedelta64(1, "D")).to_numpy(),
            "vector": vectors * np.float32(2), "count": data["count"].to_numpy() - 1}
"""
CODE_OUTPUTS = [("score", "float32"), *INPUTS]
# A graph has no instants: the endpoint takes one, which the log keeps.
GRAPH_OUTPUTS = [("score", "float32"), ("said", "string"), ("doubled", "tensor<float32, 3>"), ("less", "int64")]
GRAPH_SIGNATURE = {"inputs": [{"name": name, "type": kind, "nullable": False} for name, kind in INPUTS],
                   "outputs": [{"name": name, "type": kind} for name, kind in GRAPH_OUTPUTS]}


def graph():
    def info(name, kind, *row):
        return helper.make_tensor_value_info(name, kind, ["rows", *row])
    nodes = [helper.make_node("Identity", ["word"], ["said"]), helper.make_node("Mul", ["vector", "two"], ["doubled"]),
             helper.make_node("Sub", ["count", "one"], ["less"]), helper.make_node("Gather", ["vector", "first"], ["score"], axis=1)]
    made = helper.make_model(helper.make_graph(
        nodes, "g", [info("word", TensorProto.STRING), info("vector", TensorProto.FLOAT, 3), info("count", TensorProto.INT64)],
        [info("said", TensorProto.STRING), info("doubled", TensorProto.FLOAT, 3), info("less", TensorProto.INT64), info("score", TensorProto.FLOAT)],
        [numpy_helper.from_array(value, name) for name, value in [("two", numpy.float32([2])), ("one", numpy.int64([1])), ("first", numpy.int64(0))]]),
        opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


def row(number):
    """What row `number` asks. Its values are those of no other row, and each is one that a lossy form would change."""
    word = f"wört {number} \0" + "x" * (number % 7)
    at = datetime.datetime(2026, 1, 1, 12, 0, 0, 250_001) + datetime.timedelta(seconds=number)
    vector = [float(numpy.float32(v)) for v in (number % 1000 + 0.1, -number, 1 / (number + 1))]
    return word, at, vector, 2**53 + 1 + number


def expected(number, is_code):
    word, at, vector, count = row(number)
    doubled = [2 * v for v in vector]
    if is_code:
        return [vector[0], word[::-1], at + DAY, doubled, count - 1]
    return [vector[0], word, doubled, count - 1]


def by_column(session, keel, endpoint, ids, rows):
    """Asks in the Open Inference Protocol."""
    words, instants, vectors, counts = zip(*rows)
    inputs = [("word", "BYTES", [], words), ("at", "BYTES", [], [at.isoformat() + "Z" for at in instants]), ("vector", "FP32", [3], sum(vectors, [])),
              ("count", "INT64", [], counts)]
    tensors = [{"name": name, "datatype": kind, "shape": [len(rows), *shape], "data": list(data)} for name, kind, shape, data in inputs]
    return session.post(f"{keel.url}/v2/models/{endpoint}/infer", timeout=60, json={"parameters": {"ids": ids}, "inputs": tensors})


def by_row(session, keel, endpoint, ids, rows):
    """Asks in Keel's own form."""
    asked = [dict(zip(("word", "at", "vector", "count"), (word, at.isoformat() + "Z", vector, count))) for word, at, vector, count in rows]
    return session.post(f"{keel.url}/api/v1/endpoints/{endpoint}/predict", timeout=60, json={"rows": asked, "ids": ids})


class Load:
    """Clients of every endpoint until the server is gone; `answered` has the number of each row that got its answer."""

    def __init__(self, endpoints):
        self.endpoints, self.answered, self.next, self.lock = endpoints, {name: set() for name in endpoints}, 0, threading.Lock()
        self.others, self.failures = [], []

    def ask(self, keel, endpoint, form):
        with requests.Session() as session:
            while True:
                with self.lock:
                    numbers = [self.next, self.next + 1]
                    self.next += 2
                try:
                    answer = form(session, keel, endpoint, [f"{endpoint}-{n}" for n in numbers], [row(n) for n in numbers])
                except requests.RequestException:
                    return
                if answer.status_code == 200:
                    self.answered[endpoint].update(numbers)
                else:
                    self.others.append(f"{endpoint}: {answer.status_code} {answer.text[:300]}")
                    time.sleep(0.05)

    def until_killed(self, keel, seconds):
        threads = [threading.Thread(target=self.ask, args=(keel, name, form), daemon=True) for name in self.endpoints for form in (by_column, by_row)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        keel.kill()
        for thread in threads:
            thread.join(timeout=60)


def start_that_is_killed(home):
    """A start that may be killed while it puts in the table what the last one left in the journal."""
    keel = Keel(home=home)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, contextlib.suppress(AssertionError):
        start = pool.submit(keel.start)
        while keel.process is None and not start.done():
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.4))
        keel.kill()
        start.result()


def wait_for(keel, endpoints):
    """Processes of Python models start beside the server."""
    for endpoint in endpoints:
        deadline = time.monotonic() + 60
        while keel.get(f"/v2/models/{endpoint}/ready").status_code != 200:
            assert time.monotonic() < deadline, keel.get(f"/v2/models/{endpoint}/ready").text
            time.sleep(0.05)


def test_no_answered_prediction_of_typed_models_is_lost_or_changed_by_kills(tmp_path):
    environment = {"KEEL_SERVING_PYTHON_ENVIRONMENT": str(code_models.python(tmp_path / "python")), "KEEL_SERVING_PYTHON_WORKERS": "1"}
    keel = Keel(environment=environment).start()
    durabilities = ["buffered", "acknowledged"]
    for durability in durabilities:
        log = f"{{ durability: {durability} }}"
        code_models.serve(keel, tmp_path, f"code-{durability}", CODE, INPUTS, CODE_OUTPUTS, log=log)
        served.serve(keel, tmp_path, f"graph-{durability}", graph(), "onnx", GRAPH_SIGNATURE, log=log)
    load = Load([f"{kind}-{durability}" for kind in ("code", "graph") for durability in durabilities])
    for kill in range(KILLS):
        load.until_killed(keel, random.uniform(0.1, 0.8))
        if kill % 5 == 4:
            start_that_is_killed(keel.home)
        keel = Keel(home=keel.home, environment=environment).start()
        wait_for(keel, load.endpoints)
    keel.stop()
    assert not load.others, load.others[:3]
    database = sqlite3.connect(f"{keel.home}/keel.sqlite")
    rows = database.execute("SELECT id, inputs, outputs, score FROM predictions").fetchall()
    database.close()
    logged = {name: {} for name in load.endpoints}
    for name, inputs, outputs, score in rows:
        endpoint, number = name.rsplit("-", 1)
        assert int(number) not in logged[endpoint], "a prediction is in the log twice"
        logged[endpoint][int(number)] = (packed.values(inputs), packed.values(outputs), score)
    for endpoint in load.endpoints:
        print(f"{endpoint}: {len(load.answered[endpoint])} rows answered, {len(logged[endpoint])} logged, over {KILLS} kills")
        assert len(load.answered[endpoint]) > 5 * KILLS
        assert not load.answered[endpoint] - logged[endpoint].keys(), f"a prediction that {endpoint} answered is not in the log"
        # Those whose answer the kill cut off may be there: then whole.
        for number, (inputs, outputs, score) in logged[endpoint].items():
            word, at, vector, count = row(number)
            assert inputs == [word, at, vector, count], (endpoint, number)
            assert outputs == expected(number, endpoint.startswith("code")), (endpoint, number)
            assert score == vector[0]
