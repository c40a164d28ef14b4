"""The README on a fresh server: every program and every command of it works, and prints what is shown there, figures aside."""
import os
import re
import shutil
import subprocess
import sys

import pytest

from servers import KEEL, ROOT, Keel

README = (ROOT / "README.md").read_text()


def parts():
    """In order: ("python", program) and ("command", line, what it prints)."""
    for kind, text in re.findall(r"^```(\w*)\n(.*?)^```", README, re.S | re.M):
        if kind == "python":
            yield kind, text, None
            continue
        for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield "command", command, output.strip("\n")


def plain(text):
    """Without figures, times, ids, paths and widths: what differs from machine to machine."""
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{8,32}\b", "ID", text)
    text = re.sub(r"\d+ (s|min|h|d) ago", "AGO", text)
    text = re.sub(r"[\d.]+( ms| µs|( h)?( \d+)?( min)?( \d+)? s\b)", "SPAN", text)
    text = re.sub(r"[▁▂▃▄▅▆▇█]+", "BARS", re.sub(r"-?\d[\d.,:TZe-]*", "N", text))
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


def matches(shown, printed):
    """Whether the lines are the same; a line `…` stands for any lines, and `…` in a line for any text."""
    pattern = "".join(".*" if line == "…" else "[^\n]*".join(re.escape(piece) for piece in line.split("…")) + "\n" for line in shown)
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed), re.S)


def test_every_command_of_the_readme_works_as_shown(tmp_path):
    shutil.copytree(ROOT / "Examples" / "clicks", tmp_path / "Examples" / "clicks")
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "keel").symlink_to(ROOT / KEEL)
    keel = Keel().start()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KEEL_", "MLFLOW_", "COLUMNS"))}
    environment |= {"KEEL_URL": keel.url, "PATH": f"{bin}:{environment['PATH']}"}
    environment |= {name: value for name, value in os.environ.items() if name.endswith("_LIB")}
    wrong = []
    try:
        for kind, text, output in parts():
            if kind == "python":
                (tmp_path / "program.py").write_text(text.replace("http://127.0.0.1:7070", keel.url))
                done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
                assert done.returncode == 0, done.stderr[-3000:]
            elif text.startswith("make "):
                # What it would do: this test runs on what it made.
                assert subprocess.run(["make", "-n", *text.split()[1:]], cwd=ROOT, capture_output=True).returncode == 0, text
            elif not text.endswith("&") and not text.startswith("pip install "):
                done = subprocess.run(text, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
                printed = done.stderr if output.startswith("error: ") else done.stdout
                assert (done.returncode == 0) == (not output.startswith("error: ")), (text, done.stdout, done.stderr)
                if not matches(plain(output), plain(printed)):
                    wrong.append(f"$ {text}\n--- README\n{output}\n--- printed\n{printed}")
        assert not wrong, "\n\n".join(wrong)
    finally:
        keel.stop()


def test_the_readme_shows_all_that_a_newcomer_needs():
    shown = list(parts())
    programs = [text for kind, text, _ in shown if kind == "python"]
    commands = [text for kind, text, _ in shown if kind == "command"]
    assert len(programs) == 2 and "mlflow.log_metric(" in programs[0]
    order = ["pip install", "keel serve &", "make build", "keel runs list", "keel apply", "keel run train", "keel predict", "make demo", "keel ledger verify"]
    places = [next(i for i, command in enumerate(commands) if command.startswith(start)) for start in order]
    assert places == sorted(places)


@pytest.mark.parametrize("shown,printed,same", [
    ("a  1", "a 2.5", True), ("a\n…\nz", "a\nb\nc\nz", True), ("a\nz", "a\nb\nz", False), ("loss 0.1 █▇", "loss 3 ▁", True), ("loss 0.1", "auc 0.1", False),
    ("at … end", "at some place end", True), ("at … end", "at some place", False)])
def test_the_comparison_can_fail(shown, printed, same):
    assert bool(matches(plain(shown), plain(printed))) == same
