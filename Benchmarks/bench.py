"""Starting servers, loading them, and reading their CPU time and memory from /proc: what every benchmark here shares.

CPU time is that of the whole process tree, children that ended included; it is the figure that holds on a busy machine. Wall times are for
orientation only.
"""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEEL = pathlib.Path(os.environ.get("KEEL_BINARY", ROOT / ".build/release/keel"))
HOST = "127.0.0.1"
TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def tree(pid):
    """The process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(entry)):
            children.setdefault(int(fields[1]), []).append(int(entry))
    out, waiting = [], [pid]
    while waiting:
        out.append(waiting.pop())
        waiting += children.get(out[-1], [])
    return out


class Server:
    """A server that is ready when `ready` answers 200; `start_s` says how long that took."""

    def __init__(self, command, url, ready="/health", log=os.devnull, environment=None, patience=300):
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])
        if self._listens():
            raise SystemExit(f"port {self.port} is taken: what answers there would be measured instead of {command[0]}")
        self.log = open(log, "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(
            [str(c) for c in command], cwd=ROOT, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | (environment or {}))
        while True:
            try:
                with urllib.request.urlopen(url + ready, timeout=5) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() - began > patience:
                self.stop()
                raise SystemExit(f"{command[0]} did not start; see {log}")
            time.sleep(0.005)
        self.start_s = time.monotonic() - began

    def _listens(self):
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def cpu(self):
        """Seconds of CPU so far."""
        return sum(sum(int(f) for f in fields[11:15]) for pid in tree(self.process.pid) if (fields := _stat(pid))) / TICK

    def _memory(self, field):
        total = 0
        for pid in tree(self.process.pid):
            try:
                total += int(re.search(field + r":\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
            except (OSError, TypeError):
                pass
        return total / 1024

    def memory(self):
        """Resident MB."""
        return self._memory("VmRSS")

    def peak(self):
        """The most resident MB since `reset_peak`."""
        return self._memory("VmHWM")

    def reset_peak(self):
        for pid in tree(self.process.pid):
            try:
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                pass

    def settle(self, seconds=1.0):
        """Waits until the server does nothing."""
        before = self.cpu()
        for _ in range(60):
            time.sleep(seconds)
            now = self.cpu()
            if now - before <= 0.02 * seconds:
                return
            before = now

    def call(self, method, path, body=None, connection=None):
        own = connection is None
        connection = connection or http.client.HTTPConnection(HOST, self.port, timeout=300)
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        if own:
            connection.close()
        if answer.status != 200:
            raise SystemExit(f"{method} {path} answered {answer.status}: {data[:300]!r}")
        return json.loads(data)

    def text(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read().decode()

    def connection(self):
        return http.client.HTTPConnection(HOST, self.port, timeout=300)

    def stop(self):
        # Some servers start processes in sessions of their own.
        started = tree(self.process.pid)
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=30)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for pid in started:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.log.close()
        for _ in range(100):
            if not self._listens():
                break
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def keel(home, port, log=None, environment=None):
    return Server(
        [KEEL, "serve", "--home", home, "--listen", f"{HOST}:{port}"], f"http://{HOST}:{port}", log=log or f"{home}/server.log", environment=environment)


def wrk(server, path, lua, connections, seconds, warm=2):
    """Load by wrk: (CPU µs of the server a request, requests a second, p50, p99)."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(lua)
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", "--latency", "--timeout", "60s", "-s", script.name]
        subprocess.run([*command, f"-d{warm}s", server.url + path], capture_output=True)
        before = server.cpu()
        text = subprocess.run([*command, f"-d{seconds}s", server.url + path], capture_output=True, text=True).stdout
        # What was accepted is still being written when the load ends: it belongs to the cost.
        time.sleep(0.3)
        used = server.cpu() - before
    if "Non-2xx" in text:
        raise SystemExit("the server refused requests under load:\n" + text)
    count = int(re.search(r"(\d+) requests in", text)[1])
    p50, p99 = re.search(r"50%\s+(\d\S*)", text)[1], re.search(r"99%\s+(\d\S*)", text)[1]
    return used / max(count, 1) * 1e6, count / seconds, p50, p99


def post_lua(body):
    return f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [=[{body}]=]\n'
