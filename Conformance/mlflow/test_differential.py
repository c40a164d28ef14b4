"""Random sequences of calls to Keel and to a real MLflow server give the same answers, but for the differences listed in `differences.py`.

KEEL_DIFFERENTIAL_SEEDS=1-100 and KEEL_DIFFERENTIAL_CALLS=1000 make it longer; a failure prints its seed and the shortest sequence that shows it.
"""
import os
import pathlib

import pytest
from differences import KNOWN, plain, same
from differential import Call, compare, shortest
from random_calls import sequence

FIRST, LAST = map(int, os.environ.get("KEEL_DIFFERENTIAL_SEEDS", "1-3").split("-"))
CALLS = int(os.environ.get("KEEL_DIFFERENTIAL_CALLS", "500"))
DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "mlflow-differences.md"


@pytest.mark.parametrize("seed", range(FIRST, LAST + 1))
def test_random_calls_are_answered_alike(shared_keel, mlflow_reference, seed):
    urls = (shared_keel.url, mlflow_reference.url)
    calls = sequence(seed, CALLS).calls
    differences = compare(calls, *urls, plain, same)
    if differences:
        few = shortest(calls[:differences[0].number + 1], lambda calls: bool(compare(calls, *urls, plain, same)))
        pytest.fail(f"seed {seed}: {len(differences)} differences; the first is {differences[0]}\nshown by\n" + "\n".join(map(str, few)))


@pytest.mark.parametrize("known", [k for k in KNOWN if k.example], ids=lambda k: k.what[:60])
def test_a_known_difference_is_there(shared_keel, mlflow_reference, known):
    start = [Call("POST", "experiments/create", {"name": "{prefix}e"}, creates="experiment")]
    prefix = sequence(0, 0).prefix
    calls = [Call(c.method, c.path, {k: v.replace("{prefix}", prefix) if isinstance(v, str) else v for k, v in c.fields.items()}, c.creates, c.list)
             for c in start + known.example]
    found = compare(calls, shared_keel.url, mlflow_reference.url, lambda call, body: body, lambda call, keel, mlflow: False)[-1]
    assert found.keel != found.mlflow
    if known.statuses:
        assert (found.keel[0][0], found.mlflow[0][0]) == known.statuses, str(found)


def test_the_known_differences_are_documented():
    text = " ".join(DOCUMENT.read_text().split())
    assert [k.what for k in KNOWN if k.what not in text or k.why not in text] == []
