"""What the image's server needs: no root, and nothing to write to but its volume and /tmp.

With KEEL_PACKAGE_ROOT (a Debian that debootstrap has made) and buildah, the recipe itself (Packaging/image/Containerfile) is followed, from that Debian as its
base, and what it made is run as a container would be: by the user, command and variables that the image names.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from machine import can_be_made, run, unpack
from servers import ROOT
from test_chart import first_token_script

# The chart's init container makes the first token, by its own script; then the server runs.
SERVER = r"""
import json, os, subprocess, time
out = {"user": os.getuid()}
try:
    open("/usr/file", "w")
except OSError as error:
    out["root"] = error.strerror
def keel(*arguments):
    done = subprocess.run(["/usr/bin/keel", *arguments], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None
def serve(*arguments):
    process = subprocess.Popen(["/usr/bin/keel", "serve", *arguments], stderr=open("/tmp/log", "a"))
    os.environ["KEEL_URL"] = "http://" + arguments[-1].replace("0.0.0.0", "127.0.0.1")
    for _ in range(300):
        if keel("get", "endpoints") is not None: return process
        assert process.poll() is None, open("/tmp/log").read()
        time.sleep(0.05)
    raise AssertionError(open("/tmp/log").read())
home = ("--home", "/var/lib/keel/home")
for _ in range(2):
    # Again as at each start of the pod: the token stays the one it is.
    done = subprocess.run(["/bin/sh", "-ec", open("/first-token.sh").read()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out.setdefault("tokens", []).append(open("/var/lib/keel/first-token").read())
out["mode"] = oct(os.stat("/var/lib/keel/first-token").st_mode & 0o777)
os.environ["KEEL_TOKEN"] = out["tokens"][0].strip()
server = serve(*home, "--listen", "0.0.0.0:7070")
examples = "/usr/lib/keel/share/examples/clicks"
for command in (("apply", examples), ("ingest", "clicks", examples + "/clicks.csv"), ("run", "train")):
    assert keel(*command) is not None, command
out["prediction"] = keel("predict", "buying", '{"user":"u1","at":"2024-02-01T00:00:00Z","price":10}')
out["doctor"] = keel("doctor", "--json") is not None
server.terminate()
out["ends"] = [server.wait(30)]
print(json.dumps(out))
"""


def test_the_server_of_the_image_needs_no_root(packages, machine):
    archive, = packages.glob("keel-*.tar.gz")
    unpack(archive, machine.root / "usr/lib")
    unpacked, = (machine.root / "usr/lib").glob("keel-*")
    unpacked.rename(machine.root / "usr/lib/keel")
    (machine.root / "usr/bin/keel").symlink_to("../lib/keel/bin/keel")
    (machine.root / "first-token.sh").write_text(first_token_script())
    done = machine.run(SERVER, user=65532, volume="/var/lib/keel", HOME="/var/lib/keel")
    assert done.returncode == 0, done.stdout + done.stderr
    out = json.loads(done.stdout)
    assert out["user"] == 65532 and out["root"] == "Read-only file system" and out["doctor"] and out["ends"] == [0]
    assert out["tokens"][0] == out["tokens"][1] != "" and out["mode"] == "0o600"
    assert re.search(r"0\.\d+ +buying/1", out["prediction"])


# There is no Python in the image: what is asked of it is asked by its own shell and command.
ASKING = r"""
"$@" 2>/tmp/log &
server=$!
for _ in $(seq 300); do keel get endpoints >/dev/null 2>&1 && break; sleep 0.1; done
keel apply /usr/lib/keel/share/examples/clicks >&2 && keel ingest clicks /usr/lib/keel/share/examples/clicks/clicks.csv >&2 && keel run train >&2 || cat /tmp/log >&2
echo user=$(id -u)
keel predict buying '{"user":"u1","at":"2024-02-01T00:00:00Z","price":10}'
(echo >/usr/file) 2>/dev/null && echo root=writable || echo root=read-only
kill -TERM $server
wait $server
echo ended=$?
"""


@pytest.fixture
def buildah(tmp_path):
    """Runs buildah with a store of its own."""
    if not os.environ.get("KEEL_PACKAGE_ROOT") or not shutil.which("buildah") or not can_be_made():
        pytest.skip("KEEL_PACKAGE_ROOT names no Debian, or there is no buildah")

    def ask(*arguments):
        command = ["buildah", "--root", tmp_path / "store", "--runroot", tmp_path / "run", "--storage-driver", "vfs", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"BUILDAH_ISOLATION": "chroot"})
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()

    yield ask
    ask("rm", "--all")


def test_the_recipe_is_followed_and_its_server_answers(packages, buildah):
    base = buildah("from", "scratch")
    buildah("add", "--quiet", base, os.environ["KEEL_PACKAGE_ROOT"], "/")
    buildah("commit", "--quiet", base, "localhost/base")
    buildah("build", "--file", ROOT / "Packaging/image/Containerfile", "--build-arg", "BASE=localhost/base", "--tag", "keel", packages)
    image = json.loads(buildah("inspect", "--type", "image", "keel"))["OCIv1"]["config"]
    assert image["User"] == "65532:65532" and list(image["Volumes"]) == ["/var/lib/keel"]
    root = pathlib.Path(buildah("mount", buildah("from", "keel")))
    size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    assert size <= 250e6, size
    assert not list(root.rglob("*apt*")) and not list(root.rglob("perl*"))
    # A container has these of its runtime.
    for name in ("proc", "dev"):
        (root / name).mkdir(exist_ok=True)
    variables = dict(entry.split("=", 1) for entry in image["Env"])
    script = first_token_script() + "\nexport KEEL_TOKEN=$(cat /var/lib/keel/first-token) KEEL_URL=http://127.0.0.1:7070\n" + ASKING
    command = ["/bin/sh", "-ec", script, "sh", *image["Entrypoint"], *image["Cmd"]]
    done = run(root, command, variables, user=65532, volume="/var/lib/keel")
    assert done.returncode == 0, done.stdout + done.stderr
    out = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert out["user"] == "65532" and out["root"] == "read-only" and out["ended"] == "0", done.stdout + done.stderr
    assert re.search(r"0\.\d+ +buying/1", done.stdout), done.stdout + done.stderr
