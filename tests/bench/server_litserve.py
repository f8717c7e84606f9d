"""LitServe with a pickle; runs in LitServe's environment. `server_litserve.py PICKLE PORT`."""

import sys

import joblib
import litserve
import numpy as np


class Served(litserve.LitAPI):
    """Requests of one row or of many: a batch is a list of them."""

    def setup(self, device):
        self._model = joblib.load(sys.argv[1])

    def decode_request(self, request):
        return np.atleast_2d(np.asarray(request["input"], dtype=np.float64))

    def batch(self, inputs):
        self._sizes = [len(rows) for rows in inputs]
        return np.concatenate(inputs)

    def unbatch(self, output):
        return np.split(output, np.cumsum(self._sizes)[:-1])

    def predict(self, rows):
        return self._model.predict(rows)

    def encode_response(self, output):
        return {"output": output.tolist()}


if __name__ == "__main__":
    api = Served(max_batch_size=64, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=30, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        generate_client_file=False,
        log_level="warning",
        num_api_servers=1,
        access_log=False,
    )
