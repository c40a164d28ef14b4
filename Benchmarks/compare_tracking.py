"""Keel's tracking beside MLflow's own server, both on SQLite, one after the other under the same load.

MLflow's server runs with its default workers and SQLite's default there (a rollback journal, synchronous=FULL); Keel with its write-ahead log
and synchronous=FULL: in both a write that was answered is on the disk. Runs to search among are logged over HTTP to Keel and put straight into
MLflow's tables, where the API would take an hour. `--quick` shortens every load.
"""
import argparse
import json
import pathlib
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
import uuid

import bench

API = "/api/2.0/mlflow/"
rows = []


def report(what, unit, mlflow, keel, target=None, better="less"):
    """One line: both figures, how many times better Keel is, and how many times it has to be."""
    rows.append((what, unit, mlflow, keel, target, better))
    print(f"  {line(*rows[-1])}", flush=True)


def line(what, unit, mlflow, keel, target, better):
    def shown(value):
        return "-" if value is None else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"

    ratio = None if not mlflow or not keel else (mlflow / keel if better == "less" else keel / mlflow)
    return (f"{what:<46} {unit:>12} {shown(mlflow):>10} {shown(keel):>10} {'-' if ratio is None else f'{ratio:.1f}x':>9} "
            f"{'-' if target is None else f'>= {target:g}x':>8}")


def mlflow_server(folder, port):
    python = pathlib.Path(sys.executable)
    return bench.Server(
        [python, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination",
         f"{folder}/artifacts", "--host", bench.HOST, "--port", port, "--uvicorn-opts", "--timeout-worker-healthcheck 120"],
        f"http://{bench.HOST}:{port}", log=f"{folder}/server.log", environment={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


def experiment(server, name):
    return server.call("POST", API + "experiments/create", {"name": name})["experiment_id"]


def new_run(server, experiment_id, connection=None):
    return server.call("POST", API + "runs/create", {"experiment_id": experiment_id, "start_time": 1}, connection)["run"]["info"]["run_id"]


def metric_lua(runs):
    ids = ",".join(f"'{run}'" for run in runs)
    return (f"local ids={{{ids}}}\nlocal n=(os.time()%100000)*1000000\nwrk.headers['Content-Type']='application/json'\n"
            f"request=function() n=n+1; return wrk.format('POST','{API}runs/log-metric',nil,"
            "string.format('{\"run_id\":\"%s\",\"key\":\"loss\",\"value\":%f,\"timestamp\":%d,\"step\":%d}',ids[n%8+1],0.5,1700000000000+n,n)) end\n")


def timed(server, calls, path, body, seconds=30):
    """(p50 ms, CPU ms a call) of asking again and again; the slow are asked at least three times, and not longer than `seconds`."""
    connection, body = server.connection(), json.dumps(body)

    def ask():
        connection.request("POST", API + path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}: {data[:300]!r}")

    ask()
    before, times, end = server.cpu(), [], time.monotonic() + seconds
    while len(times) < calls and (len(times) < 3 or time.monotonic() < end):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    time.sleep(0.1)
    return statistics.median(times), (server.cpu() - before) * 1000 / len(times)


# What is measured, each for one server: {figure: value}


def logging(server, options):
    out = {}
    where = experiment(server, "load")
    runs = [new_run(server, where) for _ in range(8)]
    for connections in (1, 8):
        out[f"log-metric, {connections} connections, CPU"], out[f"log-metric, {connections} connections"], _, _ = bench.wrk(
            server, API + "runs/log-metric", metric_lua(runs), connections, options.seconds)
    batches = 10 if options.quick else 100
    connection, before = server.connection(), server.cpu()
    for j in range(batches):
        points = [{"key": f"m{i % 10}", "value": i / 7, "timestamp": 1_700_000_000_000 + j * 1000 + i, "step": j * 1000 + i} for i in range(1000)]
        server.call("POST", API + "runs/log-batch", {"run_id": runs[0], "metrics": points}, connection)
    time.sleep(0.1)
    out["log-batch of 1,000 metrics"] = batches * 1000 / max(server.cpu() - before, 0.01)
    calls = 50 if options.quick else 300
    out["create-run, p50"], out["create-run, CPU"] = timed(
        server, calls, "runs/create", {"experiment_id": where, "start_time": 1})
    return out


def fill_mlflow(folder, where, count, seed=7):
    """Runs as its own server writes them, straight into the tables. Statistics of the tables (ANALYZE) are never made, there as here."""
    database, chance, now = sqlite3.connect(f"{folder}/mlflow.db", timeout=60), random.Random(seed), 1_700_000_000_000
    ids = [uuid.UUID(int=chance.getrandbits(128)).hex for _ in range(count)]

    def put(table, records):
        known = [column[1] for column in database.execute(f"PRAGMA table_info({table})")]
        names = [name for name in records[0] if name in known]
        database.executemany(
            f"INSERT INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})", [[r[n] for n in names] for r in records])

    put("runs", [dict(run_uuid=run, name="r", source_type="UNKNOWN", source_name="", entry_point_name="", user_id="u", status="FINISHED",
                      start_time=now + i, end_time=now + i, source_version="", lifecycle_stage="active",
                      artifact_uri=f"mlflow-artifacts:/{where}/{run}/artifacts", experiment_id=int(where)) for i, run in enumerate(ids)])
    metrics = [dict(key=key, value=chance.random(), timestamp=now, step=0, is_nan=0, run_uuid=run) for run in ids for key in ("acc", "loss", "auc")]
    put("metrics", metrics)
    put("latest_metrics", metrics)
    put("params", [dict(key=key, value=str(chance.random()), run_uuid=run) for run in ids for key in ("lr", "depth")])
    put("tags", [dict(key="mlflow.runName", value="r", run_uuid=run) for run in ids])
    database.commit()
    database.close()


def fill_keel(server, where, count, seed=7):
    def part(seed, count):
        connection, chance = server.connection(), random.Random(seed)
        for i in range(count):
            run = server.call("POST", API + "runs/create", {"experiment_id": where, "run_name": "r", "start_time": 1_700_000_000_000 + seed * 100_000 + i},
                              connection)["run"]["info"]["run_id"]
            server.call("POST", API + "runs/log-batch", {
                "run_id": run, "metrics": [{"key": key, "value": chance.random(), "timestamp": 1, "step": 0} for key in ("acc", "loss", "auc")],
                "params": [{"key": key, "value": str(chance.random())} for key in ("lr", "depth")]}, connection)

    writers = [threading.Thread(target=part, args=(seed * 8 + i, count // 8)) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


def searching(server, where, options, label, without=()):
    out, calls, token = {}, 5 if options.quick else 100, None
    for _ in range(5):
        page = server.call("POST", API + "runs/search", {"experiment_ids": [where], "max_results": 1000} | ({"page_token": token} if token else {}))
        token = page["next_page_token"]
    good = {"filter": "metrics.acc > 0.9"}
    for what, question in {
        "filter, 100 rows": good | {"max_results": 100},
        "filter, by a metric": good | {"order_by": ["metrics.acc DESC"], "max_results": 100},
        "filter, 1,000 rows": good | {"max_results": 1000},
        "by a metric, 100 rows": {"order_by": ["metrics.acc DESC"], "max_results": 100},
        "1,000 rows": {"max_results": 1000},
        "deep page, 1,000 rows": {"max_results": 1000, "page_token": token},
    }.items():
        if what in without:
            continue
        out[f"{label}: {what}, p50"], out[f"{label}: {what}, CPU"] = timed(
            server, calls, "runs/search", {"experiment_ids": [where]} | question, seconds=6)
    return out


def artifacts(server, options):
    import http.client
    size = (64 if options.quick else 1024) * 1024 * 1024
    block = random.Random(1).randbytes(1 << 20)
    path = "/api/2.0/mlflow-artifacts/artifacts/0/bench/model.bin"
    out = {}
    for what in ("upload", "download"):
        server.settle(0.5)
        server.reset_peak()
        before, began = server.cpu(), time.monotonic()
        connection = http.client.HTTPConnection(bench.HOST, server.port, timeout=900)
        if what == "upload":
            connection.putrequest("PUT", path)
            connection.putheader("Content-Length", str(size))
            connection.putheader("Content-Type", "application/octet-stream")
            connection.endheaders()
            for _ in range(size // len(block)):
                connection.send(block)
        else:
            connection.request("GET", path)
        answer = connection.getresponse()
        got = 0
        while part := answer.read(1 << 20):
            got += len(part)
        if answer.status != 200 or (what == "download" and got != size):
            raise SystemExit(f"{what} answered {answer.status} after {got} bytes")
        out[f"artifact {what}"] = size / 1e6 / (time.monotonic() - began)
        out[f"artifact {what}, CPU"] = server.cpu() - before
        out[f"artifact {what}, peak"] = server.peak()
    return out


def writers(server, options):
    """64 clients that write and search: (requests a second, errors)."""
    where = experiment(server, "writers")
    end, count, errors, lock = time.monotonic() + (8 if options.quick else 60), [0], [0], threading.Lock()

    def work(seed):
        connection, done, wrong = server.connection(), 0, 0

        def ask(path, body):
            nonlocal connection, done, wrong
            try:
                connection.request("POST", API + path, json.dumps(body), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                data = answer.read()
                done, wrong = done + 1, wrong + (answer.status != 200)
                return json.loads(data)
            except OSError:
                done, wrong, connection = done + 1, wrong + 1, server.connection()
                return {}

        step = 0
        while time.monotonic() < end:
            run = ask("runs/create", {"experiment_id": where, "start_time": 1}).get("run", {}).get("info", {}).get("run_id")
            if not run:
                continue
            for _ in range(5):
                step += 1
                ask("runs/log-metric", {"run_id": run, "key": "loss", "value": 1 / step, "timestamp": step, "step": step})
            ask("runs/log-parameter", {"run_id": run, "key": "lr", "value": "0.1"})
            ask("runs/log-batch", {"run_id": run, "metrics": [{"key": f"m{i}", "value": i, "timestamp": step, "step": i} for i in range(100)]})
            ask("runs/set-tag", {"run_id": run, "key": "seed", "value": str(seed)})
            ask("runs/search", {"experiment_ids": [where], "filter": "metrics.loss < 0.5", "max_results": 10})
        with lock:
            count[0], errors[0] = count[0] + done, errors[0] + wrong

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"64 writers": count[0] / (time.monotonic() - began), "64 writers, errors": errors[0]}


def measure(name, options):
    folder = tempfile.mkdtemp(prefix=f"compare-{name}-")

    def stage(what):
        print(f"{name}: {what} …", file=sys.stderr, flush=True)

    start = (lambda: bench.keel(folder, options.port)) if name == "keel" else (lambda: mlflow_server(folder, options.port))
    try:
        with start():
            pass  # the first start makes the database
        out = {}
        with start() as server:
            server.settle()
            out["start"], out["idle memory"] = server.start_s, server.memory()
            stage("logging")
            out |= logging(server, options)
            stage("searching 10,000 runs")
            where = experiment(server, "search")
            fill = (lambda count, seed: fill_keel(server, where, count, seed)) if name == "keel" else (
                lambda count, seed: fill_mlflow(folder, where, count, seed))
            fill(10_000, 1)
            out |= searching(server, where, options, "search of 10,000")
            if not options.quick:
                stage("searching 100,000 runs")
                fill(90_000, 2)
                # MLflow orders all runs by a metric in a time that grows with their square: seconds at 10,000, no answer in minutes at 100,000.
                out |= searching(
                    server, where, options, "search of 100,000", without=["by a metric, 100 rows"] if name == "mlflow" else [])
            stage("artifacts")
            out |= artifacts(server, options)
            stage("64 writers")
            out |= writers(server, options)
        return out
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short loads, 64 MB artifacts, no 100,000 runs")
    parser.add_argument("--port", type=int, default=7481)
    options = parser.parse_args()
    options.seconds = 4 if options.quick else 10
    figures = {name: measure(name, options) for name in ("mlflow", "keel")}
    print(f"  {'':<46} {'':>12} {'MLflow':>10} {'Keel':>10} {'ratio':>9} {'target':>8}")
    units = {", CPU": "ms", ", p50": "ms", ", peak": "MB"}
    for what, ours in figures["keel"].items():
        unit = next((unit for ending, unit in units.items() if what.endswith(ending)), "/s")
        unit = {"start": "s", "idle memory": "MB", "64 writers, errors": "errors", "log-batch of 1,000 metrics": "per CPU s"}.get(what, unit)
        if what.startswith("log-metric") and what.endswith("CPU"):
            unit = "us"
        elif what.startswith("artifact"):
            unit = "MB/s" if unit == "/s" else "s" if what.endswith("CPU") else unit
        more = unit in ("/s", "MB/s", "per CPU s")
        target = 20 if unit in ("us", "per CPU s") or (what.startswith("search") and what.endswith("p50")) else None
        report(what, unit, figures["mlflow"].get(what), ours, target, "more" if more else "less")


if __name__ == "__main__":
    main()
