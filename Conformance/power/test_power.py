"""Power cuts: the disk as it is at an instant, while a server writes to it; what was acknowledged before is there afterwards.

The home folder lies on ext4 in an image; the image lies on XFS, where it is cloned in about a millisecond, blocks and all. A clone is what a power
cut leaves: everything that was synced, and nothing that still waited in memory. A SQLite database that does not sync its commits is the control: it
must lose rows, or the cuts would prove nothing.
"""
import contextlib
import fcntl
import pathlib
import random
import sqlite3
import subprocess
import threading
import time

import pytest

import project
from servers import Keel
from test_durability import log_metric, push, run_id, stored_metrics

CUTS = 20
FICLONE = 0x40049409
# Pushed events are synced every 100 ms, by a timer that may be late on a busy machine.
EVENTS_SECONDS = 1.0


def sh(*command):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout.strip()


class Disk:
    """A file system in an image, mounted while the block runs."""

    def __init__(self, image, folder, make=None, size=None, options=()):
        self.image, self.folder, self.options = pathlib.Path(image), pathlib.Path(folder), options
        if make:
            with open(self.image, "wb") as file:
                file.truncate(size)
            sh(*make, self.image)

    def __enter__(self):
        self.folder.mkdir(exist_ok=True)
        self.device = sh("losetup", "-f", "--show", *self.options, self.image)
        sh("mount", self.device, self.folder)
        return self

    def __exit__(self, *_):
        # A process that has just ended may hold its files for a moment longer.
        for _ in range(100):
            if subprocess.run(["umount", str(self.folder)], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            sh("umount", "-l", self.folder)
        sh("losetup", "-d", self.device)

    def cut(self, image):
        """Copies the image as it is now."""
        with open(self.image, "rb") as source, open(image, "wb") as target:
            fcntl.ioctl(target, FICLONE, source.fileno())


EXT4 = ["mkfs.ext4", "-q", "-F"]


@pytest.fixture
def disks(tmp_path):
    with contextlib.ExitStack() as stack:
        outer = stack.enter_context(Disk(tmp_path / "outer", tmp_path / "xfs", ["mkfs.xfs", "-q", "-f", "-m", "reflink=1"], 4 << 30))
        direct = ["--direct-io=on"]
        disk = stack.enter_context(Disk(outer.folder / "disk", tmp_path / "disk", EXT4, 600 << 20, direct))
        control = stack.enter_context(Disk(outer.folder / "control", tmp_path / "unsynced", EXT4, 100 << 20, direct))
        yield outer.folder, disk, control


@contextlib.contextmanager
def serving(home):
    server = Keel(home=str(home)).start()
    try:
        yield server
    finally:
        server.kill()


class Writers:
    """Threads that write until the block ends; each notes what was acknowledged, and when."""

    def __init__(self, *bodies):
        self.ended = threading.Event()
        self.acknowledged = {body.__name__: [] for body in bodies}
        self.failures = []
        self.threads = [threading.Thread(target=self.run, args=(body,)) for body in bodies]

    def run(self, body):
        number = 0
        try:
            while not self.ended.is_set():
                body(number)
                self.acknowledged[body.__name__].append(time.monotonic())
                number += 1
        except Exception as error:
            self.failures.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures

    def before(self, name, instant):
        return sum(1 for at in self.acknowledged[name] if at < instant)


def test_d1_power_cuts(disks, tmp_path):
    folder, disk, control = disks
    home = disk.folder / "home"
    home.mkdir()
    instants = []
    with serving(home) as keel, contextlib.closing(sqlite3.connect(control.folder / "db", check_same_thread=False)) as database:
        project.apply(keel, tmp_path)
        run = run_id(keel)
        for statement in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "CREATE TABLE t (i INTEGER PRIMARY KEY)"]:
            database.execute(statement)
        database.commit()

        def metrics(number):
            log_metric(keel, run, number)

        def events(number):
            assert push(keel, project.rows(5, start=5 * number)).json()["accepted"] == 5

        def unsynced(number):
            database.execute("INSERT INTO t VALUES (?)", (number,))
            database.commit()

        with Writers(metrics, events, unsynced) as writers:
            while len(writers.acknowledged["metrics"]) < 20 and not writers.failures:
                time.sleep(0.05)
            for i in range(CUTS):
                time.sleep(random.uniform(0.05, 0.25))
                instants.append(time.monotonic())
                disk.cut(folder / f"disk-{i}")
                control.cut(folder / f"control-{i}")

    lost_without_sync = 0
    for i, instant in enumerate(instants):
        with Disk(folder / f"disk-{i}", tmp_path / "after") as after, serving(after.folder / "home") as again:
            assert again.json("ledger", "verify").get("problem") is None
            assert again.get("/api/v1/damage").json()["damage"] == []
            missing = set(range(writers.before("metrics", instant))) - stored_metrics(again, run)
            assert not missing, f"cut {i}: acknowledged writes {sorted(missing)[:10]} are lost"
            due = writers.before("events", instant - EVENTS_SECONDS)
            accepted = push(again, project.rows(5 * due)).json()["accepted"] if due else 0
            assert accepted == 0, f"cut {i}: {accepted} events that were acknowledged {EVENTS_SECONDS} s before are lost"
        with Disk(folder / f"control-{i}", tmp_path / "after") as after:
            with contextlib.closing(sqlite3.connect(after.folder / "db")) as left:
                lost_without_sync += max(0, writers.before("unsynced", instant) - left.execute("SELECT count(*) FROM t").fetchone()[0])
    assert lost_without_sync > 0, "the control lost nothing: the cuts show nothing"
