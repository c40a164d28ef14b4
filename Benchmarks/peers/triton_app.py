"""python triton_app.py PORT: Triton, its Python calls made through PyTriton. It takes PORT and the two after it."""
import sys

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from one_model import Model

if __name__ == "__main__":
    port, model = int(sys.argv[1]), Model()

    @batch
    def predict(x):
        return {"predictions": model.predict(x).reshape(-1, 1)}

    with Triton(config=TritonConfig(http_address="127.0.0.1", http_port=port, grpc_port=port + 1, metrics_port=port + 2)) as triton:
        triton.bind(
            model_name="one", infer_func=predict, config=ModelConfig(max_batch_size=128),
            inputs=[Tensor(name="x", dtype=np.float32, shape=(30,))], outputs=[Tensor(name="predictions", dtype=np.float32, shape=(1,))])
        triton.serve()
