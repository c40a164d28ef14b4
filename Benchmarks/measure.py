"""CPU time per operation of the server process, from /proc/PID/stat; wall times are for orientation only.

Every figure is measured on the flights of 2013 in a fresh home. The targets are those of the project's performance page.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import bench
from bench import KEEL, ROOT

DATA = ROOT / ".keel/data/nycflights13"
PORT = 7471
URL = f"http://127.0.0.1:{PORT}"
EXAMPLES = """
apiVersion: keel/v1
kind: Pipeline
metadata: { name: examples }
spec:
  steps:
    - name: examples
      uses: training-set
      with: { labels: arrivals, label: "arr_delay > 15", at: scheduled_departure, known: landed_at, features: delay, between: ["2013-01-01", now], holdout: 10% }
"""


def report(what, figure, target):
    print(f"  {what:<58} {figure:>16}   {target}", flush=True)


def keel(*arguments):
    done = subprocess.run([str(KEEL), *arguments], cwd=ROOT, env=os.environ | {"KEEL_URL": URL}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def main():
    home = tempfile.mkdtemp(prefix="keel-bench-")
    server = bench.keel(home, PORT)
    report("idle server, resident", f"{server.memory():.0f} MB", "<= 80 MB")
    report("start to ready, wall", f"{server.start_s:.2f} s", "<= 0.5 s")
    keel("apply", "Examples/flights/resources")
    before = server.cpu()
    keel("ingest", "departures", str(DATA / "flights.csv"))
    report("ingest of the flights file (336,776 rows), CPU", f"{server.cpu() - before:.2f} s", "<= 5 s, features rebuilt included")
    keel("ingest", "arrivals", str(DATA / "flights.csv"), "--until", "2013-04-01")
    keel("ingest", "weather", str(DATA / "weather.csv"))
    before = server.cpu()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "Examples/flights/resources", folder, dirs_exist_ok=True)
        pathlib.Path(folder, "examples.yaml").write_text(EXAMPLES)
        keel("apply", folder)
    keel("run", "examples", "--now", "2013-04-01")
    report("training set, 77,609 rows x 28 features, written, CPU", f"{server.cpu() - before:.2f} s", "<= 3 s")
    before = server.cpu()
    run = json.loads(keel("run", "train-delay", "--now", "2013-04-01", "--json"))
    examples = next(s for s in run["steps"] if s["name"] == "examples")
    held = examples["outputs"]
    total = held["train"]["rows"] + held["holdout"]["rows"]
    report(f"pipeline on {total:,} rows x {len(held['inputs'])} features, 2 x 150 trees, CPU", f"{server.cpu() - before:.2f} s", "")
    question = {"inputs": [
        {"name": n, "datatype": t, "shape": [1], "data": [v]} for n, t, v in [
            ("carrier", "BYTES", "UA"), ("tailnum", "BYTES", "N14228"), ("origin", "BYTES", "EWR"), ("dest", "BYTES", "IAH"),
            ("distance", "FP64", 1400), ("hour", "INT32", 5), ("scheduled_departure", "BYTES", "2013-12-31T23:59:00Z")]]}
    body = json.dumps(question)
    for connections in (16, 1):
        used, rate, p50, p99 = bench.wrk(server, "/v2/models/delay/infer", bench.post_lua(body), connections, 8)
        report(f"infer, one row, 30 stored features, {connections} connections, CPU", f"{used:.1f} us", f"<= 60 us   ({rate:,.0f}/s, p50 {p50}, p99 {p99})")
    event = json.dumps({"rows": [{"time_hour": "2013-12-31T23:00:00Z", "minute": 1, "carrier": "UA", "flight": 1, "tailnum": "N1", "origin": "EWR",
                                  "dest": "IAH", "distance": 1400.0, "dep_delay": 1.0}]})
    used, rate, p50, p99 = bench.wrk(server, "/api/v1/datasets/departures/events", bench.post_lua(event), 16, 4)
    report("push of one event through the API, 16 connections, CPU", f"{used:.1f} us", f"({rate:,.0f}/s; the same key again: refused as duplicate)")
    server.stop()


main()
