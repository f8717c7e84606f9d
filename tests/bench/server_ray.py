"""Ray Serve with a pickle; runs in Ray's environment. `server_ray.py PICKLE PORT`."""

import signal
import sys
import tempfile

import joblib
import numpy as np
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.5})
class Served:
    """A deployment of one replica."""

    def __init__(self, pickle):
        self._model = joblib.load(pickle)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def _predict(self, parts):
        found = self._model.predict(np.concatenate(parts))
        return np.split(found, np.cumsum([len(part) for part in parts])[:-1])

    async def __call__(self, request: Request):
        rows = np.atleast_2d(np.asarray((await request.json())["input"], dtype=np.float64))
        return {"output": (await self._predict(rows)).tolist()}


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=200_000_000,
        _temp_dir=tempfile.mkdtemp(),
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    quiet = {"enable_access_log": False, "log_level": "WARNING"}
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])}, logging_config=quiet)
    serve.run(Served.bind(sys.argv[1]), route_prefix="/predict", blocking=False)
    signal.pause()
