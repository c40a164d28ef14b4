"""The Debian package on a Debian of its own: it is installed, its service runs as its user, it survives a restart and an upgrade, and it goes.

KEEL_PACKAGE_ROOT names the root file system that debootstrap made. There is no systemd in it, so the test runs what the unit says, as the user that it says;
test_service.py has one.
"""
import json
import os
import re

import pytest

LIFE = r"""
import json, os, pathlib, pwd, re, shlex, signal, subprocess, sys, time, urllib.request
os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
out = {}
def say(text): print(text, file=sys.stderr, flush=True)
def run(*command, fails=False):
    say("$ " + " ".join(map(str, command)))
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, (command, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr
package, = pathlib.Path("/wheels").glob("keel_*.deb")
def as_keel(*command, fails=False): return run("runuser", "-u", "keel", "--", *command, fails=fails)
def unit():
    text = pathlib.Path("/usr/lib/systemd/system/keel.service").read_text()
    return {name: value for name, value in re.findall(r"^(\w+)=(.*)$", text, re.M)}
def serve():
    settings = unit()
    who = pwd.getpwnam(settings["User"])
    say("$ " + settings["ExecStart"])
    process = subprocess.Popen(
        ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", *shlex.split(settings["ExecStart"])],
        cwd=settings["WorkingDirectory"], umask=int(settings["UMask"], 8), env={"PATH": "/usr/bin:/bin", "HOME": who.pw_dir}, stderr=open("/tmp/log", "a"))
    for _ in range(1200):
        try:
            urllib.request.urlopen("http://127.0.0.1:7070/health", timeout=1)
            return process
        except OSError:
            assert process.poll() is None, open("/tmp/log").read()
            time.sleep(0.05)
    raise AssertionError(open("/tmp/log").read())
def stop(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(60)

run("dpkg", "-i", package)
home = os.stat("/var/lib/keel")
out["home"] = [pwd.getpwuid(home.st_uid).pw_name, oct(home.st_mode & 0o777)]
server = serve()
os.chdir("/")
clicks = "/usr/lib/keel/share/examples/clicks"
for command in (["apply", clicks], ["ingest", "clicks", clicks + "/clicks.csv"], ["run", "train"]):
    as_keel("keel", *command)
out["doctor"] = json.loads(as_keel("keel", "doctor", "--json"))
# As the documentation says. Root is another user, who needs it.
token = as_keel("keel", "tokens", "create", "dana", "--persona", "owner").splitlines()[0]
out["refused"] = run("keel", "get", "endpoints", fails=True)
os.environ["KEEL_TOKEN"] = token
out["endpoints"] = run("keel", "get", "endpoints")
out["ends"] = [stop(server)]
# A restart, and an upgrade, which for dpkg is the same package once more.
run("dpkg", "-i", package)
server = serve()
out["prediction"] = run("keel", "predict", "buying", '{"user":"u1","at":"2024-02-01T00:00:00Z","price":10}')
out["ledger"] = run("keel", "ledger", "verify")
out["ends"].append(stop(server))
run("dpkg", "-r", "keel")
out["removed"] = [os.path.exists("/usr/bin/keel"), os.path.exists("/usr/lib/keel"), os.path.exists("/var/lib/keel/keel.sqlite"), os.path.exists("/etc/keel/keel.yaml")]
run("dpkg", "-P", "keel")
out["purged"] = [name for name in ("/var/lib/keel", "/etc/keel", "/usr/lib/keel") if os.path.exists(name)]
out["user"] = "keel" in [user.pw_name for user in pwd.getpwall()]
print(json.dumps(out))
"""


def test_the_package_lives_and_goes_on_a_debian(packages, machine):
    if not os.environ.get("KEEL_PACKAGE_ROOT"):
        pytest.skip("KEEL_PACKAGE_ROOT names no Debian")
    package, = packages.glob("*.deb")
    (machine.root / "wheels" / package.name).write_bytes(package.read_bytes())
    # test_image.py unpacks the tarball where the package has its files.
    for name in ("usr/lib/keel", "usr/bin/keel"):
        assert not os.path.lexists(machine.root / name)
    done = machine.run(LIFE)
    assert done.returncode == 0, done.stdout + done.stderr
    out = json.loads(done.stdout)
    assert out["home"] == ["keel", "0o700"] and out["ends"] == [0, 0]
    assert all(engine["path"].startswith("/usr/lib/keel/native/") for engine in out["doctor"]["engines"])
    assert out["doctor"]["server"]["problem"] is None and out["doctor"]["server"]["damage"] == []
    assert "token" in out["refused"] and "buying/1 stable" in out["endpoints"]
    assert re.search(r"0\.\d+ +buying/1", out["prediction"]) and "events, unbroken" in out["ledger"]
    assert out["removed"] == [False, False, True, True], "a removal leaves the home and the settings, and nothing else"
    assert out["purged"] == [] and out["user"] is False
