"""What people type and read: rows from files, an endpoint with its environment, a model with its versions, errors that say what to do."""
import pytest

import project
from servers import Keel

ROW = '{"user": "u1", "at": "2024-06-01T00:00:00Z", "price": 10}'


@pytest.fixture(scope="module")
def keel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    server = Keel().start()
    project.apply(server, folder)
    project.ingest(server, folder, project.csv(project.rows(2000)))
    server.json("run", "train")
    yield server
    server.stop()


def test_rows_come_from_the_command_a_file_or_standard_input(keel, tmp_path):
    file = tmp_path / "rows.json"
    file.write_text(f"[{ROW}, {ROW}]")
    one = keel.json("predict", "buying", ROW)["predictions"]
    assert keel.json("predict", "buying", f"@{file}")["predictions"] == one * 2
    assert keel.json("predict", "buying", "-", input=ROW)["predictions"] == one
    missing = keel.cli("predict", "buying", "@nowhere.json", check=False)
    assert missing.returncode != 0 and "there is no file 'nowhere.json'" in missing.stderr


@pytest.mark.parametrize("rows", ["[[1, 2, 3]]", "3", '["a"]'])
def test_rows_without_columns_are_refused_with_the_form_of_a_row(keel, rows):
    refused = keel.cli("predict", "buying", rows, check=False)
    assert refused.returncode != 0
    assert "a row is an object that names its columns" in refused.stderr and '{"COLUMN": VALUE' in refused.stderr


def test_an_endpoint_is_found_with_its_environment(keel):
    plain = keel.cli("get", "endpoints", "buying").stdout
    assert "buying/1 stable" in plain and keel.cli("get", "endpoints", "buying@production").stdout.splitlines()[0] == plain.splitlines()[0]
    refused = keel.cli("get", "endpoints", "buying@staging", check=False)
    assert refused.returncode != 0 and "buying" in refused.stderr


def test_a_model_is_described_with_its_versions(keel):
    described = keel.cli("describe", "model", "buying").stdout
    assert "VERSION" in described and "champion" in described, described
    listed = keel.cli("models", "list").stdout.splitlines()
    assert listed[0].split()[:2] == ["MODEL", "LATEST"] and listed[1].split()[:2] == ["buying", "1"]
    assert keel.json("describe", "model", "buying")["latest_version"] == 1


def test_a_token_is_never_keels_own(keel):
    refused = keel.cli("tokens", "create", "worker", "--persona", "system", check=False)
    assert refused.returncode != 0 and "'system' is not known here" in refused.stderr
    named = refused.stderr.split("one of:")[-1]
    assert "data-scientist" in named and "system" not in named


def test_a_missing_value_of_a_query_is_shown(keel):
    keel.json("predict", "buying", ROW)
    shown = keel.cli("query", "SELECT NULL AS nothing, 1 AS one").stdout.splitlines()
    assert shown[1].split() == ["-", "1"]
    assert keel.cli("query", "SELECT NULL AS nothing, 1 AS one", "--csv").stdout.splitlines() == ["nothing,one", ",1"]
