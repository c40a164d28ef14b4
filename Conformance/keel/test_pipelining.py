"""Requests sent ahead of their answers on one connection are worked on and answered in the order sent, hot routes and others mixed."""
import json
import socket

import pytest

import project


def request(method, path, body, port):
    data = json.dumps(body).encode() if body is not None else b""
    return (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n").encode() + data


def answers(connection, count):
    stream = connection.makefile("rb")
    for _ in range(count):
        status = int(stream.readline().split()[1])
        length = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, value = line.decode().split(":", 1)
            if name.lower() == "content-length":
                length = int(value)
        yield status, json.loads(stream.read(length))


def test_answers_keep_the_order_and_see_what_was_sent_before(keel, tmp_path):
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(2000)))
    keel.cli("run", "train")
    burst, at = b"", "2025-01-01T00:{:02d}:00Z"
    for i in range(40):
        row = {"id": 10**6 + i, "user": "pipelined", "price": 5, "bought": 1, "at": at.format(i)}
        burst += request("POST", "/api/v1/datasets/clicks/events", {"rows": [row]}, keel.port)
        for name in ("a", "b"):
            burst += request("POST", "/v2/models/buying/infer", project.question([f"{name}{i}"], at=at.format(i), user="pipelined"), keel.port)
    with socket.create_connection(("127.0.0.1", keel.port), timeout=30) as connection:
        connection.sendall(burst)
        seen = list(answers(connection, 120))
    for i in range(40):
        (pushed, pushed_body), (a, a_body), (b, b_body) = seen[3 * i:3 * i + 3]
        assert (pushed, a, b) == (200, 200, 200), seen[3 * i:3 * i + 3]
        assert pushed_body["accepted"] == 1
        assert a_body["parameters"]["ids"] == [f"a{i}"] and b_body["parameters"]["ids"] == [f"b{i}"]
    # Each question saw the events up to it, and none of those sent behind it: exactly what the offline join says.
    keel.cli("features", "verify", "buying")


@pytest.mark.parametrize("path", ["/health", "/api/v1/endpoints", "/v2/models/x/infer", "/api/2.0/mlflow/x", "/metrics"])
def test_an_answer_to_head_has_no_body(keel, path):
    with socket.create_connection(("127.0.0.1", keel.port), timeout=30) as connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1:{keel.port}\r\n\r\n".encode())
        connection.sendall(f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{keel.port}\r\nConnection: close\r\n\r\n".encode())
        stream = connection.makefile("rb").read()
    heads = stream.split(b"\r\n\r\n")
    assert heads[0].startswith(b"HTTP/1.1 ") and (heads[1].startswith(b"HTTP/1.1 200") or heads[1:] == [b""]), stream


@pytest.mark.parametrize("hosts", [("{host}", "other"), ("other", "{host}"), ("{host}", "{host}")])
def test_a_request_of_two_hosts_is_refused(keel, hosts):
    fields = "".join(f"Host: {host}\r\n" for host in hosts).format(host=f"127.0.0.1:{keel.port}")
    with socket.create_connection(("127.0.0.1", keel.port), timeout=30) as connection:
        connection.sendall(f"GET /api/v1/endpoints HTTP/1.1\r\n{fields}Connection: close\r\n\r\n".encode())
        assert int(connection.makefile("rb").readline().split()[1]) in (400, 403)
