"""Keel and other model servers with the same model under the same load, and the floor that the network and SwiftNIO set.

The model is XGBoost, 100 trees of depth 6 on 30 features. Every server answers one row over REST at 1, 16 and 64 connections. Peers are installed on
demand into environments of their own (`.keel/peers`), in the versions of `Benchmarks/peers/*.txt`; one that cannot be installed or started is named and
left out. The floor is `Benchmarks/Floor`, the evaluator of trees alone `Benchmarks/Trees`, both built on demand. `--quick` shortens every load,
`--report` ends with 0 though targets are missed, `--peers fastapi,mlserver` measures these alone.
"""
import argparse
import contextlib
import json
import logging
import os
import pathlib
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import warnings

import bench
import open_loop

PEERS = bench.ROOT / "Benchmarks/peers"
INSTALLED = bench.ROOT / ".keel/peers"
UV = bench.ROOT / ".keel/native/uv/uv"
# Triton embeds an interpreter of its own, which fails with the standard library of a later 3.11 than Debian's.
DEBIAN_PYTHON = "/usr/bin/python3"
CONNECTIONS = (1, 16, 64)
USERS = 1000
STORED = range(10)
ASKED = range(10, 30)


def endpoint(name, spec):
    return f"---\napiVersion: keel/v1\nkind: Endpoint\nmetadata: {{ name: {name} }}\nspec: {spec}\n"


RESOURCES = f"""
apiVersion: keel/v1
kind: Dataset
metadata: {{ name: visits }}
spec:
  eventTime: at
  columns: [{{ name: user, type: string }}, {{ name: at, type: timestamp }}, {", ".join(f"{{ name: v{i}, type: float64 }}" for i in STORED)}]
---
apiVersion: keel/v1
kind: Entity
metadata: {{ name: user }}
spec: {{ keys: {{ user: string }} }}
---
apiVersion: keel/v1
kind: FeatureView
metadata: {{ name: stored }}
spec: {{ entity: user, source: visits, features: [{", ".join(f"{{ name: f{i}, of: v{i} }}" for i in STORED)}] }}
---
apiVersion: keel/v1
kind: FeatureView
metadata: {{ name: asked }}
spec:
  from: request
  columns: {{ {", ".join(f"x{i}: float64" for i in ASKED)} }}
  features: [{", ".join(f"{{ name: f{i}, expression: x{i} }}" for i in ASKED)}]
---
apiVersion: keel/v1
kind: FeatureService
metadata: {{ name: users }}
spec: {{ features: [stored, asked] }}
{endpoint("columns", "{ log: { sample: 0% } }")}
{endpoint("logged", "{}")}
{endpoint("features", "{ features: users }")}
{endpoint("shadowed", "{ features: users, rollout: { shadow: { requests: 1000000000 } } }")}
"""


def stage(what):
    print(f"{what} …", file=sys.stderr, flush=True)


# The models


class Models:
    """The models that are served, and their first row. Seed 7; made anew in every run, by the libraries of the test environment."""

    def __init__(self, folder):
        import joblib
        import numpy as np
        import pandas as pd
        import xgboost
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        chance = np.random.default_rng(7)
        self.rows = chance.standard_normal((50_000, 30), dtype=np.float32)
        signal = self.rows[:, :10] @ chance.standard_normal(10) + 2 * np.sin(3 * self.rows[:, 10]) * self.rows[:, 11]
        positive = (signal + chance.standard_normal(len(self.rows)) > 0).astype(int)
        self.frame = pd.DataFrame(self.rows, columns=[f"f{i}" for i in range(30)])

        def trees(rows, rate=0.1):
            return xgboost.XGBClassifier(n_estimators=100, max_depth=6, learning_rate=rate, random_state=7, n_jobs=2).fit(rows, positive).get_booster()

        self.one, self.columns, self.challenger = trees(self.rows), trees(self.frame), trees(self.frame, rate=0.11)
        self.file = folder / "model.json"
        self.one.save_model(self.file)
        self.mlflow = folder / "mlflow"
        self.sklearn = make_pipeline(StandardScaler(), LogisticRegression()).fit(self.rows, positive)
        self.sklearn_file = folder / "pipeline.joblib"
        joblib.dump(self.sklearn, self.sklearn_file)
        self.row = [round(float(value), 4) for value in self.rows[0]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow.xgboost
            mlflow.xgboost.save_model(self.one, self.mlflow, pip_requirements=[])

    def log(self, url):
        """Registers them with a Keel."""
        import mlflow.sklearn
        import mlflow.xgboost
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        mlflow.set_tracking_uri(url)
        mlflow.set_registry_uri(url)

        def log(flavor, model, name, example, **more):
            with mlflow.start_run():
                flavor.log_model(model, name="model", registered_model_name=name, input_example=example, **more)

        log(mlflow.xgboost, self.one, "one", self.rows[:3])
        # The same files are the same release: what answers in shadow is another model of the same size.
        for model in (self.columns, self.challenger):
            log(mlflow.xgboost, model, "columns", self.frame[:3])
        versions = {name: __import__(name).__version__ for name in ("mlflow", "numpy", "sklearn")}
        log(mlflow.sklearn, self.sklearn, "pipeline", self.rows[:3], pip_requirements=[
            f"{'scikit-learn' if name == 'sklearn' else name}=={version}" for name, version in versions.items()])


def tensor(name, row):
    """A question of the Open Inference Protocol with one row in one tensor."""
    return json.dumps({"inputs": [{"name": name, "datatype": "FP32", "shape": [1, 30], "data": row}]})


def named(columns):
    return json.dumps({"inputs": [{"name": name, "datatype": "BYTES" if isinstance(value, str) else "FP64", "shape": [1], "data": [value]}
                                  for name, value in columns.items()]})


# Load


class Figures:
    """What a load cost: µs of the server's CPU a request, requests a second, p50 and p99 in ms; the medians of several."""

    def __init__(self, loads):
        self.cpu, self.rate, self.p50, self.p99 = (statistics.median(values) for values in zip(*loads))


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


def load(server, path, lua, connections, seconds):
    cpu, rate, p50, p99 = bench.wrk(server, path, lua, connections, seconds, warm=1)
    return cpu, rate, milliseconds(p50), milliseconds(p99)


def bodies_lua(bodies):
    """Asks these in turn."""
    listed = ",\n".join(f"[=[{body}]=]" for body in bodies)
    return (f"local bodies={{{listed}}}\nlocal n=0\nwrk.method='POST'\nwrk.headers['Content-Type']='application/json'\n"
            "request=function() n=n+1; return wrk.format(nil,nil,nil,bodies[n%#bodies+1]) end\n")


def binary_lua(head, data):
    """One question of Triton's binary tensor extension: JSON, then bytes."""
    escaped = "".join(f"\\{byte}" for byte in data)
    return (f"wrk.method='POST'\nwrk.headers['Content-Type']='application/octet-stream'\nwrk.headers['Inference-Header-Content-Length']='{len(head)}'\n"
            f"wrk.body=[=[{head}]=]..\"{escaped}\"\n")


# gRPC, where the server has it: h2load sends one message again and again, which is made here by hand.


def field(number, kind, payload):
    def varint(value):
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    return varint(number << 3 | kind) + (varint(payload) if kind == 0 else varint(len(payload)) + payload)


def grpc_question(model, name, row):
    """A ModelInferRequest with one row in `raw_input_contents`, framed."""
    shape = bytes([1, len(row)])
    described = field(1, 2, name.encode()) + field(2, 2, b"FP32") + field(3, 2, shape)
    message = field(1, 2, model.encode()) + field(5, 2, described) + field(7, 2, struct.pack(f"<{len(row)}f", *row))
    return struct.pack(">BI", 0, len(message)) + message


class GRPC:
    PATH = "/inference.GRPCInferenceService/ModelInfer"

    def __init__(self, folder, question):
        self.question = folder / "question.grpc"
        self.question.write_bytes(question)

    def missing(self, server):
        """Why it cannot be measured, or None."""
        if not shutil.which("h2load") or not shutil.which("curl"):
            return "h2load (Debian: nghttp2-client) or curl is not installed"
        answer = subprocess.run(
            ["curl", "-s", "--http2-prior-knowledge", "--max-time", "5", "-D-", "-o/dev/null", "-H", "content-type: application/grpc", "-H", "te: trailers",
             "--data-binary", f"@{self.question}", server.url + self.PATH], capture_output=True, text=True).stdout
        return None if re.search(r"grpc-status: 0\b", answer, re.I) else "this server does not answer gRPC"

    def load(self, server, connections, seconds):
        command = ["h2load", "-t1", f"-c{connections}", "-m1", "-d", str(self.question), "-H", "content-type: application/grpc", "-H", "te: trailers"]
        subprocess.run([*command, "-D1", server.url + self.PATH], capture_output=True)
        with tempfile.NamedTemporaryFile("r") as log:
            before = server.cpu()
            text = subprocess.run([*command, f"-D{seconds}", f"--log-file={log.name}", server.url + self.PATH], capture_output=True, text=True).stdout
            time.sleep(0.3)
            used = server.cpu() - before
            asked = [line.split() for line in log]
        wrong = sum(status != "200" for _, status, _ in asked)
        if wrong or not asked:
            raise SystemExit(f"{wrong} of {len(asked)} gRPC calls were not answered:\n{text}")
        times = sorted(int(took) / 1000 for _, _, took in asked)
        return used / len(times) * 1e6, len(times) / seconds, times[len(times) // 2], times[len(times) * 99 // 100]


# Peers


class Left(Exception):
    """Why a peer is left out."""


class Peer:
    """A server beside Keel.

    - command: of the folder of programs of its environment, a scratch folder and a port.
    - environment: which one, by the file of its requirements; None is the test environment, which has MLflow.
    - python: what its environment is made from.
    """

    def __init__(self, title, environment, command, ready, path, body, python=sys.executable, **variables):
        self.title, self.environment, self.command, self.ready, self.path, self.body = title, environment, command, ready, path, body
        self.python, self.variables = python, variables

    def programs(self):
        """The folder of its programs; installs it."""
        if self.environment is None:
            return pathlib.Path(sys.executable).parent
        requirements, folder = PEERS / f"{self.environment}.txt", INSTALLED / self.environment
        stamp = folder / "requirements.txt"
        if stamp.exists() and stamp.read_text() == requirements.read_text():
            return folder / "bin"
        stage(f"installing {self.environment}")
        # The files name every package, so that none is chosen by the day; where a peer asks for xgboost they name xgboost-cpu, the same without CUDA.
        python = folder / "bin/python"
        if UV.exists():
            commands = [[UV, "venv", "-q", "--clear", "-p", self.python, folder],
                        [UV, "pip", "install", "-q", "--no-deps", "-p", python, "-r", requirements]]
        else:
            commands = [[self.python, "-m", "venv", "--clear", folder], [python, "-m", "pip", "install", "-q", "--no-deps", "-r", requirements]]
        for command in commands:
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
            if done.returncode:
                raise Left(f"it cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        stamp.write_text(requirements.read_text())
        return folder / "bin"

    def start(self, folder, port, models):
        programs = self.programs()
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="peer-", dir=folder))
        log = scratch / "server.log"
        # One thread of OpenMP is the fast setting for single rows, for all of them.
        variables = {"MODEL": str(models.file), "PYTHONPATH": str(PEERS), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
                     "PATH": f"{programs}:{os.environ['PATH']}"} | self.variables
        try:
            return bench.Server(self.command(programs, scratch, port), f"http://{bench.HOST}:{port}", self.ready, log, variables, patience=120)
        except (OSError, SystemExit) as error:
            last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
            raise Left(f"it does not start: {' '.join(last) or error}")


def mlserver(implementation, uri, workers):
    def command(programs, scratch, port):
        (scratch / "settings.json").write_text(json.dumps({
            "host": bench.HOST, "http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "parallel_workers": workers, "debug": False,
            "metrics_dir": str(scratch / "metrics"), "environments_dir": str(scratch / "environments")}))
        (scratch / "model-settings.json").write_text(json.dumps({
            "name": "one", "implementation": implementation, "parameters": {"uri": str(uri), "version": "1"}}))
        return [programs / "mlserver", "start", scratch]

    return command


def served_peers(models):
    rows = json.dumps({"rows": [models.row]})
    infer = "/v2/models/one/infer"
    trees = ("mlserver_xgboost.XGBoostModel", models.file)

    def ray(programs, scratch, port):
        return [programs / "python", PEERS / "ray_app.py", port]

    return {
        "fastapi": Peer("FastAPI by hand", "fastapi", lambda programs, scratch, port: [
            programs / "uvicorn", "--factory", "fastapi_app:app", "--port", port, "--no-access-log", "--log-level", "warning"], "/health", "/predict", rows),
        "mlserver": Peer("MLServer, in process", "mlserver", mlserver(*trees, 0), "/v2/models/one/ready", infer, tensor("x", models.row)),
        "mlserver-worker": Peer("MLServer, its worker", "mlserver", mlserver(*trees, 1), "/v2/models/one/ready", infer, tensor("x", models.row)),
        "mlflow": Peer("MLflow models serve", None, lambda programs, scratch, port: [
            programs / "mlflow", "models", "serve", "-m", models.mlflow, "--env-manager", "local", "-p", port, "-h", bench.HOST],
            "/ping", "/invocations", json.dumps({"inputs": [models.row]})),
        "bentoml": Peer("BentoML", "bentoml", lambda programs, scratch, port: [
            programs / "bentoml", "serve", "bentoml_app:Served", "--port", port, "--host", bench.HOST, "--working-dir", PEERS],
            "/readyz", "/predict", rows, BENTOML_DO_NOT_TRACK="1"),
        "litserve": Peer("LitServe", "litserve", lambda programs, scratch, port: [
            programs / "python", PEERS / "litserve_app.py", port], "/health", "/predict", rows),
        "ray": Peer("Ray Serve", "ray", ray, "/", "/", rows, RAY_USAGE_STATS_ENABLED="0"),
        "ray-throughput": Peer("Ray Serve, throughput mode", "ray", ray, "/", "/", rows, RAY_USAGE_STATS_ENABLED="0", RAY_SERVE_THROUGHPUT_OPTIMIZED="1"),
        "triton": Peer("Triton (PyTriton)", "triton", lambda programs, scratch, port: [
            programs / "python", PEERS / "triton_app.py", port], "/v2/models/one/ready", infer, tensor("x", models.row), python=DEBIAN_PYTHON),
    }


def sklearn_peers(models):
    model = ("mlserver_sklearn.SKLearnModel", models.sklearn_file)
    return {name: Peer(title, "mlserver", mlserver(*model, workers), "/v2/models/one/ready", "/v2/models/one/infer", tensor("x", models.row))
            for name, title, workers in (("mlserver", "MLServer, in process", 0), ("mlserver-worker", "MLServer, its worker", 1))}


# The tables


class Table:
    """Prints one line a figure, and remembers which targets were missed."""

    def __init__(self):
        self.missed = []

    def head(self):
        print(f"  {'':<54} {'unit':>6} {'beside':>10} {'Keel':>10} {'ratio':>8}  target", flush=True)

    def line(self, what, unit, beside, keel, ratio=None, least=None, most=None):
        """`least` and `most` bound `ratio`, or the figure of Keel where there is none."""
        judged = keel if ratio is None else ratio
        target = "-" if least is None and most is None else f">= {least:g}" if least is not None else f"<= {most:g}"
        missed = judged is not None and ((least is not None and judged < least) or (most is not None and judged > most))
        if missed:
            self.missed.append(what)
        print(f"  {what:<54} {unit:>6} {self.shown(beside):>10} {self.shown(keel):>10} "
              f"{'-' if ratio is None else f'{ratio:.2f}x':>8}  {target}{'  MISSED' if missed else ''}", flush=True)

    @staticmethod
    def shown(value):
        return "-" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def servers_head():
    print(f"  {'one row over REST':<28} {'conns':>5} {'CPU us':>9} {'req/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'RSS MB':>7} {'start s':>8}", flush=True)


def server_line(title, connections, figures, memory, start):
    print(f"  {title:<28} {connections:>5} {figures.cpu:>9,.1f} {figures.rate:>9,.0f} {figures.p50:>8.3g} {figures.p99:>8.3g} {memory:>7,.0f} {start:>8.2f}",
          flush=True)


# What is measured


def measure_peers(peers, folder, models, options, title=""):
    """{peer: figures at 16 connections}."""
    out = {}
    for name, peer in peers.items():
        stage(f"{title}{peer.title}")
        try:
            server = peer.start(folder, options.port + 10, models)
        except Left as reason:
            print(f"  {title + peer.title:<28} left out: {reason}", flush=True)
            continue
        with server:
            server.settle(0.5)
            lua = bench.post_lua(peer.body)
            for connections in CONNECTIONS:
                try:
                    figures = Figures([load(server, peer.path, lua, connections, options.seconds)])
                except SystemExit:
                    print(f"  {title + peer.title:<28} {connections:>5} refused requests", flush=True)
                    continue
                server_line(title + peer.title, connections, figures, server.memory(), server.start_s)
                if connections == 16:
                    out[name] = figures
    return out


def built(name, folder, what):
    """A program of `Benchmarks/FOLDER`, a Swift package of its own; built when its source is newer."""
    program = INSTALLED / folder.lower() / "release" / name
    source = max((bench.ROOT / "Benchmarks" / folder / file).stat().st_mtime for file in ("main.swift", "Package.swift"))
    if not program.exists() or program.stat().st_mtime < source:
        stage(f"building {what}")
        done = subprocess.run(
            [os.environ.get("SWIFT", "swift"), "build", "-c", "release", "--package-path", str(bench.ROOT / "Benchmarks" / folder), "--scratch-path",
             str(INSTALLED / folder.lower())], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{what} cannot be built:\n" + done.stdout[-2000:] + done.stderr[-2000:])
        program.touch()
    return program


def floor(folder, port):
    """The raw SwiftNIO handler."""
    return bench.Server([built("nio-floor", "Floor", "the raw NIO handler"), port], f"http://{bench.HOST}:{port}", log=folder / "floor.log")


def measure_evaluator(models, folder):
    """The evaluator of trees alone: {"p50", "p99": ns of a row that comes alone, "rows": rows a second in batches of a thousand}."""
    rows = folder / "rows.float32"
    models.rows[:10_000].tofile(rows)
    done = subprocess.run([built("trees-benchmark", "Trees", "the benchmark of the trees"), models.file, rows], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class Keel:
    """A Keel in a home of its own, with the models registered and the plain endpoint deployed; `start` serves it."""

    def __init__(self, folder, port, models):
        self.folder, self.port, self.models = pathlib.Path(tempfile.mkdtemp(prefix="keel-", dir=folder)), port, models
        with self.start() as server:
            with contextlib.redirect_stdout(sys.stderr):
                models.log(server.url)
            self.apply(server, endpoint("one", "{ log: { sample: 0% } }"))
            self.command(server, "deploy", "models:/one/1", "--endpoint", "one")

    def start(self, **variables):
        return bench.keel(str(self.folder), self.port, environment=variables)

    def command(self, server, *arguments):
        done = subprocess.run([str(bench.KEEL), *arguments], cwd=bench.ROOT, env=os.environ | {"KEEL_URL": server.url}, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"keel {' '.join(arguments)}: {(done.stdout + done.stderr).strip()}")

    def apply(self, server, text):
        resources = self.folder / "resources.yaml"
        resources.write_text(text)
        self.command(server, "apply", str(resources))

    def deploy_all(self, server):
        self.apply(server, RESOURCES)
        for model, name in [("columns/1", "columns"), ("one/1", "logged"), ("columns/1", "features"), ("columns/1", "shadowed"), ("columns/2", "shadowed")]:
            self.command(server, "deploy", f"models:/{model}", "--endpoint", name)
        server.call("POST", "/api/v1/datasets/visits/events", {"rows": [
            {"user": f"u{i}", "at": "2024-01-01T00:00:00Z"} | {f"v{j}": float(self.models.rows[i, j]) for j in STORED} for i in range(USERS)]})


def infer(endpoint):
    return f"/v2/models/{endpoint}/infer"


def feature_bodies(models):
    """Of a thousand users: ten features are stored, twenty come with the question."""
    return [named({"user": f"u{i}"} | {f"x{j}": round(float(models.rows[i, j]), 4) for j in ASKED}) for i in range(USERS)]


def measure_requests(keel, nio, models, folder, options):
    """({name: figures at 16 connections}, why gRPC has none). Loaded in turn, round after round, so that all of them see the same machine."""
    one, asked = bench.post_lua(tensor("input", models.row)), bodies_lua(feature_bodies(models))
    columns = bench.post_lua(named(dict(zip(models.frame.columns, models.row))))
    loads = {name: lambda server=server, path=path, lua=lua: load(server, path, lua, 16, options.seconds) for name, server, path, lua in [
        ("nio", nio, infer("one"), one), ("one", keel, infer("one"), one), ("columns", keel, infer("columns"), columns),
        ("logged", keel, infer("logged"), one), ("features", keel, infer("features"), asked), ("shadowed", keel, infer("shadowed"), asked)]}
    grpc = GRPC(folder, grpc_question("one", "input", models.row))
    without = grpc.missing(keel)
    if without is None:
        loads["grpc"] = lambda: grpc.load(keel, 16, options.seconds)
    taken = {name: [] for name in loads}
    for number in range(options.rounds):
        for name, measure in loads.items():
            stage(f"round {number + 1} of {options.rounds}: {name}")
            taken[name].append(measure())
    if dropped := metric(keel, "keel_shadow_rows_dropped_total"):
        print(f"  the shadow could not keep up with {dropped:,.0f} rows", flush=True)
    return {name: Figures(figures) for name, figures in taken.items()}, without


def model_time(keel, endpoint):
    """(rows, seconds that the model took for them) so far, by the server's own statistics; None where it has none."""
    try:
        statistics_ = json.loads(keel.text(f"/v2/models/{endpoint}/stats"))["model_stats"][0]
    except OSError:
        return None
    return statistics_["inference_count"], statistics_["inference_stats"]["compute_infer"]["ns"] / 1e9


def measure_trees(keel, models, options):
    """What the trees take: {"rows": rows a second of CPU of the whole request, "one", "batch": seconds a row by the server's statistics, or None}.

    The rows are asked one at a time and a thousand at a time as bytes. No request shows the evaluator alone: the statistics also have what makes a table
    into its numbers and back, and the whole request everything else.
    """
    data = models.rows[:1000].tobytes()
    head = json.dumps({
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [1000, 30], "parameters": {"binary_data_size": len(data)}}],
        "outputs": [{"name": "predictions", "parameters": {"binary_data": True}}]})
    out = {"one": None, "batch": None}
    for name, lua in (("one", bench.post_lua(tensor("input", models.row))), ("batch", binary_lua(head, data))):
        before = model_time(keel, "one")
        cpu, _, _, _ = load(keel, infer("one"), lua, 1, options.seconds)
        if before:
            rows, seconds = model_time(keel, "one")
            out[name] = (seconds - before[1]) / (rows - before[0])
    out["rows"] = 1000 / cpu * 1e6
    return out


def metric(keel, name):
    """A counter, over all that it counts."""
    text = keel.text("/metrics")
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[ {{]", line))


def measure_architecture(keel, models, options):
    """50,000 requests a minute with features, log and shadow: (p50 and p99 in ms, errors, the share that the shadow answered too and that was logged)."""
    counters = ("keel_inference_shadow_rows_total", "keel_predictions_logged_total")
    before = [metric(keel, name) for name in counters]
    latencies, errors = open_loop.load(bench.HOST, keel.port, infer("shadowed"), feature_bodies(models), 50_000 / 60, options.minute)
    keel.settle(0.5)
    shadowed, logged = (metric(keel, name) - earlier for name, earlier in zip(counters, before))
    if errors:
        print(f"  at 50,000 requests a minute, answers other than 200: {dict(errors)}", flush=True)
    # The answer and the shadow's are each a row of the log.
    return latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100], errors.total(), shadowed / len(latencies), logged / 2 / len(latencies)


def measure_keel(folder, models, options):
    """Prints the lines of the floor and of Keel; returns what else was measured."""
    out = {}
    with floor(folder, options.port + 1) as nio:
        started = Keel(folder, options.port, models)
        with started.start() as keel:
            keel.settle()
            idle = keel.memory()
            one = bench.post_lua(tensor("input", models.row))
            for title, server in (("raw NIO handler", nio), ("Keel", keel)):
                for connections in CONNECTIONS:
                    stage(f"{title}, {connections} connections")
                    figures = Figures([load(server, infer("one"), one, connections, options.seconds)])
                    server_line(title, connections, figures, server.memory(), server.start_s)
            print(f"  Keel idle with the model loaded: {idle:.0f} MB", flush=True)
            started.deploy_all(keel)
            keel.settle()
            out["requests"], out["no gRPC"] = measure_requests(keel, nio, models, folder, options)
            stage("trees")
            out["trees"] = measure_trees(keel, models, options) | {"evaluator": measure_evaluator(models, folder)}
            keel.settle()
            stage(f"50,000 requests a minute for {options.minute} s")
            out["architecture"] = measure_architecture(keel, models, options)
    return out


def measure_pipeline(folder, models, options):
    """Figures of Keel with a pipeline of scikit-learn at 16 connections, in a server whose other model is idle; None when it cannot be deployed."""
    started, out = Keel(folder, options.port, models), None
    # It runs in the environment of the tests, which has the packages that it was made with: making one takes the package index and minutes.
    with started.start(KEEL_SERVING_PYTHON_ENVIRONMENT=sys.executable) as keel:
        stage("sklearn: Keel")
        try:
            started.command(keel, "deploy", "models:/pipeline/1", "--endpoint", "pipeline")
        except SystemExit as reason:
            print(f"  {'sklearn: Keel':<28} left out: {str(reason).splitlines()[0]}", flush=True)
            return None
        keel.settle()
        lua = bench.post_lua(tensor("input", models.row))
        for connections in CONNECTIONS:
            figures = Figures([load(keel, infer("pipeline"), lua, connections, options.seconds)])
            server_line("sklearn: Keel", connections, figures, keel.memory(), keel.start_s)
            if connections == 16:
                out = figures
    return out


def targets(table, keel, peers, pipeline, pipeline_peers, options):
    requests = keel["requests"]
    one, nio = requests["one"], requests["nio"]
    table.head()
    table.line("one row beside the raw NIO handler, CPU", "us", nio.cpu, one.cpu, one.cpu / nio.cpu, most=2)
    table.line("one row, p99 at 16 connections", "ms", nio.p99, one.p99, most=1)
    for name, title, least in (("fastapi", "FastAPI by hand", 18), ("mlserver", "MLServer, in process", 36), ("mlserver-worker", "MLServer, its worker", 36),
                               ("mlflow", "MLflow models serve", 64), ("bentoml", "BentoML", None), ("litserve", "LitServe", None),
                               ("ray", "Ray Serve", None), ("ray-throughput", "Ray Serve, throughput mode", None), ("triton", "Triton (PyTriton)", None)):
        if name in peers:
            table.line(f"one row beside {title}, CPU", "us", peers[name].cpu, one.cpu, peers[name].cpu / one.cpu, least=least)
    table.line("one row as 30 named columns, CPU beside one tensor", "us", one.cpu, requests["columns"].cpu, requests["columns"].cpu / one.cpu)
    table.line("one row, log on, CPU beside log off", "us", one.cpu, requests["logged"].cpu, requests["logged"].cpu / one.cpu)
    for name, title, most in (("features", "ten stored features, log on", 1.4), ("shadowed", "ten stored features, log and shadow", 1.8)):
        table.line(f"{title}, CPU beside one row", "us", one.cpu, requests[name].cpu, requests[name].cpu / one.cpu, most=most)
        # A question with a key has named columns: beside the same form, what features and log add is seen alone.
        table.line(f"{title}, beside 30 columns", "us", requests["columns"].cpu, requests[name].cpu, requests[name].cpu / requests["columns"].cpu)
    if "grpc" in requests:
        table.line("one row over gRPC beside the raw NIO handler, CPU", "us", nio.cpu, requests["grpc"].cpu, requests["grpc"].cpu / nio.cpu, most=2.5)
    else:
        print(f"  one row over gRPC: left out, {keel['no gRPC']}")
    if pipeline and pipeline_peers:
        beside = min(figures.cpu for figures in pipeline_peers.values())
        table.line("pipeline of scikit-learn beside the better MLServer, CPU", "us", beside, pipeline.cpu, beside / pipeline.cpu, least=3)
    trees = keel["trees"]
    evaluator = trees["evaluator"]
    table.line(f"trees, a row alone, p50 (p99 {evaluator['p99'] / 1000:.2g})", "us", None, evaluator["p50"] / 1000, most=1)
    table.line("trees, a thousand rows", "M/s", None, evaluator["rows"] / 1e6, least=3)
    if trees["one"]:
        table.line("trees in the server, one row, by its statistics (mean)", "us", None, trees["one"] * 1e6)
        table.line("trees in the server, a thousand rows, by its statistics", "M/s", None, 1e-6 / trees["batch"])
    else:
        print("  trees, by the server's statistics: left out, this server has none")
    table.line("trees, a thousand rows, CPU of the whole request", "M/s", None, trees["rows"] / 1e6)
    p50, p99, errors, shadowed, logged = keel["architecture"]
    table.line(f"50,000 requests a minute for {options.minute} s, p99 (p50 {p50:.2g})", "ms", None, p99, most=15)
    table.line("the same, errors", "", None, errors, most=0)
    table.line("the same, rows that the shadow answered too", "%", None, shadowed * 100, least=100)
    table.line("the same, answers and shadow's in the log", "%", None, logged * 100, least=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="loads of 2 s, one round, the constant rate for 5 s")
    parser.add_argument("--report", action="store_true", help="end with 0 though targets are missed")
    parser.add_argument("--peers", help="only these, with commas between; 'none' for none")
    parser.add_argument("--port", type=int, default=7481, help="this port and some above it are used")
    options = parser.parse_args()
    options.seconds, options.rounds, options.minute = (2, 1, 5) if options.quick else (6, 3, 60)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-serving-"))
    try:
        stage("training the models")
        models = Models(folder)
        peers, sklearn = served_peers(models), sklearn_peers(models)
        if options.peers:
            chosen = options.peers.split(",")
            if unknown := set(chosen) - set(peers) - {"none"}:
                parser.error(f"no peer is called {', '.join(sorted(unknown))}; there are {', '.join(peers)}")
            peers, sklearn = ({name: peer for name, peer in all_.items() if name in chosen} for all_ in (peers, sklearn))
        table = Table()
        servers_head()
        keel = measure_keel(folder, models, options)
        figures = measure_peers(peers, folder, models, options)
        pipeline = measure_pipeline(folder, models, options)
        pipeline_figures = measure_peers(sklearn, folder, models, options, title="sklearn: ")
        targets(table, keel, figures, pipeline, pipeline_figures, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if table.missed and not options.report:
        raise SystemExit(f"{len(table.missed)} targets are missed")


if __name__ == "__main__":
    main()
