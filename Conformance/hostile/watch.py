"""A server that is watched while something hostile is done to it.

    with Watched() as server:
        with server.attacked():
            ...                     # anything
        server.restart()

`attacked` fails the test when the server ended, when `/health` was not answered, when its resident memory went beyond the budget, and, of tests that are
marked `alone`, when `/health` was kept waiting longer than the bounds: beside other tests a wait is theirs. `restart` stops the server, starts it again on
its home and verifies the ledger.
"""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

from servers import Keel

# Two busy cores make a thread wait longer than the first bound now and then: a few questions may. None waits longer than the second.
HEALTH_MS = 100
HEALTH_MS_MAX = 1000
LONG_MAX = 3
MEMORY_BYTES = 512 << 20


class Watched(Keel):
    def __init__(self, memory_bytes=MEMORY_BYTES, environment=None, **options):
        # The budget is for the server's work; its libraries and what allocators keep come on top.
        super().__init__(environment={"KEEL_MEMORY_BUDGET": str(memory_bytes // 2)} | (environment or {}), **options)
        self.memory_bytes = memory_bytes

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()

    def peak_bytes(self):
        """The most that was resident since the last `forget_peak`."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @contextlib.contextmanager
    def attacked(self):
        self.forget_peak()
        is_beside = "PYTEST_XDIST_WORKER" in os.environ
        prober = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("prober.py"), str(self.port), "0.25" if is_beside else "0.005"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert prober.stdout.readline() == "watching\n"
        try:
            yield self
        finally:
            samples = json.loads(prober.communicate()[0])
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}: {self.log()[-3000:]}"
        assert samples, "no question to /health was finished"
        unanswered = [s for s in samples if s["status"] != 200]
        assert not unanswered, f"/health was not answered {len(unanswered)} times of {len(samples)}"
        assert self.peak_bytes() <= self.memory_bytes, f"{self.peak_bytes() >> 20} MiB resident, the budget is {self.memory_bytes >> 20} MiB"
        if is_beside:
            return
        # What the bare socket waited meanwhile is the machine's doing.
        over = [s for s in samples if s["waited"] - s["bare"] > HEALTH_MS]
        worst = max(s["waited"] - s["bare"] for s in samples)
        assert len(over) <= max(LONG_MAX, len(samples) // 50) and worst <= HEALTH_MS_MAX, \
            f"of {len(samples)} questions to /health {len(over)} were kept waiting more than {HEALTH_MS} ms longer than a bare socket: " + "; ".join(
                f"{s['waited']:.0f} ms (connected after {s['connected']:.0f}, bare socket {s['bare']:.0f}, full queues {s['overflows']})"
                for s in over)

    def restart(self):
        self.stop()
        self.start()
        verified = self.json("ledger", "verify")
        assert verified.get("problem") is None, verified
        return self
