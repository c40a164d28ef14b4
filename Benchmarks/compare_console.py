"""Keel's console beside MLflow's own page: the same runs, the same Chromium, one server after the other.

A page is usable when the links to its runs are there (a table), or its first curve is drawn (a run). "Cold" is a browser that was never there, "warm"
the second visit. The pages of Keel alone are asked without a browser too: the time until the answer is there, the server's CPU time, which holds on a busy
machine, and the size without assets. `--quick` leaves the 100,000 runs out and compares runs of 1,000 points; `--only keel` leaves MLflow out.
"""
import argparse
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.request

from playwright.sync_api import sync_playwright

import bench
from compare_tracking import API, experiment, fill_keel, fill_mlflow, mlflow_server, new_run

COMPARED, METRICS = 50, 20
# Functions: as texts to be evaluated the console's policy refuses them.
TABLE = "() => document.querySelectorAll('a[href*=\"/runs/\"]').length >= 20"
CURVE = "() => [...document.querySelectorAll('canvas, svg.main-svg')].some(drawing => drawing.getBoundingClientRect().width > 200)"


def stage(what):
    print(f"{what} …", file=sys.stderr, flush=True)


def log_points(server, run, metrics, points, seed):
    """`points` values of each metric, a thousand in a request."""
    connection, chance = server.connection(), random.Random(seed)
    for key in range(metrics):
        for start in range(0, points, 1000):
            server.call("POST", API + "runs/log-batch", {"run_id": run, "metrics": [
                {"key": f"m{key}", "value": chance.gauss(1000 / (step + 100), 0.1), "timestamp": 1_700_000_000_000 + step, "step": step}
                for step in range(start, min(points, start + 1000))]}, connection)


class Chromium:
    def __enter__(self):
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        return self

    def __exit__(self, *_):
        self.browser.close()
        self.playwright.stop()

    def visit(self, page, url, usable):
        """Seconds until the page is usable."""
        page.goto("about:blank")
        began = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.wait_for_function(usable, polling="raf", timeout=180_000)
        return time.perf_counter() - began

    def times(self, url, usable, rounds):
        """{"cold", "warm": median ms, "bytes": received by the cold one, "requests": of it}."""
        cold, warm, traffic, requests = [], [], [], []
        for _ in range(rounds):
            context = self.browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            session, got = context.new_cdp_session(page), []
            session.send("Network.enable")
            session.on("Network.loadingFinished", lambda event: got.append(event["encodedDataLength"]))
            cold.append(self.visit(page, url, usable))
            traffic.append(sum(got))
            requests.append(len(got))
            warm.append(self.visit(page, url, usable))
            context.close()
        cold, warm, traffic, requests = map(statistics.median, (cold, warm, traffic, requests))
        return {"cold": cold * 1000, "warm": warm * 1000, "bytes": traffic / 1000, "requests": requests}


def in_browser(name, options):
    """What people wait for: {figure: value}, and what Keel's pages take alone."""
    folder = tempfile.mkdtemp(prefix=f"compare-console-{name}-")
    start = (lambda: bench.keel(folder, options.port)) if name == "keel" else (lambda: mlflow_server(folder, options.port))
    try:
        with start():
            pass  # the first start makes the database
        with start() as server:
            stage(f"{name}: {options.runs:,} runs")
            where = experiment(server, "many")
            fill_keel(server, where, options.runs, 1) if name == "keel" else fill_mlflow(folder, where, options.runs, 1)
            curves = experiment(server, "curves")
            run = new_run(server, curves)
            log_points(server, run, 4, 10_000, 2)
            server.settle()
            stage(f"{name}: in the browser")
            table, curve = {
                "keel": (f"/console/experiments/{where}", f"/console/runs/{run}?tab=charts"),
                "mlflow": (f"/#/experiments/{where}/runs", f"/#/experiments/{curves}/runs/{run}/model-metrics"),
            }[name]
            with Chromium() as chromium:
                out = {f"{options.runs:,} runs": chromium.times(server.url + table, TABLE, options.rounds),
                       "a run, 4 curves of 10,000": chromium.times(server.url + curve, CURVE, options.rounds)}
            return out, alone(server, where, curves, run, options) if name == "keel" else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def asked(server, path, count=15):
    """(median ms until the answer is there, ms of the server's CPU, kB) of a page without its assets."""
    times, size = [], 0
    urllib.request.urlopen(server.url + path, timeout=120).read()
    before = server.cpu()
    for _ in range(count):
        began = time.perf_counter()
        with urllib.request.urlopen(server.url + path, timeout=120) as answer:
            size = len(answer.read())
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000, (server.cpu() - before) / count * 1000, size / 1000


def alone(server, where, curves, run, options):
    out = []

    def add(what, path, limit):
        out.append((what, *asked(server, path), limit))

    for what, path in {"home": "", "experiments": "/experiments", "endpoints": "/endpoints", "models": "/models", "ledger": "/ledger", "data": "/datasets",
                       "features": "/features", "pipelines": "/pipelines", "triggers": "/triggers", "monitors": "/monitors", "lineage": "/lineage",
                       "workspaces": "/workspaces", "search": "/search?q=r", "what was live": "/ledger/live-at?at=2100-01-01", "a run": f"/runs/{run}",
                       "a run's charts": f"/runs/{run}?tab=charts", "an experiment of one run": f"/experiments/{curves}"}.items():
        add(what, "/console" + path, 100)
    add("a curve of 10,000 points", f"/console/runs/{run}/curve.json?key=m0", 100)

    def add_experiment(count, limit):
        path = f"/console/experiments/{where}"
        add(f"an experiment of {count:,} runs", path, limit)
        add("  by a metric", path + "?order=metrics.%60acc%60+DESC", limit)
        add("  filtered", path + "?filter=metrics.acc+%3E+0.9", limit)

    add_experiment(options.runs, 100)
    if not options.quick:
        stage("keel: 100,000 runs")
        fill_keel(server, where, 100_000 - options.runs, 2)
        add_experiment(100_000, 150)
    points = 1_000 if options.quick else 10_000
    stage(f"keel: {COMPARED} runs with {METRICS} metrics of {points:,} points")
    compared = experiment(server, "compared")
    runs = [new_run(server, compared) for _ in range(COMPARED)]

    def log(part):
        for i in part:
            log_points(server, runs[i], METRICS, points, i)

    writers = [threading.Thread(target=log, args=(range(i, COMPARED, 4),)) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    server.settle()
    ids = "&".join(f"run={run}" for run in runs)
    add(f"compare {COMPARED} runs × {METRICS} metrics", f"/console/compare?{ids}", 300)
    add(f"  curves of {points:,} points, one metric", f"/console/compare/curves.json?key=m0&{ids}", 300)
    add("  parallel coordinates", f"/console/compare/parallel.json?{ids}", 300)
    add("  scatter", f"/console/compare/scatter.json?across=metrics.m0&up=metrics.m1&{ids}", 300)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="no 100,000 runs, shorter curves, one round")
    parser.add_argument("--report", action="store_true", help="end with 0 though limits are missed")
    parser.add_argument("--runs", type=int, default=10_000, help="runs of the table that both show")
    parser.add_argument("--only", choices=["keel", "mlflow"], help="measure one of them")
    parser.add_argument("--port", type=int, default=7481)
    options = parser.parse_args()
    options.rounds = 1 if options.quick else 5
    theirs, _ = in_browser("mlflow", options) if options.only != "keel" else ({}, None)
    ours, pages = in_browser("keel", options) if options.only != "mlflow" else ({}, [])
    missed = 0
    print(f"  {'in the browser':<44} {'':>8} {'MLflow':>10} {'Keel':>10} {'ratio':>8} {'limit':>8}")
    for what in ours or theirs:
        for figure in (ours or theirs)[what]:
            other, value = (figures.get(what, {}).get(figure) for figures in (theirs, ours))
            unit = {"bytes": "kB", "requests": ""}.get(figure, "ms")
            limit = 1000 if unit == "ms" else None
            missed += limit is not None and value is not None and value > limit
            shown = ["-" if each is None else f"{each:,.0f}" for each in (other, value)]
            ratio = f"{other / value:.1f}x" if other and value else "-"
            print(f"  {f'{what}, {figure}':<44} {unit:>8} {shown[0]:>10} {shown[1]:>10} {ratio:>8} {'-' if limit is None else f'<= {limit}':>8}")
    print(f"\n  {'the server alone, without assets':<44} {'ms':>8} {'limit':>10} {'CPU ms':>8} {'kB':>10} {'limit':>8}")
    for what, time_ms, cpu_ms, size, limit in pages:
        # The figures of a chart are no page.
        most = None if any(word in what for word in ("curve", "parallel", "scatter")) else 100
        missed += (time_ms > limit) + (most is not None and size > most)
        print(f"  {what:<44} {time_ms:>8.1f} {f'<= {limit}':>10} {cpu_ms:>8.1f} {size:>10.0f} {'-' if most is None else f'<= {most}':>8}")
    if missed:
        print(f"\n  {missed} figures are beyond their limits", file=sys.stderr)
    sys.exit(1 if missed and not options.report else 0)


if __name__ == "__main__":
    main()
