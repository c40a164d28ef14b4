"""Requests that cost the server much and their sender little. All of them against a server whose memory is bounded."""
import contextlib
import gzip
import resource
import socket
import time

import pytest
import requests

from watch import Watched

pytestmark = pytest.mark.alone

MB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server():
    with Watched() as server:
        yield server
        server.restart()


@pytest.fixture
def guarded():
    with Watched() as home:
        home.cli("tokens", "create", "ada", "--persona", "owner")
        home.stop()
        with Watched(home=home.home, environment={"KEEL_AUTH_LOCAL": "off"}) as server:
            yield server


def head(server, method, path, *headers):
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Content-Type: application/json", *headers, "", ""]).encode()


@contextlib.contextmanager
def connections(server, count, source="127.0.0.1"):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60, source_address=(source, 0))) for _ in range(count)]


def push(s, data):
    """Sends what the server takes; that it closes is its answer."""
    with contextlib.suppress(ConnectionError, TimeoutError, BlockingIOError):
        s.sendall(data)


def status(s):
    """The status of the answer; 0 when the connection was closed without one."""
    try:
        line = s.makefile("rb").readline()
        return int(line.split()[1]) if line else 0
    except (ConnectionError, TimeoutError):
        return 0


def metric(server, name):
    return next(float(line.split()[-1]) for line in server.get("/metrics").text.splitlines() if line.startswith(name + " "))


def open_connections(server):
    return metric(server, "keel_connections")


POSTS = ["/v2/models/x/infer", "/api/v1/labels", "/api/2.0/mlflow/runs/create", "/api/2.0/mlflow/runs/log-batch"]


def test_s6_half_sent_bodies_without_a_token_cost_next_to_nothing(guarded):
    quiet = guarded.peak_bytes()
    with guarded.attacked():
        with connections(guarded, 60) as sockets:
            began = time.monotonic()
            for i, s in enumerate(sockets):
                s.settimeout(2)
                push(s, head(guarded, "POST", POSTS[i % len(POSTS)], f"Content-Length: {16 * MB}"))
                push(s, b"[" + b" " * (15 * MB))
            # They were told before their bodies had come.
            answers = [status(s) for s in sockets]
            # An address has ten refusals at once, and gains one a second.
            assert answers[:10] == [401] * 10 and set(answers[10:]) <= {401, 429} and answers.count(401) <= 11 + time.monotonic() - began
        assert guarded.peak_bytes() - quiet < 32 * MB


def test_s6_half_sent_bodies_of_the_owner_stay_within_the_budget(server):
    with server.attacked():
        with connections(server, 60) as sockets:
            # On a slow machine the first of them are ended for their silence before the last ones are sent.
            held = []
            for i, s in enumerate(sockets):
                s.settimeout(2)
                push(s, head(server, "POST", POSTS[i % len(POSTS)], f"Content-Length: {6 * MB}"))
                push(s, b"[" + b" " * (5 * MB))
                held.append(metric(server, 'keel_memory_used_bytes{part="requests"}'))
            assert 0 < max(held) <= 512 * MB / 4
        # All is given back when they are gone.
        answer = server.post("/api/v1/labels", {"labels": []})
        assert answer.status_code < 500, answer.text


def test_s6_heads_that_trickle_in_end(server):
    with server.attacked(), connections(server, 200) as sockets:
        for s in sockets:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: ")
        for _ in range(14):
            time.sleep(1)
            for s in sockets:
                push(s, b"a")
        assert [status(s) for s in sockets] == [0] * 200


def test_s6_bodies_that_trickle_in_end(server):
    with server.attacked(), connections(server, 100) as sockets:
        for i, s in enumerate(sockets):
            s.sendall(head(server, "POST", POSTS[i % len(POSTS)], "Content-Length: 1000000"))
        for _ in range(15):
            time.sleep(1)
            for s in sockets:
                push(s, b" " * 10)
        assert [status(s) for s in sockets] == [0] * 100


@pytest.mark.parametrize("lines", [
    ["X: " + "a" * MB], [f"X-{i}: a" for i in range(10_000)], ["X: " + "a" * 30_000] * 5, ["a" * MB], [" " * MB], ["Cookie: " + "a=b;" * 100_000],
], ids=["long", "many", "sum", "no colon", "spaces", "cookies"])
def test_huge_heads_are_refused(server, lines):
    with server.attacked(), connections(server, 20) as sockets:
        for s in sockets:
            push(s, head(server, "GET", "/api/v1/endpoints", *lines))
        assert set(status(s) for s in sockets) <= {0, 400}
    with server.attacked(), connections(server, 20) as sockets:
        for s in sockets:
            push(s, head(server, "GET", "/api/v1/endpoints?" + "a" * MB))
        assert set(status(s) for s in sockets) <= {0, 400, 414}


def test_s6_connections_of_one_client_are_limited(server):
    with server.attacked():
        with connections(server, 2000, source="127.0.0.2") as sockets:
            # Those beyond the limit are closed at once; all the others wait for a request.
            left = []
            for s in sockets:
                s.settimeout(0.001)
                try:
                    if s.recv(1) == b"":
                        continue
                except TimeoutError:
                    left.append(s)
                except ConnectionError:
                    continue
            assert 900 < len(left) <= 1024
            assert server.get("/api/v1/endpoints").status_code == 200
        assert server.log().count("was refused: ") == 1


def test_bodies_in_pieces_without_an_end(server):
    with server.attacked():
        for path in POSTS:
            with connections(server, 1) as (s,):
                s.settimeout(20)
                push(s, head(server, "POST", path, "Transfer-Encoding: chunked"))
                piece = b"100000\r\n" + b" " * MB + b"\r\n"
                for _ in range(40):
                    push(s, piece)
                assert status(s) in (413, 0)
        for path in POSTS:
            with connections(server, 1) as (s,):
                s.sendall(head(server, "POST", path, "Transfer-Encoding: chunked", "Connection: close"))
                push(s, b"1\r\n \r\n" * 200_000 + b"0\r\n\r\n")
                assert 400 <= status(s) < 500


SIZES = ["ffffffffffffffff", "7fffffffffffffff", "-1", "0x10", "1" * 100, "g"]
LENGTHS = ["-1", "99999999999999999999", "1e3", "1, 2", "", "0x10", str(2**63), str(2**31)]


def test_lengths_that_are_none(server):
    with server.attacked():
        for rest in [f"Content-Length: {length}\r\n\r\n" for length in LENGTHS] + [f"Transfer-Encoding: chunked\r\n\r\n{size}\r\nabc" for size in SIZES]:
            for path in POSTS:
                with connections(server, 1) as (s,):
                    push(s, head(server, "POST", path, "Connection: close").removesuffix(b"\r\n") + rest.encode())
                    s.shutdown(socket.SHUT_WR)
                    assert status(s) in (0, 400, 404, 411, 413), rest


def test_compressed_bodies_are_not_unpacked(server):
    bomb = gzip.compress(b"[" * (200 * MB))
    with server.attacked():
        for path in POSTS:
            for encoding in ["gzip", "deflate", "br", "gzip, gzip"]:
                answer = requests.post(server.url + path, data=bomb, headers={"Content-Type": "application/json", "Content-Encoding": encoding}, timeout=60)
                assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize("body", [
    b"[" * 5_000_000, b'{"a":' * 2_000_000, b"[" + b"1," * 4_000_000 + b"1]", b"[" + b"[]," * 3_000_000 + b"1]", b'"' + b"\\u0000" * 1_000_000 + b'"',
    b"[" + b'{"":0},' * 1_500_000 + b"1]", b"9" * 10_000_000, b'{"a":1' + b',"a":1' * 1_500_000 + b"}",
], ids=["deep lists", "deep objects", "numbers", "lists", "escapes", "objects", "digits", "one key"])
def test_json_that_grows(server, body):
    with server.attacked():
        for path in POSTS + ["/api/v1/apply", "/api/v1/tokens", "/api/v1/features/x/read", "/api/v1/datasets/x/events"]:
            answer = requests.post(server.url + path, data=body, headers={"Content-Type": "application/json"}, timeout=120)
            assert 400 <= answer.status_code < 500, (path, answer.status_code, answer.text[:300])


def test_answers_that_nobody_reads_are_not_made(server):
    """Requests sent ahead on one connection: they wait until the answers before them are read."""
    with server.attacked(), connections(server, 20) as sockets:
        for s in sockets:
            s.settimeout(1)
            push(s, head(server, "POST", "/v2/models/" + "x" * 5000 + "/infer", "Content-Length: 2").replace(b"\r\n\r\n", b"\r\n\r\n{}") * 5000)


@pytest.fixture
def roomy():
    """A budget in which all of them are answered."""
    with Watched(environment={"KEEL_MEMORY_BUDGET": "4GiB"}) as server:
        yield server
        server.restart()


def test_d14_readers_that_stand_still_hold_little_and_end(roomy):
    server = roomy
    run = server.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0"}).json()["run"]["info"]
    path = "/api/2.0/mlflow-artifacts/artifacts/" + run["artifact_uri"].split(":/", 1)[1].lstrip("/") + "/large.bin"
    assert requests.put(server.url + path, data=b"x" * (64 * MB)).status_code == 200
    quiet = server.peak_bytes()
    with server.attacked():
        with contextlib.ExitStack() as stack:
            sockets = []
            for _ in range(200):
                s = stack.enter_context(socket.socket())
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                s.connect(("127.0.0.1", server.port))
                s.sendall(head(server, "GET", path))
                sockets.append(s)
            time.sleep(5)
            assert server.peak_bytes() - quiet < 128 * MB
            # They are closed, and only those that ask now are left.
            for _ in range(90):
                if open_connections(server) < 10:
                    break
                time.sleep(1)
            assert open_connections(server) < 10
        assert requests.get(server.url + path, timeout=60).content == b"x" * (64 * MB)
