"""`make demo` talks to the server that it started, and to no other."""
import os
import pathlib
import socket
import subprocess
import threading
import time

from servers import ROOT, free_port

DEMO = pathlib.Path(ROOT, "Examples", "flights", "demo")


def demo(tmp_path, port, path=DEMO):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEL_")}
    environment |= {"KEEL_DEMO_HOME": str(tmp_path / "home"), "KEEL_DEMO_PORT": str(port)}
    return subprocess.run([str(path)], env=environment, capture_output=True, text=True, timeout=60)


class Stranger:
    """A server of somebody else's, which notes what it is sent."""

    def __init__(self, port=0):
        self.listener = socket.create_server(("127.0.0.1", port))
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


def test_a_port_that_is_taken_is_refused_before_anything_is_removed(tmp_path):
    kept = tmp_path / "home" / "kept"
    kept.parent.mkdir()
    kept.write_text("of the server that listens there")
    stranger = Stranger()
    done = demo(tmp_path, stranger.port)
    assert done.returncode == 1
    assert f"a server listens on 127.0.0.1:{stranger.port} already" in done.stderr and "KEEL_DEMO_PORT" in done.stderr
    assert kept.exists() and not stranger.received


def test_a_port_that_is_taken_meanwhile_is_not_talked_to(tmp_path):
    """The first question finds the port free; the stranger is there when the demo's own server wants it."""
    port = free_port()
    text = DEMO.read_text()
    started = '"$keel" serve'
    assert text.count(started) == 1
    # The demo waits here until the stranger listens.
    wait = f'until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do [ -e "$home/asked" ] || touch "$home/asked"; sleep 0.05; done\n'
    copy = tmp_path / "demo"
    copy.write_text(text.replace('cd "$(dirname "$0")/../.."', f'cd "{ROOT}"').replace(started, wait + started))
    copy.chmod(0o755)
    strangers = []

    def come():
        while not (tmp_path / "home" / "asked").exists():
            time.sleep(0.02)
        strangers.append(Stranger(port))

    threading.Thread(target=come, daemon=True).start()
    done = demo(tmp_path, port, copy)
    assert done.returncode == 1 and "the server did not start" in done.stderr and "is another server listening there?" in done.stderr
    assert not strangers[0].received, "the demo spoke to another server"
