"""Every kind of stored file, damaged in every manner: the server starts, what does not need the file works, and the damage has a name."""
import glob
import os
import random
import shutil
import sqlite3
import time

import pytest

import project
from receiver import LAPTOP
from servers import Keel
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
    for start in range(2):
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
