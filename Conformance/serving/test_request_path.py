"""What happens to requests when a model is slow: bounded queues, deadlines, refusals that say when to come back, and a stop that loses none."""
import concurrent.futures
import socket
import threading
import time

import pytest
import requests

import bundles
import served
from servers import Keel


def ask(keel, seconds, steps_per_second, path="/v2/models/slow/infer", **options):
    return keel.post(path, bundles.question([float(int(seconds * steps_per_second))]), **options)


@pytest.fixture(scope="module")
def keel(tmp_path_factory):
    """`slow` takes four requests at a time, and ends them after two seconds."""
    server = Keel().start()
    served.serve_slow(server, tmp_path_factory.mktemp("slow"), limits="{ queue: 4, deadline: 2s }")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def speed(keel):
    """Steps of the model in a second."""
    keel.post("/v2/models/slow/infer", bundles.question([1000.0]))
    start = time.monotonic()
    assert keel.post("/v2/models/slow/infer", bundles.question([100_000.0])).status_code == 200
    return 100_000 / (time.monotonic() - start)


def test_more_requests_than_the_endpoint_takes_are_refused_at_once(keel, speed):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        def timed(_):
            start = time.monotonic()
            return ask(keel, 1.0, speed), time.monotonic() - start
        done = list(pool.map(timed, range(12)))
    refused = [(answer, took) for answer, took in done if answer.status_code == 503]
    assert len(refused) >= 6 and len(done) - len(refused) >= 2, [answer.status_code for answer, _ in done]
    for answer, took in refused:
        assert answer.headers["Retry-After"] == "1" and "busy" in answer.json()["error"] and took < 0.9
    # It goes on as if nothing had been.
    assert ask(keel, 0.001, speed).status_code == 200


@pytest.mark.parametrize("path, body", [
    ("/v2/models/slow/infer", lambda x: bundles.question([x])), ("/v1/models/slow:predict", lambda x: {"instances": [x]}),
    ("/endpoints/slow/invocations", lambda x: {"inputs": [x]}), ("/api/v1/endpoints/slow/predict", lambda x: {"rows": [{"x": x}]}),
])
def test_a_model_that_takes_too_long_is_ended_at_the_deadline(keel, speed, path, body):
    start = time.monotonic()
    answer = keel.post(path, body(20 * speed))
    assert answer.status_code == 504 and 1.9 < time.monotonic() - start < 4, answer.text
    # The thread comes back.
    for _ in range(50):
        if ask(keel, 0.001, speed).status_code == 200:
            break
        time.sleep(0.1)
    assert ask(keel, 0.001, speed).status_code == 200


def test_what_waits_is_answered_at_its_deadline_too(keel, speed):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        start = time.monotonic()
        statuses = [f.result().status_code for f in [pool.submit(ask, keel, 20, speed) for _ in range(4)]]
    assert statuses == [504] * 4 and time.monotonic() - start < 5


def test_other_endpoints_and_the_server_are_not_held_up(keel, speed, tmp_path):
    served.serve(keel, tmp_path, "quick", bundles.stump(), "xgboost", served.ONE)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(ask, keel, 1.5, speed) for _ in range(4)]
        time.sleep(0.2)
        worst = 0
        for _ in range(100):
            start = time.monotonic()
            assert keel.post("/v2/models/quick/infer", bundles.question([1.0])).status_code == 200
            worst = max(worst, time.monotonic() - start)
        assert worst < 0.5
        [f.result() for f in slow]


def test_a_stop_answers_what_is_in_flight_and_takes_nothing_new(tmp_path):
    keel = Keel().start()
    served.serve_slow(keel, tmp_path)
    start = time.monotonic()
    keel.post("/v2/models/slow/infer", bundles.question([100_000.0]))
    speed = 100_000 / (time.monotonic() - start)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(keel, 0.8, speed))) for _ in range(3)]
    idle = socket.create_connection(("127.0.0.1", keel.port))
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    keel.process.terminate()
    time.sleep(0.2)
    with pytest.raises(requests.ConnectionError):
        requests.get(keel.url + "/health", timeout=2)
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 3
    assert all(answer.headers["Connection"] == "close" for answer in answers)
    idle.close()
    assert keel.process.wait(timeout=20) == 0
    # What was answered is in the log.
    keel.start()
    logged = keel.get("/v2/models/slow/stats")
    assert logged.status_code == 200
    keel.stop()
