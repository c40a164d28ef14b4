"""What happens beside a deployment whose model takes long to load, and what is refused when the model is there."""
import json
import threading
import time

import pytest

import bundles
import code_models
import served
from servers import Keel

# Longer than everything else that these tests do while it is loaded.
SECONDS = 8
CODE = f"""
import time

time.sleep({SECONDS})


def predict(data, params=None):
    return data.assign(score=data["x"].astype("float32"))[["score"]]
"""
QUICK = CODE.replace(f"time.sleep({SECONDS})", "")
ONE = ([("x", "float64")], [("score", "float32")])


@pytest.fixture(scope="module")
def keel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    server = Keel(environment={"KEEL_SERVING_PYTHON_ENVIRONMENT": str(code_models.python(folder / "python"))}).start()
    code_models.register(server, "slow", {"model.py": CODE.encode()}, *ONE)
    code_models.register(server, "quick", {"model.py": QUICK.encode()}, *ONE)
    yield server
    server.stop()


def two_releases(keel, folder, name):
    """An endpoint that serves its second release of trees."""
    served.serve(keel, folder, name, bundles.stump(low=0.25, high=0.75), "xgboost", served.ONE)
    served.put_bundle(keel, folder, name, bundles.stump(low=0.2, high=0.8), "xgboost", served.ONE)
    assert bundles.release(keel, name, 2).status_code == 200
    keel.cli("promote", name)


def deploying(keel, model, name, *more):
    """Deploys beside what the test does; the answer of the command when it is there."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(keel.cli("deploy", model, "--endpoint", name, *more, check=False)))
    thread.start()
    time.sleep(1)
    return thread, answers


def release(keel, name):
    answer = keel.post(f"/api/v1/endpoints/{name}/predict", {"rows": [{"x": 0.0}]})
    return answer.json().get("release") if answer.status_code == 200 else answer.text


def declared(folder, name, spec):
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"apiVersion": "keel/v1", "kind": "Endpoint", "metadata": {"name": name}, "spec": spec}))
    return file


def test_rollbacks_and_applies_are_done_while_it_loads_and_what_was_decided_stands(keel, tmp_path):
    two_releases(keel, tmp_path, "waits")
    keel.cli("workspaces", "create", "beside")
    thread, answers = deploying(keel, "models:/slow/1", "waits")
    keel.cli("rollback", "waits")
    longest = 0
    for i in range(200):
        if not thread.is_alive():
            break
        began = time.monotonic()
        keel.cli("apply", declared(tmp_path, "another", {"limits": {"rows": i + 1}}))
        keel.cli("apply", declared(tmp_path, "theirs", {"limits": {"rows": i + 1}}), environment={"KEEL_WORKSPACE": "beside"})
        longest = max(longest, time.monotonic() - began)
    thread.join()
    # Whoever waited for the model would have waited for as long as it takes.
    assert i > 2 and longest < SECONDS, (i, longest)
    assert answers[0].returncode != 0 and "while its model was loaded, the endpoint was rolled back to release waits/1" in answers[0].stderr
    assert str(release(keel, "waits")).endswith("1")


def test_a_policy_is_in_force_while_it_loads_and_the_model_does_not_serve(keel, tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"apiVersion": "keel/v1", "kind": "ModelPolicy", "metadata": {"name": "models"}, "spec": {"pythonModels": "refused"}}))
    thread, answers = deploying(keel, "models:/slow/1", "refused")
    try:
        keel.cli("apply", policy)
        thread.join()
        assert answers[0].returncode != 0 and "takes no models that bring code" in answers[0].stderr, answers[0].stderr
        assert keel.get("/v2/models/refused").status_code == 404
    finally:
        keel.cli("delete", "modelpolicy", "models", check=False)


def test_an_alias_that_is_moved_while_it_loads_leads_nowhere(keel, tmp_path):
    code_models.register(keel, "slow", {"model.py": QUICK.encode()}, *ONE)
    keel.cli("models", "alias", "slow/1", "best")
    thread, answers = deploying(keel, "models:/slow@best", "moved")
    keel.cli("models", "alias", "slow/2", "best")
    thread.join()
    assert answers[0].returncode != 0 and "models:/slow@best was moved to another version" in answers[0].stderr, answers[0].stderr
    assert keel.get("/v2/models/moved").status_code == 404


def test_the_models_beside_it_need_their_approvals_too(keel, tmp_path):
    """An endpoint that takes approved versions only takes no part that nobody approved."""
    code_models.register(keel, "after", {"model.py": b"def predict(data, params=None):\n    return data[['score']]\n"}, [("score", "float32")], [("score", "float32")])
    spec = {"approval": "required", "after": ["models:/after/1"]}
    keel.cli("apply", declared(tmp_path, "approved", spec))
    officer = keel.json("tokens", "create", "rosa", "--persona", "risk-officer")["secret"]

    def deploy():
        return keel.cli("deploy", "models:/quick/1", "--endpoint", "approved", check=False)
    first = deploy()
    assert first.returncode != 0 and "nobody approved models:/quick/1" in first.stderr, first.stderr
    keel.cli("approve", "models:/quick/1", "--reason", "read it", token=officer)
    second = deploy()
    assert second.returncode != 0 and "nobody approved models:/after/1" in second.stderr, second.stderr
    keel.cli("approve", "models:/after/1", "--reason", "read it too", token=officer)
    assert deploy().returncode == 0
    assert str(release(keel, "approved")).endswith("1")


def test_a_model_with_other_inputs_is_named_in_the_plan_and_refused_without_a_word(keel, tmp_path):
    code_models.register(keel, "wider", {"model.py": QUICK.encode()}, *ONE)
    code_models.register(keel, "wider", {"model.py": QUICK.encode()}, [("x", "float64"), ("y", "float64")], [("score", "float32")])
    keel.cli("apply", declared(tmp_path, "kept", {"model": "models:/wider/1"}))
    noticed = "input 'y' is new, and no request may leave it out"
    other = declared(tmp_path, "kept", {"model": "models:/wider/2"})
    plan = keel.cli("plan", other).stdout
    assert noticed in plan and "signature: any" in plan and "brings Python code" in plan, plan
    for done in keel.cli("apply", other, check=False), keel.cli("deploy", "models:/wider/2", "--endpoint", "kept", check=False):
        assert done.returncode != 0 and noticed in done.stderr and "--signature any" in done.stdout + done.stderr, done.stderr
    assert keel.json("describe", "endpoint", "kept")["revision"] == 1
    assert str(release(keel, "kept")).endswith("1")
    keel.cli("apply", declared(tmp_path, "kept", {"model": "models:/wider/2", "signature": "any"}))
    for _ in range(200):
        # A release without a rollout takes the traffic a moment later.
        answer = keel.post("/api/v1/endpoints/kept/predict", {"rows": [{"x": 0.0, "y": 1.0}]})
        if answer.status_code == 200:
            break
        time.sleep(0.05)
    assert answer.status_code == 200, answer.text
    # A row without a column that others have is an error with its place.
    gap = keel.post("/api/v1/endpoints/kept/predict", {"rows": [{"x": 0.0, "y": 1.0}, {"x": 0.0}]})
    assert gap.status_code == 422 and "rows[1].y" in gap.text, gap.text


def test_a_monitor_that_can_never_alert_is_named_when_it_is_applied_and_when_its_endpoint_is_deployed(keel, tmp_path):
    monitor = tmp_path / "monitor.json"
    monitor.write_text(json.dumps({"apiVersion": "keel/v1", "kind": "Monitor", "metadata": {"name": "blind"},
                                   "spec": {"endpoint": "watched", "window": "1d", "drift": {"threshold": 0.2}}}))
    keel.cli("apply", declared(tmp_path, "watched", {}))
    assert "can never" not in keel.cli("apply", monitor).stdout
    said = "warning: Monitor/blind can never alert of drift: release watched/1 (models:/quick/1) has nothing that its drift is measured from"
    assert said in keel.cli("deploy", "models:/quick/1", "--endpoint", "watched").stdout
    monitor.write_text(monitor.read_text().replace("0.2", "0.3"))
    assert said.removeprefix("warning: ") in keel.cli("plan", monitor).stdout
    assert said in keel.cli("apply", monitor).stdout


def test_labels_of_an_endpoint_that_is_not_there_are_refused(keel):
    answer = keel.post("/api/v1/endpoints/nowhere/labels", {"labels": [{"id": "a", "value": 1}]})
    assert answer.status_code == 404 and "there is no endpoint 'nowhere'" in answer.text
