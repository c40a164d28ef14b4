"""What was acknowledged is on the disk, one server owns a home, and a disk that is full or refuses keeps all or nothing."""
import glob
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import threading
import time
import uuid

import requests

import project
from servers import KEEL, ROOT, Keel, free_port


class Trace:
    """strace on a running server, until the block ends."""

    def __init__(self, server, *arguments):
        self.output = os.path.join(server.home, f"strace-{uuid.uuid4().hex}")
        self.command = ["strace", "-f", "-o", self.output, "-p", str(server.process.pid), *arguments]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "attached" in line:
                return self
        raise AssertionError("strace could not attach")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def text(self):
        return pathlib.Path(self.output).read_text()


def run_id(server):
    experiment = server.post("/api/2.0/mlflow/experiments/create", {"name": uuid.uuid4().hex}).json()["experiment_id"]
    return server.post("/api/2.0/mlflow/runs/create", {"experiment_id": experiment, "start_time": 1}).json()["run"]["info"]["run_id"]


def log_metric(server, run, step):
    body = {"run_id": run, "key": "loss", "value": float(step), "timestamp": step + 1, "step": step}
    answer = server.post("/api/2.0/mlflow/runs/log-metric", body)
    assert answer.status_code == 200, answer.text


def push(server, rows):
    return server.post("/api/v1/datasets/clicks/events", {"rows": rows})


def stored_metrics(server, run):
    answer = server.get("/api/2.0/mlflow/metrics/get-history", params={"run_id": run, "metric_key": "loss", "max_results": 25000})
    return {m["step"] for m in answer.json().get("metrics", [])}


def test_d1_every_acknowledged_write_is_synced(keel):
    run = run_id(keel)
    with Trace(keel, "-c", "-e", "trace=fsync,fdatasync") as trace:
        for step in range(100):
            log_metric(keel, run, step)
    calls = sum(int(m[1]) for m in re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(?:fsync|fdatasync)$", trace.text(), re.M))
    assert calls >= 100, f"{calls} syncs for 100 acknowledged writes:\n{trace.text()}"


def test_d1_a_disk_that_refuses_a_sync_is_not_written_to_any_more(keel, tmp_path):
    project.apply(keel, tmp_path)
    position = 0
    with Trace(keel, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"):
        for position in range(2000):
            answer = push(keel, project.rows(1, start=position))
            if answer.status_code != 200:
                break
    assert answer.status_code == 503 and "sync" in answer.json()["error"]["message"], answer.text
    # The disk works again, but nobody knows what it holds of what was written before.
    assert push(keel, project.rows(1, start=position + 1)).status_code == 503
    assert "Dataset/clicks" in [d["subject"] for d in keel.get("/api/v1/damage").json()["damage"]]
    keel.kill()
    again = Keel(home=keel.home).start()
    assert push(again, project.rows(1, start=position + 2)).json()["accepted"] == 1
    again.stop()


def serve(home, port):
    return subprocess.run(
        [str(KEEL), "serve", "--home", home, "--listen", f"127.0.0.1:{port}"], capture_output=True, text=True, cwd=ROOT, timeout=60,
        env={k: v for k, v in os.environ.items() if not k.startswith("KEEL_")})


def test_d2_s9_a_second_server_is_refused_before_it_touches_anything(keel, tmp_path):
    project.apply(keel, tmp_path)
    run = run_id(keel)
    acknowledged, ended = [], threading.Event()

    def work():
        position = 0
        while not ended.is_set():
            assert push(keel, project.rows(20, start=position)).json()["accepted"] == 20
            acknowledged.extend(range(position, position + 20))
            position += 20

    thread = threading.Thread(target=work)
    thread.start()
    half = pathlib.Path(keel.home, "objects", "tmp", "half-an-upload")
    half.write_bytes(b"x" * 1000)
    for port in [keel.port, free_port(), free_port(), free_port(), free_port()]:
        second = serve(keel.home, port)
        assert second.returncode == 1
        assert f"in use by {keel.url}, pid {keel.process.pid}, since " in second.stderr, second.stderr
    assert half.exists()
    ended.set()
    thread.join()
    keel.kill()
    again = Keel(home=keel.home).start()
    rows = again.post("/api/v1/datasets/clicks/seal").json()["snapshot"]["rows"]
    assert rows == len(acknowledged) > 0
    assert stored_metrics(again, run) == set()
    again.stop()


def answers(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def test_s9_of_two_servers_that_start_together_one_wins(tmp_path):
    for _ in range(5):
        home = str(tmp_path / uuid.uuid4().hex)
        ports = [free_port(), free_port()]
        servers = [
            subprocess.Popen(
                [str(KEEL), "serve", "--home", home, "--listen", f"127.0.0.1:{port}"], stderr=subprocess.PIPE, text=True, cwd=ROOT)
            for port in ports]
        # The one that is left serves: it must not be told to stop before it can hear it.
        while all(s.poll() is None for s in servers) or not any(answers(port) for port in ports):
            time.sleep(0.05)
        loser, winner = sorted(servers, key=lambda s: s.poll() is None)
        assert winner.poll() is None and loser.returncode == 1
        error = loser.stderr.read()
        assert "in use" in error and "exists" not in error, error
        winner.send_signal(signal.SIGTERM)
        winner.communicate(timeout=60)
        assert winner.returncode == 0


def stream_sizes(server):
    return [sum(os.path.getsize(f) for f in glob.glob(f"{server.home}/streams/clicks/{log}/*.log")) for log in ["rows", "rejected"]]


def test_d7_a_push_with_bad_rows_is_kept_whole_or_not_at_all(keel, tmp_path):
    project.apply(keel, tmp_path)
    good, bad = project.rows(3, start=1000), [dict(project.rows(1)[0], price=-1.0, user="u" * 200)]
    hard = resource.prlimit(keel.process.pid, resource.RLIMIT_FSIZE)[1]
    for filler, full in [([*bad] * 60, 1), (project.rows(900, start=5000), 0)]:
        answer = push(keel, filler).json()
        before = stream_sizes(keel)
        assert before[full] > before[1 - full] + 2000, "the log that is to be full is the larger one"
        # No file may grow beyond this: the larger log is full, the other is not.
        resource.prlimit(keel.process.pid, resource.RLIMIT_FSIZE, (before[full] + 8, hard))
        refused = push(keel, good + bad)
        resource.prlimit(keel.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert refused.status_code == 503, refused.text
        assert stream_sizes(keel) == before, "part of a refused push is kept"
    answer = push(keel, good + bad).json()
    assert (answer["accepted"], len(answer["rejected"])) == (3, 1)
    keel.kill()
    again = Keel(home=keel.home).start()
    snapshot = again.post("/api/v1/datasets/clicks/seal").json()["snapshot"]
    assert (snapshot["rows"], snapshot["quarantined"]) == (903, 61)
    again.stop()


def test_d14_what_a_killed_server_was_receiving_is_removed(keel, tmp_path):
    project.apply(keel, tmp_path)
    with socket.create_connection(("127.0.0.1", keel.port)) as upload:
        upload.sendall(
            f"POST /api/v1/datasets/clicks/ingest?file=a.csv HTTP/1.1\r\nHost: 127.0.0.1:{keel.port}\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n".encode() + b"x" * 500000)
        for _ in range(500):
            if glob.glob(f"{keel.home}/work/upload-*/*"):
                break
            time.sleep(0.02)
        keel.kill()
    assert glob.glob(f"{keel.home}/work/upload-*")
    again = Keel(home=keel.home).start()
    assert not glob.glob(f"{keel.home}/work/upload-*")
    again.stop()


def isolation(keel):
    """How the server says that programs of steps run."""
    return re.search(r"programs of steps run in this isolation: (.*)", keel.log())[1]


def test_a5_home_and_files_are_closed_to_other_users(keel, tmp_path):
    project.apply(keel, tmp_path)
    push(keel, project.rows(5))
    project.ingest(keel, tmp_path, project.csv(project.rows(50, start=100)))
    keel.stop()
    os.chmod(keel.home, 0o755)
    for file in glob.glob(f"{keel.home}/*"):
        os.chmod(file, os.stat(file).st_mode | 0o055)
    again = Keel(home=keel.home).start()
    push(again, project.rows(5, start=200))
    again.cli("ledger", "checkpoint")
    # Where steps have no sandbox and run as another user, that one passes through to its working folder, and lists nothing.
    passed = [keel.home, f"{keel.home}/work"] if isolation(again).startswith("the user ") else []
    open_to_others = [f for f in [keel.home, *glob.glob(f"{keel.home}/*"), *glob.glob(f"{keel.home}/*/**", recursive=True)]
                      if os.stat(f).st_mode & (0o066 if f.rstrip("/") in passed else 0o077)]
    assert not open_to_others
    again.stop()
