"""The ends of every type, through every way in: each value is kept exactly, or its row is refused with a reason. The server neither ends nor refuses to
start again, whatever was let in."""
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from watch import Watched

pytestmark = pytest.mark.alone

LOW, HIGH = -62_135_596_800_000_000, 253_402_300_799_999_999
INT64 = [-(2**63), -(2**63) + 1, -(2**53) - 1, -1, 0, 1, 2**53 + 1, 2**63 - 2, 2**63 - 1]
FLOATS = [1.797e308, -1.797e308, 1.7976931348623157e308, -1.7976931348623157e308, 1.2e154, -1.2e154, 5e-324, -5e-324, 2.2e-308, 0.0, -0.0, 1e39, 5.0]
NOT_NUMBERS = [float("nan"), float("inf"), float("-inf")]
TIMES = ["0000-12-31T23:59:59Z", "0001-01-01", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999-00:01",
         "10000-01-01", "99999999-01-01T00:00:00Z", "-0001-01-01", "1970-01-01T00:00:00Z", "2013-02-29", "2013-04-01T24:00:00Z", ""]
TEXTS = ["", "x", "\x00", "\n", '"', "'", ",", "\ufeff", "𐏿", "e\u0301", "a" * 65_536, "a" * 1_000_000]

# type → (values as text and JSON, Arrow arrays of the same size)
CASES = {
    "int32": (INT64 + [2**31 - 1, -(2**31), 2**31, 1.5, "1e3", "0x10"], [pa.array(INT64, pa.int64()), pa.array([0, 2**64 - 1], pa.uint64()), pa.array([-(2**31)], pa.int32()),
                                                                        pa.array([0, 2**32 - 1], pa.uint32()), pa.array(FLOATS)]),
    "int64": (INT64 + [2**63, -(2**63) - 1, 1e300, 0.5], [pa.array(INT64, pa.int64()), pa.array([2**63], pa.uint64()), pa.array(FLOATS), pa.array([True, False])]),
    "float32": (FLOATS + ["NaN", "Infinity", "1e999"], [pa.array(FLOATS + NOT_NUMBERS), pa.array([3.4e38, float("nan"), float("-inf")], pa.float32())]),
    "float64": (FLOATS + ["NaN", "-Infinity", "1e999", "1e-999"], [pa.array(FLOATS + NOT_NUMBERS), pa.array(INT64, pa.int64())]),
    "bool": ([True, False, 0, 1, 2, "yes", "TRUE"], [pa.array([True, False, None])]),
    "string": (TEXTS, [pa.array(TEXTS), pa.array([b"\xff\xfe", b"\xed\xa0\x80"]).cast(pa.binary()).view(pa.string())]),
    "timestamp": (TIMES + INT64, [pa.array([x for x in INT64 + [LOW - 1, LOW, HIGH, HIGH + 1]], pa.int64()).view(pa.timestamp(unit, tz=zone))
                                  for unit in ("ms", "us", "ns") for zone in (None, "UTC")]),
    "date": (TIMES + INT64, [pa.array([-(2**31), -719_163, -719_162, 0, 2_932_896, 2_932_897, 2**31 - 1], pa.int32()).view(pa.date32())]),
}
NUMERIC = ("int32", "int64", "float32", "float64")


def resources(kind):
    features = ["{ name: n, aggregate: count, of: v, window: 3650d }", "{ name: latest, of: v }"]
    if kind in NUMERIC:
        features += [f"{{ name: {f}, aggregate: {f}, of: v, window: 1h }}" for f in ("sum", "mean", "stddev", "min", "max", "count_distinct", "last")]
    if kind == "timestamp":
        features += ["{ name: year, of: year(v) }", "{ name: later, of: v + days(1e300) }", "{ name: moved, of: v - 24h }", "{ name: since, of: at - v }"]
    return f"""
apiVersion: keel/v1
kind: Dataset
metadata: {{ name: d_{kind} }}
spec:
  eventTime: at
  columns: [{{ name: k, type: string }}, {{ name: at, type: timestamp }}, {{ name: v, type: {kind}, nullable: true }}]
---
apiVersion: keel/v1
kind: FeatureView
metadata: {{ name: v_{kind} }}
spec: {{ entity: k, source: d_{kind}, features: [{", ".join(features)}] }}
---
apiVersion: keel/v1
kind: FeatureService
metadata: {{ name: s_{kind} }}
spec: {{ features: [v_{kind}] }}
---
# The type in the role of the event time, where it can have it.
apiVersion: keel/v1
kind: Dataset
metadata: {{ name: t_{kind} }}
spec: {{ columns: [{{ name: k, type: string }}, {{ name: at, type: {kind} }}]{", eventTime: at" if kind in ("timestamp", "date") else ""} }}
""" + (f"""---
apiVersion: keel/v1
kind: FeatureView
metadata: {{ name: w_{kind} }}
spec: {{ entity: k, source: t_{kind}, ttl: 3650d, features: [{{ name: n, aggregate: count, window: 24h }}, {{ name: latest, of: at }}] }}
---
apiVersion: keel/v1
kind: FeatureService
metadata: {{ name: w_{kind} }}
spec: {{ features: [w_{kind}] }}
""" if kind in ("timestamp", "date") else "")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    file = tmp_path_factory.mktemp("resources") / "all.yaml"
    entity = "apiVersion: keel/v1\nkind: Entity\nmetadata: { name: k }\nspec: { keys: { k: string } }\n"
    file.write_text("---\n".join([entity] + [resources(kind) for kind in CASES]))
    with Watched() as server:
        server.cli("apply", file)
        yield server


def ingest(server, dataset, name, data):
    answer = server.post_bytes(f"/api/v1/datasets/{dataset}/ingest?file={name}", data)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text.splitlines()[-1])


class Client:
    def __init__(self, server):
        self.server = server

    def post_bytes(self, path, data):
        kind = "application/json" if path.endswith("/events") else "application/octet-stream"
        return requests.post(self.server.url + path, data=data, headers={"Content-Type": kind}, timeout=120)


def checked(report, sent):
    """Every row is kept or has a reason, unless the file as a whole is refused."""
    if "error" in report:
        assert report["error"]["message"] if isinstance(report["error"], dict) else report["error"], report
        return
    assert report["rows"] + report["quarantined"] == sent, report
    assert all(reason["reason"] for reason in report["reasons"])


@pytest.mark.parametrize("kind", CASES)
def test_s2_every_way_in_takes_the_ends_of_every_type(server, kind):
    client = Client(server)
    values, arrays = CASES[kind]
    with server.attacked():
        for dataset, column in ((f"d_{kind}", "v"), (f"t_{kind}", "at")):
            def row(value, write):
                rest = {} if column == "at" else {"at": "2013-04-01T10:00:00Z"}
                return write({"k": "a"} | rest | {column: value})
            lines = [row(value, lambda r: json.dumps(r)) for value in values]
            checked(ingest(client, dataset, "x.jsonl", "\n".join(lines).encode()), len(lines))
            names = ["k", column] if column == "at" else ["k", "at", column]
            csv = io.StringIO()
            csv.write(",".join(names) + "\n")
            for value in values:
                text = '"' + str(value).replace('"', '""') + '"'
                csv.write(f"a,{text}\n" if column == "at" else f"a,2013-04-01,{text}\n")
            checked(ingest(client, dataset, "x.csv", csv.getvalue().encode()), len(values))
            for array in arrays:
                table = {"k": pa.array(["a"] * len(array))} | ({} if column == "at" else {"at": pa.array([1_364_810_400_000_000] * len(array), pa.int64()).view(pa.timestamp("us"))})
                out = io.BytesIO()
                pq.write_table(pa.table(table | {column: array}), out, coerce_timestamps=None)
                checked(ingest(client, dataset, "x.parquet", out.getvalue()), len(array))
            body = ('{"rows": [' + ",".join(lines) + "]}").encode()
            pushed = client.post_bytes(f"/api/v1/datasets/{dataset}/events", body)
            assert pushed.status_code == 200, pushed.text
            assert pushed.json()["accepted"] + len(pushed.json()["rejected"]) == len(lines)
            for reason in pushed.json()["rejected"]:
                assert reason["reason"]
            if column == "v":
                read = server.post(f"/api/v1/features/s_{kind}/read", {"rows": [{"k": "a"}, {"k": "b"}]})
                assert read.status_code == 200, read.text
            elif kind in ("timestamp", "date"):
                read = server.post(f"/api/v1/features/w_{kind}/read", {"rows": [{"k": "a"}]})
                assert read.status_code == 200, read.text
            assert server.post(f"/api/v1/datasets/{dataset}/seal", {}).status_code == 200
            assert server.get(f"/api/v1/datasets/{dataset}/quarantine").status_code == 200


@pytest.mark.parametrize("when", TIMES + [str(x) for x in INT64])
def test_s2_instants_of_the_api_are_in_range_or_refused(server, when):
    with_time = server.get("/api/v1/ledger", params={"from": when})
    assert with_time.status_code in (200, 400), with_time.text
    answer = server.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0", "start_time": int(when) if when.lstrip("-").isdigit() else when})
    assert answer.status_code in (200, 400), answer.text


def test_s2_windows_have_a_longest(server, tmp_path):
    file = tmp_path / "long.yaml"
    for field in ("window", "ttl"):
        spec = '{ name: n, aggregate: count, window: 106751991d }' if field == "window" else "{ name: x, of: v }"
        ttl = "ttl: 106751991d, " if field == "ttl" else ""
        file.write_text(f"apiVersion: keel/v1\nkind: FeatureView\nmetadata: {{ name: long }}\nspec: {{ entity: k, source: d_int64, {ttl}features: [{spec}] }}\n")
        refused = server.cli("plan", file, check=False)
        assert refused.returncode != 0 and "3650d" in refused.stdout + refused.stderr


def test_s1_sums_beyond_float64_leave_a_dataset_usable(server):
    client = Client(server)
    data = b"k,at,v\na,2013-01-01,5\na,2013-01-02,-1.797e308\na,2013-01-03,1.2e154\na,2013-01-04,-1.2e154\n"
    for _ in range(3):
        report = ingest(client, "d_float64", "nodata.csv", data)
        assert (report["rows"], report["quarantined"]) == (4, 0)
    server.restart()
    assert ingest(client, "d_float64", "nodata.csv", data)["rows"] == 4


@pytest.mark.parametrize("pattern", ["[" * 3000 + "a" + "]" * 3000, "(" * 3000 + "a" + ")" * 3000, "(" * 51 + "a" + ")" * 51, "((a{100}){100}){100}", "(?=a)"])
def test_s3_patterns_are_limited_before_they_are_compiled(server, pattern):
    resource = {"apiVersion": "keel/v1", "kind": "Dataset", "metadata": {"name": "deep"}, "spec": {"columns": [{"name": "s", "type": "string", "pattern": pattern}]}}
    with server.attacked():
        answer = server.post("/api/v1/plan", {"resources": [resource]})
        assert answer.status_code == 400 and "pattern" in answer.text, answer.text[:500]


def test_s4_patterns_are_matched_in_linear_time(server):
    resource = {"apiVersion": "keel/v1", "kind": "Dataset", "metadata": {"name": "slow"}, "spec": {"columns": [{"name": "s", "type": "string", "pattern": "(a+)+b"}]}}
    assert server.post("/api/v1/apply", {"resources": [resource]}).status_code == 200
    with server.attacked():
        for _ in range(3):
            pushed = server.post("/api/v1/datasets/slow/events", {"rows": [{"s": "a" * n} for n in (20, 1000, 60_000)] + [{"s": "aab"}]}).json()
            assert (pushed["accepted"], len(pushed["rejected"])) == (1, 3)


@pytest.mark.parametrize("search", ["experiments", "runs", "registered-models", "logged-models"])
def test_s4_patterns_of_searches_have_a_longest(server, search):
    key = {"experiments": "name", "runs": "tags.a", "registered-models": "name", "logged-models": "name"}[search]
    for words, status in (("a" * 500 + "%", 200), ("%a" * 600, 400)):
        body = {"filter_string": f"{key} LIKE '{words}'", "filter": f"{key} LIKE '{words}'", "experiment_ids": ["0"], "max_results": 10}
        if search == "registered-models":
            answer = server.get("/api/2.0/mlflow/registered-models/search", params={"filter": body["filter"]})
        else:
            answer = server.post(f"/api/2.0/mlflow/{search}/search", body)
        assert answer.status_code == status, answer.text[:300]


def test_it_starts_again_with_all_of_it(server):
    server.restart()
    for kind in CASES:
        assert server.post(f"/api/v1/features/s_{kind}/read", {"rows": [{"k": "a"}]}).status_code == 200
