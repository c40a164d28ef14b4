"""The servers that the tests talk to: `.build/release/keel`, over HTTP or by its command line, and a real MLflow server."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEEL = pathlib.Path(os.environ.get("KEEL_BINARY", ROOT / ".build" / "release" / "keel"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Keel:
    """A server in a home of its own; `kill` is kill -9, `stop` is SIGTERM."""

    def __init__(self, home=None, environment=None, listen=None, launcher=()):
        self.home = home or tempfile.mkdtemp(prefix="keel-conformance-")
        # What starts it, with its arguments: a command that becomes the server.
        self.launcher = list(launcher)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = environment or {}
        # What `requests` is told besides: certificates.
        self.options = {}
        self.process = None

    def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")} | self.environment
        command = [*self.launcher, str(KEEL), "serve", "--home", self.home, "--listen", f"127.0.0.1:{self.port}"]
        with open(os.path.join(self.home, "server.log"), "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)
        for _ in range(300):
            if self.process.poll() is not None:
                raise AssertionError(f"keel ended with {self.process.returncode}: {self.log()[-2000:]}")
            try:
                if requests.get(self.url + "/health", timeout=1, **self.options).status_code == 200:
                    return self
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError("keel did not become ready: " + self.log()[-2000:])

    def log(self):
        return pathlib.Path(self.home, "server.log").read_text(errors="replace")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(timeout=30) == 0, self.log()[-2000:]

    def cli(self, *arguments, check=True, token=None, environment=None, input=None):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")} | {"KEEL_URL": self.url} | (environment or {})
        if token:
            environment["KEEL_TOKEN"] = token
        done = subprocess.run([str(KEEL), *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300, input=input)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def json(self, *arguments, **options):
        return json.loads(self.cli(*arguments, "--json", **options).stdout)

    def get(self, path, **options):
        return requests.get(self.url + path, timeout=60, **self.options | options)

    def post(self, path, body=None, **options):
        return requests.post(self.url + path, json=body, timeout=60, **self.options | options)


class MLflowServer:
    """A real MLflow server on SQLite in a folder of its own: what Keel's answers are compared with."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="mlflow-reference-")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        log = open(os.path.join(self.home, "server.log"), "ab")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{self.home}/mlflow.db", "--artifacts-destination",
             f"{self.home}/artifacts", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
             "--uvicorn-opts", "--timeout-worker-healthcheck 120"],
            stdout=log, stderr=log, cwd=self.home, env=environment, start_new_session=True)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise AssertionError(f"mlflow ended with {self.process.returncode}: {self.log()[-2000:]}")
            try:
                if requests.get(self.url + "/health", timeout=5).status_code == 200:
                    return self
            except requests.RequestException:
                time.sleep(0.2)
        raise AssertionError("mlflow did not become ready: " + self.log()[-2000:])

    def log(self):
        return pathlib.Path(self.home, "server.log").read_text(errors="replace")

    def stop(self):
        # The command starts a worker of its own: all of its session end.
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
