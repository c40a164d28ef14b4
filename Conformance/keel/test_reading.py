"""What is read is what was written: exact, or refused with a message that can be followed. The oracle for Parquet is pyarrow."""
import datetime
import decimal
import gzip
import math
import pathlib
import random
import shutil
import tempfile
import zipfile

import pyarrow
import pyarrow.parquet
import pytest
import yaml

import project
from servers import ROOT, Keel

QA = ROOT.parent / "shared" / "qa"
COLLECTION = QA / "collections" / "parquet-testing"
has_collections = pytest.mark.skipif(not QA.exists(), reason="the collections are not beside the checkout")


@pytest.fixture(scope="module")
def keel():
    server = Keel().start()
    yield server
    assert server.json("ledger", "verify").get("problem") is None
    server.stop()


def declare(keel, folder, *datasets):
    """Applies datasets, each a name and its spec, beside those that are there."""
    text = yaml.safe_dump_all([{"apiVersion": "keel/v1", "kind": "Dataset", "metadata": {"name": n}, "spec": spec} for n, spec in datasets])
    (pathlib.Path(folder) / "datasets.yaml").write_text(text)
    keel.cli("apply", folder)


def ingest(keel, name, path, *options):
    return keel.cli("ingest", name, path, *options, check=False)


def stored(keel, name):
    """The rows of the newest snapshot, read by pyarrow from the lake."""
    number = keel.get(f"/api/v1/datasets/{name}/snapshots").json()["snapshots"][0]["number"]
    files = keel.get(f"/api/v1/datasets/{name}/snapshots/{number}").json()["files"]
    if not files:
        return {}
    tables = [pyarrow.parquet.ParquetFile(pathlib.Path(keel.home, "lake", f["path"])).read() for f in files]
    return pyarrow.concat_tables(tables).to_pydict()


def quarantine(keel, name):
    return keel.get(f"/api/v1/datasets/{name}/quarantine", params={"limit": 1000}).json()["rows"]


def contract_type(type):
    """The type that a column of a file is declared as; nothing for what no dataset holds."""
    is_type = pyarrow.types
    if is_type.is_boolean(type):
        return "bool"
    if is_type.is_integer(type):
        return "int32" if type.bit_width < 32 or type == pyarrow.int32() else "int64"
    if is_type.is_decimal(type) or is_type.is_float64(type):
        return "float64"
    if is_type.is_floating(type):
        return "float32"
    if is_type.is_string(type) or is_type.is_large_string(type):
        return "string"
    if is_type.is_binary(type) or is_type.is_large_binary(type) or is_type.is_fixed_size_binary(type):
        return "bytes"
    if is_type.is_timestamp(type):
        return "timestamp"
    if is_type.is_date(type):
        return "date"
    return "int32" if is_type.is_null(type) else None


def python_values(column):
    """The values of a column; of an instant that Python cannot express an object that is equal to nothing."""
    out = []
    for scalar in column:
        try:
            value = scalar.as_py()
        except (ValueError, OverflowError):
            value = object()
        out.append(value.item() if type(value).__module__ == "numpy" else value)
    return out


def expected(value):
    """pyarrow's value as Keel stores it."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.datetime):
        return (value.astimezone(datetime.timezone.utc) if value.tzinfo else value).replace(tzinfo=None)
    return value


def fits(value, kind):
    """Whether a column of this type holds the value."""
    if value is None:
        return True
    if isinstance(value, float) and math.isinf(value):
        return False
    if isinstance(value, decimal.Decimal):
        return decimal.Decimal(repr(float(value))) == value or decimal.Decimal(float(value)) == value
    if kind == "int64":
        return -2**63 <= value < 2**63
    return True


def read_by_pyarrow(path):
    """The table, or nothing when pyarrow cannot read it; INT96 in microseconds, as its nanoseconds overflow."""
    try:
        file = pyarrow.parquet.ParquetFile(path, coerce_int96_timestamp_unit="us")
        return file.schema_arrow, file.read()
    except (pyarrow.ArrowException, OSError):
        pass
    try:
        return pyarrow.parquet.read_schema(path), None
    except (pyarrow.ArrowException, OSError):
        return None, None


def clear_error(keel, done):
    assert done.returncode != 0, done.stdout
    assert "error" in done.stderr and len(done.stderr) < 2000, done.stderr
    assert keel.home not in done.stderr and "/upload" not in done.stderr, done.stderr


@has_collections
def test_v1_every_parquet_file_gives_pyarrows_values_or_a_clear_error(keel, tmp_path):
    files = sorted(COLLECTION.glob("*.parquet")) + sorted((COLLECTION / "bad_data").glob("*.parquet"))
    assert len(files) > 60
    plans = []
    for i, path in enumerate(files):
        schema, table = read_by_pyarrow(path)
        fields = {} if schema is None else {f.name: contract_type(f.type) for f in schema}
        declared = {n: t for n, t in fields.items() if t} or {"x": "int32"}
        if len(fields) != (0 if schema is None else len(schema)):
            continue
        ignored = [n for n in fields if n not in declared]
        columns = [{"name": f"c{k}", "column": n, "type": t, "nullable": True} for k, (n, t) in enumerate(declared.items())]
        plans.append((f"f{i}", path, declared, table, {"columns": columns, "ignore": ignored, "nulls": []}))
    declare(keel, tmp_path, *[(name, spec) for name, _, _, _, spec in plans])
    read = 0
    for name, path, declared, table, _ in plans:
        done = ingest(keel, name, path)
        if done.returncode != 0:
            if "quarantine" not in done.stderr:
                clear_error(keel, done)
                continue
        assert table is not None, f"{path.name} is read, but not by pyarrow"
        rows = [dict(zip(declared, values)) for values in zip(*[python_values(table.column(n)) for n in declared])]
        wanted = []
        for row in rows:
            instants = [v for n, v in row.items() if declared[n] == "timestamp" and v is not None]
            if all(fits(v, declared[n]) for n, v in row.items()) and all(isinstance(v, datetime.datetime) for v in instants):
                wanted.append([expected(v) for v in row.values()])
        got = stored(keel, name)
        got = [list(values) for values in zip(*[got[f"c{k}"] for k in range(len(declared))])] if got else []
        assert got == wanted, path.name
        read += 1
    assert read > 40, "most of the collection is read"


@has_collections
@pytest.mark.parametrize("file,kind,wanted", [
    ("decimal-ids.parquet", "int64", "all"),
    ("decimal-38-18.parquet", "float64", [12345.6789, 123456.789012, 2805.0, 47.5]),
    ("decimal-to-float32.parquet", "float32", []),
    ("decimal256.parquet", "float64", None),
    ("all-null-column.parquet", "string", [None, None]),
    ("nan-float.parquet", "float64", [1.0, None, None]),
])
def test_v1_and_g2_the_small_files(keel, tmp_path, file, kind, wanted):
    name = file.split(".")[0]
    column = "id" if file == "decimal-ids.parquet" else "x"
    declare(keel, tmp_path, (name, {"columns": [{"name": column, "type": kind, "nullable": True}]}))
    done = ingest(keel, name, QA / "inputs" / file)
    if wanted is None:
        clear_error(keel, done)
        assert "38 digits" in done.stderr
        return
    if wanted == "all":
        wanted = [int(v) for v in pyarrow.parquet.ParquetFile(QA / "inputs" / file).read().column(column).to_pylist()]
        assert 9007199254740993 in wanted
    assert stored(keel, name).get(column, []) == wanted


@has_collections
@pytest.mark.parametrize("file", ["ignored-struct.parquet", "ignored-time.parquet", "ignored-uint64.parquet"])
def test_g1_ignored_columns_may_hold_anything(keel, tmp_path, file):
    name = file.split(".")[0]
    declare(keel, tmp_path, (name, {"columns": [{"name": "a", "type": "int32"}], "ignore": ["s", "t", "u"]}))
    assert ingest(keel, name, QA / "inputs" / file).returncode == 0
    assert stored(keel, name)["a"] == pyarrow.parquet.ParquetFile(QA / "inputs" / file).read().column("a").to_pylist()


TWO = {"columns": [{"name": "a", "type": "int32"}, {"name": "b", "type": "string"}]}


def test_v3_an_unclosed_quote_is_refused_at_any_size(keel, tmp_path):
    declare(keel, tmp_path, ("quotes", TWO))
    for rows in (1000, 400_000):
        lines = [f'{i},x{i:0100}' for i in range(rows)]
        lines[4] = '4,"x4'
        (tmp_path / "q.csv").write_text("a,b\n" + "\n".join(lines) + "\n")
        done = ingest(keel, "quotes", tmp_path / "q.csv")
        clear_error(keel, done)
        assert "q.csv:6" in done.stderr, done.stderr
    assert keel.get("/api/v1/datasets/quotes/snapshots").json()["snapshots"] == []


def test_v6_an_ingest_that_keeps_no_row_fails_and_says_so(keel, tmp_path):
    declare(keel, tmp_path, ("numbers", TWO))
    (tmp_path / "none.csv").write_text("a,b\nx,1\ny,2\n")
    done = ingest(keel, "numbers", tmp_path / "none.csv")
    assert done.returncode != 0 and "all 2 are in quarantine" in done.stderr and "first at line 2" in done.stdout
    (tmp_path / "some.csv").write_text("a,b\nx,1\n1,2\n")
    done = ingest(keel, "numbers", tmp_path / "some.csv")
    assert done.returncode == 0 and "1 in quarantine" in done.stdout


def test_g4_overwrite_replaces_the_rows(keel, tmp_path):
    declare(keel, tmp_path, ("again", TWO | {"key": ["a"]}))
    (tmp_path / "one.csv").write_text("a,b\n1,x\n2,y\n")
    assert ingest(keel, "again", tmp_path / "one.csv").returncode == 0
    assert ingest(keel, "again", tmp_path / "one.csv").returncode != 0
    assert ingest(keel, "again", tmp_path / "one.csv", "--overwrite").returncode == 0
    assert stored(keel, "again") == {"a": [1, 2], "b": ["x", "y"]}


def test_g7_hints_can_be_followed(keel, tmp_path):
    declare(keel, tmp_path, ("packs", TWO))
    with zipfile.ZipFile(tmp_path / "Two Files.zip", "w") as archive:
        for name in ["a.csv", "b.csv", "__MACOSX/._a.csv", ".DS_Store"]:
            archive.writestr(name, "a,b\n1,x\n")
    done = ingest(keel, "packs", tmp_path / "Two Files.zip")
    clear_error(keel, done)
    hint = done.stderr.split("as in '")[1].split("'")[0]
    assert hint == "Two Files.zip#a.csv"
    assert ingest(keel, "packs", tmp_path / hint).returncode == 0
    (tmp_path / "x.csv.zst").write_bytes(bytes([0x28, 0xB5, 0x2F, 0xFD]) + b"...")
    clear_error(keel, ingest(keel, "packs", tmp_path / "x.csv.zst"))
    (tmp_path / "rows.json").write_text('[{"a": 1, "b": "x"},\n{"a": 2, "b": "y"}]')
    (tmp_path / "utf16.csv").write_text("a,b\n3,ü\n", encoding="utf-16")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress("a,b\n4,ü\n".encode("utf-16")))
    for name in ["rows.json", "utf16.csv", "rows.csv.gz"]:
        assert ingest(keel, "packs", tmp_path / name).returncode == 0
    assert stored(keel, "packs")["b"] == ["x", "x", "y", "ü", "ü"]


def test_v2_a_home_that_looks_like_a_partition_changes_nothing():
    """From the file through features to the training set, in a home below `env=prod`, with a column that is called so."""
    root = tempfile.mkdtemp(prefix="keel-partition-")
    home = pathlib.Path(root, "env=prod", "user=nobody")
    home.mkdir(parents=True)
    folder = pathlib.Path(root, "project")
    folder.mkdir()
    server = Keel(home=str(home)).start()
    try:
        text = project.RESOURCES.replace("    - { name: price,", "    - { name: env, type: string }\n    - { name: price,")
        text = text.replace("at: at, features: buying, between", "at: at, features: buying, keep: [env, user], between")
        project.apply(server, folder, text)
        header, *lines = project.csv(project.rows(2000)).decode().splitlines()
        at = header.split(",").index("price")
        insert = lambda line, word: ",".join(line.split(",")[:at] + [word] + line.split(",")[at:])
        data = "\n".join([insert(header, "env")] + [insert(line, f"own{i % 3}") for i, line in enumerate(lines)]) + "\n"
        project.ingest(server, folder, data.encode())
        assert set(stored(server, "clicks")["env"]) == {"own0", "own1", "own2"}
        server.cli("run", "train")
        sets = [pyarrow.parquet.ParquetFile(p).read().to_pydict() for p in (home / "lake" / "training").glob("*.parquet")]
        assert sets and all(set(s["env"]) <= {"own0", "own1", "own2"} and "nobody" not in s["user"] for s in sets)
        assert all(value > 0 for s in sets for value in s["clicks_1h"])
    finally:
        server.stop()
        shutil.rmtree(root)


def test_d10_damage_is_found_when_it_is_read_and_by_a_deep_check(tmp_path):
    server = Keel().start()
    try:
        declare(server, tmp_path, ("kept", TWO), ("whole", TWO))
        (tmp_path / "k.csv").write_text("a,b\n" + "".join(f"{i},x{i}\n" for i in range(5000)))
        for name in ["kept", "whole"]:
            assert ingest(server, name, tmp_path / "k.csv").returncode == 0
        artifact = b"0123456789" * 1000
        import requests
        put = requests.put(server.url + "/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/a.bin", data=artifact, timeout=30)
        assert put.status_code == 200, put.text
        get = lambda: requests.get(server.url + "/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/a.bin", timeout=30)
        assert get().content == artifact
        assert server.cli("doctor", "--deep").returncode == 0

        def flip(path):
            data = bytearray(path.read_bytes())
            data[random.Random(1).randrange(len(data) // 4, len(data) // 2)] ^= 0x20
            path.write_bytes(data)

        flip(next(pathlib.Path(server.home, "lake", "datasets", "kept").glob("*.parquet")))
        content = [p for p in pathlib.Path(server.home, "objects", "content").rglob("*") if p.is_file() and p.stat().st_size == len(artifact)]
        flip(content[0])
        answer = get()
        assert answer.status_code >= 500 and answer.content != artifact, answer.status_code
        done = server.cli("doctor", "--deep", check=False)
        assert done.returncode == 1 and "Dataset/kept" in done.stdout and content[0].name in done.stdout, done.stdout + done.stderr
        assert "Dataset/whole" not in done.stdout
    finally:
        server.stop()
