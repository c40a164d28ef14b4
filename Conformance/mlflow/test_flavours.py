"""Models of many flavours: logged, registered and loaded by every kind of URI, with the same predictions before and after."""
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature

FEATURES = pd.DataFrame(np.random.default_rng(2).normal(size=(40, 2)), columns=["a", "b"])
TARGET = (FEATURES["a"] - FEATURES["b"] > 0).astype(int)


def scikit_learn():
    from sklearn.linear_model import LogisticRegression
    model = LogisticRegression().fit(FEATURES, TARGET)
    return mlflow.sklearn, {"sk_model": model}, model.predict


def scikit_learn_by_skops():
    from sklearn.linear_model import Ridge
    model = Ridge().fit(FEATURES, TARGET)
    return mlflow.sklearn, {"sk_model": model, "serialization_format": "skops"}, model.predict


def xgboost():
    import xgboost
    data = xgboost.DMatrix(FEATURES, TARGET)
    model = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 3)
    return mlflow.xgboost, {"xgb_model": model}, lambda frame: model.predict(xgboost.DMatrix(frame))


def lightgbm():
    import lightgbm
    model = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}, lightgbm.Dataset(FEATURES, TARGET), 3)
    return mlflow.lightgbm, {"lgb_model": model}, model.predict


def onnx():
    import onnx
    from onnx import TensorProto, helper
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "twice", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return mlflow.onnx, {"onnx_model": model}, lambda frame: {"y": frame.to_numpy() * 2}


def statsmodels():
    import statsmodels.api
    fit = statsmodels.api.OLS(TARGET, FEATURES).fit()
    return mlflow.statsmodels, {"statsmodels_model": fit}, fit.predict


class Threshold(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        return (model_input["a"] > (params or {}).get("limit", 0.0)).astype(int)


def python_class():
    return mlflow.pyfunc, {"python_model": Threshold()}, lambda frame: (frame["a"] > 0).astype(int)


def double(model_input: list[float]) -> list[float]:
    return [2 * value for value in model_input]


FLAVOURS = [scikit_learn, scikit_learn_by_skops, xgboost, lightgbm, onnx, statsmodels, python_class]


def close(left, right):
    left, right = (np.asarray(list(x.values())[0] if isinstance(x, dict) else x, dtype=float) for x in (left, right))
    return left.shape == right.shape and np.allclose(left, right)


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda f: f.__name__)
def test_round_trip(client, experiment, model_name, flavour):
    module, arguments, predict = flavour()
    numbers = FEATURES.astype(np.float32) if flavour is onnx else FEATURES
    example = numbers.head(3).to_numpy() if flavour is onnx else numbers.head(3)
    before = predict(numbers)
    signature = infer_signature(example, next(iter(before.values())) if isinstance(before, dict) else before)
    with mlflow.start_run() as run:
        info = module.log_model(name="model", signature=signature, input_example=example, registered_model_name=model_name, pip_requirements=["pandas"],
                                **arguments)
    client.set_registered_model_alias(model_name, "champion", info.registered_model_version)
    uris = [f"models:/{info.model_id}", f"runs:/{run.info.run_id}/model", f"models:/{model_name}/1", f"models:/{model_name}@champion"]
    assert info.model_uri == uris[0]
    for uri in uris[:1] if flavour is not scikit_learn else uris:
        loaded = mlflow.pyfunc.load_model(uri)
        assert close(loaded.predict(numbers.to_numpy() if flavour is onnx else numbers), before), uri
    assert close(mlflow.pyfunc.load_model(uris[3]).predict(numbers.to_numpy() if flavour is onnx else numbers), before)
    assert loaded.metadata.signature == signature and loaded.metadata.run_id == run.info.run_id
    assert loaded.metadata.model_id == info.model_id and loaded.input_example is not None
    found = mlflow.models.get_model_info(uris[2])
    assert found.signature == signature and set(found.flavors) == set(info.flavors) and found.model_id == info.model_id
    version = client.get_model_version(model_name, "1")
    assert (version.run_id, version.source, version.status) == (run.info.run_id, f"models:/{info.model_id}", "READY")


def test_a_function_is_a_model(experiment):
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(name="double", python_model=double, input_example=[1.0, 2.0], pip_requirements=["pandas"])
    assert mlflow.pyfunc.load_model(info.model_uri).predict([1.5, 4.0]) == [3.0, 8.0]


def test_params_of_a_prediction(experiment):
    signature = infer_signature(FEATURES, TARGET, params={"limit": 0.0})
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(name="threshold", python_model=Threshold(), signature=signature, pip_requirements=["pandas"])
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    assert loaded.predict(FEATURES, params={"limit": 1e9}).sum() == 0 and loaded.predict(FEATURES).sum() > 0


def test_logged_models_are_found(client, experiment):
    _, arguments, _ = scikit_learn()
    with mlflow.start_run() as run:
        for depth in (1, 2):
            info = mlflow.sklearn.log_model(name=f"m{depth}", params={"depth": depth}, tags={"team": "ops"}, pip_requirements=["pandas"], **arguments)
            mlflow.log_metric("auc", depth / 10, model_id=info.model_id)
    model = mlflow.get_logged_model(info.model_id)
    assert (model.name, model.params["depth"], model.tags["team"], model.source_run_id) == ("m2", "2", "ops", run.info.run_id)
    assert ("auc", 0.2, run.info.run_id) in [(m.key, m.value, m.run_id) for m in model.metrics]

    def names(text):
        return [m.name for m in mlflow.search_logged_models([experiment.experiment_id], text, output_format="list")]

    assert sorted(names("tags.team = 'ops'")) == ["m1", "m2"] and names("params.depth = '2'") == ["m2"] and names("metrics.auc > 0.15") == ["m2"]
    frame = mlflow.search_logged_models([experiment.experiment_id], "tags.team = 'ops'")
    assert len(frame) == 2 and "metrics" in frame.columns
    client.set_logged_model_tags(info.model_id, {"checked": "yes"})
    client.delete_logged_model_tag(info.model_id, "team")
    tags = client.get_logged_model(info.model_id).tags
    assert tags["checked"] == "yes" and "team" not in tags
    client.delete_logged_model(info.model_id)
    assert names("name LIKE 'm_'") == ["m1"]


def test_an_active_model_takes_what_is_logged(experiment):
    model = mlflow.set_active_model(name="agent")
    try:
        mlflow.log_model_params({"prompt": "short", "size": "3"})
        with mlflow.start_run():
            mlflow.log_metric("score", 0.5)
        found = mlflow.get_logged_model(model.model_id)
        assert found.params == {"prompt": "short", "size": "3"} and [(m.key, m.value) for m in found.metrics] == [("score", 0.5)]
    finally:
        mlflow.clear_active_model()


def test_an_external_model_and_its_end(client, experiment):
    model = mlflow.create_external_model(name="elsewhere", params={"a": "1"}, model_type="remote")
    assert mlflow.get_logged_model(model.model_id).status == "READY"
    made = mlflow.initialize_logged_model(name="half")
    assert client.get_logged_model(made.model_id).status == "PENDING"
    mlflow.finalize_logged_model(made.model_id, "FAILED")
    assert client.get_logged_model(made.model_id).status == "FAILED"


def test_a_model_is_copied_to_another_name(client, experiment, model_name):
    _, arguments, predict = scikit_learn()
    with mlflow.start_run():
        mlflow.sklearn.log_model(name="model", registered_model_name=model_name, pip_requirements=["pandas"], **arguments)
    copy = client.copy_model_version(f"models:/{model_name}/1", model_name + "-live")
    assert (copy.name, str(copy.version)) == (model_name + "-live", "1")
    assert (mlflow.pyfunc.load_model(f"models:/{model_name}-live/1").predict(FEATURES) == predict(FEATURES)).all()
