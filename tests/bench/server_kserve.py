"""KServe's SDK with a pickle, as its own scikit-learn server does; runs in KServe's environment."""

import argparse

import joblib
from kserve import Model, ModelServer, model_server
from kserve.utils.utils import get_predict_input, get_predict_response

parser = argparse.ArgumentParser(parents=[model_server.parser])
parser.add_argument("--model_dir", required=True)
arguments, _ = parser.parse_known_args()


class Sklearn(Model):
    """A KServe model."""

    def load(self):
        self._model = joblib.load(arguments.model_dir)
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        return get_predict_response(payload, self._model.predict(get_predict_input(payload)), self.name)


model = Sklearn(arguments.model_name)
model.load()
ModelServer().start([model])
