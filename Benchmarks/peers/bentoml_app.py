"""bentoml serve bentoml_app:Served"""
import bentoml
import numpy as np

from one_model import Model


@bentoml.service(traffic={"timeout": 30})
class Served:
    def __init__(self):
        self.model = Model()

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict(rows)
