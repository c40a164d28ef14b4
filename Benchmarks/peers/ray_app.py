"""python ray_app.py PORT; with RAY_SERVE_THROUGHPUT_OPTIMIZED=1 in the environment in Ray's own mode for throughput."""
import signal
import sys

import ray
from ray import serve
from starlette.requests import Request

from one_model import Model


@serve.deployment(num_replicas=1, max_ongoing_requests=64)
class Served:
    def __init__(self):
        self.model = Model()

    async def __call__(self, request: Request):
        if request.method == "GET":
            return {"status": "ok"}
        return {"predictions": self.model.predict((await request.json())["rows"]).tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Served.bind(), route_prefix="/")
    signal.pause()
