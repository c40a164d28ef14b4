"""`keel demo` talks to the server that it started, and to no other; it leaves nothing behind. That it closes the loop is told by packaging/test_wheel.py."""
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

from servers import KEEL, ROOT, Keel


def start(tmp_path, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")}
    # Of another server: the demo does not speak to it.
    environment |= {"KEEL_URL": "http://127.0.0.1:9", "KEEL_TOKEN": "of another", "TMPDIR": str(tmp_path)}
    return subprocess.Popen(
        [KEEL, "demo", *map(str, arguments)], env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def demo(tmp_path, *arguments):
    process = start(tmp_path, *arguments)
    process.stdout_text, process.stderr_text = process.communicate(timeout=60)
    return process


def servers(folder):
    """The servers whose home is in the folder."""
    def command(process):
        try:
            return (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            return []
    return [process.name for process in pathlib.Path("/proc").glob("[0-9]*")
            if "serve" in (words := command(process)) and any(word.startswith(str(folder)) for word in words)]


class Stranger:
    """A server of somebody else's, which notes what it is sent."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.received = b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            with connection:
                connection.settimeout(1)
                try:
                    self.received += connection.recv(4096)
                except OSError:
                    pass


def test_a_port_that_is_taken_is_not_talked_to(tmp_path):
    stranger = Stranger()
    done = demo(tmp_path, "--port", stranger.port)
    assert done.returncode == 1
    assert f"did not start on 127.0.0.1:{stranger.port}" in done.stderr_text and "another server listening there?" in done.stderr_text
    assert not stranger.received and not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_not_emptied(tmp_path):
    kept = tmp_path / "home" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("of somebody else")
    done = demo(tmp_path, "--home", kept.parent)
    assert done.returncode == 1 and "holds something that is no demo's" in done.stderr_text and kept.exists()


def test_the_home_of_a_server_is_not_emptied(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "demo").touch()
    server = Keel(home=str(home)).start()
    try:
        done = demo(tmp_path, "--home", home)
        assert done.returncode == 1 and "is in use by" in done.stderr_text
        assert (home / "keel.sqlite").exists() and server.get("/health").status_code == 200
    finally:
        server.stop()


def test_without_the_data_it_says_what_brings_it(tmp_path):
    done = demo(tmp_path, "--data", tmp_path)
    assert done.returncode == 1 and f"there is no file '{tmp_path}/flights.csv'" in done.stderr_text


def until_it_works(process, tmp_path):
    for line in process.stdout:
        if "Ingest January" in line:
            home, = tmp_path.glob("keel-demo-*")
            assert servers(home)
            return home
    raise AssertionError(process.stderr.read())


def test_ctrl_c_leaves_nothing(tmp_path):
    process = start(tmp_path)
    home = until_it_works(process, tmp_path)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and not errors.count("error:"), errors
    assert not home.exists() and not servers(home)


def test_a_demo_that_is_killed_takes_its_server_along(tmp_path):
    process = start(tmp_path)
    home = until_it_works(process, tmp_path)
    process.kill()
    process.wait()
    for _ in range(300):
        if not servers(home):
            return
        time.sleep(0.1)
    raise AssertionError("the server of a demo that is gone still runs")
