"""Models that did not come from a pipeline of Keel's own: stored as bundles, registered by a pipeline and released."""
import hashlib
import json

import requests

PIPELINE = """
apiVersion: keel/v1
kind: Pipeline
metadata: {{ name: register-{name} }}
spec:
  steps:
    - {{ name: made, uses: shell, with: {{ run: "printf '%s' '{{\\"model\\": {{\\"bundle\\": \\"{bundle}\\"}}}}' > $KEEL_OUTPUT" }} }}
    - {{ name: register, uses: register, with: {{ model: $made.model, name: {name} }} }}
"""

ENDPOINT = """
apiVersion: keel/v1
kind: Endpoint
metadata: {{ name: {name} }}
spec:
  rollout: {{ canary: {{ shares: [100%] }} }}
  log: {log}
  limits: {limits}
"""


def put(keel, name, content):
    """Artifacts are kept by their content: a bundle refers to its model by the digest."""
    answer = requests.put(f"{keel.url}/api/2.0/mlflow-artifacts/artifacts/0/bundles/{name}", data=content, timeout=60)
    assert answer.status_code == 200, answer.text
    return hashlib.sha256(content).hexdigest()


def store(keel, name, model, flavor, inputs=(("x", "float64"),), output=("score", "float32")):
    manifest = {
        "format": "keel/bundle/v1", "flavor": flavor, "model": put(keel, f"{name}.model", model), "bytes": len(model),
        "signature": {"inputs": [{"name": n, "type": t, "nullable": True} for n, t in inputs], "outputs": [{"name": output[0], "type": output[1]}]},
        "features": None, "reference": {"inputs": {}, "score": None}, "metrics": {}}
    return put(keel, f"{name}.json", json.dumps(manifest).encode())


def register(keel, folder, name, bundle, check=True):
    """Runs the pipeline that registers the bundle; the result of the command."""
    file = folder / f"register-{name}.yaml"
    file.write_text(PIPELINE.format(name=name, bundle=bundle))
    keel.cli("apply", file)
    return keel.cli("run", f"register-{name}", check=check)


def endpoint(keel, folder, name, log="{}", limits="{}"):
    file = folder / f"endpoint-{name}.yaml"
    file.write_text(ENDPOINT.format(name=name, log=log, limits=limits))
    keel.cli("apply", file)


def release(keel, name, version=1):
    return keel.post(f"/api/v1/endpoints/{name}/releases", {"model": f"models:/{name}/{version}", "force": True, "reason": "test"})


def serve(keel, folder, name, model, flavor, inputs=(("x", "float64"),), log="{}", limits="{}"):
    """From a model file to an endpoint that answers with it."""
    endpoint(keel, folder, name, log, limits)
    register(keel, folder, name, store(keel, name, model, flavor, inputs))
    answer = release(keel, name)
    assert answer.status_code == 200, answer.text


def stump(low=0.0, high=1.0, inputs=1):
    """An XGBoost model: `low` when the first input is below 0.5, else `high`."""
    return xgboost_model([{"left": [1, -1, -1], "right": [2, -1, -1], "parents": [2147483647, 0, 0], "conditions": [0.5, low, high]}], inputs)


def chain(levels):
    """A tree whose every level has one leaf."""
    count = 2 * levels + 1
    inner = [i % 2 == 0 and i < count - 1 for i in range(count)]
    return xgboost_model([{
        "left": [i + 1 if inner[i] else -1 for i in range(count)], "right": [i + 2 if inner[i] else -1 for i in range(count)],
        "parents": [2147483647] + [(i - 1) // 2 * 2 for i in range(1, count)], "conditions": [0.5 if inner[i] else 1.0 for i in range(count)]}])


def xgboost_model(trees, inputs=1):
    def tree(t):
        zeros = [0] * len(t["left"])
        return {
            "left_children": t["left"], "right_children": t["right"], "parents": t["parents"], "split_indices": zeros,
            "split_conditions": t["conditions"], "default_left": zeros, "split_type": zeros, "tree_param": {"size_leaf_vector": "1"}}
    return json.dumps({"learner": {
        "feature_names": [],
        "gradient_booster": {"name": "gbtree", "model": {"tree_info": [0] * len(trees), "trees": [tree(t) for t in trees]}},
        "learner_model_param": {"base_score": "0", "num_class": "0", "num_feature": str(inputs)},
        "objective": {"name": "reg:squarederror"}}}).encode()


def question(values, name="x", datatype="FP64", ids=None):
    body = {"inputs": [{"name": name, "datatype": datatype, "shape": [len(values)], "data": values}]}
    return body | ({"parameters": {"ids": ids}} if ids else {})
