"""What the image's server needs: no root, and nothing to write to but its volume and /tmp. The recipe itself is Packaging/image/Containerfile."""
import json
import re
import tarfile

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
    with tarfile.open(archive) as tar:
        tar.extractall(machine.root / "usr/lib", filter="tar")
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
