"""A backup under load, restored and compared; and a ledger that somebody altered, found with what was signed before."""
import hashlib
import pathlib
import sqlite3
import threading
import uuid

import requests

import project
from servers import Keel
from test_durability import log_metric, push, run_id, stored_metrics


def test_backup_under_load_and_restore(keel, tmp_path):
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(3000, start=100000)))
    keel.cli("run", "train")
    run = run_id(keel)
    pushed, steps, ended = [], [], threading.Event()

    def events():
        position = 0
        while not ended.is_set():
            assert push(keel, project.rows(10, start=position)).json()["accepted"] == 10
            position += 10
            pushed.append(position)
            if position % 500 == 0:
                keel.post("/api/v1/datasets/clicks/seal")

    def metrics():
        while not ended.is_set():
            log_metric(keel, run, len(steps))
            steps.append(len(steps))

    def artifacts():
        while not ended.is_set():
            name = uuid.uuid4().hex
            requests.put(f"{keel.url}/api/2.0/mlflow-artifacts/artifacts/x/{name}", data=name.encode(), timeout=60).raise_for_status()

    threads = [threading.Thread(target=t) for t in [events, metrics, artifacts]]
    for t in threads:
        t.start()
    while len(steps) < 50 or len(pushed) < 60:
        ended.wait(0.05)
    backups = []
    for i in range(3):
        held = (pushed[-1], len(steps))
        file = tmp_path / f"{i}.tar"
        keel.cli("backup", file)
        backups.append((file, held))
    ended.set()
    for t in threads:
        t.join()
    for file, (rows, written) in backups:
        home = tmp_path / f"restored-{file.stem}"
        Keel(home=keel.home).cli("restore", file, "--home", home)
        restored = Keel(home=str(home)).start()
        assert restored.json("ledger", "verify").get("problem") is None
        assert restored.get("/api/v1/damage").json()["damage"] == []
        assert stored_metrics(restored, run) >= set(range(written))
        again = push(restored, project.rows(rows)).json()
        assert again["accepted"] == 0, "a row that was acknowledged before the backup is not in it"
        for artifact in restored.get("/api/2.0/mlflow-artifacts/artifacts", params={"path": "x"}).json()["files"]:
            name = artifact["path"].split("/")[-1]
            assert restored.get(f"/api/2.0/mlflow-artifacts/artifacts/x/{name}").text == name
        assert restored.post("/v2/models/buying/infer", project.question()).status_code == 200
        restored.stop()
        for part in pathlib.Path(home, "objects", "content").glob("*/*"):
            assert hashlib.sha256(part.read_bytes()).hexdigest() == part.name
        refused = keel.cli("restore", file, "--home", home, check=False)
        assert refused.returncode == 1 and "not empty" in refused.stderr
    assert not list(pathlib.Path(keel.home, "work").glob("backup-*"))
    keel.stop()


def altered(home, seq):
    """Alters an event and computes every hash behind it anew, as somebody could who has the database."""
    db = sqlite3.connect(f"{home}/keel.sqlite")
    db.execute("UPDATE ledger SET caller = 'nobody' WHERE seq = ?", (seq,))
    previous = ""
    columns = ["caller", "persona", "workspace", "request_id", "kind", "subject", "data"]
    for row in db.execute(f"SELECT seq, at, {', '.join(columns)} FROM ledger ORDER BY seq").fetchall():
        text = f"{previous}\n{row[0]}\n{row[1]}\n" + "".join(f"{len(f.encode())}:{f}\n" for f in row[2:])
        previous = hashlib.sha256(text.encode()).hexdigest()
        db.execute("UPDATE ledger SET hash = ? WHERE seq = ?", (previous, row[0]))
    db.execute("UPDATE ledger_head SET hash = ?", (previous,))
    db.commit()
    db.close()


def test_a10_a_ledger_that_was_altered_and_computed_anew_is_found(keel, tmp_path):
    for i in range(5):
        keel.cli("tokens", "create", f"t{i}", "--persona", "service")
    checkpoint, key = tmp_path / "checkpoint.json", tmp_path / "key.pub"
    keel.cli("ledger", "checkpoint", "--export", checkpoint, "--export-key", key)
    signed = ["ledger", "verify", "--checkpoint", checkpoint, "--public-key", key]
    keel.cli("tokens", "create", "later", "--persona", "service")
    assert "it is the one that was signed" in keel.cli(*signed).stdout
    keel.stop()
    assert "it is the one that was signed" in keel.cli(*signed, "--home", keel.home).stdout
    altered(keel.home, 2)
    offline = keel.cli(*signed, "--home", keel.home, check=False)
    assert offline.returncode == 1 and "BROKEN" in offline.stdout
    assert keel.cli("ledger", "verify", "--home", keel.home, check=False).returncode == 0, "the chain alone does not tell"
    again = Keel(home=keel.home).start()
    for arguments in [["ledger", "verify"], signed]:
        found = again.cli(*arguments, check=False)
        assert found.returncode == 1 and "computed anew" in found.stdout, found.stdout + found.stderr
    assert "Ledger/checkpoints" in [d["subject"] for d in again.get("/api/v1/damage").json()["damage"]]
    key.write_text("x\n")
    assert again.cli(*signed, check=False).returncode == 1
    again.stop()


def test_a5_a_token_written_into_the_database_is_worthless(keel):
    good = keel.cli("tokens", "create", "good", "--persona", "owner").stdout.strip()
    keel.stop()
    secret = "keel_" + "x" * 43
    db = sqlite3.connect(f"{keel.home}/keel.sqlite")
    db.execute(
        "INSERT INTO tokens (name, digest, persona, workspace, created_at, created_by) VALUES ('evil', ?, 'owner', 'default', 1, 'x')",
        (hashlib.sha256(secret.encode()).hexdigest(),))
    db.commit()
    db.close()
    again = Keel(home=keel.home, environment={"KEEL_AUTH_REQUIRED": "true"}).start()
    assert again.get("/api/v1/tokens", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert again.get("/api/v1/tokens", headers={"Authorization": f"Bearer {good}"}).status_code == 200
    again.stop()
    again = Keel(home=keel.home).start()
    verified = again.cli("ledger", "verify", check=False)
    assert verified.returncode == 1 and "evil" in verified.stdout
    assert "Token/evil" in [d["subject"] for d in again.get("/api/v1/damage").json()["damage"]]
    again.stop()
