"""Trains random small models in XGBoost and LightGBM and writes them with the libraries' own answers.

    models.py FOLDER SEED COUNT [xgboost|lightgbm]

For each model: NAME.model, NAME.rows (float64, row by row), NAME.expected (float64), and a line in cases.txt:
name, library, iterations (all or best), features, outputs, kind of output, classes (0: none), settings.
"""

import json
import os
import sys
import warnings

import lightgbm
import numpy
import xgboost

warnings.filterwarnings("ignore")

XGBOOST = {
    "binary:logistic": "probability", "binary:logitraw": "score", "binary:hinge": "classNumber", "reg:logistic": "value",
    "reg:squarederror": "value", "reg:squaredlogerror": "value", "reg:absoluteerror": "value", "reg:pseudohubererror": "value",
    "reg:quantileerror": "value", "count:poisson": "value", "reg:gamma": "value", "reg:tweedie": "value", "survival:cox": "value",
    "survival:aft": "value", "rank:pairwise": "score", "rank:ndcg": "score", "rank:map": "score", "multi:softprob": "probability",
    "multi:softmax": "classNumber",
}
LIGHTGBM = {
    "binary": "probability", "regression": "value", "regression_l1": "value", "huber": "value", "fair": "value", "poisson": "value",
    "quantile": "value", "mape": "value", "gamma": "value", "tweedie": "value", "multiclass": "probability", "multiclassova": "probability",
    "cross_entropy": "value", "cross_entropy_lambda": "value", "lambdarank": "score", "rank_xendcg": "score", "custom": "score",
}


class Maker:
    def __init__(self, folder, seed):
        self.random = numpy.random.default_rng(seed)
        self.folder = folder
        self.lines = []

    def one_of(self, *values):
        return values[self.random.integers(len(values))]

    def chance(self, probability):
        return self.random.random() < probability

    def data(self):
        """Features of several kinds, a place for each category feature, and a score that depends on them."""
        r = self.random
        rows, columns = int(r.integers(120, 700)), int(r.integers(1, 12))
        values = r.normal(size=(rows, columns)) * 10 ** r.uniform(-2, 2, columns)
        for j in range(columns):
            kind = r.integers(5)
            if kind == 0:
                values[:, j] = r.integers(-4, 5, rows)
            elif kind == 1:
                values[:, j] = numpy.where(r.random(rows) < 0.6, 0, values[:, j])
            elif kind == 2:
                values[:, j] = numpy.exp(values[:, j] / (numpy.abs(values[:, j]).max() + 1e-9) * 8)
        categories = [j for j in range(columns) if self.chance(0.25)] if self.chance(0.4) else []
        for j in categories:
            values[:, j] = r.integers(0, self.one_of(3, 12, 70), rows)
        score = numpy.zeros(rows)
        for j in range(columns):
            spread = values[:, j].std() + 1e-9
            score += (values[:, j] % 3) if j in categories else r.normal() * values[:, j] / spread
        score = (score - score.mean()) / (score.std() + 1e-9) + r.normal(size=rows) * 0.3
        missing = self.one_of(0, 0, 0.1, 0.5)
        values[r.random(values.shape) < missing] = numpy.nan
        return values, categories, score

    def unseen(self, values, categories, more=()):
        """Rows like those, and some that are unlike all of them."""
        r = self.random
        rows = values[r.integers(0, len(values), 150)].copy()
        swap = r.random(rows.shape) < 0.3
        rows[swap] = values[r.integers(0, len(values), rows.shape), numpy.arange(rows.shape[1])][swap]
        odd = numpy.array([0.0, -0.0, 1e-36, -1e-36, 1e-35, 1e-34, 1e30, -1e30, numpy.nan, 1.0, 0.5, *more])
        for i in range(40):
            for j in range(rows.shape[1]):
                if j not in categories and self.chance(0.5):
                    rows[i, j] = self.one_of(*odd)
                elif j in categories and self.chance(0.5):
                    rows[i, j] = self.one_of(0, 1, 31, 32, 63, 64, 200, 5.75, numpy.nan)
        return rows

    def labels(self, score, kind, classes=2):
        if kind == "class":
            return numpy.digitize(score, numpy.quantile(score, numpy.linspace(0, 1, classes + 1)[1:-1]))
        if kind == "positive":
            return numpy.exp(score * 0.7)
        if kind == "count":
            return self.random.poisson(numpy.exp(score * 0.7))
        if kind == "unit":
            return 1 / (1 + numpy.exp(-score))
        return score * 10 ** self.random.uniform(-1, 2)

    def write(self, name, library, model, rows, expected, iterations, output, classes, settings):
        with open(os.path.join(self.folder, name + ".model"), "wb") as file:
            file.write(model)
        numpy.ascontiguousarray(rows, dtype="<f8").tofile(os.path.join(self.folder, name + ".rows"))
        expected = numpy.asarray(expected, dtype="<f8").reshape(len(rows), -1)
        expected.tofile(os.path.join(self.folder, name + ".expected"))
        self.lines.append("\t".join(map(str, [
            name, library, iterations, rows.shape[1], expected.shape[1], output, classes, json.dumps(settings, default=str)])))

    def xgboost(self, name):
        values, categories, score = self.data()
        objective = self.one_of(*XGBOOST, "reg:squarederror", "reg:squarederror")
        booster = self.one_of("gbtree", "gbtree", "gbtree", "dart", "gblinear")
        rounds = int(self.random.integers(1, 30))
        settings = {"objective": objective, "booster": booster, "nthread": 1, "verbosity": 0, "seed": 1}
        if booster == "gblinear":
            categories = []
        else:
            settings["eta"] = self.one_of(0.1, 0.3, 1.0)
            settings["tree_method"] = "hist" if categories else self.one_of("hist", "hist", "exact", "approx")
            settings["max_depth"] = int(self.random.integers(0, 10))
            if settings["max_depth"] == 0:
                settings.update(grow_policy="lossguide", max_leaves=int(self.random.integers(2, 300)), tree_method="hist")
            settings["min_child_weight"] = self.one_of(0, 1, 5)
            settings["max_bin"] = self.one_of(4, 64, 256)
            settings["max_cat_to_onehot"] = self.one_of(1, 100)
            if booster == "dart":
                settings["rate_drop"] = 0.4
            if self.chance(0.2):
                settings.update(num_parallel_tree=3, subsample=0.6)
        classes = 0
        more = {}
        if objective.startswith("multi"):
            classes = int(self.random.integers(2, 6))
            settings["num_class"] = classes
            labels = self.labels(score, "class", classes)
        elif objective.startswith("binary"):
            classes = 2
            labels = self.labels(score, "class")
        elif objective == "reg:logistic":
            labels = self.labels(score, "unit")
        elif objective in ("count:poisson",):
            labels = self.labels(score, "count")
        elif objective in ("reg:gamma", "reg:tweedie", "reg:squaredlogerror", "survival:cox", "survival:aft"):
            labels = self.labels(score, "positive")
        elif objective.startswith("rank"):
            labels = self.labels(score, "class", 2 if objective == "rank:map" else 4)
            more["group"] = [len(score) // 2, len(score) - len(score) // 2]
        else:
            labels = self.labels(score, "real")
            if objective == "reg:quantileerror":
                settings["quantile_alpha"] = self.one_of([0.5], [0.1, 0.5, 0.9])
            elif objective == "reg:squarederror" and self.chance(0.6):
                labels = numpy.stack([labels, -labels * 2, labels ** 2], axis=1)
                if booster == "gbtree" and not categories and self.chance(0.7):
                    settings["tree_method"] = "hist"
                    settings["multi_strategy"] = "multi_output_tree"
        if self.chance(0.4):
            settings["base_score"] = self.one_of(0.1, 0.5, 0.73)
        kinds = ["c" if j in categories else "q" for j in range(values.shape[1])]
        names = [f"f{j} with a space" for j in range(values.shape[1])] if self.chance(0.3) else None

        def matrix(rows, labels=None, **more):
            return xgboost.DMatrix(
                numpy.asarray(rows, dtype=numpy.float32), label=labels, feature_types=kinds if categories else None, feature_names=names,
                enable_categorical=bool(categories), **more)

        if objective == "survival:aft":
            train = matrix(values, label_lower_bound=labels, label_upper_bound=labels * 1.5)
        else:
            train = matrix(values, labels, **more)
        iterations = "best" if booster != "gblinear" and self.chance(0.3) else "all"
        model = xgboost.train(settings, train, rounds)
        if iterations == "best":
            best = int(self.random.integers(0, rounds))
            model.set_attr(best_iteration=str(best))
        rows = self.unseen(values, categories)
        until = (0, best + 1) if iterations == "best" else (0, 0)
        expected = model.predict(matrix(rows), iteration_range=until)
        saved = bytes(model.save_raw(self.one_of("json", "ubj")))
        self.write(name, "xgboost", saved, rows, expected, iterations, XGBOOST[objective], classes, settings)

    def lightgbm(self, name):
        values, categories, score = self.data()
        objective = self.one_of(*LIGHTGBM)
        settings = {
            "objective": objective, "verbose": -1, "num_threads": 1, "seed": 1, "boosting": self.one_of("gbdt", "gbdt", "gbdt", "dart", "rf"),
            "num_leaves": int(self.random.integers(2, 80)), "max_depth": self.one_of(-1, -1, 3, 6), "max_bin": self.one_of(4, 63, 255),
            "learning_rate": self.one_of(0.1, 0.5), "min_data_in_leaf": self.one_of(1, 5, 20), "min_data_per_group": 5, "cat_smooth": 1,
            "max_cat_to_onehot": self.one_of(1, 4, 100), "zero_as_missing": self.chance(0.25), "use_missing": not self.chance(0.2),
            "sigmoid": self.one_of(1.0, 0.7, 2.5), "reg_sqrt": self.chance(0.3), "extra_trees": self.chance(0.2),
            "feature_pre_filter": False, "boost_from_average": self.chance(0.7),
        }
        if objective == "rank_xendcg" or objective == "lambdarank":
            settings["sigmoid"] = 1.0
        if settings["boosting"] == "rf":
            settings.update(bagging_freq=1, bagging_fraction=0.6)
        classes = 0
        more = {}
        if objective.startswith("multiclass"):
            classes = int(self.random.integers(2, 6))
            settings["num_class"] = classes
            labels = self.labels(score, "class", classes)
        elif objective == "binary":
            classes = 2
            labels = self.labels(score, "class")
        elif objective.startswith("cross"):
            labels = self.labels(score, "unit")
        elif objective == "poisson":
            labels = self.labels(score, "count")
        elif objective in ("gamma", "tweedie", "mape"):
            labels = self.labels(score, "positive")
        elif objective in ("lambdarank", "rank_xendcg"):
            labels = self.labels(score, "class", 4)
            more["group"] = [len(score) // 2, len(score) - len(score) // 2]
        else:
            labels = self.labels(score, "real")
        if objective == "regression" and settings["boosting"] == "gbdt" and self.chance(0.5):
            settings.update(linear_tree=True, zero_as_missing=False)
        if objective == "custom":
            settings["objective"] = lambda predicted, data: (predicted - data.get_label(), numpy.ones_like(predicted))
            if settings["boosting"] == "rf":
                settings["boosting"] = "gbdt"
        names = [f"f{j}" for j in range(values.shape[1])] if self.chance(0.3) else "auto"
        train = lightgbm.Dataset(
            values, labels, categorical_feature=categories, feature_name=names, params={"feature_pre_filter": False, "verbose": -1}, **more)
        model = lightgbm.train(settings, train, int(self.random.integers(1, 30)))
        rows = self.unseen(values, categories, [numpy.inf, -numpy.inf])
        saved = model.model_to_string().encode()
        self.write(name, "lightgbm", saved, rows, model.predict(rows), "all", LIGHTGBM[objective], classes, settings)


def main():
    folder, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    libraries = sys.argv[4:] or ["xgboost", "lightgbm"]
    os.makedirs(folder, exist_ok=True)
    lines = []
    refused = 0
    for i in range(count):
        library = libraries[i % len(libraries)]
        maker = Maker(folder, [seed, i])
        try:
            getattr(maker, library)(f"{library}-{i}")
        except (xgboost.core.XGBoostError, lightgbm.basic.LightGBMError, ValueError) as error:
            # Not all settings go together: the libraries say so.
            refused += 1
            print(f"{library}-{i}: {str(error).splitlines()[0][:200]}", file=sys.stderr)
        lines += maker.lines
    with open(os.path.join(folder, "cases.txt"), "w") as file:
        file.write("\n".join(lines) + "\n")
    assert refused * 5 <= count, f"{refused} of {count} models could not be trained"


main()
