"""The service of the Debian package, run by a systemd: it is installed, used, restarted, upgraded, kept over a reboot, stopped, removed and purged.

KEEL_PACKAGE_SYSTEMD names the root file system of a Debian with systemd, python3 and bubblewrap (Packaging/README.md). It is copied, and its copy is booted.
"""
import json
import os
import pathlib
import re
import time

import pytest

from machine import System, can_be_made

CLICKS = "/usr/lib/keel/share/examples/clicks"
ASKED = '{"user":"u1","at":"2024-02-01T00:00:00Z","price":10}'


@pytest.fixture(scope="module")
def debian(request):
    given = os.environ.get("KEEL_PACKAGE_SYSTEMD")
    if not given:
        pytest.skip("KEEL_PACKAGE_SYSTEMD names no Debian")
    if not can_be_made():
        pytest.skip("no machine can be made here")
    # Made here alone: it takes a minute, for nothing where these tests are skipped.
    packages = request.getfixturevalue("packages")
    system = System(pathlib.Path(given))
    try:
        package, = packages.glob("*.deb")
        (system.root / "root" / "keel.deb").write_bytes(package.read_bytes())
        system.boot()
        yield system
    finally:
        system.remove()


def show(system, *names):
    """What systemd says of the service, by the names of its properties."""
    text = system.run("systemctl", "show", "keel", *(f"--property={name}" for name in names)).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def state(system):
    return show(system, "ActiveState", "UnitFileState")


def answers(system):
    """Waits until the service answers a prediction or has failed; returns its process."""
    for _ in range(300):
        done = system.run("runuser", "-u", "keel", "--", "keel", "get", "endpoints", check=False)
        if done.returncode == 0:
            return show(system, "MainPID")["MainPID"]
        time.sleep(0.1)
    raise AssertionError(done.stderr + system.run("journalctl", "--no-pager", "-u", "keel").stdout)


def as_keel(system, *command):
    return system.run("runuser", "-u", "keel", "--", "keel", *command).stdout


def predicts(system):
    return re.search(r"0\.\d+ +buying/1", as_keel(system, "predict", "buying", ASKED))


def install(system):
    return system.run("dpkg", "--install", "/root/keel.deb").stdout


# One after another: each goes on with what the one before has left.

def test_it_runs_after_the_installation(debian):
    assert "Network is unreachable" in debian.run("python3", "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 5)", check=False).stderr
    install(debian)
    answers(debian)
    assert state(debian) == {"ActiveState": "active", "UnitFileState": "enabled"}
    for command in (["apply", CLICKS], ["ingest", "clicks", f"{CLICKS}/clicks.csv"], ["run", "train"]):
        as_keel(debian, *command)
    assert predicts(debian)


def test_the_kernel_holds_it_to_its_unit(debian):
    """What the unit asks for is what the process has, by /proc."""
    process = answers(debian)
    status = dict(line.split(":\t", 1) for line in debian.run("cat", f"/proc/{process}/status").stdout.splitlines() if ":\t" in line)
    assert status["Uid"].split() == [debian.run("id", "-u", "keel").stdout.strip()] * 4
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    # The options of a mount, by where it is: the last one counts.
    mounts = {line.split()[4]: line.split()[5] for line in debian.run("cat", f"/proc/{process}/mountinfo").stdout.splitlines()}
    assert mounts["/"].startswith("ro") and mounts["/var/lib/keel"].startswith("rw") and mounts["/tmp"].startswith("rw")
    assert "/home" in mounts and "/root" in mounts
    home = debian.run("stat", "--format=%U %a", "/var/lib/keel").stdout
    assert home == "keel 700\n"
    refused = debian.run("env", "KEEL_URL=http://127.0.0.1:7070", "keel", "get", "endpoints", check=False)
    assert refused.returncode != 0 and "token" in refused.stderr, "root is not the service's user"


def test_its_engines_work_and_programs_are_kept_apart_from_it(debian):
    """What the unit takes from the server it must not take from the sandbox that the server makes: namespaces, a /proc of its own, a filter of system calls."""
    answers(debian)
    doctor = json.loads(as_keel(debian, "doctor", "--json"))
    assert all(engine["path"].startswith("/usr/lib/keel/native/") for engine in doctor["engines"])
    server = doctor["server"]
    assert server["problem"] is None and server["damage"] == []
    assert server["gauges"]['keel_steps_isolated{by="bwrap",user=""}'] == "1", server["gauges"]
    assert {each["name"] for each in server["python"] if each["holds"]} >= {"files", "user", "network", "system calls", "processes"}, server["python"]


def test_it_comes_back_when_it_is_killed(debian):
    before = answers(debian)
    debian.run("systemctl", "kill", "--signal=KILL", "keel")
    for _ in range(100):
        if show(debian, "NRestarts")["NRestarts"] == "1":
            break
        time.sleep(0.1)
    assert answers(debian) != before and predicts(debian)
    assert "unbroken" in as_keel(debian, "ledger", "verify")


def test_a_restart_and_a_stop_end_it_in_order(debian):
    before = answers(debian)
    debian.run("systemctl", "restart", "keel")
    assert answers(debian) != before and predicts(debian)
    begun = time.monotonic()
    debian.run("systemctl", "stop", "keel")
    assert time.monotonic() - begun < 45
    assert show(debian, "Result", "ExecMainStatus", "ActiveState") == {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}
    debian.run("systemctl", "start", "keel")
    assert answers(debian) and predicts(debian)


def test_an_upgrade_starts_what_is_new(debian):
    before = answers(debian)
    install(debian)
    assert answers(debian) != before and predicts(debian)


def test_an_upgrade_leaves_a_service_off_that_was_switched_off(debian):
    debian.run("systemctl", "disable", "--now", "keel")
    install(debian)
    assert state(debian) == {"ActiveState": "inactive", "UnitFileState": "disabled"}
    debian.run("systemctl", "enable", "--now", "keel")
    answers(debian)


def test_it_starts_with_the_machine(debian):
    debian.power_off()
    debian.boot()
    assert answers(debian) and predicts(debian)
    assert state(debian) == {"ActiveState": "active", "UnitFileState": "enabled"}


def test_a_removal_leaves_the_home_and_an_installation_finds_it(debian):
    debian.run("dpkg", "--remove", "keel")
    assert debian.run("pgrep", "-u", "keel", check=False).stdout == ""
    for gone in ("/usr/bin/keel", "/usr/lib/keel", "/usr/lib/systemd/system/keel.service"):
        assert debian.run("test", "-e", gone, check=False).returncode != 0, gone
    for left in ("/var/lib/keel/keel.sqlite", "/etc/keel/keel.yaml"):
        debian.run("test", "-e", left)
    assert debian.run("systemctl", "is-active", "keel", check=False).stdout.strip() in ("inactive", "unknown")
    install(debian)
    assert answers(debian) and predicts(debian) and state(debian)["UnitFileState"] == "enabled"


def test_a_purge_leaves_nothing(debian):
    debian.run("dpkg", "--purge", "keel")
    left = debian.run("find", "/etc", "/usr", "/var/lib", "/run", "-iname", "*keel*", check=False).stdout
    assert left == "", left
    assert debian.run("getent", "passwd", "keel", check=False).stdout == ""
    assert debian.run("pgrep", "-f", "keel serve", check=False).stdout == ""
    assert debian.run("systemctl", "list-units", "--failed", "--no-legend", "--plain").stdout == ""
