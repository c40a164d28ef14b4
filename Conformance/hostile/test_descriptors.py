"""More connections than the system gives file descriptors. Those that are open go on working, and new ones are answered once others have ended."""
import contextlib
import resource
import shutil
import socket

import pytest
import requests

from servers import Keel

# Alone: a connection that is refused has a descriptor for as long as the server does not get to close it.
pytestmark = [pytest.mark.alone, pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit (of util-linux) starts the server under a limit")]


@pytest.fixture(autouse=True)
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def limited(request):
    """A server that may have so many file descriptors: its soft limit and its hard one."""
    server = Keel(launcher=["prlimit", f"--nofile={request.param}:{request.param}"]).start()
    server.descriptors = request.param
    yield server
    server.stop()


@contextlib.contextmanager
def crowd(server):
    """Twice as many connections as the server has descriptors, which ask nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(2 * server.descriptors):
            s = stack.enter_context(socket.socket())
            s.settimeout(1)
            # One that is refused, or waits for ever, belongs to the crowd too.
            with contextlib.suppress(OSError):
                s.connect(("127.0.0.1", server.port))
        yield


def upload(session, server, run, name):
    path = run["artifact_uri"].split(":/", 1)[1].lstrip("/")
    return session.put(f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{path}/{name}", data=b"x" * 100_000, timeout=30)


# With 40 there are too few even for what the limit of connections leaves: the system itself refuses some.
@pytest.mark.parametrize("limited", [256, 128, 40], indirect=True)
def test_health_is_answered_after_more_connections_than_descriptors(limited):
    for _ in range(2):
        with crowd(limited):
            assert limited.process.poll() is None, limited.log()[-2000:]
        assert limited.get("/health").status_code == 200
    run = limited.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0"}).json()["run"]["info"]
    assert upload(requests, limited, run, "after.bin").status_code == 200


@pytest.mark.parametrize("limited", [256, 128], indirect=True)
def test_a_connection_that_is_open_works_while_others_take_what_they_get(limited):
    run = limited.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0"}).json()["run"]["info"]
    with requests.Session() as session:
        assert session.get(limited.url + "/health").status_code == 200
        with crowd(limited):
            # Files are written and read meanwhile.
            for i in range(5):
                assert upload(session, limited, run, f"{i}.bin").status_code == 200, limited.log()[-2000:]
    assert "file descriptors" in limited.log() and "ulimit -n" in limited.log()
