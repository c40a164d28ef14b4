"""MLflow's scoring protocol: its own client, and each shape as its own server reads it."""
import io
import json

import pandas
import pytest
import requests
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.types import ColSpec, DataType, Schema

import bundles
import served
from servers import Keel


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A server with one endpoint, as one of MLflow's has one model."""
    keel = Keel().start()
    served.serve(keel, tmp_path_factory.mktemp("alone"), "typed", bundles.stump(low=0.25, high=0.75, inputs=4), "xgboost", served.TYPED)
    yield keel
    keel.stop()


FRAME = pandas.DataFrame({"x": [0.0, 1.0, None], "n": [1, 2, 3], "word": ["red", None, "NA?"], "flag": [True, False, True]})
SCORES = [0.25, 0.75, 0.75]


def test_mlflows_own_client(alone):
    client = ScoringServerClient("127.0.0.1", alone.port)
    client.wait_server_ready(timeout=5)
    assert client.get_version()
    assert client.invoke(FRAME).get_predictions()[0].tolist() == SCORES
    assert client.invoke([[0.0, 1, "red", True]]).get_predictions().iloc[0, 0] == 0.25
    with pytest.raises(Exception, match="no param 'temperature'"):
        client.invoke(FRAME, params={"temperature": 1})


def shapes():
    rows = json.loads(FRAME.to_json(orient="records"))
    split = json.loads(FRAME.to_json(orient="split"))
    yield "split", {"dataframe_split": split}
    yield "split without an index", {"dataframe_split": {k: split[k] for k in ("columns", "data")}}
    yield "records", {"dataframe_records": rows}
    yield "instances", {"instances": rows}
    yield "lists", {"instances": [list(row.values()) for row in rows]}
    yield "columns", {"inputs": {name: [row[name] for row in rows] for name in FRAME}}
    yield "no params", {"dataframe_records": rows, "params": {}}
    yield "null params", {"dataframe_records": rows, "params": None}


@pytest.mark.parametrize("name, body", list(shapes()), ids=[name for name, _ in shapes()])
def test_every_shape_of_json(alone, name, body):
    for path in ["/invocations", "/endpoints/typed/invocations", "/endpoints/typed@production/invocations"]:
        answer = requests.post(alone.url + path, json=body, timeout=10)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == SCORES, name
        assert len(answer.json()["ids"]) == 3


@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=utf-8", "text/csv;charset=UTF-8"])
@pytest.mark.parametrize("index", [True, False])
def test_csv(alone, kind, index):
    answer = requests.post(alone.url + "/invocations", data=FRAME.to_csv(index=index).encode(), headers={"Content-Type": kind}, timeout=10)
    assert answer.status_code == 200 and answer.json()["predictions"] == SCORES, answer.text


@pytest.mark.parametrize("kind", ["text/csv; charset=latin-1", "text/csv; header=present", "application/vnd.apache.parquet", "application/xml"])
def test_types_that_are_not_taken(alone, kind):
    answer = requests.post(alone.url + "/invocations", data=b"x\n1\n", headers={"Content-Type": kind}, timeout=10)
    assert answer.status_code == 415, answer.text


CSVS = ["a,b\n1,x\n2,y\n", ",a,b\n0,1,x\n1,2,y\n", 'a,b\n1,"x, ""y"""\n2,"two\nlines"\n', "a,b\n,\n3,NA\n", "a,b\r\n1.5,None\r\n-2e3,x\r\n", "a,b\n1,007\n2,1e5\n"]


@pytest.mark.parametrize("text", CSVS)
def test_csv_is_read_as_mlflows_server_reads_it(text, alone, tmp_path_factory):
    """The same text through MLflow's parser and through an endpoint, which logs what it was given."""
    schema = Schema([ColSpec(DataType.double, "a"), ColSpec(DataType.string, "b")])
    frame = scoring_server.parse_csv_input(io.StringIO(text), schema)
    expected = [[None if pandas.isna(a) else a, None if pandas.isna(b) else b] for a, b in zip(frame["a"], frame["b"])]
    renamed = text.replace("a,b", "x,word", 1)
    answer = requests.post(alone.url + "/invocations", data=renamed.encode(), headers={"Content-Type": "text/csv"}, timeout=10)
    assert answer.status_code == 422 and "'n' is missing" in answer.text, "the endpoint takes four columns"
    lines = renamed.replace("x,word", "x,word,n,flag", 1)
    # Two columns more in every record, through pandas' own writer.
    full = pandas.DataFrame({"x": [r[0] for r in expected], "word": [r[1] for r in expected], "n": 1, "flag": True})
    rows = requests.post(alone.url + "/api/v1/endpoints/typed/predict", timeout=10, json={
        "rows": json.loads(full.to_json(orient="records")), "features": True}).json()["predictions"]
    sent = requests.post(alone.url + "/invocations", data=full.to_csv(index=False).encode(), headers={"Content-Type": "text/csv"}, timeout=10).json()
    assert [row["score"] for row in rows] == sent["predictions"], lines
    assert [[row["features"]["x"], row["features"]["word"]] for row in rows] == expected


@pytest.mark.parametrize("body, word", [
    ({}, "exactly one of"), ({"inputs": [], "instances": []}, "exactly one of"), ({"dataframe_split": {"columns": ["x"], "data": [[1, 2]]}}, "dataframe_split.data[0]"),
    ({"dataframe_records": [{"x": 1}]}, "is missing"), ({"dataframe_records": [served.ROW | {"colour": 1}]}, "colour"),
    ({"dataframe_records": [served.ROW | {"x": "much"}]}, "'x' must be a float64"), ({"dataframe_records": [served.ROW | {"n": 1.5}]}, "does not fit"),
    ({"dataframe_records": [served.ROW], "params": {"k": 1}}, "params.k"), ({"dataframe_records": [served.ROW], "params": 3}, "params"),
    ({"dataframe_records": [served.ROW], "more": 3}, "more"), ({"dataframe_records": []}, "dataframe_records"),
])
def test_mistakes_are_named(alone, body, word):
    answer = requests.post(alone.url + "/invocations", json=body, timeout=10)
    assert answer.status_code in (400, 422) and word in answer.text, answer.text


@pytest.mark.parametrize("text", ["", "x\n", "x,n\n1\n", 'x\n"1', "x,x\n1,2\n"])
def test_csv_that_is_none(alone, text):
    answer = requests.post(alone.url + "/invocations", data=text.encode(), headers={"Content-Type": "text/csv"}, timeout=10)
    assert answer.status_code in (400, 422), answer.text
