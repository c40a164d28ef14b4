"""Every kind of stored file, damaged in every manner: the server starts, what does not need the file works, and the damage has a name."""
import glob
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import time

import pytest

import project
from receiver import LAPTOP
from servers import KEEL, Keel, ROOT
from watch import Watched

ANOTHER = """
---
apiVersion: keel/v1
kind: Dataset
metadata: { name: other }
spec: { key: [id], columns: [{ name: id, type: int64 }] }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with everything in it: two datasets, snapshots, quarantine, rows in the stream, a model in production, webhooks, tokens."""
    folder = tmp_path_factory.mktemp("damage")
    server = Keel(home=str(folder / "home"), environment=LAPTOP)
    os.mkdir(server.home)
    server.start()
    project.apply(server, folder, project.RESOURCES + ANOTHER)
    server.post("/api/v1/datasets/other/events", {"rows": [{"id": 1}]})
    project.ingest(server, folder, project.csv(project.rows(2000) + [dict(project.rows(1, start=5000)[0], price=-1)]))
    server.cli("run", "train")
    for start in [10000, 20000]:
        server.post("/api/v1/datasets/clicks/events", {"rows": project.rows(200, start=start) + [dict(project.rows(1, start=start + 500)[0], price=-1)]})
        if start == 10000:
            server.post("/api/v1/datasets/clicks/seal")
    for i in range(20):
        assert server.post("/v2/models/buying/infer", project.question([f"q{i}"])).status_code == 200
    server.cli("tokens", "create", "dana", "--persona", "service")
    hook = {"name": "hook", "url": "http://127.0.0.1:9/x", "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}], "secret": "s"}
    assert server.post("/api/2.0/mlflow/webhooks", hook).status_code == 200
    server.stop()
    return server.home


def one(pattern):
    """The largest file, so that a cut anywhere in it takes something away."""
    def find(home):
        return max(glob.glob(f"{home}/{pattern}"), key=os.path.getsize)
    return find


def bundle_of_stable(home):
    with sqlite3.connect(f"{home}/keel.sqlite") as db:
        digest = db.execute("SELECT bundle FROM releases ORDER BY number LIMIT 1").fetchone()[0]
    return f"{home}/objects/content/{digest[:2]}/{digest}"


# Where each kind lies, and how the subjects begin of which one must be named.
KINDS = {
    "parquet": (one("lake/datasets/clicks/*.parquet"), {"Dataset/clicks"}),
    "quarantine": (one("lake/datasets/clicks/*quarantine*"), {"Dataset/clicks"}),
    "stream": (one("streams/clicks/rows/*.log"), {"Dataset/clicks"}),
    "rejected": (one("streams/clicks/rejected/*.log"), {"Dataset/clicks"}),
    "bundle": (bundle_of_stable, {"Endpoint/buying"}),
    "secrets": (lambda home: f"{home}/secrets.key", {"Home/secrets.key", "Webhook/"}),
    "ledger key": (lambda home: f"{home}/ledger.key", {"Home/ledger.key", "Ledger/checkpoints"}),
    "predictions": (one("predictions/*.log"), {"Predictions"}),
    "checkpoints": (one("checkpoints/*.log"), {"Ledger/checkpoints"}),
    "features": (one("features/*.state"), {"Features/clicks"}),
    "features key": (lambda home: f"{home}/features.key", {"Home/features.key"}),
}
# The bytes of these are only compared when somebody reads them. Online features start from their checkpoint, not from Parquet.
SEEN_WHEN_READ = {("parquet", "flip"), ("quarantine", "flip"), ("quarantine", "cut"), ("quarantine", "empty"), ("quarantine", "garbage")}
# Nothing tells these from what should be there: the log of checkpoints may be short, what predictions it held is in the database, and features are made
# from all rows where there is no file of theirs, or their key is another.
UNSEEN = {("features", "remove"), ("features key", "remove"), ("features key", "flip"),
          ("predictions", "remove"), ("predictions", "empty"), ("predictions", "cut"), ("checkpoints", "remove"), ("checkpoints", "empty"), ("checkpoints", "cut")}

MANNERS = ["flip", "cut", "empty", "remove", "garbage"]


def damage(path, manner, draw):
    with open(path, "rb") as file:
        content = bytearray(file.read())
    if manner == "flip":
        content[len(content) // 3] ^= 0x10
    elif manner == "cut":
        del content[len(content) // 4:]
    elif manner == "empty":
        content.clear()
    elif manner == "garbage":
        content = bytearray(draw.randbytes(len(content) + 1))
    os.remove(path)
    if manner != "remove":
        with open(path, "wb") as file:
            file.write(content)


def works(server, without=()):
    """What does not need the damaged file."""
    assert server.get("/health").status_code == 200
    assert server.post("/api/v1/datasets/other/events", {"rows": [{"id": random.getrandbits(40)}]}).json()["accepted"] == 1
    assert server.post("/api/v1/datasets/other/seal").status_code == 200
    assert server.cli("get", "endpoints").returncode == 0
    assert server.post("/api/2.0/mlflow/experiments/create", {"name": f"e{random.getrandbits(60)}"}).status_code == 200
    if "endpoint" not in without:
        assert server.post("/v2/models/buying/infer", project.question()).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("manner", MANNERS)
def test_d8_d9_d13_s1_damage_is_contained(home, tmp_path, kind, manner):
    copy = shutil.copytree(home, tmp_path / "home")
    find, subjects = KINDS[kind]
    damage(find(str(copy)), manner, random.Random(f"{kind} {manner}"))
    # What is told again at the next start does not depend on the manner.
    for start in range(2 if manner == "flip" else 1):
        with Watched(home=str(copy)) as server:
            with server.attacked():
                works(server, without=["endpoint"] if kind in ("bundle", "parquet") else [])
                named = {d["subject"] for d in server.get("/api/v1/damage").json()["damage"]}
            found = sorted(n for n in named if n.startswith(tuple(subjects)))
            if start == 0 and (kind, manner) not in UNSEEN | SEEN_WHEN_READ:
                assert found, f"{named} is named, not one of {subjects}"
                assert f'keel_damaged{{subject="{found[0]}"}} 1' in server.get("/metrics").text
                assert found[0] in server.cli("get", "damage").stdout
                while found[0] not in [e["subject"] for e in server.json("ledger", "--kind", "damage.found")["events"]]:
                    time.sleep(0.05)
            else:
                whats = [(e["subject"], e["data"]["what"]) for e in server.json("ledger", "--kind", "damage.found")["events"]]
                assert len(whats) == len(set(whats)), "a finding is told again at every start"
            server.stop()


def test_s1_d13_damaged_rows_of_the_database(home, tmp_path):
    copy = str(shutil.copytree(home, tmp_path / "home"))
    statements = [
        "UPDATE data_snapshots SET profile = '{\"columns\": [{]'",
        "UPDATE resources SET body = '{' WHERE kind = 'Endpoint'", "UPDATE resource_revisions SET body = '{' WHERE kind = 'Endpoint'",
        "UPDATE tokens SET persona = 'king'",
    ]
    with sqlite3.connect(f"{copy}/keel.sqlite") as db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0
    with Watched(home=copy) as server:
        with server.attacked():
            works(server, without=["endpoint"])
        named = {d["subject"] for d in server.get("/api/v1/damage").json()["damage"]}
        assert named >= {"Dataset/clicks", "Endpoint/buying", "Token/dana"}
        # Applying the declaration again mends it.
        project.apply(server, tmp_path, project.RESOURCES + ANOTHER)
        works(server)
        server.stop()


def test_d9_without_its_database_nothing_is_deleted(home, tmp_path):
    copy = str(shutil.copytree(home, tmp_path / "home"))
    before = {f: open(f, "rb").read() for f in glob.glob(f"{copy}/**/*.parquet", recursive=True) + glob.glob(f"{copy}/objects/content/*/*")}
    for file in glob.glob(f"{copy}/keel.sqlite*"):
        os.remove(file)
    with Watched(home=copy) as server:
        named = {d["subject"] for d in server.get("/api/v1/damage").json()["damage"]}
        assert named >= {"Home/keel.sqlite", "Dataset/clicks"}
        with server.attacked():
            refused = server.cli("gc", check=False)
        assert refused.returncode == 1 and "put keel.sqlite back" in refused.stderr
        server.stop()
    after = {open(f, "rb").read() for f in glob.glob(f"{copy}/**/*.parquet", recursive=True) + glob.glob(f"{copy}/objects/content/*/*")}
    assert after >= set(before.values())


@pytest.mark.parametrize("manner", ["garbage", "cut"])
def test_d13_a_database_that_cannot_be_read_is_refused_with_the_way_out(home, tmp_path, manner):
    copy = str(shutil.copytree(home, tmp_path / "home"))
    damage(f"{copy}/keel.sqlite", manner, random.Random(1))
    with pytest.raises(AssertionError, match="keel restore"):
        Keel(home=copy).start()


# Places of a home, in groups that do not hide one another, each with the subject that must be named when something else lies there.
FILES = {
    "files": {"predictions/*.log": "Predictions", "checkpoints/*.log": "Ledger/checkpoints", "keel.sqlite-wal": "Home/keel.sqlite-wal",
              "keel.sqlite-shm": "Home/keel.sqlite-shm", "secrets.key": "Home/secrets.key", "ledger.key": "Home/ledger.key",
              "features.key": "Home/features.key", "features/clicks.state": "Features/clicks", "streams/clicks/rows/*.log": "Dataset/clicks"},
    "lake": {"lake/datasets/clicks/*.parquet": "Dataset/clicks"},
    "objects": {"objects/content/*/*": "Endpoint/buying"},
}
FOLDERS = {
    "folders": {name: f"Home/{name}" for name in ["predictions", "checkpoints", "features", "work", "objects/tmp", "objects/uploads", "lake/datasets"]},
    "content": {name: f"Home/{name}" for name in ["objects/content", "streams"]},
    "outer": {name: f"Home/{name}" for name in ["objects", "lake"]},
}
INTRUDERS = ["fifo", "endless", "dangling", "loop", "socket", "other"]


def intrude(path, manner):
    """Puts something of another kind in the place of a file, or of a folder."""
    is_folder = os.path.isdir(path)
    if is_folder:
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
    if manner == "fifo":
        os.mkfifo(path)
    elif manner == "endless":
        os.symlink("/dev/zero", path)
    elif manner == "dangling":
        os.symlink("/nowhere/at/all", path)
    elif manner == "loop":
        os.symlink(path, path)
    elif manner == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            # The whole path may be longer than the name of a socket can be.
            here = os.getcwd()
            os.chdir(os.path.dirname(path))
            try:
                s.bind(os.path.basename(path))
            finally:
                os.chdir(here)
    elif is_folder:
        open(path, "w").close()
    else:
        os.mkdir(path)


def everything(home, pattern):
    return glob.glob(f"{home}/{pattern}") or [f"{home}/{pattern}"]


@pytest.mark.parametrize("group", [*FILES, *FOLDERS])
@pytest.mark.parametrize("manner", INTRUDERS)
def test_what_is_no_file_or_no_folder_stops_no_start(home, tmp_path, group, manner):
    copy = str(shutil.copytree(home, tmp_path / "home"))
    places = (FILES | FOLDERS)[group]
    for pattern in places:
        for path in everything(copy, pattern):
            intrude(path, manner)
    with Watched(home=copy) as server:
        with server.attacked():
            works(server, without=["endpoint"] if group in ("lake", "objects", "content", "outer", "folders") else [])
            damage = server.get("/api/v1/damage").json()["damage"]
        assert {d["subject"] for d in damage} >= set(places.values())
        assert "NSCocoa" not in str(damage) + server.log()
        server.stop()
    # The next start finds what this one made.
    with Watched(home=copy) as server:
        works(server, without=["endpoint"])
        server.stop()


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]


class Unprivileged(Keel):
    """A server that runs as a user who is refused what its permissions do not allow."""

    def start(self):
        subprocess.run(["chown", "-R", "65534:65534", self.home], check=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")}
        with open(self.home + ".log", "ab") as log:
            command = [*NOBODY, str(KEEL), "serve", "--home", self.home, "--listen", f"127.0.0.1:{self.port}"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", env=environment)
        for _ in range(300):
            assert self.process.poll() is None, open(self.home + ".log").read()[-2000:]
            try:
                if self.get("/health").status_code == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError("keel did not become ready")

    def damage(self):
        done = subprocess.run([*NOBODY, str(KEEL), "get", "damage"], capture_output=True, text=True, cwd="/", env=os.environ | {"KEEL_URL": self.url})
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can start a server as another user")
@pytest.mark.parametrize("group", ["keys", "logs", "folders", "sidecars"])
def test_what_may_not_be_read_stops_no_start_and_is_not_replaced(home, tmp_path, group):
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.geteuid() and len(folder.parts) > 2:
            folder.chmod(folder.stat().st_mode | 0o711)
    copy = str(shutil.copytree(home, tmp_path / "home"))
    places = {
        "keys": ["secrets.key", "ledger.key", "features.key"], "logs": ["predictions/*.log", "checkpoints/*.log"],
        "folders": ["predictions", "checkpoints", "work", "lake/datasets", "lake", "objects/content", "objects/tmp", "objects", "streams"],
        "sidecars": ["keel.sqlite-wal", "keel.sqlite-shm"],
    }[group]
    for name in ["keel.sqlite-wal", "keel.sqlite-shm"] if group == "sidecars" else []:
        open(f"{copy}/{name}", "ab").close()
    paths = [path for place in places for path in everything(copy, place)]
    before = {path: open(path, "rb").read() for path in paths if group == "keys"}
    for path in paths:
        os.chmod(path, 0)
    server = Unprivileged(home=copy).start()
    try:
        told = server.damage()
        subjects = {"predictions/*.log": "Predictions", "checkpoints/*.log": "Ledger/checkpoints"}
        for place in places:
            assert subjects.get(place, f"Home/{place}") in told
        server.stop()
        for path, content in before.items():
            assert open(path, "rb").read() == content
            os.chmod(path, 0o600)
        # Once they can be read again, everything is as before.
        if group == "keys":
            server.start()
            assert "Home/" not in server.damage() and "Webhook/" not in server.damage() and "Ledger/" not in server.damage()
            server.stop()
    finally:
        if server.process.poll() is None:
            server.kill()


@pytest.mark.parametrize("manner", ["flip", "empty", "remove"])
def test_a_manifest_that_cannot_be_read_stops_a_collection(home, tmp_path, manner):
    copy = str(shutil.copytree(home, tmp_path / "home"))
    damage(bundle_of_stable(copy), manner, random.Random(1))
    before = sorted(glob.glob(f"{copy}/objects/content/*/*"))
    with Watched(home=copy) as server:
        refused = server.cli("gc", check=False)
        assert refused.returncode == 1 and "put the object back from a backup" in refused.stderr
        server.stop()
    assert sorted(glob.glob(f"{copy}/objects/content/*/*")) == before
