"""Requests without a token that are not the owner's: what a page in a browser, a proxy or another user of the machine can send."""
import itertools
import json
import os
import re
import socket
import time

import pytest
import requests

from watch import Watched

pytestmark = pytest.mark.alone

NOBODY = 65534


@pytest.fixture(scope="module")
def server():
    with Watched(environment={"KEEL_AUTH_REFUSALS": "1000000"}) as server:
        with server.attacked():
            yield server
        server.restart()


def ask(port, method, path, headers, body=None, address="127.0.0.1"):
    """The answer's status and body. Headers are sent as they are given, and none besides."""
    with socket.create_connection((address, port), timeout=30) as s:
        lines = [f"{method} {path} HTTP/1.1"] + [f"{k}: {v}" for k, v in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        s.sendall(("\r\n".join(lines + ["Connection: close", "", ""])).encode("latin-1") + (body or b""))
        head, _, content = s.makefile("rb").read().partition(b"\r\n\r\n")
    return int(head.split()[1]), content


JSON = ("Content-Type", "application/json")
# (method, path, body): reading secrets of others, running commands, making oneself an owner, predicting, logging.
TARGETS = [
    ("GET", "/api/v1/tokens", None),
    ("POST", "/api/v1/tokens", {"name": "forged", "persona": "owner"}),
    ("POST", "/api/v1/apply", {"resources": [{"apiVersion": "keel/v1", "kind": "Pipeline", "metadata": {"name": "forged"}, "spec": {
        "steps": [{"name": "x", "uses": "shell", "with": {"command": "touch forged"}}]}}]}),
    ("POST", "/v2/models/x/infer", {"inputs": []}),
    ("POST", "/api/2.0/mlflow/experiments/create", {"name": "forged"}),
    ("DELETE", "/api/v1/tokens/x", None),
]


def targets():
    return [pytest.param(*t, id=f"{t[0]} {t[1]}") for t in TARGETS]


def forgeries(port):
    """(name, headers, statuses)"""
    own = f"127.0.0.1:{port}"
    host = ("Host", own)
    for origin in ["null", "http://evil.example", f"http://evil.example:{port}", f"https://{own}", "http://127.0.0.1", f"http://127.0.0.1:{port + 1}",
                   f"http://localhost:{port}", f"http://localhost:{port + 1}", f"http://127.0.0.2:{port}", f"http://{own}.evil.example",
                   f"http://{own}@evil.example", f"http://evil.example/{own}", f"http://{own}/", "file://", "", " ", "chrome-extension://abcdef"]:
        yield f"origin {origin}", [host, JSON, ("Origin", origin)], {403}
    yield "two origins", [host, JSON, ("Origin", f"http://{own}"), ("Origin", "http://evil.example")], {403}
    for site in ["cross-site", "same-site", "CROSS-SITE", "x"]:
        yield f"site {site}", [host, JSON, ("Sec-Fetch-Site", site)], {403}
        yield f"site {site}, own origin", [host, JSON, ("Sec-Fetch-Site", site), ("Origin", f"http://{own}")], {403}
    for name in ["evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", f"localhost:{port + 1}", "localhost", f"0.0.0.0:{port}", "",
                 f"127.0.0.1:{port}.evil.example", f"[::ffff:127.0.0.1]:{port}", f"2130706433:{port}", f"127.1:{port}"]:
        yield f"host {name}", [("Host", name), JSON], {400, 403}
    for name, value in [("Forwarded", "for=10.0.0.1"), ("X-Forwarded-For", "10.0.0.1"), ("x-forwarded-proto", "https"), ("X-FORWARDED-HOST", "a"),
                        ("X-Forwarded-Anything", ""), ("X-Real-IP", "10.0.0.1"), ("Via", "1.1 proxy"), ("X-Forwarded-For", "127.0.0.1")]:
        yield f"{name}: {value}", [host, JSON, (name, value)], {401}


def forms(port):
    """Bodies that a page may post to any address without asking."""
    for kind in ["text/plain", "TEXT/PLAIN", "text/plain;charset=utf-8", "text/plain ; a=application/json", "application/x-www-form-urlencoded",
                 "multipart/form-data; boundary=x", None]:
        yield f"type {kind}", [("Host", f"127.0.0.1:{port}")] + ([("Content-Type", kind)] if kind else []), {415, 400}


def unchanged(server):
    assert server.json("tokens", "list")["tokens"] == []
    assert server.get("/api/v1/resources/Pipeline").json()["resources"] == []
    assert server.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "forged"}).status_code == 404


@pytest.mark.parametrize("method,path,body", targets())
def test_a1_a2_forged_requests_are_refused(server, method, path, body):
    data = json.dumps(body).encode() if body is not None else None
    wrong = []
    for name, headers, statuses in forgeries(server.port):
        status, answer = ask(server.port, method, path, headers, data)
        if status not in statuses:
            wrong.append((name, status, answer[:200]))
    assert not wrong
    unchanged(server)


@pytest.mark.parametrize("method,path,body", [t for t in targets() if t.values[0] == "POST"])
def test_a1_a_body_that_any_page_may_post_reaches_no_handler(server, method, path, body):
    for name, headers, statuses in forms(server.port):
        if name == "type None" and path.startswith("/v2/models/"):
            # Clients of the Open Inference Protocol name no type. A page's request has an origin, and is refused by that.
            status, _ = ask(server.port, method, path, headers + [("Origin", "http://localhost:1")], json.dumps(body).encode())
            assert status == 403
            continue
        status, answer = ask(server.port, method, path, headers, json.dumps(body).encode())
        assert status in statuses, (name, status, answer)
        # The type alone is what is wrong: MLflow's clients are told in MLflow's words.
        assert b"type" in answer.lower(), answer
    unchanged(server)


def test_a1_every_pair_of_forgeries_is_refused(server):
    """One thing that is right does not make up for another that is wrong."""
    own = f"127.0.0.1:{server.port}"
    right = [[], [("Origin", f"http://{own}")], [("Sec-Fetch-Site", "same-origin")], [("Referer", f"http://{own}/")]]
    bad = [[("Origin", "null")], [("Sec-Fetch-Site", "cross-site")], [("Via", "1.1 x")], [("X-Forwarded-For", "127.0.0.1")]]
    for good, wrong in itertools.product(right, bad):
        for order in [good + wrong, wrong + good]:
            status, _ = ask(server.port, "POST", "/api/v1/tokens", [("Host", own), JSON] + order, b'{"name": "forged", "persona": "owner"}')
            assert status in (401, 403), order
    unchanged(server)


def on_one_connection(port, asked):
    """The status of each request, (headers, body), all of them on one connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
        reader = s.makefile("rb")
        for headers, body in asked:
            lines = ["POST /v2/models/x/infer HTTP/1.1"] + [f"{k}: {v}" for k, v in headers] + [f"Content-Length: {len(body)}", "", ""]
            s.sendall("\r\n".join(lines).encode("latin-1") + body)
            status = int(reader.readline().split()[1])
            length = 0
            while (line := reader.readline().strip()):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            reader.read(length)
            yield status


def test_a1_what_one_request_of_a_connection_may_says_nothing_of_the_next(server):
    """The head of a connection that was accepted is remembered: nothing else passes as it."""
    own = [("Host", f"127.0.0.1:{server.port}"), JSON]
    asked, statuses = [], []
    for _, headers, refused in forgeries(server.port):
        if 400 not in refused:
            asked += [(own, b'{"inputs": []}'), (headers, b'{"inputs": []}'), (own, b'{"inputs": [] }')]
            statuses += [{404}, refused, {404}]
    for _, headers, refused in forms(server.port):
        if len(headers) == 2:
            asked += [(own, b"{}"), (headers, b"{}")]
            statuses += [{404}, refused]
    # An empty body needs no type; one of the same head with a length does.
    bare = [own[0], ("Content-Type", "text/plain")]
    asked += [(bare, b""), (bare, b"{}"), (bare, b"")]
    statuses += [{404}, {415}, {404}]
    given = list(on_one_connection(server.port, asked))
    assert len(given) == len(asked) and all(status in expected for status, expected in zip(given, statuses)), [
        (headers, status) for (headers, _), status, expected in zip(asked, given, statuses) if status not in expected]
    unchanged(server)


def test_the_owners_own_requests_are_served(server):
    own = f"127.0.0.1:{server.port}"
    for headers in [[("Host", own)], [("Host", f"localhost:{server.port}")], [("Host", f"LOCALHOST:{server.port}")], [("Host", f"[::1]:{server.port}")],
                    [("Host", own), ("Origin", f"http://{own}")], [("Host", own), ("Sec-Fetch-Site", "none")],
                    [("Host", own), ("Sec-Fetch-Site", "same-origin"), ("Origin", f"http://{own}")]]:
        assert ask(server.port, "GET", "/api/v1/tokens", headers)[0] == 200, headers
        assert ask(server.port, "POST", "/api/2.0/mlflow/experiments/search", headers + [JSON], b'{"max_results": 1}')[0] == 200, headers
        kind = ("Content-Type", "application/json; charset=utf-8")
        assert ask(server.port, "POST", "/api/2.0/mlflow/experiments/search", headers + [kind], b'{"max_results": 1}')[0] == 200, headers
    artifact = "/api/2.0/mlflow-artifacts/artifacts/0/forged/a.txt"
    assert ask(server.port, "PUT", artifact, [("Host", own), ("Content-Type", "text/plain")], b"a text file")[0] == 200


def as_nobody(action):
    """What `action` returns when it runs as another user of the machine."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, json.dumps(action()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def test_a2_another_user_of_the_machine_needs_a_token(server):
    own = [("Host", f"127.0.0.1:{server.port}"), JSON]

    def attack():
        return [ask(server.port, method, path, own, json.dumps(body).encode() if body is not None else None)[0] for method, path, body in TARGETS]

    assert as_nobody(attack) == [401] * len(TARGETS)
    assert as_nobody(lambda: ask(server.port, "GET", "/health", own)[0]) == 200
    unchanged(server)
    token = server.cli("tokens", "create", "guest", "--persona", "risk-officer").stdout.strip()
    assert as_nobody(lambda: ask(server.port, "GET", "/api/v1/endpoints", own + [("Authorization", f"Bearer {token}")])[0]) == 200


def connections(server):
    return int(re.search(r"^keel_connections (\d+)", server.get("/metrics").text, re.M)[1])


def test_a2_a_connection_that_is_closed_at_once_has_no_owner(server):
    """The kernel reports a socket that its process has closed as root's: that must not make it the owner's of a server of root."""
    body = b'{"name": "vanished"}'
    request = (f"POST /api/2.0/mlflow/experiments/create HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    def attack():
        for i in range(200):
            s = socket.create_connection(("127.0.0.1", server.port))
            s.sendall(request)
            if i % 2:
                s.shutdown(socket.SHUT_WR)
            s.close()
        return True

    assert as_nobody(attack)
    while connections(server) > 10:
        time.sleep(0.1)
    assert server.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "vanished"}).status_code == 404


def test_a7_failed_logins_are_limited_and_recorded_in_a_bounded_way():
    with Watched() as server:
        token = server.cli("tokens", "create", "ada", "--persona", "data-scientist").stdout.strip()
        with server.attacked(), requests.Session() as session:
            statuses = []
            for i in range(3000):
                answer = session.get(server.url + "/api/v1/endpoints", headers={"Authorization": f"Bearer keel_{i:043d}"})
                statuses.append(answer.status_code)
                if answer.status_code == 429:
                    assert int(answer.headers["Retry-After"]) >= 1
            assert statuses[:10] == [401] * 10
            assert set(statuses) == {401, 429} and statuses.count(401) < 200
            # Who has a token is not kept out by those who guess at the same address.
            assert session.get(server.url + "/api/v1/endpoints", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert server.log().count("authenticate.token") < 10
        server.restart()
        events = [e for e in server.json("ledger", "--kind", "access.denied")["events"] if e["subject"] == "Client/127.0.0.1"]
        assert len(events) < 10
        assert sum(e["data"]["count"] for e in events) == 3000, events
