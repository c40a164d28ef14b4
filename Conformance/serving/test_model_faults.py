"""A model that brings code and does everything that it must not: its request gets the right status, others are answered as before, and nothing leaves it."""
import concurrent.futures
import os
import pathlib
import re
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

import bundles
import code_models
from servers import Keel

CODE = r'''
import glob
import os
import signal
import socket
import sys
import time

import numpy as np
# The first call of a worker needs it: it is there before its time is counted.
import pandas


def attempt(body):
    try:
        return repr(body())
    except BaseException as error:
        return f"refused: {type(error).__name__}: {error}"


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def leave():
    os._exit(3)


def hang():
    time.sleep(1000)


def leak():
    kept = []
    while True:
        kept.append(bytearray(b"x" * (8 << 20)))


def fork():
    for _ in range(2000):
        if os.fork() == 0:
            time.sleep(1000)
    time.sleep(1000)


def fail():
    raise ValueError("no such flower")


def chatter():
    for _ in range(100):
        print("x" * 100_000)
    sys.stderr.write("y" * 1_000_000)


def child(name):
    if os.fork() == 0:
        os.setsid()
        os.execv("/bin/sleep", [name, "1000"])


def answer(rows, score=None, text=None):
    return {"score": np.full(rows, 1.0 if score is None else score), "text": [text or "fine"] * rows}


def predict(data, params=None):
    # Requests that wait are run together: any of them decides.
    rows = len(data)
    do, _, rest = next((word for word in data["do"] if word != "well"), "well").partition(" ")
    if do in ("crash", "leave", "hang", "leak", "fork", "fail", "chatter"):
        globals()[do]()
    if do == "child":
        child(rest)
    if do in ("nan", "inf"):
        return answer(rows, score=float(do))
    if do == "rows":
        return answer(rows + 1)
    if do == "none":
        return answer(0)
    if do == "columns":
        return {"score": np.ones(rows)}
    if do == "more":
        return answer(rows) | {"third": [1] * rows}
    if do == "type":
        return {"score": ["many"] * rows, "text": ["fine"] * rows}
    if do == "shape":
        return {"score": np.ones((rows, 3)), "text": ["fine"] * rows}
    if do == "object":
        return {"score": np.ones(rows), "text": [object()] * rows}
    if do == "nothing":
        return None
    if do == "read":
        path, _, count = rest.partition(" ")
        return answer(rows, text=attempt(lambda: open(path, "rb").read(int(count or 100))))
    if do == "list":
        return answer(rows, text=attempt(lambda: os.listdir(rest)))
    if do == "connect":
        return answer(rows, text=attempt(lambda: socket.create_connection(("127.0.0.1", int(rest)), 2).getpeername()))
    if do == "listen":
        def listen():
            with socket.socket() as s:
                s.bind(("0.0.0.0", int(rest)))
                s.listen()
                time.sleep(0.5)
                return "listened"
        return answer(rows, text=attempt(listen))
    if do == "environment":
        return answer(rows, text=repr(sorted(os.environ.items())))
    if do == "others":
        return answer(rows, text=repr(sorted(open(path, "rb").read() for path in glob.glob("/proc/[0-9]*/environ") if os.access(path, os.R_OK))))
    return answer(rows)
'''
INPUTS, OUTPUTS = [("do", "string")], [("score", "float64"), ("text", "string")]
SECRET = "of-the-server-alone"


@pytest.fixture(scope="module")
def keel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    server = Keel(environment={
        "KEEL_SERVING_PYTHON_ENVIRONMENT": str(code_models.python(folder / "python")), "KEEL_SERVING_PYTHON_MEMORY": "400MiB",
        "KEEL_SERVING_PYTHON_WORKERS": "1", "KEEL_TEST_SECRET": SECRET, "SECRET_OF_TESTS": SECRET}).start()
    bundles.serve(server, folder, "steady", bundles.stump(), "xgboost")
    code_models.serve(server, folder, "wild", CODE, INPUTS, OUTPUTS)
    code_models.serve(server, folder, "tame", CODE, INPUTS, OUTPUTS)
    yield server
    server.stop()


def ask(keel, do, endpoint="wild", ids=None):
    return keel.post(f"/api/v1/endpoints/{endpoint}/predict", {"rows": [{"do": do}]} | ({"ids": [ids]} if ids else {}))


class Steadily:
    """Other endpoints are asked all the time while the block runs, and answer."""

    def __init__(self, keel):
        self.keel, self.ended, self.statuses = keel, threading.Event(), []

    def run(self, body):
        while not self.ended.is_set():
            self.statuses.append(body().status_code)

    def __enter__(self):
        bodies = [lambda: self.keel.post("/v2/models/steady/infer", bundles.question([1.0])), lambda: ask(self.keel, "well", "tame")]
        self.threads = [threading.Thread(target=self.run, args=(body,)) for body in bodies]
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        assert len(self.statuses) > 1 and set(self.statuses) == {200}, self.statuses


def answers_again(keel, endpoint):
    """A worker that ended is started again: until then a request may find none."""
    for _ in range(300):
        answer = ask(keel, "well", endpoint)
        if answer.status_code == 200:
            assert answer.json()["predictions"][0]["text"] == "fine"
            return
        assert answer.status_code in (503, 504), answer.text
        time.sleep(0.1)
    raise AssertionError(answer.text)


@pytest.mark.parametrize("do, status, said", [
    ("crash", 503, "the worker ended"), ("leak", 503, "memory"), ("fork", 503, "the worker ended"), ("hang", 504, "did not answer"),
])
def test_a_model_that_ends_or_is_ended_fails_its_own_request(keel, tmp_path, do, status, said):
    # Each has workers of its own: those that end again and again are started after longer pauses.
    name, deadline = f"wild-{do}", "4s" if status == 504 else "60s"
    code_models.serve(keel, tmp_path, name, CODE, INPUTS, OUTPUTS, limits=f"{{ deadline: {deadline} }}")
    with Steadily(keel):
        answer = ask(keel, do, name)
        assert answer.status_code == status, answer.text
        assert said in answer.json()["error"]["message"] and SECRET not in answer.text
        assert status != 503 or answer.headers["Retry-After"]
        answers_again(keel, name)


@pytest.mark.parametrize("do, status, said", [
    ("fail", 400, "ValueError: no such flower"),
    # What it gives is not what it said, which is no fault of the request.
    ("nan", 500, "not a finite number"), ("inf", 500, "not a finite number"), ("rows", 500, "2 rows for 1"), ("none", 500, "0 rows for 1"),
    ("columns", 500, "score"), ("more", 500, "third"), ("type", 500, "score"), ("shape", 500, "score"), ("nothing", 500, "predictions"),
    # What no table holds is the worker's own error, as an exception is.
    ("object", 400, "text"),
])
def test_a_model_that_gives_something_else_fails_its_own_request(keel, do, status, said):
    with Steadily(keel):
        answer = ask(keel, do)
        assert answer.status_code == status, answer.text
        assert said in answer.json()["error"]["message"]
        # The same process takes the next one.
        assert ask(keel, "well").json()["predictions"][0]["text"] == "fine"


@pytest.mark.parametrize("code, said", [
    ("raise ValueError('no such flower')", "ValueError: no such flower"), ("import os; os._exit(3)", "ended"), ("import no_such_package", "no_such_package"),
    ("kept = [bytearray(b'x' * (8 << 20)) for _ in range(1000)]", "memory"), ("def predict(data, params=None): return {'score': [1.0] * len(data)}", "score"),
])
def test_a_version_that_cannot_be_loaded_leaves_the_incumbent_where_it_is(keel, code, said):
    version = code_models.register(keel, "tame", {"model.py": code.encode()}, INPUTS, OUTPUTS)
    with Steadily(keel):
        refused = keel.cli("deploy", f"models:/tame/{version}", "--endpoint", "tame", check=False)
    assert refused.returncode == 1 and said in refused.stderr, refused.stderr
    assert len(keel.json("releases", "tame")["releases"]) == 1


def test_a_model_that_prints_megabytes_fills_no_disk(keel):
    with Steadily(keel):
        for _ in range(3):
            assert ask(keel, "chatter").status_code == 200
    logs = [path for path in pathlib.Path(keel.home).rglob("*") if path.is_file() and b"xxxxxxxx" in path.read_bytes()[:1 << 20]]
    assert sum(path.stat().st_size for path in logs) < 20 << 20, [(path, path.stat().st_size) for path in logs]


def test_what_a_model_forked_ends_with_it(keel, tmp_path):
    code_models.serve(keel, tmp_path, "parent", CODE, INPUTS, OUTPUTS)
    name = f"child-of-a-model-{keel.port}"

    def children():
        return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.count(name)
    for _ in range(3):
        assert ask(keel, f"child {name}", "parent").status_code == 200
    deadline = time.monotonic() + 20
    while children() != 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ask(keel, "leave", "parent").status_code == 503
    answers_again(keel, "parent")
    deadline = time.monotonic() + 20
    while children() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert children() == 0


def test_a_model_reaches_no_home_no_secret_and_no_network(keel):
    home, port = pathlib.Path(keel.home), keel.port
    (home / "read-me").write_text(SECRET)
    files = ["keel.sqlite", "secrets.key", "ledger.key", "read-me", "server.log"]
    reachable = ["read /etc/shadow", f"read /proc/{keel.process.pid}/environ", f"list {home}", f"connect {port}", *[f"read {home / name}" for name in files]]
    for do in reachable:
        said = ask(keel, do).json()["predictions"][0]["text"]
        # A sandbox may have an empty folder where the home is.
        assert said.startswith("refused: ") or do.startswith("list") and "keel.sqlite" not in said, (do, said)
    for do in ("environment", "others"):
        said = ask(keel, do).json()["predictions"][0]["text"]
        assert SECRET not in said and "KEEL" not in said, said
    # What it listens on, nobody outside reaches.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            number = free.getsockname()[1]
        asked = pool.submit(ask, keel, f"listen {number}")
        reached = []
        while not asked.done():
            with socket.socket() as s:
                reached.append(s.connect_ex(("127.0.0.1", number)))
            time.sleep(0.02)
    assert reached and 0 not in reached, asked.result().text


def test_the_server_says_what_protects_it_here_and_it_is_so(keel):
    said = {line["name"]: line for line in keel.json("doctor", check=False)["server"]["python"]}
    assert list(said) == ["files", "user", "network", "system calls", "processes", "memory"]
    assert all(line["how"] for line in said.values())
    assert "system calls" in keel.cli("doctor", check=False).stdout
    described = keel.json("describe", "endpoint", "wild")["status"]["code"]
    assert all(f"{name}: {line['how']}" in described for name, line in said.items()), described
    assert "code" not in keel.json("describe", "endpoint", "steady")["status"]
    # What it says is what the code finds.
    status = dict(line.split(":\t", 1) for line in eval(ask(keel, "read /proc/self/status 5000").json()["predictions"][0]["text"]).decode().splitlines())
    assert (int(status["Seccomp"]) == 2) == said["system calls"]["holds"]
    assert int(status["NoNewPrivs"]) == 1 and int(status["CapEff"], 16) == 0
    own = int(status["Uid"].split()[0])
    users = re.fullmatch(r"one for each program, of (\d+)-(\d+)", said["user"]["how"])
    assert not users or int(users[1]) <= own <= int(users[2])
    limits = eval(ask(keel, "read /proc/self/limits 5000").json()["predictions"][0]["text"]).decode()
    processes = re.search(r"Max processes +(\w+)", limits)[1]
    assert not said["processes"]["holds"] or int(processes) <= 128 + 8 * os.cpu_count()


def test_every_answer_of_a_model_with_faults_is_in_the_log(keel, tmp_path):
    """Workers die while many ask: who was answered is logged, who was not is told so, and nobody waits for long."""
    code_models.serve(keel, tmp_path, "often", CODE, INPUTS, OUTPUTS, limits="{ deadline: 10s }")
    words = ["well", "crash", "well", "fail", "well", "nan", "well", "rows", "well", "leave"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda i: ask(keel, words[i % 10], "often", ids=f"often-{i}").status_code, range(60)))
    answered = {f"often-{i}" for i, status in enumerate(statuses) if status == 200}
    assert set(statuses[::2]) <= {200, 503, 504} and answered
    assert 200 not in statuses[1::2], "a fault was answered"
    database = sqlite3.connect(f"file:{keel.home}/keel.sqlite?mode=ro", uri=True)
    deadline = time.monotonic() + 20
    while (logged := {row[0] for row in database.execute("SELECT id FROM predictions WHERE id LIKE 'often-%'")}) != answered:
        assert time.monotonic() < deadline, (answered - logged, logged - answered)
        time.sleep(0.1)
    database.close()
