"""`keel import mlflow`: stores made by MLflow's own client, imported, and read back with MLflow's own client."""
import contextlib
import hashlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest
from servers import KEEL, ROOT, Keel, free_port
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow_store import client_of, everything, fill

POINTS = 50_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with every kind of thing; tests that change it copy it."""
    folder = tmp_path_factory.mktemp("mlflow")
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    url = f"sqlite:///{folder}/mlflow.db"
    made = fill(url, artifacts, POINTS)
    # What mlflow-artifacts:/ stands for is a folder of the server's; its client writes through it.
    proxied = client_of(url).create_run(made["proxied"])
    target = artifacts / "4" / proxied.info.run_id / "artifacts"
    target.mkdir(parents=True)
    (target / "served.txt").write_text("through the proxy")
    made["proxied_run"] = proxied.info.run_id
    return {"file": folder / "mlflow.db", "url": url, "artifacts": artifacts, "made": made}


@pytest.fixture
def copy(store, tmp_path):
    shutil.copy(store["file"], tmp_path / "copy.db")
    return f"sqlite:///{tmp_path}/copy.db"


def imported(keel, url, artifacts, *more, code=0):
    done = keel.cli("import", "mlflow", "--backend", url, "--artifacts", artifacts, "--json", *more, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def counts(report, what):
    return {kind: count[what] for kind, count in report["kinds"].items() if count[what]}


def test_everything_arrives_as_it_was(keel, store):
    before = hashlib.sha256(store["file"].read_bytes()).hexdigest()
    rehearsal = imported(keel, store["url"], store["artifacts"], "--dry-run")
    assert rehearsal["kinds"]["runs"]["new"] == 12 and rehearsal["kinds"]["metric_points"]["new"] > POINTS
    assert MlflowClient(keel.url).search_experiments(filter_string="name = 'plain'") == []
    report = imported(keel, store["url"], store["artifacts"])
    assert report["verified"] and report["mismatches"] == [] and counts(report, "new") == counts(rehearsal, "new")
    assert report["kinds"]["experiments"]["source"] == 6 and report["kinds"]["versions"]["source"] == 3
    assert report["kinds"]["evaluation_datasets"]["new"] == 2 and report["kinds"]["evaluation_records"]["new"] == 254
    here = everything(keel.url)
    assert here == everything(store["url"]) and len(here["evaluation"][store["made"]["evaluation"]][-1]) == 254
    assert client_of(keel.url).get_experiment(store["made"]["unicode"]).name == "ünï/cödé 😀"
    far = [line for line in report["not_brought"] if store["made"]["far"] in line]
    assert len(far) == 1 and "s3://bucket/elsewhere" in far[0]
    assert hashlib.sha256(store["file"].read_bytes()).hexdigest() == before


def test_artifacts_and_models_are_used_through_keel(keel, store, tmp_path):
    import mlflow

    imported(keel, store["url"], store["artifacts"])
    client, made = client_of(keel.url), store["made"]
    local = client.download_artifacts(made["models"], "", str(tmp_path))
    assert pathlib.Path(local, "notes/with space ü.txt").read_text() == "hello"
    assert json.loads(pathlib.Path(local, "data.json").read_text()) == {"a": 1}
    served = client.download_artifacts(made["proxied_run"], "served.txt", str(tmp_path))
    assert pathlib.Path(served).read_text() == "through the proxy"
    mlflow.set_tracking_uri(keel.url)
    mlflow.set_registry_uri(keel.url)
    assert mlflow.pyfunc.load_model("models:/doubler@champion").predict([1, 2]) == [2, 4]
    assert mlflow.pyfunc.load_model(f"models:/{made['model']}").predict([5]) == [10]
    assert client.get_model_version_download_uri("doubler", "4").endswith(f"/{made['models']}/artifacts/notes")
    assert int(client.create_model_version("doubler", "models:/" + made["model"], model_id=made["model"]).version) == 5


def test_the_ledger_says_what_came_from_where_by_whom(keel, store):
    imported(keel, store["url"], store["artifacts"])
    events = keel.json("ledger", "--oldest", "--kind", "tracking.imported", "--limit", "1000")["events"]
    assert {e["data"]["source"] for e in events} == {store["url"].replace("sqlite:///", "sqlite:////").replace("/////", "////")}
    assert {e["caller"] for e in events} == {"local"}
    assert sum(e["data"]["count"] for e in events if e["data"]["kind"] == "metrics") > POINTS
    history = [e["kind"] for e in keel.json("ledger", "--oldest", "--subject", "Model/doubler")["events"]]
    assert history == ["model.imported"] + ["model.version.imported"] * 3 + ["model.aliases.imported"]
    assert keel.cli("ledger", "verify").returncode == 0


def test_a_second_import_brings_only_what_is_new_or_changed(keel, store, copy):
    imported(keel, copy, store["artifacts"])
    again = imported(keel, copy, store["artifacts"])
    assert counts(again, "new") == counts(again, "changed") == {} and again["verified"]
    source, made = client_of(copy), store["made"]
    fresh = source.create_run(made["plain"], run_name="fresh").info.run_id
    source.log_metric(fresh, "m", 1)
    source.log_batch(made["long"], [Metric("loss", 0.5, 1_800_000_000_000 + i, POINTS + i) for i in range(10)])
    source.set_tag(made["parent"], "reviewed", "yes")
    source.set_registered_model_alias("doubler", "champion", "4")
    source.restore_run(made["deleted_run"])
    third = imported(keel, copy, store["artifacts"])
    assert counts(third, "new") == {"runs": 1, "metric_points": 11}
    assert counts(third, "changed") == {"runs": 3, "aliases": 1}
    assert everything(keel.url) == everything(copy)


def test_what_was_changed_in_keel_stays(keel, store, copy):
    imported(keel, copy, store["artifacts"])
    here = client_of(keel.url)
    here.set_tag(store["made"]["parent"], "note", "mine")
    again = imported(keel, copy, store["artifacts"])
    assert counts(again, "changed_here") == {"runs": 1} and counts(again, "new") == {}
    assert here.get_run(store["made"]["parent"]).data.tags["note"] == "mine"
    here.create_registered_model("mine")
    client_of(copy).create_registered_model("mine", description="another")
    clash = imported(keel, copy, store["artifacts"], code=1)
    assert counts(clash, "conflict") == {"models": 1} and any("'mine'" in line for line in clash["not_brought"])


def test_experiments_find_a_place_beside_those_of_keel(keel, store):
    here = client_of(keel.url)
    first = here.create_experiment("of keel's own")
    joined = here.create_experiment("proxied")
    assert first == "1" and joined == "2"
    report = imported(keel, store["url"], store["artifacts"])
    assert any("('plain') has the number" in note for note in report["notes"])
    assert any("('proxied') is one with Keel's experiment 2" in note for note in report["notes"])
    plain = here.get_experiment_by_name("plain").experiment_id
    assert plain not in ("1", "2") and here.get_run(store["made"]["long"]).info.experiment_id == plain
    assert here.get_run(store["made"]["proxied_run"]).info.experiment_id == "2"
    assert everything(keel.url)["runs"] == everything(store["url"])["runs"]
    assert counts(imported(keel, store["url"], store["artifacts"]), "new") == {}


def points_in(keel):
    with contextlib.closing(sqlite3.connect(f"file:{keel.home}/keel.sqlite?mode=ro", uri=True, timeout=30)) as db:
        return db.execute("SELECT count(*) FROM tracking_points").fetchone()[0]


def importing(keel, store):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")} | {"KEEL_URL": keel.url}
    return subprocess.Popen(
        [str(KEEL), "import", "mlflow", "--backend", store["url"], "--artifacts", store["artifacts"]], env=environment, cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_points(keel, process, enough):
    while points_in(keel) < enough:
        assert process.poll() is None, "the import ended before it could be killed"
        time.sleep(0.002)


def test_a_killed_import_goes_on_where_it_was(keel, store):
    for enough in (1, 12_000):
        process = importing(keel, store)
        wait_for_points(keel, process, enough)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert 0 < points_in(keel) < POINTS
    report = imported(keel, store["url"], store["artifacts"])
    assert report["verified"] and report["kinds"]["runs"]["same"] > 0
    assert everything(keel.url) == everything(store["url"])


def test_a_killed_server_leaves_nothing_half_imported(store):
    keel = Keel().start()
    process = importing(keel, store)
    wait_for_points(keel, process, 5000)
    keel.kill()
    assert process.wait(timeout=60) != 0 and b"no server answers" in process.stderr.read()
    keel.start()
    try:
        assert 0 < points_in(keel) < POINTS
        assert imported(keel, store["url"], store["artifacts"])["verified"]
        assert everything(keel.url) == everything(store["url"])
    finally:
        keel.stop()


def test_a_database_in_use_is_read_and_never_kept_waiting(keel, store, copy, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db", isolation_level=None)) as user:
        user.execute("PRAGMA journal_mode = WAL")
        user.execute("BEGIN IMMEDIATE")
        user.execute("UPDATE experiments SET name = 'not committed' WHERE name = 'plain'")
        assert imported(keel, copy, store["artifacts"])["verified"]
        user.execute("ROLLBACK")
        user.execute("INSERT INTO tags (key, value, run_uuid) VALUES ('k', 'v', ?)", [store["made"]["parent"]])
        assert counts(imported(keel, copy, store["artifacts"]), "changed") == {"runs": 1}
    assert client_of(keel.url).get_experiment_by_name("plain") is not None


def test_artifacts_that_lead_out_of_their_folder_stay_there(keel, store, copy, tmp_path):
    (tmp_path / "secret").write_text("secret")
    artifacts = tmp_path / "artifacts"
    folder = artifacts / "x" / "artifacts"
    folder.mkdir(parents=True)
    (folder / "inside.txt").write_text("inside")
    (folder / "link.txt").symlink_to(tmp_path / "secret")
    run, sly = store["made"]["long"], store["made"]["parent"]
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as db, db:
        db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", [f"{artifacts}/y/../x/artifacts", run])
        db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", ["mlflow-artifacts:/../../secret", sly])
    report = imported(keel, copy, artifacts)
    assert any("link.txt" in line for line in report["not_brought"]) and any(sly in line for line in report["not_brought"])
    assert [f.path for f in client_of(keel.url).list_artifacts(run)] == ["inside.txt"]


def broken(folder, store):
    (folder / "text.db").write_text("this is no database\n" * 100)
    (folder / "empty.db").write_bytes(b"")
    with contextlib.closing(sqlite3.connect(folder / "other.db")) as db, db:
        db.execute("CREATE TABLE runs (id INTEGER)")
    content = store["file"].read_bytes()
    (folder / "truncated.db").write_bytes(content[: len(content) // 3])
    return {
        "text.db": "is not a SQLite database", "empty.db": "has no tables", "other.db": "is no database of MLflow", "truncated.db": "damaged",
        "missing.db": "there is no file", "": "there is no file",
    }


def test_broken_and_foreign_databases_are_named(keel, store, tmp_path):
    def events():
        # That somebody came in is noted beside the request.
        return [e for e in keel.json("ledger", "--oldest", "--limit", "1000")["events"] if e["kind"] != "access.authenticated"]

    head = events()
    for name, words in broken(tmp_path, store).items():
        done = keel.cli("import", "mlflow", "--backend", f"sqlite:///{tmp_path}/{name}", check=False)
        assert done.returncode == 1 and words in done.stderr, (name, done.stderr)
    for url, words in {"mysql://u:secret@h/db": "not the address", "sqlite://": "not the address", "mlflow.db": "not the address"}.items():
        done = keel.cli("import", "mlflow", "--backend", url, check=False)
        assert done.returncode == 1 and words in done.stderr and "secret" not in done.stderr
    done = keel.cli("import", "mlflow", "--backend", store["url"], "--artifacts", tmp_path / "nowhere", check=False)
    assert done.returncode == 1 and "there is no folder" in done.stderr
    assert events() == head


@pytest.fixture
def postgres(tmp_path):
    """PostgreSQL 15 in a folder of its own, owned by the user `postgres` when the tests run as root: it refuses to run as root."""
    programs = pathlib.Path("/usr/lib/postgresql/15/bin")
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    folder = pathlib.Path("/tmp") / f"keel-pg-{os.getpid()}-{free_port()}"
    folder.mkdir()
    if as_user:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
    port = free_port()

    def run(*command):
        subprocess.run([*as_user, *map(str, command)], check=True, capture_output=True, cwd="/tmp", env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})

    run(programs / "initdb", "-D", folder / "data", "-U", "mlflow", "--auth=trust", "--no-sync")
    run(programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off", "start")
    run(programs / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "mlflow", "mlflow")
    yield f"mlflow@127.0.0.1:{port}/mlflow"
    run(programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    shutil.rmtree(folder)


def test_a_store_in_postgres(keel, postgres, tmp_path):
    here, url = f"postgresql+psycopg2://{postgres}", f"postgresql://{postgres}"
    made = fill(here, tmp_path, 12_000)
    report = imported(keel, url, tmp_path)
    assert report["verified"] and report["source"] == url.replace("mlflow@", "")
    assert everything(keel.url) == everything(here)
    client_of(here).set_tag(made["parent"], "more", "1")
    again = imported(keel, here, tmp_path)
    assert counts(again, "changed") == {"runs": 1} and counts(again, "new") == {}
    gone = keel.cli("import", "mlflow", "--backend", url + "-not-there", check=False)
    assert gone.returncode == 1 and "PostgreSQL refused the connection" in gone.stderr


def test_an_older_schema_is_read_by_what_it_has(keel, store, copy, tmp_path):
    absent = ["logged_model_metrics", "logged_model_params", "logged_model_tags", "logged_models", "inputs", "input_tags", "registered_model_aliases"]
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as db, db:
        for table in absent:
            db.execute(f"DROP TABLE {table}")
        db.execute("DROP INDEX IF EXISTS index_runs_experiment_id")
        for table, column in [("runs", "deleted_time"), ("runs", "source_version"), ("model_versions", "storage_location"), ("experiments", "last_update_time")]:
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    report = imported(keel, copy, store["artifacts"])
    assert report["verified"] and report["kinds"]["runs"]["new"] == 12 and "logged_models" not in report["kinds"]
    here, there = everything(keel.url)["runs"], everything(store["url"])["runs"]
    assert all(here[run][part] == there[run][part] for run in there for part in ("info", "params", "tags", "history"))
