"""Autologging: what lands in Keel when a data scientist only writes `mlflow.autolog()` and trains."""
import mlflow
import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    return frame, (frame["a"] + frame["b"] * rng.normal(size=120) > 0).astype(int)


@pytest.fixture(autouse=True)
def quiet(experiment):
    yield
    # `mlflow.autolog` leaves alone what was switched on by name; what trains in another test would be logged to a server that has ended, with minutes of retries.
    for flavor in (mlflow, mlflow.lightgbm, mlflow.sklearn, mlflow.statsmodels, mlflow.xgboost):
        flavor.autolog(disable=True)


def only_run(client, experiment):
    """The one run without a parent."""
    runs = [r for r in client.search_runs([experiment.experiment_id]) if "mlflow.parentRunId" not in r.data.tags]
    assert len(runs) == 1 and runs[0].info.status == "FINISHED"
    return runs[0]


def artifacts(client, run, path=None):
    return {f.path for f in client.list_artifacts(run.info.run_id, path)}


def logged_model(client, run):
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert model.source_run_id == run.info.run_id and model.status == "READY"
    return model


def test_generic_autolog_follows_scikit_learn(client, experiment, table):
    from sklearn.linear_model import LogisticRegression
    mlflow.autolog(log_input_examples=True, silent=True)
    features, target = table
    model = LogisticRegression(C=0.5).fit(features, target)
    run = only_run(client, experiment)
    assert run.data.params["C"] == "0.5" and len(run.data.params) >= 10
    assert run.data.metrics["training_accuracy_score"] == pytest.approx(model.score(features, target))
    assert {"training_f1_score", "training_log_loss", "training_precision_score", "training_recall_score", "training_roc_auc"} <= set(run.data.metrics)
    assert run.data.tags["estimator_name"] == "LogisticRegression" and run.data.tags["mlflow.source.type"] in ("LOCAL", "JOB")
    assert {"estimator.html", "training_confusion_matrix.png"} <= artifacts(client, run)
    (data,) = run.inputs.dataset_inputs
    assert {t.key: t.value for t in data.tags}["mlflow.data.context"] == "train" and '"num_rows": 120' in data.dataset.profile
    logged = logged_model(client, run)
    assert {p: logged.params[p] for p in ("C",)} == {"C": "0.5"}
    assert {m.key for m in logged.metrics} >= {"training_accuracy_score"}
    loaded = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    assert (loaded.predict(features) == model.predict(features)).all() and loaded.input_example is not None
    assert loaded.metadata.signature.inputs.input_names() == ["a", "b", "c"]


def test_metrics_after_training_are_logged_to_the_run(client, experiment, table):
    import sklearn.metrics
    from sklearn.linear_model import LogisticRegression
    mlflow.sklearn.autolog(log_models=False, silent=True)
    features, target = table
    with mlflow.start_run() as run:
        model = LogisticRegression().fit(features, target)
        predicted = model.predict(features)
        score = sklearn.metrics.accuracy_score(target, predicted)
        model.score(features, target)
    got = client.get_run(run.info.run_id)
    assert got.data.metrics["accuracy_score_features"] == pytest.approx(score)
    assert got.data.metrics["LogisticRegression_score_features"] == pytest.approx(score)
    assert "metric_info.json" in artifacts(client, got) and not got.outputs.model_outputs


def test_grid_search_makes_a_child_run_per_candidate(client, experiment, table):
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier
    mlflow.sklearn.autolog(max_tuning_runs=None, silent=True)
    features, target = table
    pipeline = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))
    search = GridSearchCV(pipeline, {"decisiontreeclassifier__max_depth": [1, 2, 3]}, cv=2).fit(features, target)
    parent = only_run(client, experiment)
    assert parent.data.params["best_decisiontreeclassifier__max_depth"] == str(search.best_params_["decisiontreeclassifier__max_depth"])
    assert parent.data.metrics["best_cv_score"] == pytest.approx(search.best_score_)
    assert "cv_results.csv" in artifacts(client, parent)
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["metrics.mean_test_score DESC"])
    assert sorted(c.data.params["decisiontreeclassifier__max_depth"] for c in children) == ["1", "2", "3"]
    assert children[0].data.metrics["mean_test_score"] == pytest.approx(search.best_score_)
    names = {mlflow.get_logged_model(o.model_id).name for o in parent.outputs.model_outputs}
    assert names == {"model", "best_estimator"}


def test_xgboost_logs_every_iteration(client, experiment, table):
    import xgboost
    mlflow.xgboost.autolog(silent=True)
    features, target = table
    train = xgboost.DMatrix(features, target)
    settings = {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "max_depth": 2, "nthread": 1, "learning_rate": 1.0}
    booster = xgboost.train(settings, train, 40, evals=[(train, "train"), (xgboost.DMatrix(features[:40], 1 - target[:40]), "test")],
                            early_stopping_rounds=3, verbose_eval=False)
    run = only_run(client, experiment)
    assert run.data.params["max_depth"] == "2" and run.data.params["num_boost_round"] == "40" and run.data.params["early_stopping_rounds"] == "3"
    history = client.get_metric_history(run.info.run_id, "test-auc")
    assert [m.step for m in history][:booster.num_boosted_rounds()] == list(range(booster.num_boosted_rounds()))
    assert run.data.metrics["best_iteration"] == booster.best_iteration and run.data.metrics["stopped_iteration"] == booster.num_boosted_rounds() - 1
    assert {"feature_importance_weight.png", "feature_importance_weight.json"} <= artifacts(client, run)
    assert mlflow.artifacts.load_dict(run.info.artifact_uri + "/feature_importance_weight.json") == booster.get_score(importance_type="weight")
    loaded = mlflow.xgboost.load_model(f"models:/{logged_model(client, run).model_id}")
    assert np.allclose(loaded.predict(train), booster.predict(train))


def test_xgboost_scikit_learn_interface(client, experiment, table):
    import xgboost
    mlflow.xgboost.autolog(silent=True)
    features, target = table
    xgboost.XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1).fit(features, target, eval_set=[(features, target)], verbose=False)
    run = only_run(client, experiment)
    assert run.data.params["num_boost_round"] == "4" and "validation_0-logloss" in run.data.metrics
    assert len(client.get_metric_history(run.info.run_id, "validation_0-logloss")) >= 4


def test_lightgbm_logs_every_iteration(client, experiment, table):
    import lightgbm
    mlflow.lightgbm.autolog(silent=True)
    features, target = table
    data = lightgbm.Dataset(features, target)
    booster = lightgbm.train({"objective": "binary", "metric": "auc", "num_leaves": 4, "verbose": -1, "num_threads": 1}, data, 5, valid_sets=[data],
                             valid_names=["train"])
    run = only_run(client, experiment)
    assert run.data.params["num_leaves"] == "4"
    assert [m.step for m in client.get_metric_history(run.info.run_id, "train-auc")] == [0, 1, 2, 3, 4]
    assert {"feature_importance_split.png", "feature_importance_gain.json"} <= artifacts(client, run)
    loaded = mlflow.lightgbm.load_model(f"models:/{logged_model(client, run).model_id}")
    assert np.allclose(loaded.predict(features), booster.predict(features))


def test_statsmodels(client, experiment, table):
    import statsmodels.api as statsmodels
    mlflow.statsmodels.autolog(silent=True)
    features, target = table
    fit = statsmodels.OLS(target, features).fit()
    run = only_run(client, experiment)
    assert run.data.metrics["rsquared"] == pytest.approx(fit.rsquared) and "model_summary.txt" in artifacts(client, run)
    assert np.allclose(mlflow.statsmodels.load_model(f"models:/{logged_model(client, run).model_id}").predict(features), fit.predict(features))
