"""Files that are small on disk and large in memory."""
import gzip
import io
import json
import subprocess
import zipfile

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from watch import Watched

pytestmark = pytest.mark.alone

CONTRACT = {
    "apiVersion": "keel/v1", "kind": "Dataset", "metadata": {"name": "bomb"},
    "spec": {"columns": [{"name": n, "type": "string", "nullable": True} for n in ("x", "y")]},
}


def parquet(rows, length, **options):
    """Rows that all are one long text, kept once in a dictionary."""
    text = pyarrow.array(["a" * length] * min(rows, 500))
    column = pyarrow.chunked_array([text] * -(-rows // 500)).slice(0, rows)
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"x": column, "y": column}), out, row_group_size=rows, **options)
    return out.getvalue()


def zipped(text):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", text)
    return out.getvalue()


BOMBS = {
    "dictionary.parquet": lambda: parquet(500, 900_000, compression="zstd"),
    "prefixes.parquet": lambda: parquet(1_000, 900_000, compression="zstd", use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"),
    "giants.parquet": lambda: parquet(3, 100_000_000, compression="zstd"),
    "zeros.csv.gz": lambda: gzip.compress(b"x,y\n" + b"0" * 150_000_000),
    "rows.csv.gz": lambda: gzip.compress(b"x,y\n" + (b"z" * 900_000 + b",\n") * 100),
    "quote.csv.gz": lambda: gzip.compress(b'x,y\n"' + b"\n" * 100_000_000),
    "brackets.json.gz": lambda: gzip.compress(b"[" * 100_000_000),
    "array.json.gz": lambda: gzip.compress(b'[{"x": "' + b"z" * 100_000_000),
    "line.jsonl.gz": lambda: gzip.compress(b'{"x": "' + b"z" * 100_000_000),
    "zeros.zip": lambda: zipped(b"x,y\n" + b"0" * 150_000_000),
    "wide.csv": lambda: b",".join([b"c"] * 2_000_000),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bomb")
    (folder / "bomb.yaml").write_text(yaml.safe_dump(CONTRACT))
    with Watched() as server:
        server.cli("apply", folder)
        yield server
        server.restart()


@pytest.mark.parametrize("name", BOMBS)
def test_s5_a_bomb_takes_no_more_than_the_budget(server, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    with server.attacked():
        done = server.cli("ingest", "bomb", path, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert server.home not in done.stdout + done.stderr


def test_s5_a_push_of_countless_bad_rows_is_refused(server):
    import requests
    body = b'{"rows": [' + b",".join([b"1"] * 7_000_000) + b"]}"
    with server.attacked():
        answer = requests.post(server.url + "/api/v1/datasets/bomb/events", data=body, headers={"Content-Type": "application/json"}, timeout=120)
    assert 400 <= answer.status_code < 500, answer.text[:200]
