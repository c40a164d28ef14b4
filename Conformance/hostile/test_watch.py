"""The watch itself: it sees a server that stands still, grows or ends."""
import os
import signal
import threading

import pytest

from watch import Watched

pytestmark = pytest.mark.alone


def test_a_quiet_server_passes():
    with Watched() as server:
        with server.attacked():
            server.get("/api/v1/routes")
        server.restart()


def test_a_server_that_stands_still_is_seen():
    with Watched() as server:
        with pytest.raises(AssertionError, match="kept waiting"):
            with server.attacked():
                os.kill(server.process.pid, signal.SIGSTOP)
                threading.Event().wait(1.5)
                os.kill(server.process.pid, signal.SIGCONT)


def test_a_server_that_grows_is_seen():
    with Watched() as server:
        server.memory_bytes = 1 << 20
        with pytest.raises(AssertionError, match="resident"):
            with server.attacked():
                server.get("/health")


def test_a_server_that_ends_is_seen():
    with Watched() as server:
        with pytest.raises(AssertionError, match="ended"):
            with server.attacked():
                server.kill()
