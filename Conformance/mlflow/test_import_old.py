"""`keel import mlflow` of stores with the schema of older MLflow versions: made by MLflow's own migrations, read as MLflow itself reads them."""
import contextlib
import json
import shutil
import sqlite3

import pytest
from alembic import command
from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
from mlflow.store.tracking.dbmodels.initial_models import Base
from mlflow_store import client_of, everything, fill

REVISIONS = {
    "MLflow 2.0": "97727af70f4d", "2.4, with aliases and datasets": "7f2a7d5fae7d", "2.9, with places of versions": "acf3f17fdcc7", "2.22": "0584bdc529eb",
    "3.1, with logged models": "6953534de441", "3.4, with evaluation datasets": "3da73c924c2f",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "artifacts").mkdir()
    made = fill(f"sqlite:///{folder}/mlflow.db", folder / "artifacts", 300)
    client = client_of(f"sqlite:///{folder}/mlflow.db")
    client.create_model_version("empty one", f"runs:/{made['models']}/notes", made["models"])
    return {"file": folder / "mlflow.db", "artifacts": folder / "artifacts", "made": made}


def old(store, path, revision):
    """A store of that schema with all of the rows and columns that it has a place for."""
    url = f"sqlite:///{path}"
    Base.metadata.create_all(create_sqlalchemy_engine(url))
    command.upgrade(_get_alembic_config(url), revision)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("ATTACH ? AS new", [str(store["file"])])
        tables = [row[0] for row in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT IN ('alembic_version', 'sqlite_sequence')")]
        for table in tables:
            columns = [row[1] for row in db.execute(f"PRAGMA main.table_info({table})")]
            kept = [c for c in columns if c in {row[1] for row in db.execute(f"PRAGMA new.table_info({table})")}]
            if kept:
                names = ", ".join(f'"{c}"' for c in kept)
                db.execute(f"DELETE FROM main.{table}")
                db.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
        assert db.execute("SELECT version_num FROM main.alembic_version").fetchall() == [(revision,)]
    return url


@pytest.mark.parametrize("revision", REVISIONS.values(), ids=REVISIONS.keys())
def test_an_old_store_arrives_as_mlflow_itself_reads_it(keel, store, tmp_path, revision):
    url = old(store, tmp_path / "old.db", revision)
    done = keel.cli("import", "mlflow", "--backend", url, "--artifacts", store["artifacts"], "--json")
    report = json.loads(done.stdout)
    assert report["verified"] and report["mismatches"] == [] and report["schema"] == revision
    shutil.copy(tmp_path / "old.db", tmp_path / "upgraded.db")
    command.upgrade(_get_alembic_config(f"sqlite:///{tmp_path}/upgraded.db"), "heads")
    assert everything(keel.url) == everything(f"sqlite:///{tmp_path}/upgraded.db")


def test_a_version_made_from_a_run_is_read_through_keel(keel, store, tmp_path):
    url = old(store, tmp_path / "old.db", REVISIONS["2.22"])
    report = json.loads(keel.cli("import", "mlflow", "--backend", url, "--artifacts", store["artifacts"], "--json").stdout)
    assert not any("'empty one'" in line for line in report["not_brought"])
    run = store["made"]["models"]
    version = client_of(keel.url).get_model_version("empty one", "1")
    assert version.source == f"runs:/{run}/notes"
    assert client_of(keel.url).get_model_version_download_uri("empty one", "1").endswith(f"/{run}/artifacts/notes")
