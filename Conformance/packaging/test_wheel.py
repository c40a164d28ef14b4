"""`pip install keel-ml`, on a machine that has Python and pip, and no network."""
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import venv
import zipfile

from servers import ROOT, free_port

ENGINES = ["DuckDB", "ONNX Runtime", "XGBoost"]


def wheel(packages, name):
    path, = packages.glob(f"{name}-[0-9]*.whl")
    return path


def test_the_wheel_holds_what_it_says(packages):
    path = wheel(packages, "keel_ml")
    assert path.stat().st_size <= 150e6
    with zipfile.ZipFile(path) as archive:
        info = path.name.split("-py3")[0] + ".dist-info"
        rows = [line.rsplit(",", 2) for line in archive.read(f"{info}/RECORD").decode().splitlines()]
        assert {name for name, _, _ in rows} == set(archive.namelist())
        for name, digest, size in rows:
            if digest:
                data = archive.read(name)
                assert len(data) == int(size)
                assert digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode(), name
        notice = archive.read("keel/share/licences/NOTICE").decode()
        texts = [name for name in archive.namelist() if name.startswith("keel/share/licences/")]
        for part in ["duckdb", "onnxruntime", "xgboost", "uv", "sqlite", "re2", "zlib", "swift", "swift-nio", "grdb.swift", "yams", "libgomp"]:
            assert re.search(rf"^{re.escape(part)} \d", notice, re.M), f"{part} is not in the notice"
            assert any(name.startswith(f"keel/share/licences/{part}/") for name in texts), f"the licence of {part} is not there"


def test_its_tag_is_true(packages, tmp_path):
    """Every symbol of glibc that a file of it imports is of the tag's version or older, and one is of that version."""
    path = wheel(packages, "keel_ml")
    tagged = tuple(map(int, re.search(r"-manylinux_(\d+)_(\d+)_x86_64\.whl$", path.name).groups()))
    newest = {"GLIBC": [], "GLIBCXX": []}
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    for file in (file for file in tmp_path.rglob("*") if file.is_file()):
        if file.open("rb").read(4) == b"\x7fELF":
            symbols = subprocess.run(["objdump", "-T", file], capture_output=True, text=True).stdout
            undefined = "\n".join(line for line in symbols.splitlines() if "*UND*" in line)
            for family, versions in newest.items():
                found = re.findall(rf"\({family}_([\d.]+)\)", undefined)
                versions.append(max((tuple(map(int, number.split("."))) for number in found), default=(0,)))
    assert len(newest["GLIBC"]) >= 5 and max(newest["GLIBC"]) == tagged == (2, 34)
    # What the policy of that tag allows: the libstdc++ of GCC 11, which RHEL 9 has.
    assert max(newest["GLIBCXX"]) <= (3, 4, 29)


COMPARISON = r"""
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
double __wrap_hypot(double, double);
float __wrap_hypotf(float, float);
static uint64_t state = 88172645463325252u;
static uint64_t next(void) { state ^= state << 13; state ^= state >> 7; return state ^= state << 17; }
int main(void) {
    const double special[] = {0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 5e-324, 1.7976931348623157e308, 3, 4};
    const int count = sizeof special / sizeof *special;
    for (int i = 0; i < 2000000 + count * count; i++) {
        double x, y;
        uint64_t bits[2] = {next(), next()};
        memcpy(&x, bits, 8), memcpy(&y, bits + 1, 8);
        if (i < count * count) x = special[i / count], y = special[i % count];
        double a = hypot(x, y), b = __wrap_hypot(x, y);
        float c = hypotf((float)x, (float)y), d = __wrap_hypotf((float)x, (float)y);
        if ((memcmp(&a, &b, 8) && !(isnan(a) && isnan(b))) || (memcmp(&c, &d, 4) && !(isnan(c) && isnan(d)))) {
            printf("%a %a: %a %a, %a %a\n", x, y, a, b, c, d);
            return 1;
        }
    }
    puts("alike");
}
"""


def test_older_functions_are_the_same_functions(tmp_path):
    """What Packaging/older.c puts in the place of newer versions of libm's functions answers bit for bit like those."""
    (tmp_path / "main.c").write_text(COMPARISON)
    subprocess.run(["clang", "-O1", "-fno-builtin", tmp_path / "main.c", ROOT / "Packaging/older.c", "-o", tmp_path / "main", "-lm", "-lstdc++"], check=True)
    assert subprocess.run([tmp_path / "main"], capture_output=True, text=True).stdout == "alike\n"


# What runs on the new machine. It says on its standard error how far it is, and prints one JSON object.
NEWCOMER = r"""
import json, os, pathlib, signal, socket, subprocess, sys, time, urllib.request
out = {}
def say(text): print(text, file=sys.stderr, flush=True)
def run(*command, **options):
    say("$ " + " ".join(map(str, command)))
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as error:
    out["network"] = error.strerror
run(sys.executable, "-m", "venv", "--without-pip", "/root/venv")
packages = next(pathlib.Path("/root/venv/lib").iterdir()) / "site-packages"
run(sys.executable, "-m", "pip", "--python", "/root/venv/bin/python", "install", "--no-index", "--find-links", "/wheels", "--disable-pip-version-check",
    "keel-ml[demo]")
keel = "/root/venv/bin/keel"
os.chdir("/root")
out["version"] = json.loads(run(keel, "version", "--json"))
out["binary"] = run("/root/venv/bin/python", "-c", "import keel; print(keel.__version__, keel.find_binary())").split()
say("$ keel serve")
begun = time.monotonic()
server = subprocess.Popen([keel, "serve"], stderr=open("/root/server.log", "w"))
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1:7070/health", timeout=1)
        break
    except OSError:
        assert server.poll() is None and time.monotonic() - begun < 60, open("/root/server.log").read()
        time.sleep(0.02)
out["seconds"] = time.monotonic() - begun
out["doctor"] = json.loads(run(keel, "doctor", "--json"))
clicks = packages / "keel/share/examples/clicks"
run(keel, "apply", clicks)
run(keel, "ingest", "clicks", clicks / "clicks.csv")
run(keel, "run", "train")
out["prediction"] = run(keel, "predict", "buying", '{"user":"u1","at":"2024-02-01T00:00:00Z","price":10}')
server.send_signal(signal.SIGTERM)
out["end"] = server.wait(timeout=60)
say("$ keel demo")
demo = subprocess.Popen([keel, "demo"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
text = ""
for line in demo.stdout:
    text += line
    say(line.rstrip())
    # The first model serves: the rest is the same loop over, and takes minutes.
    if not os.environ.get("WHOLE") and line.startswith("release delay-frozen@staging/1"):
        demo.send_signal(signal.SIGINT)
say("the demo has written its last line")
out["demo"] = [demo.wait(60), text[-9000:]]
out["left"] = [name for name in os.listdir("/tmp") if name.startswith("keel")] + [
        command for command in (pathlib.Path(f"/proc/{p}/cmdline").read_bytes().decode() for p in os.listdir("/proc") if p.isdigit()) if "serve" in command]
print(json.dumps(out))
"""


def test_a_newcomer_installs_serves_and_closes_the_loop(packages, machine):
    # Debian's Python brings SQLite.
    for library in ("libpq.so*", "libre2.so*", "libswiftCore.so*") + (() if os.environ.get("KEEL_PACKAGE_ROOT") else ("libsqlite3.so*",)):
        assert not machine.has(library)
    for path in packages.glob("*.whl"):
        (machine.root / "wheels" / path.name).write_bytes(path.read_bytes())
    # KEEL_PACKAGE_DEMO=1 waits for the whole demo, as `make demo` does in a checkout.
    whole = os.environ.get("KEEL_PACKAGE_DEMO", "")
    done = machine.run(NEWCOMER, WHOLE=whole)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    out = json.loads(done.stdout)
    assert out["network"] == "Network is unreachable"
    number = re.search(r'text = "(.+)"', (ROOT / "Sources/Contracts/KeelVersion.swift").read_text()).group(1)
    assert out["version"]["version"] == number and out["version"]["name"] == "keel"
    assert out["binary"] == [number, out["version"]["installation"] + "/bin/keel"]
    assert out["seconds"] <= 10
    assert [(engine["name"], engine["mend"]) for engine in out["doctor"]["engines"]] == [(name, None) for name in ENGINES]
    assert all(engine["path"].startswith(out["version"]["installation"] + "/native/") for engine in out["doctor"]["engines"])
    assert out["doctor"]["server"]["problem"] is None and out["doctor"]["server"]["damage"] == []
    assert re.search(r"0\.\d+ +buying/1", out["prediction"]) and out["end"] == 0
    code, text = out["demo"]
    assert code == (0 if whole else 130) and ("The loop closed" if whole else "release delay-frozen@staging/1") in text, text
    if whole:
        # What the last lines say of the loop: what was served is what training reads, and the ledger has no gap.
        parity = re.findall(r"^  (\S+): (\d+) reads, (\d+) values, 0 differences$", text, re.M)
        assert [name for name, reads, values in parity if int(reads) > 1000 and int(values) > 10_000] == ["delay", "delay-frozen@staging"], text
        assert re.search(r"^Ledger: \d{3,} events, unbroken$", text, re.M), text
        assert re.search(r"^  2013-11-01 00:00  refused ", text, re.M) and "ROLLED BACK delay/" in text and text.count("(the rollout is complete)") >= 2, text
        won, months = map(int, re.search(r"beaten in (\d+) of (\d+) months", text).groups())
        assert months == 8 and won > months / 2, text
    assert not out["left"]


def test_it_lies_beside_mlflow(packages, tmp_path):
    """One environment has both: no file is of two packages, pip finds no conflict, and MLflow's client speaks to the server that came with it."""
    venv.create(tmp_path / "both", with_pip=False)
    python = tmp_path / "both" / "bin" / "python"
    own, = (tmp_path / "both" / "lib").glob("python3*/site-packages")
    theirs = next(path for path in sys.path if path.endswith("site-packages"))
    (own / "mlflow.pth").write_text(theirs + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    done = subprocess.run([*pip, "install", "--no-index", wheel(packages, "keel_ml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    program = r"""
import json, os, pathlib, subprocess, sys, time, urllib.request
import importlib.metadata as metadata
import mlflow, keel
names = {}
for distribution in metadata.distributions():
    for file in distribution.files or []:
        if ".." not in file.parts: names.setdefault(str(file), set()).add(distribution.metadata["Name"])
shared = [name for name, owners in names.items() if "keel-ml" in owners and len(owners) > 1]
server = subprocess.Popen([pathlib.Path(sys.executable).parent / "keel", "serve", "--listen", "127.0.0.1:" + sys.argv[1]], stderr=subprocess.DEVNULL)
try:
    url = "http://127.0.0.1:" + sys.argv[1]
    for _ in range(500):
        try:
            urllib.request.urlopen(url + "/health", timeout=1); break
        except OSError: time.sleep(0.02)
    mlflow.set_tracking_uri(url)
    mlflow.set_experiment("first")
    with mlflow.start_run(run_name="hello"): mlflow.log_metric("auc", 0.87)
    run, = mlflow.search_runs(experiment_names=["first"], output_format="list")
    print(json.dumps([shared, run.info.run_name, run.data.metrics["auc"]]))
finally:
    server.terminate(); server.wait()
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KEEL_", "MLFLOW_"))}
    done = subprocess.run([python, "-c", program, str(free_port())], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [[], "hello", 0.87]
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True)
    assert "keel" not in checked.stdout.lower(), checked.stdout
