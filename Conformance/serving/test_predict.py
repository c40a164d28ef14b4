"""Keel's own form of a request: rows by name, with features joined where the endpoint has them."""
import pytest
import requests

import project
import served
from servers import Keel

PATH = "/api/v1/endpoints/typed/predict"


def test_rows_ids_and_where_the_answer_comes_from(endpoints):
    answer = endpoints.post(PATH, {"rows": [{"x": 0.0}]})
    assert answer.status_code == 422 and answer.json()["error"]["path"] == "n", "an input that is in no row is missing"
    answer = endpoints.post(PATH, {"rows": [served.ROW, {"x": 0.0}]})
    assert answer.status_code == 422 and answer.json()["error"]["path"] == "rows[1].n", "nor is one left out of some rows in silence"
    rows = [served.ROW, dict.fromkeys(served.ROW) | {"x": 0.0}]
    answer = endpoints.post(PATH, {"rows": rows, "ids": ["own-1", "own-2"]})
    assert answer.json() == {"predictions": [{"id": "own-1", "score": 0.75}, {"id": "own-2", "score": 0.25}],
                             "endpoint": "typed", "release": 1, "model": "typed", "version": "1"}
    assert endpoints.post(PATH, {"rows": rows, "version": "1"}).status_code == 200
    assert endpoints.post(PATH, {"rows": rows, "version": "2"}).status_code == 404
    assert endpoints.post("/api/v1/endpoints/typed@production/predict", {"rows": rows}).status_code == 200
    assert endpoints.post("/api/v1/endpoints/typed@staging/predict", {"rows": rows}).status_code == 404


@pytest.mark.parametrize("body, status, path", [
    ({}, 400, "rows"), ({"rows": []}, 400, "rows"), ({"rows": [1]}, 400, "rows[0]"), ({"rows": [served.ROW], "ids": ["a", "b"]}, 400, "ids"),
    ({"rows": [served.ROW] * 2, "ids": ["a", "a"]}, 400, "ids"), ({"rows": [served.ROW], "params": {"k": 1}}, 400, "params.k"),
    ({"rows": [served.ROW, served.ROW | {"n": 1.5}]}, 400, "rows[1].n"), ({"rows": [served.ROW | {"x": "much"}]}, 422, "rows[0].x"),
    ({"rows": [served.ROW | {"colour": 1}]}, 422, "rows[0].colour"), ({"rows": [served.ROW], "explian": True}, 400, "explian"),
    ({"rows": [served.ROW] * 2001}, 413, None),
])
def test_mistakes_have_their_place(endpoints, body, status, path):
    answer = endpoints.post(PATH, body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"].get("path") == path, answer.text


def test_features_are_joined_and_shown_to_whoever_may_read_the_log(tmp_path):
    keel = Keel().start()
    try:
        project.apply(keel, tmp_path)
        project.ingest(keel, tmp_path, project.csv(project.rows(500)))
        keel.cli("run", "train")
        row = {"user": "u1", "at": "2024-06-01T00:00:00Z", "price": 3}
        plain = keel.post("/api/v1/endpoints/buying/predict", {"rows": [row], "ids": ["a"]}).json()
        assert set(plain["predictions"][0]) == {"id", "score"}
        shown = keel.post("/api/v1/endpoints/buying/predict", {"rows": [row], "ids": ["b"], "features": True}).json()["predictions"][0]
        assert shown["score"] == plain["predictions"][0]["score"]
        assert shown["features"]["cost"] == 3 and {"clicks_1h", "mean_price_24h"} <= set(shown["features"])
        token = keel.cli("tokens", "create", "app", "--persona", "service").stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        for features, status in [(False, 200), (True, 403)]:
            answer = requests.post(keel.url + "/api/v1/endpoints/buying/predict", json={"rows": [row], "features": features}, headers=headers, timeout=10)
            assert answer.status_code == status, answer.text
    finally:
        keel.stop()
