"""A server that the system ends when it holds more than 512 MiB, under bombs of each kind."""
import concurrent.futures
import contextlib
import os
import pathlib
import socket
import uuid

import pytest
import requests

import project
from watch import Watched

pytestmark = pytest.mark.alone

MB = 1 << 20
LIMIT = 512 * MB


@contextlib.contextmanager
def memory_group(limit):
    """A control group that new processes of this one are born into, in either version of the interface."""
    for root, name in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]:
        group = pathlib.Path(root, f"keel-{uuid.uuid4().hex}")
        try:
            group.mkdir()
            (group / name).write_text(str(limit))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        lines = [line.split(":", 2) for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()]
        own = next(path for _, controllers, path in lines if ("memory" in controllers) == root.endswith("memory"))
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            pathlib.Path(root + own, "cgroup.procs").write_text(str(os.getpid()))
        return
    pytest.skip("this machine gives no control group to limit memory with")


@pytest.fixture(scope="module")
def server():
    # The default budget: a quarter of what the group may have.
    server = Watched(memory_bytes=LIMIT)
    del server.environment["KEEL_MEMORY_BUDGET"]
    with memory_group(LIMIT):
        server.start()
    try:
        yield server
        server.restart()
    finally:
        server.__exit__()


def statuses(answers):
    return {a.status_code for a in answers}


def at_once(count, call):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def part(server, kind, name):
    return next(float(line.split()[1]) for line in server.get("/metrics").text.splitlines() if line.startswith(f'{kind}{{part="{name}"}}'))


def quiet(server):
    """Nothing is held any more when all is answered."""
    for name in ["requests", "ingest", "uploads", "responses"]:
        assert part(server, "keel_memory_used_bytes", name) == 0, name


def test_the_budget_is_a_quarter_of_what_the_group_may_have(server):
    names = ["analytics", "models", "requests", "ingest", "uploads", "responses"]
    assert sum(part(server, "keel_memory_budget_bytes", n) for n in names) == LIMIT / 4


@pytest.mark.parametrize("body", [b"[" + b"1," * 4_000_000 + b"1]", b"[" + b"[]," * 3_000_000 + b"1]", b"[" + b'{"":0},' * 1_000_000 + b"1]", b"[" + b"1," * 500_000 + b"1]"],
                         ids=["numbers", "lists", "objects", "small"])
@pytest.mark.parametrize("path", ["/v2/models/x/infer", "/api/v1/labels", "/api/v1/apply", "/api/2.0/mlflow/runs/log-batch", "/api/2.0/mlflow/runs/create"])
def test_json_from_many_at_once(server, path, body):
    with server.attacked():
        answers = at_once(16, lambda _: requests.post(server.url + path, data=body, headers={"Content-Type": "application/json"}, timeout=300))
        assert statuses(answers) <= {400, 404, 413, 422, 503}
        assert all(a.headers.get("Retry-After") for a in answers if a.status_code == 503)
    quiet(server)


def test_bodies_that_are_half_sent(server):
    with server.attacked(), contextlib.ExitStack() as stack:
        for i in range(100):
            s = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=2))
            path = ["/v2/models/x/infer", "/api/v1/labels", "/api/2.0/mlflow/runs/create"][i % 3]
            s.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\nContent-Length: {16 * MB}\r\n\r\n".encode())
            with contextlib.suppress(OSError):
                s.sendall(b" " * (15 * MB))


def test_files_up_and_down_at_once(server):
    run = server.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0"}).json()["run"]["info"]
    base = server.url + "/api/2.0/mlflow-artifacts/artifacts/" + run["artifact_uri"].split(":/", 1)[1].lstrip("/")
    with server.attacked():
        up = at_once(40, lambda i: requests.put(f"{base}/{i}.bin", data=b"x" * (4 * MB), timeout=300))
        assert statuses(up) <= {200, 503} and 200 in statuses(up)
        stored = [i for i, a in enumerate(up) if a.status_code == 200]
        down = at_once(40, lambda i: requests.get(f"{base}/{stored[i % len(stored)]}.bin", timeout=300))
        assert statuses(down) <= {200, 503} and 200 in statuses(down)
        assert all(len(a.content) == 4 * MB for a in down if a.status_code == 200)
    quiet(server)


def test_files_ingested_at_once(server, tmp_path):
    project.apply(server, tmp_path)
    data = project.csv(project.rows(100_000)).encode()
    with server.attacked():
        answers = at_once(12, lambda i: requests.post(
            server.url + "/api/v1/datasets/clicks/ingest?file=a.csv", data=data, headers={"Content-Type": "application/octet-stream"}, timeout=300))
        assert statuses(answers) <= {200, 503} and 200 in statuses(answers)
        assert '"snapshot"' in next(a.text for a in answers if a.status_code == 200)
    quiet(server)
