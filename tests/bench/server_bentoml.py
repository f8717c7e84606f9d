"""BentoML with a pickle; runs in BentoML's environment."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1, resources={"cpu": "1"}, traffic={"timeout": 30}, logging={"access": {"enabled": False}})
class Served:
    """A service."""

    def __init__(self) -> None:
        self._model = joblib.load(os.environ["PICKLE"])

    @bentoml.api(batchable=True, max_batch_size=1024, max_latency_ms=1000)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self._model.predict(rows)
