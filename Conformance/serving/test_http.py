"""HTTP around inference: compression, connections that are kept, request ids and traces."""
import gzip
import json
import re
import socket
import zlib

import pytest
import requests

import bundles

ROWS = [float(i % 2) for i in range(500)]
PATHS = [("/v2/models/stump/infer", bundles.question(ROWS)), ("/v1/models/stump:predict", {"instances": ROWS}),
         ("/endpoints/stump/invocations", {"inputs": ROWS}), ("/api/v1/endpoints/stump/predict", {"rows": [{"x": x} for x in ROWS]})]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def raw(keel, path, body, **headers):
    """The answer as it came over the wire."""
    answer = requests.post(keel.url + path, data=body, timeout=30, stream=True,
                           headers={"Content-Type": "application/json", "Accept-Encoding": "identity"} | {k.replace("_", "-"): v for k, v in headers.items()})
    return answer, answer.raw.read(decode_content=False)


@pytest.mark.parametrize("path, body", PATHS, ids=[p for p, _ in PATHS])
def test_compressed_both_ways(endpoints, path, body):
    body = json.dumps(body).encode()
    plain, whole = raw(endpoints, path, body)
    assert plain.status_code == 200 and "Content-Encoding" not in plain.headers

    def scores(data):
        return re.findall(rb"0\.[27]5", data)

    for coding, packed in [("gzip", gzip.compress(body)), ("x-gzip", gzip.compress(body)), ("deflate", zlib.compress(body)),
                           ("gzip", gzip.compress(body[:100]) + gzip.compress(body[100:]))]:
        answer, data = raw(endpoints, path, packed, Content_Encoding=coding)
        assert answer.status_code == 200 and scores(data) == scores(whole), data[:300]
    for accepted, expected in [("gzip", True), ("gzip;q=0", False), ("br, gzip;q=0.5", True), ("*", True), ("br", False), ("*;q=0", False), ("identity", False)]:
        answer, data = raw(endpoints, path, body, Accept_Encoding=accepted)
        assert (answer.headers.get("Content-Encoding") == "gzip") == expected, accepted
        assert int(answer.headers["Content-Length"]) == len(data)
        if expected:
            assert len(data) < len(whole) / 2 and scores(gzip.decompress(data)) == scores(whole)


def test_small_answers_are_sent_as_they_are(endpoints):
    answer, data = raw(endpoints, "/v2/models/stump/infer", json.dumps(bundles.question([1.0])).encode(), Accept_Encoding="gzip")
    assert "Content-Encoding" not in answer.headers and json.loads(data)["outputs"]


@pytest.mark.parametrize("path, body", PATHS, ids=[p for p, _ in PATHS])
def test_compressed_bodies_that_are_refused(endpoints, path, body):
    packed = gzip.compress(json.dumps(body).encode())
    typed = path.replace("stump", "typed")
    bomb = gzip.compress(b" " * 40_000_000)
    nested = gzip.compress(gzip.compress(b" " * 1000))
    for where, data, coding, status in [
        (path, packed, "br", 415), (path, packed, "gzip, gzip", 415), (path, packed, "zstd", 415), (path, b"{}", "gzip", 400), (path, packed[:-9], "gzip", 400),
        (path, b"", "gzip", 400), (path, bomb, "gzip", 413), (typed, bomb, "gzip", 413), (path, nested, "gzip", 400), (path, packed, "deflate", 400),
    ]:
        answer, text = raw(endpoints, where, data, Content_Encoding=coding)
        assert answer.status_code == status, (where, coding, status, text[:300])


@pytest.mark.parametrize("path, body", PATHS, ids=[p for p, _ in PATHS])
def test_ids_and_traces_come_back(endpoints, path, body):
    for status, sent in [(200, json.dumps(body).encode()), (400, b"{")]:
        answer, _ = raw(endpoints, path, sent, X_Request_Id="abc-7", traceparent=TRACE)
        assert answer.status_code == status and answer.headers["X-Request-Id"] == "abc-7" and answer.headers["traceparent"] == TRACE
    answer, _ = raw(endpoints, path, json.dumps(body).encode(), X_Request_Id="two words", traceparent="00-0-0-00")
    assert "X-Request-Id" not in answer.headers and "traceparent" not in answer.headers
    assert "X-Request-Id" not in raw(endpoints, path, json.dumps(body).encode())[0].headers


def http(method, path, body=b"", headers=""):
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def answers(stream, count):
    for _ in range(count):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            assert line, head
            head += line
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        yield int(head.split()[1]), head, stream.read(length)


def test_a_connection_is_kept_and_requests_may_be_sent_ahead(endpoints):
    """Every protocol, hot and not, good and bad, compressed and not, in one burst; answers in order."""
    burst, expected = b"", []
    few = ROWS[:50]
    paths = [("/v2/models/stump/infer", bundles.question(few)), ("/v1/models/stump:predict", {"instances": few}),
             ("/endpoints/stump/invocations", {"inputs": few}), ("/api/v1/endpoints/stump/predict", {"rows": [{"x": x} for x in few]})]
    for i in range(20):
        for path, body in paths:
            data = gzip.compress(json.dumps(body).encode()) if i % 3 == 0 else json.dumps(body).encode()
            burst += http("POST", path, data, f"X-Request-Id: {i}-{path}\r\n" + ("Content-Encoding: gzip\r\n" if i % 3 == 0 else ""))
            expected.append((200, f"{i}-{path}"))
        burst += http("POST", "/v2/models/nothing/infer", b"{}", f"X-Request-Id: {i}-no\r\n")
        expected.append((404, f"{i}-no"))
    with socket.create_connection(("127.0.0.1", endpoints.port), timeout=60) as connection:
        connection.sendall(burst.replace(b"PORT", str(endpoints.port).encode()))
        seen = [(status, re.search(rb"(?i)x-request-id: (\S+)", head)[1].decode()) for status, head, _ in answers(connection.makefile("rb"), len(expected))]
    assert seen == expected


def test_a_client_that_closes_its_side_gets_its_answer(endpoints):
    body = json.dumps(bundles.question([1.0])).encode()
    with socket.create_connection(("127.0.0.1", endpoints.port), timeout=10) as connection:
        connection.sendall(http("POST", "/v2/models/stump/infer", body).replace(b"PORT", str(endpoints.port).encode()))
        connection.shutdown(socket.SHUT_WR)
        (status, _, answer), = answers(connection.makefile("rb"), 1)
        assert status == 200 and json.loads(answer)["outputs"][0]["data"] == [0.75]


def test_a_client_that_goes_away_in_the_middle_costs_nothing(endpoints):
    body = json.dumps(bundles.question(ROWS)).encode()
    for part in (1, len(body) // 2, len(body) - 1):
        with socket.create_connection(("127.0.0.1", endpoints.port), timeout=10) as connection:
            connection.sendall(http("POST", "/v2/models/stump/infer", body).replace(b"PORT", str(endpoints.port).encode())[:-(len(body) - part)])
    before = endpoints.get("/v2/models/stump/stats").json()["model_stats"][0]["inference_stats"]["fail"]
    assert endpoints.post("/v2/models/stump/infer", bundles.question([1.0])).status_code == 200
    assert endpoints.get("/v2/models/stump/stats").json()["model_stats"][0]["inference_stats"]["fail"] == before
