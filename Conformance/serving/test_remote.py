"""A model of another server is a release like any other: declared, tried, logged, compared, taken back; and its failures are told with the right status."""
import json
import sqlite3
import time

import numpy as np
import pytest
import requests
import tritonclient.http as triton

import bundles
import served
import upstreams
from servers import Keel

DEVIATIONS = {"error": 502, "text": 502, "redirect": 502, "cut": 502, "large": 502, "full": 503, "closed": 503, "slow": 504}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another Keel: a real server of the Open Inference Protocol, with a token."""
    folder = tmp_path_factory.mktemp("other")
    keel = Keel().start()
    served.serve(keel, folder, "stump", bundles.stump(low=0.25, high=0.75), "xgboost", served.ONE)
    served.serve(keel, folder, "higher", bundles.stump(low=0.5, high=1.0), "xgboost", served.ONE)
    served.serve(keel, folder, "typed", bundles.stump(low=0.25, high=0.75, inputs=4), "xgboost", served.TYPED)
    served.serve_slow(keel, folder)
    yield keel
    keel.stop()


@pytest.fixture(scope="module")
def chat():
    upstream = upstreams.chat()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory, chat):
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "vllm").write_text(json.dumps({"url": chat.url, "token": upstreams.Chat.KEY}))
    (folder / "elsewhere").write_text(json.dumps({"url": "https://vllm.example", "token": upstreams.Chat.KEY}))
    (folder / "theirs").write_text(json.dumps({"url": chat.url, "token": upstreams.Chat.KEY, "workspaces": ["theirs"]}))
    (folder / "wrong").write_text(json.dumps({"url": chat.url, "token": "key-that-is-wrong"}))
    (folder / "damaged").write_text("{" + upstreams.Chat.KEY)
    return folder


@pytest.fixture(scope="module")
def keel(secrets):
    server = Keel(environment={
        "KEEL_SERVING_REMOTE_SCHEMES": "http,https", "KEEL_SERVING_REMOTE_INTERNAL": "true", "KEEL_SERVING_REMOTE_SECRETS": str(secrets)}).start()
    yield server
    server.stop()
    assert upstreams.Chat.KEY not in server.log() and "key-that-is-wrong" not in server.log()


@pytest.fixture(autouse=True)
def well(doubling, chat):
    yield
    for upstream in (doubling, chat):
        upstream.mode = "well"
    doubling.offset = 0


def declare(keel, tmp_path, name, remote, rollout="{}", limits="{}", check=True, more=""):
    file = tmp_path / f"{name}.yaml"
    file.write_text(f"""
apiVersion: keel/v1
kind: Endpoint
metadata: {{ name: {name} }}
spec:
  remote: {json.dumps(remote)}
  rollout: {rollout}
  limits: {limits}
{more}""")
    return keel.cli("apply", file, check=check)


def oip(upstream, model, **more):
    return {"url": upstream.url, "protocol": "open-inference", "model": model} | more


def openai(upstream, model, **more):
    return {"url": upstream.url + "/v1", "protocol": "openai", "model": model, "secret": "vllm"} | more


def ask(keel, endpoint, rows, **more):
    return keel.post(f"/api/v1/endpoints/{endpoint}/predict", {"rows": rows} | more)


def invoke(keel, endpoint, rows):
    return keel.post(f"/endpoints/{endpoint}/invocations", {"dataframe_records": rows})


def y(answer):
    """The number that the model `double` gave for the one row that was asked for."""
    return answer["predictions"][0]["y"]


def releases(keel, endpoint):
    return keel.get(f"/api/v1/endpoints/{endpoint}/releases").json()["releases"]


def settle(keel, endpoint):
    """A release without a rollout takes the traffic a moment later."""
    for _ in range(200):
        if releases(keel, endpoint)[0]["state"] == "stable":
            return
        time.sleep(0.05)
    raise AssertionError(releases(keel, endpoint))


def test_a_model_of_another_keel(keel, other, tmp_path):
    """Over a real server of the protocol, with binary tensors: the answers are that server's, and what is known of a release is known of this one."""
    out = declare(keel, tmp_path, "far", oip(other, "stump", version="1")).stdout
    assert "release far/1 of models:/far/1, run by remote" in out and "it answers all requests" in out
    values = np.random.default_rng(3).normal(size=700)
    rows = [{"x": float(v)} for v in values]
    answer = ask(keel, "far", rows).json()
    assert [p["score"] for p in answer["predictions"]] == [0.25 if v < 0.5 else 0.75 for v in values]
    # A missing number is missing there too.
    assert ask(keel, "far", [{"x": None}]).json()["predictions"][0]["score"] == 0.75
    metadata = keel.get("/v2/models/far").json()
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [-1]}] and metadata["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [-1]}]
    version = keel.get("/api/2.0/mlflow/model-versions/get", params={"name": "far", "version": "1"}).json()["model_version"]
    assert version["source"] == f"{other.url}/v2/models/stump/versions/1"
    client = triton.InferenceServerClient(f"127.0.0.1:{keel.port}")
    x = triton.InferInput("x", [2], "FP64")
    x.set_data_from_numpy(np.array([0.1, 0.9]))
    assert client.infer("far", [x], model_version="1").as_numpy("score").tolist() == [0.25, 0.75]
    client.close()


def test_every_type_of_column_goes_there(keel, other, tmp_path):
    example = [{"x": 1.0, "n": 2, "word": "red", "flag": True}, {"x": 0.25, "n": -3, "word": "green", "flag": False}]
    declare(keel, tmp_path, "far-typed", oip(other, "typed", example=example))
    answer = ask(keel, "far-typed", [served.ROW, served.ROW | {"x": 0.1, "word": "grün"}]).json()
    assert [p["score"] for p in answer["predictions"]] == [0.75, 0.25]
    # What the protocol cannot say is refused here, with its place.
    missing = ask(keel, "far-typed", [served.ROW, served.ROW | {"n": None}])
    assert missing.status_code == 422 and "'n'" in missing.text


def test_the_digest_of_a_release_covers_the_address_the_name_and_the_version(keel, doubling, other, tmp_path):
    digests = set()
    for i, remote in enumerate([oip(doubling, "double", version="1"), oip(doubling, "double", version="2"), oip(doubling, "double"), oip(other, "stump")]):
        declare(keel, tmp_path, "digests", remote, more="  signature: any")
        newest = releases(keel, "digests")[0]
        assert newest["number"] == i + 1 and newest["model"] == f"models:/digests/{i + 1}"
        digests.add(newest["digest"])
    assert len(digests) == 4
    # The same declaration again is the version that it was.
    settle(keel, "digests")
    declare(keel, tmp_path, "digests", oip(doubling, "double", version="1"), more="  signature: any")
    again = releases(keel, "digests")
    assert again[0]["model"] == "models:/digests/1" and again[0]["digest"] == again[4]["digest"]


def test_rows_beyond_the_servers_batch_go_in_parts(keel, doubling, tmp_path):
    declare(keel, tmp_path, "parts", oip(doubling, "double", version="1"))
    before, connections = len(doubling.asked), doubling.connections
    rows = [{"x": float(i)} for i in range(11)]
    answer = keel.post("/v2/models/parts/infer", bundles.question([r["x"] for r in rows], datatype="FP32"))
    outputs = {o["name"]: o["data"] for o in answer.json()["outputs"]}
    assert outputs["y"] == [2 * r["x"] for r in rows] and outputs["note"] == ["fine"] * 11
    assert [len(body["inputs"][0]["data"]) for _, body in doubling.asked[before:]] == [4, 4, 3]
    assert all(body["inputs"][0]["shape"] == [len(body["inputs"][0]["data"]), 1] for _, body in doubling.asked[before:])
    # JSON has no word for a missing number.
    assert ask(keel, "parts", [{"x": 1}, {"x": None}]).status_code == 422
    # On a connection that is kept.
    assert doubling.connections - connections <= 1


@pytest.mark.parametrize("mode", DEVIATIONS)
def test_what_fails_there_is_told_with_the_right_status(keel, doubling, tmp_path, mode):
    declare(keel, tmp_path, "fails", oip(doubling, "double", version="1"), limits="{ deadline: 1s }")
    assert ask(keel, "fails", [{"x": 2}]).status_code == 200
    elsewhere = upstreams.doubling()
    doubling.elsewhere = elsewhere.url + "/v2/models/double/infer"
    doubling.mode = mode
    start = time.monotonic()
    answer = ask(keel, "fails", [{"x": 2}])
    assert answer.status_code == DEVIATIONS[mode], answer.text
    assert time.monotonic() - start < 2.5 or mode == "large"
    assert f"127.0.0.1:{doubling.port}" in answer.text
    # The same over every protocol.
    assert keel.post("/v2/models/fails/infer", bundles.question([2.0], datatype="FP32")).status_code == DEVIATIONS[mode]
    assert elsewhere.connections == 0
    elsewhere.stop()
    doubling.mode = "well"
    again = ask(keel, "fails", [{"x": 2}])
    assert again.status_code == 200, again.text


@pytest.mark.parametrize("mode", ["rows", "shape", "datatype", "values", "count", "name"])
def test_answers_of_another_shape_are_refused(keel, doubling, tmp_path, mode):
    declare(keel, tmp_path, "shapes", oip(doubling, "double", version="1"))
    doubling.mode = mode
    answer = ask(keel, "shapes", [{"x": 2}, {"x": 3}])
    assert answer.status_code == 502 and "'double'" in answer.text and answer.json()["error"]["code"] == "bad_gateway", answer.text


def test_rows_that_the_model_refuses_are_the_callers_fault(keel, doubling, tmp_path):
    declare(keel, tmp_path, "refuses", oip(doubling, "double", version="1"))
    answer = ask(keel, "refuses", [{"x": 13}])
    assert answer.status_code == 400 and "13 is refused" in answer.text


def test_a_server_that_is_away_comes_back(keel, tmp_path):
    upstream = upstreams.doubling()
    declare(keel, tmp_path, "away", oip(upstream, "double", version="1"))
    assert ask(keel, "away", [{"x": 2}]).status_code == 200
    upstream.stop()
    gone = ask(keel, "away", [{"x": 2}])
    assert gone.status_code == 503 and gone.headers["Retry-After"] == "1" and f"127.0.0.1:{upstream.port}" in gone.text
    # Nothing is asked when nothing has changed.
    assert "nothing to change" in declare(keel, tmp_path, "away", oip(upstream, "double", version="1")).stdout
    upstream.start()
    assert ask(keel, "away", [{"x": 2}]).status_code == 200
    upstream.stop()


def test_shadow_canary_and_rollback_with_an_incumbent_that_answers(keel, doubling, tmp_path):
    """A new adapter or version goes through the endpoint's rollout; one that fails there is taken back, and no caller sees it."""
    upstream = upstreams.doubling()
    plan = "{ shadow: { requests: 30 }, canary: { shares: [50%, 100%], every: { requests: 40 } }, rollbackWhen: ['errors > 20%'], minimum: { requests: 20 } }"
    declare(keel, tmp_path, "rolled", oip(doubling, "double", version="1"), rollout=plan)
    out = declare(keel, tmp_path, "rolled", oip(upstream, "double", version="2"), rollout=plan).stdout
    assert "its rollout is under way" in out
    seen = set()
    for i in range(300):
        answer = ask(keel, "rolled", [{"x": 2}], ids=[f"r{i}"]).json()
        seen.add((answer["release"], y(answer)))
        if answer["release"] == 2 and upstream.server:
            upstream.stop()
            upstream.server = None
    # Every caller was answered, by one or the other.
    assert seen == {(1, 4.0), (2, 6.0)}
    deadline = time.monotonic() + 20
    while releases(keel, "rolled")[0]["state"] == "candidate":
        assert time.monotonic() < deadline
        assert y(ask(keel, "rolled", [{"x": 2}]).json()) == 4.0
    assert [r["state"] for r in releases(keel, "rolled")] == ["-", "stable"]
    with sqlite3.connect(f"file:{keel.home}/keel.sqlite?mode=ro", uri=True) as database:
        shadows = database.execute("SELECT count(*) FROM predictions WHERE endpoint = 'rolled' AND shadow = 1 AND release_number = 2").fetchone()[0]
        kinds = [k for (k,) in database.execute("SELECT kind FROM ledger WHERE subject = 'Endpoint/rolled'")]
    assert shadows >= 30 and "rollout.started" in kinds and "release.rolledback" in kinds


def test_a_restart_while_the_server_is_away(start, tmp_path):
    upstream = upstreams.doubling()
    environment = {"KEEL_SERVING_REMOTE_SCHEMES": "http", "KEEL_SERVING_REMOTE_INTERNAL": "true"}
    keel = start(environment=environment)
    declare(keel, tmp_path, "kept", oip(upstream, "double", version="1", example=[{"x": 1}], outputs=[{"name": "y", "type": "float32"}]))
    keel.kill()
    upstream.stop()
    keel.start()
    for _ in range(100):
        answer = ask(keel, "kept", [{"x": 2}])
        if "is starting" not in answer.text:
            break
        time.sleep(0.1)
    assert answer.status_code == 503 and f"127.0.0.1:{upstream.port}" in answer.text
    upstream.start()
    assert y(ask(keel, "kept", [{"x": 2}]).json()) == 4.0
    # A server that has another model now is found out at the next start.
    keel.kill()
    upstream.offset = 1
    keel.start()
    for _ in range(100):
        answer = ask(keel, "kept", [{"x": 2}])
        if "is starting" not in answer.text:
            break
        time.sleep(0.1)
    assert answer.status_code == 503 and "expected is" in answer.text
    upstream.stop()


# MARK: declarations

REFUSED = {
    "no such model": ({"model": "doubel"}, "there is no model"),
    "no such version": ({"version": "7"}, "of version 7"),
    "another type": ({"inputs": [{"name": "x", "type": "int64"}]}, "declared as int64"),
    "no such input": ({"inputs": [{"name": "x", "type": "float32"}, {"name": "q", "type": "float32"}]}, "has no 'q'"),
    "a wrong example": ({"example": [{"x": "word"}]}, "do not fit"),
    "a column too many": ({"example": [{"x": 1, "z": 2}]}, "no column 'z'"),
    "a query": ({"url": "http://127.0.0.1:1/?key=1"}, "must not have a query"),
    "a user": ({"url": "http://me:secret@127.0.0.1:1"}, "must not hold a user or password"),
    "another scheme": ({"url": "ftp://127.0.0.1"}, "scheme"),
    "a task": ({"task": "chat"}, "openai alone"),
    "a path": ({"secret": "../keel.yaml"}, "no name of a secret"),
    "a misspelt field": ({"modle": "double"}, "modle"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_declared_wrongly_is_refused_and_nothing_is_stored(keel, doubling, tmp_path, case):
    change, words = REFUSED[case]
    done = declare(keel, tmp_path, "refused", oip(doubling, "double") | change, check=False)
    assert done.returncode != 0 and words in done.stdout + done.stderr, done.stdout + done.stderr
    assert "me:secret" not in done.stdout + done.stderr
    assert keel.get("/v2/models/refused").status_code == 404
    assert keel.get("/api/2.0/mlflow/registered-models/get", params={"name": "refused"}).status_code == 404


def test_a_model_that_fails_its_example_is_not_deployed(keel, doubling, tmp_path):
    for mode in ("error", "shape", "closed", "text"):
        doubling.mode = mode
        done = declare(keel, tmp_path, "untried", oip(doubling, "double", example=[{"x": 1}]), check=False)
        assert done.returncode != 0, mode
    assert keel.get("/v2/models/untried").status_code == 404


def test_internal_addresses_and_plain_http_are_refused_unless_allowed(start, doubling, tmp_path):
    plain = start()
    done = declare(plain, tmp_path, "inner", oip(doubling, "double"), check=False)
    assert done.returncode != 0 and "serving.remote.schemes" in done.stdout + done.stderr
    outer = start(environment={"KEEL_SERVING_REMOTE_SCHEMES": "http"})
    before = doubling.connections
    done = declare(outer, tmp_path, "inner", oip(doubling, "double"), check=False)
    assert done.returncode != 0 and "serving.remote.internal" in done.stdout + done.stderr and doubling.connections == before


def test_who_may_not_register_models_may_not_declare_one(keel, doubling, tmp_path):
    token = keel.json("tokens", "create", "viewer", "--persona", "risk-officer")["secret"]
    file = tmp_path / "denied.yaml"
    file.write_text(json.dumps({"apiVersion": "keel/v1", "kind": "Endpoint", "metadata": {"name": "denied"}, "spec": {"remote": oip(doubling, "double")}}))
    before = doubling.connections
    done = keel.cli("apply", file, token=token, check=False)
    assert done.returncode != 0 and doubling.connections == before


# MARK: OpenAI

def test_a_language_model_and_its_adapter(keel, chat, tmp_path):
    out = declare(keel, tmp_path, "words", openai(chat, "base", parameters={"temperature": 0, "max_tokens": 16})).stdout
    assert "run by remote" in out and "its input example of 1 row" in out
    answer = ask(keel, "words", [{"prompt": "two words"}, {"prompt": "and three more"}], params={"max_tokens": 5})
    assert answer.status_code == 200, answer.text
    outputs = invoke(keel, "words", [{"prompt": "two words"}]).json()["predictions"]
    assert outputs == [{"text": "two words", "finish_reason": "stop", "prompt_tokens": 2, "completion_tokens": 2}]
    assert [b["max_tokens"] for b in chat.asked[-3:]] == [5, 5, 16] and all(b["stream"] is False and b["temperature"] == 0 for b in chat.asked[-3:])
    # The adapter is the next release.
    declare(keel, tmp_path, "words", openai(chat, "shouting", parameters={"temperature": 0, "max_tokens": 16}))
    settle(keel, "words")
    assert invoke(keel, "words", [{"prompt": "two words"}]).json()["predictions"][0]["text"] == "TWO WORDS"
    keel.cli("rollback", "words")
    assert invoke(keel, "words", [{"prompt": "two words"}]).json()["predictions"][0]["text"] == "two words"
    unknown = ask(keel, "words", [{"prompt": "x"}], params={"top_k": 5})
    assert unknown.status_code == 400 and "top_k" in unknown.text


def test_messages_completions_and_many_rows(keel, chat, tmp_path):
    declare(keel, tmp_path, "messages", openai(chat, "other/lora-2", input="messages"))
    conversation = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello there"}]
    assert invoke(keel, "messages", [{"messages": json.dumps(conversation)}]).json()["predictions"][0]["text"] == "hello there"
    assert chat.asked[-1]["messages"] == conversation and chat.asked[-1]["model"] == "other/lora-2"
    wrong = invoke(keel, "messages", [{"messages": "hello"}])
    assert wrong.status_code == 400 and "messages" in wrong.text
    declare(keel, tmp_path, "completed", openai(chat, "base", task="completion", concurrency=4))
    rows = [{"prompt": f"row {i}"} for i in range(60)]
    assert [p["text"] for p in invoke(keel, "completed", rows).json()["predictions"]] == [r["prompt"] for r in rows]
    assert "prompt" in chat.asked[-1] and "messages" not in chat.asked[-1]


@pytest.mark.parametrize("mode", [*DEVIATIONS, "no text"])
def test_what_fails_in_a_language_model(keel, chat, tmp_path, mode):
    declare(keel, tmp_path, "chatfails", openai(chat, "base"), limits="{ deadline: 1s }")
    chat.elsewhere = "http://127.0.0.1:1/"
    chat.mode = mode
    answer = ask(keel, "chatfails", [{"prompt": "hello"}])
    assert answer.status_code == DEVIATIONS.get(mode, 502), answer.text
    chat.mode = "well"
    assert ask(keel, "chatfails", [{"prompt": "hello"}]).status_code == 200


def test_keys_are_shown_to_their_server_alone_and_to_nobody_else(keel, chat, secrets, tmp_path):
    for secret, words in [("elsewhere", "another server"), ("theirs", "other workspaces"), ("missing", "is not there"), ("damaged", "cannot be read"),
                          ("wrong", "refuses the secret 'wrong'")]:
        done = declare(keel, tmp_path, "keys", openai(chat, "base", secret=secret), check=False)
        said = done.stdout + done.stderr
        assert done.returncode != 0 and words in said, said
        assert upstreams.Chat.KEY not in said and "key-that-is-wrong" not in said
    declare(keel, tmp_path, "keys", openai(chat, "base", parameters={"temperature": 0.5}))
    hot = ask(keel, "keys", [{"prompt": "x"}], params={"temperature": 3.0})
    assert hot.status_code == 400 and "temperature must be at most 2 (key ***)" in hot.text and upstreams.Chat.KEY not in hot.text
    # A key that is changed needs no restart.
    (secrets / "vllm").write_text(json.dumps({"url": chat.url, "token": "key-that-is-wrong"}))
    answer = ask(keel, "keys", [{"prompt": "x"}])
    assert answer.status_code == 502 and "key-that-is-wrong" not in answer.text
    (secrets / "vllm").write_text(json.dumps({"url": chat.url, "token": upstreams.Chat.KEY}))
    assert ask(keel, "keys", [{"prompt": "x"}]).status_code == 200
    with sqlite3.connect(f"file:{keel.home}/keel.sqlite?mode=ro", uri=True) as database:
        dump = "\n".join(database.iterdump())
    assert upstreams.Chat.KEY not in dump
