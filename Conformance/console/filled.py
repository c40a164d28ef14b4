"""A server with something on every page: a project that trained and released a model, windows that drifted, rows set aside, and runs with curves."""
import json
import math
import random
import time

import yaml

import project
from servers import Keel

MLFLOW = "/api/2.0/mlflow/"
PERSONAS = ["owner", "data-scientist", "ml-engineer", "platform-engineer", "risk-officer", "service"]
# What a page may be made to show: markup, a picture, writing from right to left, what turns the direction, and what is too long for a line.
HOSTILE = "<img src=x onerror=alert(1)> 🚀 مرحبا \u202egnp.exe " + "long " * 60

MONITORS = """
apiVersion: keel/v1
kind: Monitor
metadata: { name: buying, environment: production }
spec:
  endpoint: buying
  window: 1d
  drift: { threshold: 0.2, minimumRows: 20, columns: [cost, score] }
  performance: { label: { within: 1d }, metric: auc, minimumLabels: 20, alertWhen: "auc < 0.6" }
---
apiVersion: keel/v1
kind: Trigger
metadata: { name: retrain }
spec: { when: [monitor/buying fires], run: train, with: { trees: 4 }, cooldown: 30d }
---
apiVersion: keel/v1
kind: Trigger
metadata: { name: nightly }
spec: { when: ["schedule 0 4 * * *"], run: words }
---
apiVersion: keel/v1
kind: Pipeline
metadata: { name: words }
spec:
  parameters: { loud: "no", pause: "0.3" }
  steps:
    - { name: fetch, uses: python, with: { code: "print('fetched 3 files')" } }
    - { name: count, uses: python, needs: [fetch], with: { env: { pause: $pause }, code: "import os, time\\nfor i in range(5): print('word', i)\\ntime.sleep(float(os.environ['pause']))" } }
    - { name: check, uses: python, needs: [fetch], with: { env: { loud: $loud }, code: "import os, sys\\nprint('looking')\\nsys.exit(os.environ['loud'] == 'yes')" } }
    - { name: report, uses: python, needs: [count, check], with: { code: "print('<b>done</b>')" } }
"""

NOTE = """# What this is

A baseline with **shallow** trees; see [the console](/console/experiments) and `train.py`.

- no weather yet
- *next*: deeper trees

> <script>alert(1)</script> is shown as it is written.
"""

PICTURE = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000" "1f15c4890000000d49444154789c63f8cfc0f01f00050001ff56c72f0d0000000049454e44ae426082")


def parquet():
    """150 rows, some of whose values are markup."""
    import io
    import pyarrow
    import pyarrow.parquet
    table = pyarrow.table({"user": [f"u{i}" for i in range(150)], "price": [i / 4 for i in range(150)], "note": ["<script>alert(1)</script>"] * 150, "tags": [["a", "b"]] * 150})
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


class Filled:
    """A started server and the names of what it holds."""

    def __init__(self, environment=None):
        self.keel = Keel(environment=environment).start()
        self.names = {}

    def ask(self, method, path, body=None):
        if method == "GET":
            answer = self.keel.get(path, params=body)
        else:
            answer = self.keel.post(path, body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:400]}"
        return answer.json() if answer.content else None

    def put(self, path, content):
        import requests
        assert requests.put(self.keel.url + path, data=content, timeout=30, headers={"Content-Type": "application/octet-stream"}).status_code < 300, path

    def fill(self):
        self.project()
        self.pipelines()
        self.serve()
        self.runs()
        return self

    # What is declared, trained and released.

    def project(self):
        self.ask("POST", "/api/v1/apply", {"resources": list(yaml.safe_load_all(project.RESOURCES)) + list(yaml.safe_load_all(MONITORS))})
        rows = project.rows(1500)
        broken = [{**rows[0], "id": -1, "price": -5}, {**rows[1], "id": -2, "bought": 7}]
        lines = project.csv(rows) + "".join(f"{r['id']},{r['user']},{r['at']},{r['price']},{r['bought']}\n" for r in broken) + '9000001,"<b>x</b>",2024-01-01T00:00:00Z,abc,1\n'
        import requests
        answer = requests.post(f"{self.keel.url}/api/v1/datasets/clicks/ingest", params={"file": "clicks.csv"}, data=lines.encode(), timeout=60,
                               headers={"Content-Type": "application/octet-stream"})
        assert answer.status_code < 300, answer.text

    def wait(self, run):
        while (found := self.ask("GET", f"/api/v1/runs/{run}"))["state"] in ("queued", "running"):
            time.sleep(0.05)
        return found

    def pipelines(self):
        first = self.ask("POST", "/api/v1/pipelines/train/runs", {"parameters": {"trees": 5}})["run"]
        trained = self.wait(first)
        assert trained["state"] == "succeeded", trained
        # The same again: every step is taken from the cache.
        self.wait(self.ask("POST", "/api/v1/pipelines/train/runs", {"parameters": {"trees": 5}})["run"])
        good = self.ask("POST", "/api/v1/pipelines/words/runs", {})["run"]
        bad = self.ask("POST", "/api/v1/pipelines/words/runs", {"parameters": {"loud": "yes"}})["run"]
        self.names |= {"trained": first, "words": good, "failed": bad}
        self.wait(good)
        self.wait(bad)

    # What was asked and measured: nine days as in training, then five of other prices. Each day's clicks come before its questions.

    def serve(self):
        draw = random.Random(3)
        clicks = project.rows(4800, seed=1)[1500:]
        for day in range(9, 23):
            # What is asked about an instant far before the newest event is not exact, which the parity of the same day would show.
            today = sorted((row for row in clicks if f"2024-01-{day:02d}" <= row["at"] < f"2024-01-{day:02d}T23:10"), key=lambda row: row["at"])
            self.ask("POST", "/api/v1/datasets/clicks/events", {"rows": today})
            ids, ats, users, prices = [], [], [], []
            for i in range(150):
                ids.append(f"p-{day}-{i}")
                ats.append(f"2024-01-{day:02d}T23:{10 + i // 3:02d}:00Z")
                users.append(f"u{draw.randrange(20)}")
                prices.append(round(draw.uniform(0, 100) if day < 18 else draw.uniform(45, 100), 2))
            n = len(ids)
            self.ask("POST", "/v2/models/buying/infer", {"parameters": {"ids": ids}, "inputs": [
                {"name": "user", "datatype": "BYTES", "shape": [n], "data": users}, {"name": "at", "datatype": "BYTES", "shape": [n], "data": ats},
                {"name": "price", "datatype": "FP64", "shape": [n], "data": prices}]})
            labels = [{"id": id, "value": int(draw.random() < (0.9 if price < 40 else 0.1)), "at": f"2024-01-{day:02d}T23:59:00Z"} for id, price in zip(ids, prices)]
            self.ask("POST", "/api/v1/endpoints/buying/labels", {"labels": labels})
        self.names["prediction"] = "p-12-7"
        deadline = time.time() + 20
        while time.time() < deadline:
            if len(self.ask("GET", "/api/v1/monitors/buying/windows")["windows"]) >= 12:
                return
            time.sleep(0.1)

    # What people log.

    def log(self, run, metrics=(), params=(), tags=()):
        metrics = [{"key": k, "value": v, "timestamp": t, "step": s} for k, v, t, s in metrics]
        for start in range(0, max(len(metrics), 1), 1000):
            self.ask("POST", MLFLOW + "runs/log-batch", {
                "run_id": run, "metrics": metrics[start:start + 1000], "params": [{"key": k, "value": v} for k, v in params] if start == 0 else [],
                "tags": [{"key": k, "value": v} for k, v in tags] if start == 0 else []})

    def run(self, experiment, name, started=None):
        body = {"experiment_id": experiment, "run_name": name, "start_time": started or int(time.time() * 1000)}
        return self.ask("POST", MLFLOW + "runs/create", body)["run"]["info"]

    def runs(self):
        experiment = self.ask("POST", MLFLOW + "experiments/create", {"name": "churn", "tags": [{"key": "team", "value": "growth"}]})["experiment_id"]
        draw = random.Random(5)
        now = int(time.time() * 1000)
        made = []
        for i, (depth, rate) in enumerate([(d, r) for d in (3, 6, 9) for r in (0.05, 0.1, 0.3)]):
            info = self.run(experiment, f"depth-{depth}-rate-{rate}", now - 3_600_000 * (12 - i))
            metrics = []
            for step in range(200):
                at = now - 3_600_000 * (12 - i) + step * 9000
                loss = 0.2 + 0.5 / depth + 0.6 * math.exp(-step * rate / 6) + draw.gauss(0, 0.012)
                metrics += [("train/loss", loss, at, step), ("val/auc", min(0.99, 0.62 + 0.018 * depth + 0.2 * (1 - math.exp(-step * rate / 9)) + draw.gauss(0, 0.006)), at, step)]
            self.log(info["run_id"], metrics, [("depth", str(depth)), ("rate", str(rate)), ("objective", "logistic")], [("team", "growth")])
            self.ask("POST", MLFLOW + "runs/update", {"run_id": info["run_id"], "status": "FAILED" if i == 4 else "FINISHED", "end_time": now - 3_600_000 * (12 - i) + 1_800_000})
            made.append(info)
        self.names |= {"experiment": experiment, "runs": [info["run_id"] for info in made], "run": made[-1]["run_id"]}
        self.artifacts(made[-1])
        self.hostile()
        live = self.run(experiment, "still-running")
        self.log(live["run_id"], [("train/loss", 1 / (step + 1), now + step, step) for step in range(20)], [("depth", "4")])
        self.names["live"] = live["run_id"]

    def artifacts(self, info):
        run, folder = info["run_id"], "/api/2.0/mlflow-artifacts/artifacts/" + info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        self.log(run, tags=[("mlflow.note.content", NOTE), ("mlflow.source.name", "train.py"), ("mlflow.source.git.commit", "0123456789abcdef0123456789abcdef01234567")])
        self.put(folder + "/report/summary.json", json.dumps({"auc": 0.87, "columns": ["price", "clicks_1h"]}).encode())
        self.put(folder + "/report/rows.csv", b'user,price,note\nu1,3.5,"a, b"\nu2,4.25,<script>alert(1)</script>\n')
        self.put(folder + "/report/notes.txt", "plain words, und Umlaute: äöü\n".encode())
        self.put(folder + "/report/rows.parquet", parquet())
        self.put(folder + "/report/broken.parquet", parquet()[:-9] + b"xxxxxPAR1")
        self.put(folder + "/plots/dot.png", PICTURE)
        self.put(folder + "/plots/evil.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="80" height="40" onload="alert(1)"><script>fetch("/console")</script><rect width="80" height="40" fill="teal"/></svg>')
        self.put(folder + "/evil.html", b'<h1>Hello</h1><script>document.title="owned"; fetch("/api/v1/tokens"); parent.location="http://example.org/"</script>'
                                        b'<img src="http://example.org/x.png"><form action="/console/sign-out" method="post"><button>go</button></form>')
        self.put(folder + "/model.bin", bytes(range(256)) * 8)

    def hostile(self):
        experiment = self.ask("POST", MLFLOW + "experiments/create", {"name": HOSTILE[:240]})["experiment_id"]
        info = self.run(experiment, HOSTILE[:240])
        run = info["run_id"]
        now = int(time.time() * 1000)
        odd = [float("nan"), 1.0, float("inf"), 2.0, float("-inf"), 0.5]
        body = [{"key": "odd", "value": str(value) if not math.isfinite(value) else value, "timestamp": now + i, "step": i} for i, value in enumerate(odd)]
        for metric in body:
            metric["value"] = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(metric["value"]), metric["value"])
        self.ask("POST", MLFLOW + "runs/log-batch", {"run_id": run, "metrics": body, "params": [{"key": "markup", "value": HOSTILE}], "tags": [{"key": "rtl مرحبا", "value": HOSTILE}]})
        for start in range(0, 5000, 100):
            self.log(run, params=[(f"p{i:04d}", f"value {i}") for i in range(start, start + 100)])
        self.ask("POST", MLFLOW + "runs/update", {"run_id": run, "status": "FINISHED", "end_time": now + 5000})
        self.names |= {"hostile_experiment": experiment, "hostile_run": run}

    def stop(self):
        self.keel.stop()

    def pages(self):
        """Every page, by a name for its screenshots."""
        names = self.names
        run, runs = f"/console/runs/{names['run']}", "&".join(f"run={id}" for id in names["runs"])
        return {
            "home": "/console", "endpoints": "/console/endpoints", "endpoint": "/console/endpoints/buying", "release": "/console/endpoints/buying/releases/1",
            "try": "/console/endpoints/buying/try", "predictions": "/console/endpoints/buying/predictions", "prediction": f"/console/endpoints/buying/predictions/{names['prediction']}",
            "models": "/console/models", "model": "/console/models/buying", "version": "/console/models/buying/versions/1", "ledger": "/console/ledger", "event": "/console/ledger/3",
            "live-at": "/console/ledger/live-at?at=2100-01-01", "search": "/console/search?q=buying", "workspaces": "/console/workspaces",
            "experiments": "/console/experiments", "runs": f"/console/experiments/{names['experiment']}", "run": run, "run-charts": run + "?tab=charts",
            "run-parquet": run + "?tab=artifacts&folder=report&file=report%2Frows.parquet", "run-broken-parquet": run + "?tab=artifacts&folder=report&file=report%2Fbroken.parquet",
            "lineage-prediction": f"/console/lineage?of=Prediction%2Fbuying%2F{names['prediction']}",
            "run-artifacts": run + "?tab=artifacts&folder=report&file=report%2Frows.csv", "run-html": run + "?tab=artifacts&file=evil.html",
            "run-svg": run + "?tab=artifacts&folder=plots&file=plots%2Fevil.svg", "run-json": run + "?tab=artifacts&folder=report&file=report%2Fsummary.json",
            "run-live": f"/console/runs/{names['live']}?tab=charts", "run-hostile": f"/console/runs/{names['hostile_run']}", "run-odd": f"/console/runs/{names['hostile_run']}?tab=charts",
            "experiment-hostile": f"/console/experiments/{names['hostile_experiment']}", "compare": f"/console/compare?{runs}", "compare-grouped": f"/console/compare?{runs}&group=depth",
            "pipelines": "/console/pipelines", "pipeline": "/console/pipelines/words", "pipeline-run": f"/console/pipeline-runs/{names['trained']}",
            "pipeline-failed": f"/console/pipeline-runs/{names['failed']}?step=check", "triggers": "/console/triggers", "datasets": "/console/datasets", "dataset": "/console/datasets/clicks",
            "features": "/console/features", "feature-view": "/console/features/habits", "feature-service": "/console/feature-services/buying", "monitors": "/console/monitors",
            "monitor": "/console/monitors/buying", "lineage": "/console/lineage", "lineage-endpoint": "/console/lineage?of=Endpoint%2Fbuying",
            "lineage-dataset": "/console/lineage?of=Dataset%2Fclicks", "not-found": "/console/runs/ffffffffffffffffffffffffffffffff",
        }
