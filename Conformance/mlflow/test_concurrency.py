"""Many writers at once, also when the server is killed in the middle: what was acknowledged is there, and no batch is half there."""
import threading
import time
import uuid

import requests

API = "/api/2.0/mlflow/"
WRITERS = 64


class Writer(threading.Thread):
    """Logs run after run until told to end, and keeps what the server has acknowledged."""

    def __init__(self, url, experiment_id, ends):
        super().__init__(daemon=True)
        self.url, self.experiment_id, self.ends = url, experiment_id, ends
        self.runs, self.refused = {}, []

    def post(self, session, path, **body):
        answer = session.post(self.url + API + path, json=body, timeout=60)
        if answer.status_code != 200:
            self.refused.append((path, answer.status_code, answer.text))
        return answer.json()

    def run(self):
        with requests.Session() as session:
            try:
                while not self.ends.is_set():
                    self.log_run(session)
            except requests.RequestException as error:
                # The server was killed: what was on its way may be there or not.
                self.lost = error

    def log_run(self, session):
        run = self.post(session, "runs/create", experiment_id=self.experiment_id, start_time=1)["run"]["info"]["run_id"]
        seen = self.runs[run] = {"steps": 0, "batches": 0, "param": False, "tag": False}
        for step in range(3):
            self.post(session, "runs/log-metric", run_id=run, key="loss", value=step / 3, timestamp=1, step=step)
            seen["steps"] += 1
        for batch in range(2):
            metrics = [{"key": "batch", "value": i, "timestamp": 1, "step": batch * 100 + i} for i in range(100)]
            self.post(session, "runs/log-batch", run_id=run, metrics=metrics, params=[{"key": f"p{batch}", "value": "x"}])
            seen["batches"] += 1
        self.post(session, "runs/log-parameter", run_id=run, key="lr", value="0.1")
        seen["param"] = True
        self.post(session, "runs/set-tag", run_id=run, key="team", value="ops")
        seen["tag"] = True
        self.post(session, "runs/search", experiment_ids=[self.experiment_id], filter="params.lr = '0.1'", max_results=5)


def steps(url, run, key):
    answer = requests.get(url + API + "metrics/get-history", {"run_id": run, "metric_key": key}, timeout=60)
    assert answer.status_code == 200, answer.text
    return [metric["step"] for metric in answer.json().get("metrics", [])]


def assert_all_there(url, writers):
    count = 0
    for run, seen in (item for writer in writers for item in writer.runs.items()):
        answer = requests.get(url + API + "runs/get", {"run_id": run}, timeout=60)
        assert answer.status_code == 200, answer.text
        data = answer.json()["run"]["data"]
        params = {p["key"] for p in data.get("params", [])}
        assert len(steps(url, run, "loss")) >= seen["steps"]
        batched = len(steps(url, run, "batch"))
        assert batched >= 100 * seen["batches"] and batched % 100 == 0, "half a batch"
        assert len(params & {"p0", "p1"}) == batched // 100, "half a batch"
        assert "lr" in params or not seen["param"]
        assert "team" in {t["key"] for t in data["tags"]} or not seen["tag"]
        count += 1
    assert count >= WRITERS / 2


def write(keel, seconds, end):
    where = requests.post(keel.url + API + "experiments/create", json={"name": "many"}, timeout=60).json()["experiment_id"]
    ends = threading.Event()
    writers = [Writer(keel.url, where, ends) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    time.sleep(seconds)
    end()
    ends.set()
    for writer in writers:
        writer.join(timeout=90)
        assert not writer.is_alive()
    assert [refused for writer in writers for refused in writer.refused] == []
    return writers


def test_sixty_four_writers_meet_no_error_and_lose_nothing(keel):
    writers = write(keel, 8, lambda: None)
    assert not any(hasattr(writer, "lost") for writer in writers)
    assert_all_there(keel.url, writers)


def test_what_was_acknowledged_survives_a_kill_in_the_middle(keel):
    writers = write(keel, 4, keel.kill)
    keel.start()
    assert_all_there(keel.url, writers)


def test_of_many_that_create_one_experiment_one_wins(shared_keel):
    name, answers = "race-" + uuid.uuid4().hex, []

    def create():
        answers.append(requests.post(shared_keel.url + API + "experiments/create", json={"name": name}, timeout=60))

    threads = [threading.Thread(target=create) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 31
    assert {answer.json()["error_code"] for answer in answers if answer.status_code == 400} == {"RESOURCE_ALREADY_EXISTS"}


def test_a_run_that_is_deleted_while_it_is_logged_to_keeps_all_that_was_acknowledged(shared_keel):
    url = shared_keel.url
    where = requests.post(url + API + "experiments/create", json={"name": uuid.uuid4().hex}, timeout=60).json()["experiment_id"]
    run = requests.post(url + API + "runs/create", json={"experiment_id": where}, timeout=60).json()["run"]["info"]["run_id"]
    logged, refused = [], []

    def log(writer):
        for step in range(1000):
            body = {"run_id": run, "key": "loss", "value": 1, "timestamp": 1, "step": writer * 1000 + step}
            answer = requests.post(url + API + "runs/log-metric", json=body, timeout=60)
            if answer.status_code != 200:
                refused.append(answer.json())
                return
            logged.append(body["step"])

    threads = [threading.Thread(target=log, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    while len(logged) < 40:
        time.sleep(0.01)
    assert requests.post(url + API + "runs/delete", json={"run_id": run}, timeout=60).status_code == 200
    for thread in threads:
        thread.join()
    assert {error["error_code"] for error in refused} == {"INVALID_PARAMETER_VALUE"} and len(refused) == 8
    assert all("must be in the 'active' state" in error["message"] for error in refused)
    assert sorted(steps(url, run, "loss")) == sorted(logged)
