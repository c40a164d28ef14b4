"""Evaluation, datasets, tables, figures and images."""
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import DatasetInput, InputTag, ViewType

FRAME = pd.DataFrame(np.random.default_rng(3).normal(size=(60, 2)), columns=["a", "b"])
FRAME["label"] = (FRAME["a"] > FRAME["b"]).astype(int)


def names(client, run, path=None):
    return {f.path for f in client.list_artifacts(run.info.run_id, path)}


def test_evaluate_a_classifier(client, experiment):
    from sklearn.linear_model import LogisticRegression
    model = LogisticRegression().fit(FRAME[["a", "b"]], FRAME["label"])
    data = mlflow.data.from_pandas(FRAME, targets="label", name="points")
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(model, name="model", pip_requirements=["scikit-learn"], input_example=FRAME[["a", "b"]].head(2))
        result = mlflow.models.evaluate(info.model_uri, data, model_type="classifier", evaluator_config={"log_explainer": False})
    got = client.get_run(run.info.run_id)
    assert got.data.metrics["accuracy_score"] == pytest.approx(result.metrics["accuracy_score"]) and "roc_auc" in got.data.metrics
    assert {"confusion_matrix.png", "roc_curve_plot.png", "precision_recall_curve_plot.png"} <= names(client, run)
    assert [i.dataset.name for i in got.inputs.dataset_inputs] == ["points"] and got.inputs.model_inputs[0].model_id == info.model_id
    measured = {m.key: m for m in client.get_logged_model(info.model_id).metrics}["accuracy_score"]
    assert (measured.dataset_name, measured.run_id) == ("points", run.info.run_id) and measured.dataset_digest == data.digest


def test_evaluate_a_regressor_without_a_model(client, experiment):
    table = pd.DataFrame({"said": [1.0, 2.0, 4.0], "was": [1.0, 2.5, 3.5]})
    extra = mlflow.models.make_metric(eval_fn=lambda predictions, targets: float(np.max(np.abs(predictions - targets))), greater_is_better=False, name="worst")
    with mlflow.start_run() as run:
        mlflow.models.evaluate(data=table, predictions="said", targets="was", model_type="regressor", extra_metrics=[extra],
                               evaluator_config={"log_explainer": False})
    metrics = client.get_run(run.info.run_id).data.metrics
    assert metrics["mean_absolute_error"] == pytest.approx(1 / 3) and metrics["worst"] == 0.5


def test_tables_grow_and_are_read_from_many_runs(client, experiment):
    for name in ("one", "two"):
        with mlflow.start_run(run_name=name):
            mlflow.log_table({"question": ["a"], "answer": [name]}, "answers.json")
            mlflow.log_table(pd.DataFrame({"question": ["b"], "answer": [name]}), "answers.json")
    table = mlflow.load_table("answers.json", extra_columns=["run_id"])
    assert sorted(table["answer"]) == ["one", "one", "two", "two"] and table["run_id"].nunique() == 2


def test_texts_figures_images(client, experiment):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plot
    with mlflow.start_run() as run:
        figure, axes = plot.subplots()
        axes.plot([1, 2])
        mlflow.log_figure(figure, "plots/line.png")
        plot.close(figure)
        mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), "images/black.png")
        for step in range(3):
            mlflow.log_image(np.full((4, 4, 3), step, dtype=np.uint8), key="sample", step=step)
        mlflow.log_text("ü", "notes/ü.txt")
        mlflow.log_dict({"a": [1]}, "data.yaml")
    assert {"plots", "images", "notes", "data.yaml"} <= names(client, run)
    assert len([n for n in names(client, run, "images") if "sample" in n and n.endswith(".png")]) == 3
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/ü.txt") == "ü"
    assert np.asarray(mlflow.artifacts.load_image(f"runs:/{run.info.run_id}/images/black.png")).shape == (4, 4, 3)


def test_inputs_and_searching_by_them(client, experiment):
    train = mlflow.data.from_pandas(FRAME, name="train-set", targets="label")
    test = mlflow.data.from_numpy(np.ones((3, 2)), name="test-set")
    with mlflow.start_run() as both:
        mlflow.log_inputs([train, test], ["training", "evaluation"], [{"split": "a"}, None])
    with mlflow.start_run() as one:
        mlflow.log_input(train, context="validation")
    third = client.create_run(experiment.experiment_id).info.run_id
    client.log_inputs(third, [DatasetInput(test._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])])

    def found(text):
        return {r.info.run_id for r in client.search_runs([experiment.experiment_id], text)}

    assert found("dataset.name = 'train-set'") == {both.info.run_id, one.info.run_id}
    assert found("dataset.context = 'training' AND dataset.name = 'test-set'") >= {third}
    assert found(f"datasets.digest IN ('{train.digest}')") == {both.info.run_id, one.info.run_id}
    inputs = {i.dataset.name: i for i in client.get_run(both.info.run_id).inputs.dataset_inputs}
    assert {t.key: t.value for t in inputs["train-set"].tags} == {"mlflow.data.context": "training", "split": "a"}
    assert '"label"' in inputs["train-set"].dataset.schema and '"num_rows": 60' in inputs["train-set"].dataset.profile
    loaded = mlflow.data.get_source(inputs["train-set"].dataset)
    assert loaded._get_source_type() == inputs["train-set"].dataset.source_type
    assert client.search_runs([experiment.experiment_id], "dataset.name = 'nothing'", ViewType.ALL) == []
