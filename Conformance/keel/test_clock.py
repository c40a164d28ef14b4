"""D14: a real jump of the machine's clock under a running server, by libfaketime (Debian package `faketime`)."""
import datetime
import os
import subprocess

import pytest

import project
from servers import Keel

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
pytestmark = pytest.mark.skipif(not os.path.exists(LIBRARY), reason="scripts/bootstrap --tests installs faketime")


class Jumping(Keel):
    """A server whose clock is set by `jump`; its monotonic clock goes on as it is."""

    def __init__(self, folder):
        self.offset = folder / "offset"
        self.offset.write_text("+0")
        # The library makes a shared memory unless it is given one, and notes it with setenv. That moves the environment away from the arguments, and then
        # Swift, which looks for the arguments beside the environment, finds none. So another process makes the memory and keeps it.
        self.keeper = subprocess.Popen(
            ["faketime", "-f", "+0", "sh", "-c", "echo $FAKETIME_SHARED; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        super().__init__(environment={
            "LD_PRELOAD": LIBRARY, "FAKETIME_SHARED": self.keeper.stdout.readline().strip(), "FAKETIME_TIMESTAMP_FILE": str(self.offset),
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})

    def end(self):
        self.stop()
        self.keeper.communicate()

    def jump(self, offset):
        written = self.offset.with_suffix(".new")
        written.write_text(offset)
        written.replace(self.offset)

    def make(self, name):
        """Makes a model; returns what the server's clock showed then."""
        assert self.post("/api/2.0/mlflow/registered-models/create", {"name": name}).status_code == 200
        return self.get("/api/v1/ledger?kind=model.created&order=newest&limit=1").json()["events"][0]["at"]

    def models(self, at):
        return [model["name"] for model in self.get("/api/v1/models", params={"at": at}).json()["models"]]


@pytest.fixture
def server(tmp_path):
    server = Jumping(tmp_path)
    server.start()
    yield server
    server.end()


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_d14_the_past_is_right_over_jumps_of_the_clock(server):
    first = server.make("a")
    server.jump("+2h")
    ahead = server.make("b")
    assert instant(ahead) - instant(first) > datetime.timedelta(hours=1)
    server.jump("+0")
    third = server.make("c")
    server.make("d")
    assert instant(third) < instant(ahead)
    # Right after the clock was set back, the newest events are in the present, though an older one shows a later time.
    assert server.models(third) == ["a", "b", "c"]
    assert server.models(ahead) == ["a", "b", "c", "d"]
    assert server.models(first) == ["a"]
    # Far behind for a while.
    server.jump("-90d")
    behind = server.make("e")
    assert instant(behind) < instant(first)
    server.jump("+0")
    last = server.make("f")
    assert server.models(first) == ["a"]
    assert server.models(last) == ["a", "b", "c", "d", "e", "f"]
    assert server.models(behind) == []
    assert server.json("ledger", "verify").get("problem") is None
    server.stop()
    server.start()
    assert server.models(last) == ["a", "b", "c", "d", "e", "f"]


def test_d14_a_server_serves_and_takes_rows_over_jumps_of_the_clock(server, tmp_path):
    project.apply(server, tmp_path)
    project.ingest(server, tmp_path, project.csv(project.rows(2000)))
    server.cli("run", "train")
    for i, offset in enumerate(["+0", "-5h", "+30d", "+0"]):
        server.jump(offset)
        assert server.post("/v2/models/buying/infer", project.question([f"q{i}"])).status_code == 200
        assert server.post("/api/v1/datasets/clicks/events", {"rows": project.rows(1, start=9000 + i)}).json()["accepted"] == 1
        assert server.get("/health").status_code == 200
    assert "release" in server.cli("models", "card", "buying/1").stdout
    assert server.json("ledger", "verify").get("problem") is None
