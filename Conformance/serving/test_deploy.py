"""A registered model is served by one command, and answers as its own library does."""
import json
import pathlib
import re

import numpy as np
import pandas as pd
import pytest
import requests
from onnx import TensorProto, helper, numpy_helper

import code_models
from servers import ROOT, Keel

ROWS = 40


@pytest.fixture(scope="module")
def server():
    """Models that bring code run in the environment of these tests: making one for each is tested with the workers."""
    keel = Keel(environment={"KEEL_SERVING_PYTHON_ENVIRONMENT": str(ROOT / ".keel" / "venv" / "bin" / "python")}).start()
    yield keel
    keel.stop()


@pytest.fixture
def tracking(server):
    import mlflow
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(server.url)
    mlflow.set_registry_uri(server.url)
    yield mlflow
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(before)


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(7)
    frame = pd.DataFrame(random.normal(size=(400, 6)), columns=[f"f{i}" for i in range(6)])
    frame.iloc[::9, 2] = np.nan
    score = frame["f0"] * 2 - frame["f1"] + random.normal(size=400)
    return frame, (score > 0).astype(int), pd.cut(score, 3, labels=False)


def predict(keel, endpoint, frame):
    answer = requests.post(f"{keel}/endpoints/{endpoint}/invocations", data=json.dumps({"dataframe_split": json.loads(frame.to_json(orient="split"))}),
                           headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def deploy(server, name, *arguments, check=True):
    return server.cli("deploy", f"models:/{name}/1", "--endpoint", name, *arguments, check=check)


def equal(seen, expected):
    np.testing.assert_allclose(np.asarray(seen, dtype=float), np.asarray(expected, dtype=float), rtol=1e-6, atol=1e-6)


def log(mlflow, name, flavor, model, example, **options):
    with mlflow.start_run():
        flavor.log_model(model, name="model", registered_model_name=name, input_example=example, **options)
    return mlflow.pyfunc.load_model(f"models:/{name}/1")


@pytest.mark.parametrize("kind", ["booster", "multi", "classifier", "regressor", "ranker"])
def test_xgboost(tracking, server, data, kind):
    import mlflow.xgboost
    import xgboost as xgb
    frame, binary, classes = data
    name = f"xgb-{kind}"
    if kind == "booster":
        model = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(frame, binary), 20)
    elif kind == "multi":
        model = xgb.train({"objective": "multi:softprob", "num_class": 3}, xgb.DMatrix(frame, classes), 12)
    elif kind == "classifier":
        model = xgb.XGBClassifier(n_estimators=15).fit(frame, classes)
    elif kind == "regressor":
        model = xgb.XGBRegressor(n_estimators=30, early_stopping_rounds=3).fit(frame[:300], frame["f0"][:300], eval_set=[(frame[300:], frame["f0"][300:])], verbose=False)
    else:
        model = xgb.XGBRanker(n_estimators=10).fit(frame, binary, qid=np.repeat(np.arange(40), 10))
    pyfunc = log(tracking, name, mlflow.xgboost, model, frame[:5])
    shown = deploy(server, name).stdout
    assert f"release {name}/1 of models:/{name}/1, run by xgboost" in shown and "its input example of 5 rows was answered" in shown
    equal(predict(server.url, name, frame[:ROWS]), pyfunc.predict(frame[:ROWS]))


def test_lightgbm(tracking, server, data):
    import lightgbm
    import mlflow.lightgbm
    frame, _, classes = data
    model = lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1, "min_data_in_leaf": 5}, lightgbm.Dataset(frame, classes), 10)
    pyfunc = log(tracking, "lgb", mlflow.lightgbm, model, frame[:5])
    assert "run by lightgbm" in deploy(server, "lgb").stdout
    equal(predict(server.url, "lgb", frame[:ROWS]), pyfunc.predict(frame[:ROWS]))


def test_onnx_with_texts_and_classes(tracking, server, data):
    import mlflow.onnx
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    frame, binary, _ = data
    rows = pd.DataFrame({"amount": frame["f0"].astype("float32"), "country": np.where(frame["f1"] > 0, "DE", "FR")})
    model = make_pipeline(
        ColumnTransformer([("text", OneHotEncoder(handle_unknown="ignore"), ["country"])], remainder="passthrough"), LogisticRegression()).fit(rows, binary)
    graph = convert_sklearn(model, initial_types=[("amount", FloatTensorType([None, 1])), ("country", StringTensorType([None, 1]))],
                            options={"zipmap": False}, target_opset=17)
    signature = tracking.models.infer_signature(
        rows, pd.DataFrame({"label": model.predict(rows[:3])}))
    with tracking.start_run():
        mlflow.onnx.log_model(graph, name="model", registered_model_name="onnx", signature=signature)
    assert "run by onnx" in deploy(server, "onnx").stdout
    equal(predict(server.url, "onnx", rows[:ROWS]), model.predict(rows[:ROWS]))


EXPORT = pathlib.Path(__file__).parent / "exported"


def log_export(mlflow, name, **options):
    """A model of PyTorch as its exporter wrote it (exported/export.py): a picture and words go in, chances come out."""
    import mlflow.onnx
    import onnx
    from mlflow.types import Schema, TensorSpec
    answers = json.loads((EXPORT / "answers.json").read_text())
    example = {"pixels": np.float32(answers["pixels"][:2]), "words": np.int64(answers["words"][:2])}
    signature = mlflow.models.ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 1, 8, 8), "pixels"), TensorSpec(np.dtype("int64"), (-1, 5), "words")]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, 3), "chances")]))
    with mlflow.start_run():
        return mlflow.onnx.log_model(
            onnx.load(EXPORT / "reader.onnx"), name="model", registered_model_name=name, input_example=example, signature=signature, **options)


def answers_as_pytorch(server, name):
    answers = json.loads((EXPORT / "answers.json").read_text())
    for rows in (1, 6):
        inputs = [{"name": key, "datatype": kind, "shape": list(np.shape(answers[key][:rows])), "data": np.ravel(answers[key][:rows]).tolist()}
                  for key, kind in (("pixels", "FP32"), ("words", "INT64"))]
        answer = server.post(f"/v2/models/{name}/infer", {"inputs": inputs})
        assert answer.status_code == 200, answer.text
        output = answer.json()["outputs"][0]
        assert (output["name"], output["shape"]) == ("chances", [rows, 3])
        np.testing.assert_allclose(np.reshape(output["data"], (rows, 3)), answers["chances"][:rows], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("is_one_file", [True, False])
def test_an_export_of_pytorch(tracking, server, is_one_file):
    name = f"torch-{is_one_file}".lower()
    logged = log_export(tracking, name, save_as_external_data=not is_one_file)
    # MLflow's own choice: larger tensors lie in a second file, whose name it makes up.
    files = {file.path.split("/")[-1] for file in tracking.MlflowClient().list_logged_model_artifacts(logged.model_id)}
    assert len([file for file in files if re.fullmatch(r"[0-9a-f-]{36}\.data", file)]) == (0 if is_one_file else 1), files
    shown = deploy(server, name).stdout
    assert "run by onnx" in shown and "its input example of 2 rows was answered" in shown
    answers_as_pytorch(server, name)


def tensors_elsewhere(place):
    """A graph that multiplies by a number in another file."""
    weight = numpy_helper.from_array(np.float32([[3]]), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in [("location", place), ("offset", "4"), ("length", "4")]:
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    x, y = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


WEIGHTS = np.float32([7, 3]).tobytes()


@pytest.mark.parametrize("folder", ["", "graphs/first/"])
@pytest.mark.parametrize("place", ["w.bin", "weights/w.bin"])
def test_tensors_in_other_files_are_found_from_where_the_graph_lies(server, folder, place):
    name = "elsewhere-" + (folder + place).replace("/", "-").replace(".", "-")
    files = {folder + "net.onnx": tensors_elsewhere(place), folder + place: WEIGHTS, "w.txt": b"not of the model", "other/w.bin": np.float32([1, 1]).tobytes()}
    code_models.register(server, name, files, [("x", "float32")], [("y", "float32")], flavors=f"  onnx:\n    data: {folder}net.onnx\n")
    assert "run by onnx" in deploy(server, name).stdout
    assert server.post(f"/api/v1/endpoints/{name}/predict", {"rows": [{"x": 2}]}).json()["predictions"][0]["y"] == 6


@pytest.mark.parametrize("place, said", [
    ("../w.bin", "not a file of its own folder"), ("/etc/hostname", "not a file of its own folder"), ("a/../../w.bin", "not a file of its own folder"),
    ("../../../../secrets.key", "not a file of its own folder"), ("secrets.key", "which is not among its files"), ("short.bin", "has 6 bytes")])
def test_tensors_in_files_that_are_not_the_models_are_refused(server, place, said):
    name = "outside-" + re.sub(r"\W", "-", place)
    files = {"graphs/net.onnx": tensors_elsewhere(place), "w.bin": WEIGHTS, "secrets.key": WEIGHTS, "graphs/short.bin": WEIGHTS[:6]}
    code_models.register(server, name, files, [("x", "float32")], [("y", "float32")], flavors="  onnx:\n    data: graphs/net.onnx\n")
    refused = deploy(server, name, check=False)
    assert refused.returncode == 1 and said in refused.stderr, refused.stderr
    assert name not in server.cli("get", "endpoints").stdout


def test_a_model_without_signature_says_how_to_give_it_one(tracking, server, data):
    import mlflow.xgboost
    import xgboost as xgb
    frame, binary, _ = data
    model = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(frame, binary), 2)
    with tracking.start_run():
        mlflow.xgboost.log_model(model, name="model", registered_model_name="bare")
    refused = deploy(server, "bare", check=False)
    assert refused.returncode == 1 and "models:/bare/1 has no signature" in refused.stderr
    hint = re.search(r"mlflow.models.set_signature\('(models:/m-\w+)', mlflow.models.infer_signature\(X, model.predict\(X\)\)\)", refused.stderr)
    assert hint, refused.stderr
    # Nothing was left behind.
    assert "bare" not in server.cli("get", "endpoints").stdout
    tracking.models.set_signature(hint.group(1), tracking.models.infer_signature(frame, np.zeros(len(frame), dtype="float32")))
    deploy(server, "bare")


def test_a_model_that_answers_something_else_than_was_logged_is_not_served(tracking, server, data):
    import mlflow.xgboost
    import xgboost as xgb
    frame, binary, _ = data
    model = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(frame, binary), 2)
    with tracking.start_run():
        logged = mlflow.xgboost.log_model(model, name="model", registered_model_name="other", input_example=frame[:3])
        client = tracking.MlflowClient()
        path = "/tmp/output_example.json"
        with open(path, "w") as out:
            json.dump({"columns": ["predictions"], "data": [[0.5], [0.5], [2.0]]}, out)
        client.log_model_artifact(logged.model_id, path)
    refused = deploy(server, "other", check=False)
    assert refused.returncode == 1 and "of its example" in refused.stderr and "expected is" in refused.stderr, refused.stderr
    assert "other" not in server.cli("get", "endpoints").stdout


def test_a_second_version_goes_through_the_rollout_of_the_endpoint(tracking, server, data):
    import mlflow.xgboost
    import xgboost as xgb
    frame, binary, _ = data
    for trees in (2, 4):
        model = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(frame, binary), trees)
        with tracking.start_run():
            mlflow.xgboost.log_model(model, name="model", registered_model_name="two", input_example=frame[:3])
    tracking.MlflowClient().set_registered_model_alias("two", "best", 2)
    assert "it answers all requests" in deploy(server, "two").stdout
    second = server.json("deploy", "models:/two@best", "--endpoint", "two")
    assert second["release"] == 2 and second["state"] == "rollout" and not second["endpoint_created"]
    # The same again is the same release, also when its rollout has ended.
    assert "release two/2" in server.cli("deploy", "models:/two@best", "--endpoint", "two").stdout



def python_models(data):
    import statsmodels.api as sm
    from sklearn.linear_model import LogisticRegression
    import mlflow.pyfunc
    import mlflow.sklearn
    import mlflow.statsmodels

    class Custom(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            factor = (params or {}).get("factor", 2.0)
            return pd.DataFrame({"doubled": model_input["f0"] * factor, "sign": np.where(model_input["f0"] > 0, "plus", "minus")})

    frame, binary, _ = data
    whole = frame.fillna(0.0)
    line_between = LogisticRegression().fit(whole, binary)
    line = sm.OLS(whole["f0"], whole[["f1", "f2"]]).fit()
    signature = mlflow.models.infer_signature(whole[:5], Custom().predict(None, whole[:5]), params={"factor": 2.0})
    return {
        "sklearn": (mlflow.sklearn, {"sk_model": line_between, "input_example": whole[:5]}, whole),
        "statsmodels": (mlflow.statsmodels, {"statsmodels_model": line, "input_example": whole[["f1", "f2"]][:5]}, whole[["f1", "f2"]]),
        "custom": (mlflow.pyfunc, {"python_model": Custom(), "input_example": whole[:5], "signature": signature}, whole),
    }


@pytest.mark.parametrize("kind", ["sklearn", "statsmodels", "custom"])
def test_models_that_bring_their_own_code(tracking, server, data, kind):
    module, options, rows = python_models(data)[kind]
    with tracking.start_run():
        module.log_model(name="model", registered_model_name=f"py-{kind}", **options)
    expected = tracking.pyfunc.load_model(f"models:/py-{kind}/1").predict(rows[:ROWS])
    shown = deploy(server, f"py-{kind}").stdout
    assert "run by python" in shown and "its input example of 5 rows was answered" in shown
    seen = predict(server.url, f"py-{kind}", rows[:ROWS])
    if kind == "custom":
        assert [row["sign"] for row in seen] == expected["sign"].tolist()
        equal([row["doubled"] for row in seen], expected["doubled"])
    else:
        equal(seen, expected)


ENDPOINT = """
apiVersion: keel/v1
kind: Endpoint
metadata: { name: declared }
spec: { model: "models:/declared/%d", limits: { rows: %d } }
"""


def test_an_endpoint_that_names_its_model_is_deployed_when_it_is_applied(tracking, server, data, tmp_path):
    import mlflow.xgboost
    import xgboost as xgb
    frame, binary, _ = data
    for trees in (2, 4):
        model = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(frame, binary), trees)
        with tracking.start_run():
            mlflow.xgboost.log_model(model, name="model", registered_model_name="declared", input_example=frame[:3] if trees == 2 else None,
                                     signature=tracking.models.infer_signature(frame, np.zeros(9, dtype="float32")))
    file = tmp_path / "endpoint.yaml"
    file.write_text(ENDPOINT % (1, 100))
    shown = server.cli("apply", file).stdout
    assert "release declared/1 of models:/declared/1" in shown and "it answers all requests" in shown
    # Applied again it is unchanged, and nothing is deployed.
    assert "release declared" not in server.cli("apply", file).stdout
    # A version that there is not refuses the whole apply.
    file.write_text(ENDPOINT % (9, 7))
    refused = server.cli("apply", file, check=False)
    assert refused.returncode == 1 and "models:/declared/9" in refused.stderr
    assert len(predict(server.url, "declared", frame[:ROWS])) == ROWS
    file.write_text(ENDPOINT % (2, 100))
    assert "release declared/2 of models:/declared/2" in server.cli("apply", file).stdout


STEP = """
apiVersion: keel/v1
kind: Endpoint
metadata: { name: stepped }
spec: {}
---
apiVersion: keel/v1
kind: Pipeline
metadata: { name: ship }
spec:
  parameters: { model: "models:/stepped@best" }
  steps:
    - { name: release, uses: release, with: { model: $model, endpoint: stepped, force: true } }
"""


def test_a_step_of_a_pipeline_deploys_a_model_that_a_client_registered(tracking, server, data, tmp_path):
    import mlflow.xgboost
    import xgboost as xgb
    frame, binary, _ = data
    pyfunc = log(tracking, "stepped", mlflow.xgboost, xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(frame, binary), 3), frame[:5])
    tracking.MlflowClient().set_registered_model_alias("stepped", "best", 1)
    file = tmp_path / "step.yaml"
    file.write_text(STEP)
    server.cli("apply", file)
    server.cli("run", "ship")
    equal(predict(server.url, "stepped", frame[:ROWS]), pyfunc.predict(frame[:ROWS]))
    # Again it is the same release; one that cannot be served fails the run, and the incumbent answers.
    server.cli("run", "ship")
    code_models.register(server, "stepped", {"net.onnx": b"no graph"}, [("x", "float32")], [("y", "float32")], flavors="  onnx:\n    data: net.onnx\n")
    refused = server.cli("run", "ship", "--with", "model=models:/stepped/2", check=False)
    assert refused.returncode == 1 and "release" in refused.stdout + refused.stderr
    assert len(predict(server.url, "stepped", frame[:ROWS])) == ROWS


def test_the_champion_follows_a_promotion_and_a_start_leaves_it_where_a_person_moved_it(tracking, server, data):
    import mlflow.xgboost
    import xgboost as xgb
    frame, binary, _ = data
    for rounds in (3, 5):
        log(tracking, "crowned", mlflow.xgboost, xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(frame, binary), rounds), frame[:3])

    def champion():
        return str(tracking.MlflowClient().get_model_version_by_alias("crowned", "champion").version)

    deploy(server, "crowned")
    assert champion() == "1"
    server.cli("models", "alias", "crowned/2", "champion")
    moves = len(server.json("models", "history", "crowned")["events"])
    server.stop()
    server.start()
    assert predict(server.url, "crowned", frame[:2]) and champion() == "2"
    assert len(server.json("models", "history", "crowned")["events"]) == moves, "a start writes nothing"
