"""docs/first-steps.md: what three people do first, run as it stands there, each in five minutes at most, with the packages and without a way out."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from machine import can_be_made
from servers import ROOT

PAGE = (ROOT / "docs" / "first-steps.md").read_text()
SECONDS_MAX = 300
# Behind a command that goes on in the background: a person reads that the server serves before typing the next one.
WAIT = r"""
serves() {
    for _ in $(seq 1200); do
        kill -0 $! || return 1
        (: > "/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        sleep 0.05
    done
    echo "nothing serves on port $1" >&2
    return 1
}
"""


def script(person):
    """The commands of a section, and its Python where it stands."""
    section, = re.findall(rf"^## A[n]? {person}: .*?\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    out = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT", WAIT]
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", section, re.M | re.S):
        if language == "python":
            out.append(f"python3 - <<'PROGRAM'\n{block}PROGRAM")
            continue
        # A line that ends in a backslash goes on in the next.
        for line in block.replace("\\\n", "").splitlines():
            out.append(f"echo '#' {shell_quoted(line)}\n{line}")
            if line.endswith("&"):
                port = re.search(r"--listen \S+:(\d+)", line)
                out.append(f"serves {port.group(1) if port else 7070}")
    return "\n".join(out)


def shell_quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def follow(person, packages, folder, **environment):
    """Runs a section in a folder with the files of a release, in a network of its own that has the address of the page and no other; returns what was written."""
    if not can_be_made():
        pytest.skip("no network of its own can be made here")
    for path in packages.iterdir():
        shutil.copy(path, folder)
    (folder / "steps.sh").write_text(script(person))
    python = pathlib.Path(os.path.realpath(sys._base_executable)).parent
    variables = {
        "PATH": f"{python}:/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    } | environment
    network = 'ip link set lo up && ip address add 192.0.2.10/32 dev lo && exec bash steps.sh'
    tools = os.environ["PATH"]
    done = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "env", f"PATH={variables['PATH']}:{tools}", "sh", "-c", network], cwd=folder,
        env=variables | {"PATH": tools}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_data_scientist_tracks_a_run(packages, tmp_path):
    # MLflow is installed already, as far as pip can tell: no index can be asked here.
    theirs = next(path for path in sys.path if path.endswith("site-packages"))
    out = follow("data scientist", packages, tmp_path, PYTHONPATH=theirs)
    assert "best: depth-6 0.87" in out
    assert re.search(r"depth-6 +finished .* 0\.87 ", out) and re.search(r"depth-3 +finished .* 0\.84 ", out)


def test_an_ml_engineer_gets_from_a_table_to_a_prediction(packages, tmp_path):
    out = follow("ML engineer", packages, tmp_path)
    predicted = re.search(r"^ *(\d\.\d+) +churn/1$", out, re.M)
    assert predicted, out
    assert re.search(r"^churn +production +churn/1 stable +100%", out, re.M)
    # What was answered is what was logged.
    score, = re.findall(r"^ *1 +(0\.\d+)$", out[out.index("# keel query "):], re.M)
    assert f"{float(score):.4f}" == predicted.group(1)


def test_a_platform_engineer_serves_others(packages, tmp_path):
    out = follow("platform engineer", packages, tmp_path)
    for engine in ("DuckDB", "ONNX Runtime", "XGBoost"):
        assert re.search(rf"^{engine} +\d.* {tmp_path}/keel-", out, re.M), out
    assert (tmp_path / "keel.tar").stat().st_size > 0
    verified = out[out.index("# KEEL_URL=http://127.0.0.1:7071 keel ledger verify"):]
    assert "events, unbroken" in verified, verified
    assert re.search(r"^dana ", verified, re.M) and re.search(r"^ana ", verified, re.M), verified
