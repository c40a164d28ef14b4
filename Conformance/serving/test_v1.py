"""The V1 protocol, with requests as KServe's and TensorFlow Serving's clients send them."""
import pytest

import served


@pytest.mark.parametrize("instances", [[0.0, 1.0], [[0.0], [1.0]], [{"x": 0.0}, {"x": 1.0}]])
def test_rows_are_answered_by_rows(endpoints, instances):
    # kserve.InferenceRESTClient posts {"instances": …} and reads "predictions".
    answer = endpoints.post("/v1/models/stump:predict", {"instances": instances})
    assert answer.status_code == 200 and answer.json() == {"predictions": [0.25, 0.75]}


def test_columns_are_answered_by_columns(endpoints):
    answer = endpoints.post("/v1/models/stump:predict", {"signature_name": "serving_default", "inputs": {"x": [0.0, 1.0]}})
    assert answer.json() == {"outputs": [0.25, 0.75]}
    assert endpoints.post("/v1/models/stump/versions/1:predict", {"inputs": [0.0]}).json() == {"outputs": [0.25]}


def test_several_inputs(endpoints):
    rows = [served.ROW, list(served.ROW.values())]
    for row in rows:
        assert endpoints.post("/v1/models/typed:predict", {"instances": [row]}).json() == {"predictions": [0.75]}


def test_status(endpoints):
    assert set(endpoints.get("/v1/models").json()["models"]) >= {"stump", "typed"}
    model = endpoints.get("/v1/models/stump").json()
    assert model["name"] == "stump" and model["ready"] is True
    assert model["model_version_status"] == [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
    assert endpoints.get("/v1/models/stump/versions/1").status_code == 200
    assert endpoints.get("/v1/models/stump/versions/7").status_code == 404
    assert endpoints.get("/v1/models/stump@production").json()["name"] == "stump"


@pytest.mark.parametrize("path, body, status", [
    ("/v1/models/stmup:predict", {"instances": [1]}, 404), ("/v1/models/stump/versions/7:predict", {"instances": [1]}, 404),
    ("/v1/models/stump:predict", {}, 400), ("/v1/models/stump:predict", {"instances": []}, 400), ("/v1/models/stump:predict", {"instances": ["a"]}, 422),
    ("/v1/models/stump:predict", {"instances": [1], "inputs": [1]}, 400), ("/v1/models/stump:predict", {"instances": [[1, 2]]}, 422),
    ("/v1/models/stump:predict", {"instances": [{"y": 1}]}, 422), ("/v1/models/stump:predict", {"instances": [1], "extra": 1}, 400),
    ("/v1/models/stump:predict", {"instances": [1], "signature_name": "other"}, 400), ("/v1/models/stump:explain", {"instances": [1]}, 405),
])
def test_mistakes_are_a_text(endpoints, path, body, status):
    answer = endpoints.post(path, body)
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["error"], str)


def test_a_wrong_method_is_told_the_right_one(endpoints):
    assert endpoints.get("/v1/models/stump:predict").status_code in (404, 405)
    answer = endpoints.post("/v1/models/stump", {})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
