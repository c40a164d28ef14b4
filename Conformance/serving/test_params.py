"""Params of a request, which every protocol has: checked against the model's signature, by name and type."""
import bundles
import pytest
import served

PARAMS = [{"name": "temperature", "type": "float64", "default": 0.5}, {"name": "top", "type": "int64", "default": 3},
          {"name": "stop", "type": "list<string>", "default": []}, {"name": "since", "type": "timestamp", "default": None}]


@pytest.fixture(scope="module")
def server(endpoints, tmp_path_factory):
    served.serve(endpoints, tmp_path_factory.mktemp("params"), "tuned", bundles.stump(low=0.25, high=0.75), "xgboost", served.ONE | {"params": PARAMS})
    return endpoints


def forms(params):
    return [("/v2/models/tuned/infer", bundles.question([1.0]) | {"parameters": params}, "parameters."),
            ("/endpoints/tuned/invocations", {"inputs": {"x": [1.0]}, "params": params}, "params."),
            ("/api/v1/endpoints/tuned/predict", {"rows": [{"x": 1.0}], "params": params}, "params.")]


@pytest.mark.parametrize("params", [{}, {"temperature": 1}, {"temperature": 0.1, "top": 2.0, "stop": ["a"], "since": "2026-01-01T00:00:00"}, {"top": None}])
def test_params_of_the_signature_are_taken(server, params):
    for path, body, _ in forms(params):
        assert server.post(path, body).status_code == 200, path


@pytest.mark.parametrize("name, value", [("temprature", 1), ("temperature", "hot"), ("temperature", True), ("top", 1.5), ("top", [1]), ("stop", "a"), ("stop", [1]),
                                         ("since", "yesterday")])
def test_others_are_refused_by_name(server, name, value):
    for path, body, place in forms({name: value}):
        answer = server.post(path, body)
        said = answer.json() if path.startswith("/v2") else answer.json()["error"]
        assert answer.status_code == 400 and said["path"] == place + name, answer.text
        assert name != "temprature" or "did you mean 'temperature'?" in answer.text
