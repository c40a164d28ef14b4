"""The tour of the README on a fresh server: every command of its part on tracking works, and prints what is shown there, figures aside."""
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from servers import KEEL, ROOT, Keel

README = (ROOT / "README.md").read_text()


def tour():
    """The Python program, and the commands after it with what they print."""
    begin = README.index("```python")
    program, rest = README[begin + len("```python\n"):].split("```", 1)
    shown = []
    for block in re.findall(r"```\n(\$ keel .*?)```", rest.split("`keel import")[0], re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            shown.append((command, output.strip("\n")))
    return program, shown


def plain(text):
    """Without figures, times, ids and widths: what differs from machine to machine."""
    text = re.sub(r"\b[0-9a-f]{8,32}\b", "ID", text)
    text = re.sub(r"\d+ (s|min|h|d) ago", "AGO", text)
    text = re.sub(r"\d+( ms|( h)?( \d+)?( min)?( \d+)? s\b)", "SPAN", text)
    text = re.sub(r"[▁▂▃▄▅▆▇█]+", "BARS", re.sub(r"-?\d[\d.,:TZe-]*", "N", text))
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


def matches(shown, printed):
    """Whether the lines are the same; a line `…` stands for any lines."""
    pattern = "".join(".*" if line == "…" else re.escape(line) + "\n" for line in shown)
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed), re.S)


def test_the_tour_of_tracking_works_as_shown(tmp_path):
    program, shown = tour()
    assert "mlflow.log_metrics" in program and len(shown) >= 6
    keel = Keel().start()
    try:
        home = {k: v for k, v in os.environ.items() if not k.startswith(("KEEL_", "MLFLOW_", "COLUMNS"))} | {"KEEL_URL": keel.url}
        (tmp_path / "train.py").write_text(program.replace("http://127.0.0.1:7070", keel.url))
        done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=home, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        for command, output in shown:
            words = shlex.split(command)
            assert words[0] == "keel"
            done = subprocess.run([str(ROOT / KEEL), *words[1:]], cwd=tmp_path, env=home, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, (command, done.stderr)
            assert matches(plain(output), plain(done.stdout)), f"{command}\n--- README\n{output}\n--- printed\n{done.stdout}"
    finally:
        keel.stop()


@pytest.mark.parametrize("shown,printed,same", [
    ("a  1", "a 2.5", True), ("a\n…\nz", "a\nb\nc\nz", True), ("a\nz", "a\nb\nz", False), ("loss 0.1 █▇", "loss 3 ▁", True), ("loss 0.1", "auc 0.1", False)])
def test_the_comparison_can_fail(shown, printed, same):
    assert bool(matches(plain(shown), plain(printed))) == same
